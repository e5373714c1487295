import { describe, expect, it } from 'vitest';
import { createCallReader } from './tool-calls';
import type { ToolFormat } from './tool-format';

const functions = ['get_weather', 'now'];

/** Text and calls (name and arguments) of an answer that comes in pieces of `size` characters. */
function readAll(format: ToolFormat | 'json', answer: string, size: number) {
  const reader = createCallReader(format, functions);
  const parts = [];
  for (let at = 0; at < answer.length; at += size) parts.push(reader.push(answer.slice(at, at + size)));
  parts.push(reader.end());
  const calls = parts.flatMap((part) => part.calls);
  expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
  for (const { id, type } of calls) expect([type, /^call_[0-9a-f]{24}$/.test(id)]).toEqual(['function', true]);
  return {
    text: parts.map((part) => part.text).join(''),
    calls: calls.map(({ function: { name, arguments: given } }) => [name, JSON.parse(given)]),
  };
}

const weather = ['get_weather', { city: 'Łódź </tool_call> "}{' }];
const weatherJson = JSON.stringify({ name: weather[0], arguments: weather[1] });
const llamaJson = JSON.stringify({ name: weather[0], parameters: weather[1] });
const now = ['now', {}];

const hermes: [string, string, string, unknown[]][] = [
  ['text alone', 'It is <b>warm</b>.\n\n', 'It is <b>warm</b>.\n\n', []],
  ['a call', `<tool_call>\n${weatherJson}\n</tool_call>`, '', [weather]],
  ['text before it', `Let me look.\n\n<tool_call>\n${weatherJson}\n</tool_call>\n`, 'Let me look.', [weather]],
  ['text after it', `<tool_call>${weatherJson}</tool_call>\nWait.`, 'Wait.', [weather]],
  [
    'two',
    `<tool_call>\n${weatherJson}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>`,
    '',
    [weather, now],
  ],
  ['a list of two', `<tool_call>\n[${weatherJson}, {"name":"now"}]\n</tool_call>`, '', [weather, now]],
  ['no closing tag', `A <tool_call>\n${weatherJson}\n`, 'A', [weather]],
  ['half a closing tag', `<tool_call>\n${weatherJson}\n</tool`, '', [weather]],
  ['cut short', 'A\n<tool_call>\n{"name": "now", "argu', 'A\n<tool_call>\n{"name": "now", "argu', []],
  ['half an opening tag', 'A <tool_ca', 'A <tool_ca', []],
  ['no JSON', 'A <tool_call>\nnow()\n</tool_call> B', 'A <tool_call>\nnow()\n</tool_call> B', []],
  ['bad JSON', 'A <tool_call>{"name": now}</tool_call> B', 'A <tool_call>{"name": now}</tool_call> B', []],
  [
    'an unknown function',
    '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    [],
  ],
  [
    'arguments that are none',
    '<tool_call>{"name": "now", "arguments": "x"}</tool_call>',
    '<tool_call>{"name": "now", "arguments": "x"}</tool_call>',
    [],
  ],
  [
    'something behind the JSON',
    `<tool_call>${weatherJson} x</tool_call>`,
    `<tool_call>${weatherJson} x</tool_call>`,
    [],
  ],
  [
    'a good one after a bad one',
    `<tool_call>{]</tool_call>\n<tool_call>${weatherJson}</tool_call>`,
    '<tool_call>{]</tool_call>',
    [weather],
  ],
];

const llama: [string, string, string, unknown[]][] = [
  ['text alone', 'Use {braces} so:\n  {1}\n', 'Use {braces} so:\n  {1}\n', []],
  ['a call', llamaJson, '', [weather]],
  ['indented, with blanks', `\n { "name" : "now" ,\n "parameters" : { } }\n`, '', [now]],
  ['two', `${llamaJson}; {"name": "now", "parameters": {}}`, '', [weather, now]],
  ['two in lines', `${llamaJson}\n{"name": "now", "parameters": {}}`, '', [weather, now]],
  ['the type first', '{"type": "function", "name": "now", "parameters": {}}', '', [now]],
  ['text before it', `Let me look.\n\n${llamaJson}`, 'Let me look.', [weather]],
  ['not at the beginning of a line', `So: ${llamaJson}`, `So: ${llamaJson}`, []],
  [
    'another object',
    '{"answer": {"name": "now", "parameters": {}}}',
    '{"answer": {"name": "now", "parameters": {}}}',
    [],
  ],
  ['an unknown function', 'A\n{"name": "rm", "parameters": {}}\nB', 'A\n{"name": "rm", "parameters": {}}\nB', []],
  ['cut short', 'A\n{"name": "now", "par', 'A\n{"name": "now", "par', []],
];

describe.each([1, 2, 3, 7, 1000])('in pieces of %i characters', (size) => {
  it.each(hermes)('hermes: %s', (_, answer, text, calls) => {
    expect(readAll('hermes', answer, size)).toEqual({ text, calls });
  });
  it.each(llama)('llama3: %s', (_, answer, text, calls) => {
    expect(readAll('llama3', answer, size)).toEqual({ text, calls });
  });
  it('json: an answer that is nothing but a call', () => {
    expect(readAll('json', weatherJson, size)).toEqual({ text: '', calls: [weather] });
  });
});

describe('createCallReader', () => {
  it('holds nothing back that can be no call', () => {
    const reader = createCallReader('hermes', functions);
    expect(reader.push('Hello <b').text).toBe('Hello <b');
    expect(reader.push(' <tool').text).toBe('');
    expect(reader.push('box').text).toBe(' <toolbox');
    const object = createCallReader('llama3', functions);
    expect(object.push('{"n').text).toBe('');
    expect(object.push('o": 1').text).toBe('{"no": 1');
    expect(object.push('\n').text).toBe('');
  });

  it('gives a call as soon as it is complete', () => {
    const reader = createCallReader('llama3', functions);
    expect(reader.push('{"name": "now", "parameters": {}').calls).toEqual([]);
    expect(reader.push('}').calls).toHaveLength(1);
  });
});
