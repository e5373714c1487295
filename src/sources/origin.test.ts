import { expect, test } from 'vitest';
import { parseJson } from './origin';

test('JSON files are parsed, up to a hundred levels', () => {
  const nested = (levels: number) => `${'{"a":['.repeat(levels / 2)}1${']}'.repeat(levels / 2)}`;
  expect(parseJson('{"__proto__": {"x": [1]}}', 'a.json')).toEqual(JSON.parse('{"__proto__": {"x": [1]}}'));
  expect(parseJson('7', 'a.json')).toBe(7);
  expect(parseJson(nested(100), 'a.json')).toEqual(JSON.parse(nested(100)));
  for (const text of ['', '{', '{"a":1}x', nested(102), nested(100_000)]) {
    expect(() => parseJson(text, 'a.json')).toThrow(expect.objectContaining({ code: 'bad-file', file: 'a.json' }));
  }
});
