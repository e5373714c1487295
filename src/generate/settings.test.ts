import { describe, expect, it } from 'vitest';
import { validateSettings } from './settings';

const off = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
};

describe('validateSettings', () => {
  it('fills in the defaults, the model’s own first', () => {
    const { seed, ...rest } = validateSettings({}, { temperature: 0.6, topP: 0.9 });
    const open = {
      maxTokens: Infinity,
      stop: [],
      ignoreEos: false,
      n: 1,
      draft: 'auto',
      logitBias: {},
      logprobs: undefined,
      responseFormat: { type: 'text' },
    };
    expect(rest).toEqual({ ...off, temperature: 0.6, topP: 0.9, ...open });
    expect(Number.isSafeInteger(seed) && seed >= 0).toBe(true);
    expect(validateSettings({}).seed).not.toBe(seed);
    expect(validateSettings({ temperature: undefined }).temperature).toBe(0.8);
  });

  it('keeps what is given', () => {
    const ends = { maxTokens: 5, stop: ['a', 'b'], ignoreEos: true };
    const given = {
      ...off,
      temperature: 0,
      topK: 7,
      seed: 0,
      ...ends,
      n: 3,
      draft: false,
      logitBias: { 7: -100, 0: 1.5 },
      logprobs: 0,
      responseFormat: { type: 'regex', pattern: 'a' } as const,
    };
    expect(validateSettings(given, { temperature: 0.6, topK: 3 })).toEqual(given);
    expect(validateSettings({ stop: 'x' }).stop).toEqual(['x']);
    expect(validateSettings({ seed: Number.MAX_SAFE_INTEGER }).seed).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('refuses a seed that leaves none for the last of n answers', () => {
    const seed = Number.MAX_SAFE_INTEGER - 3;
    expect(validateSettings({ seed, n: 4 }).seed).toBe(seed);
    const error = { code: 'bad-input', got: seed, message: expect.stringContaining('seed') };
    expect(() => validateSettings({ seed, n: 5 })).toThrow(expect.objectContaining(error));
  });

  it.each([
    ['temperature', -0.1],
    ['temperature', Number.NaN],
    ['temperature', Infinity],
    ['temperature', '0.5'],
    ['temperature', null],
    ['topK', 1.5],
    ['topK', -1],
    ['topP', 1.01],
    ['minP', -0.01],
    ['repetitionPenalty', 0],
    ['frequencyPenalty', 2.5],
    ['presencePenalty', -2.5],
    ['seed', -1],
    ['seed', 0.5],
    ['seed', 2 ** 53],
    ['maxTokens', 0],
    ['maxTokens', Number.NaN],
    ['stop', ''],
    ['stop', ['a', '']],
    ['stop', 5],
    ['ignoreEos', 'yes'],
    ['n', 0],
    ['n', 1.5],
    ['n', '2'],
    ['draft', 'always'],
    ['draft', 1],
    ['logprobs', 21],
    ['logprobs', -1],
    ['logprobs', 0.5],
    ['logprobs', true],
    ['logitBias', 5],
    ['logitBias', [1, 2]],
    ['logitBias', null],
    ['responseFormat', 'json'],
    ['responseFormat', { type: 'json' }],
    ['responseFormat', null],
  ])('refuses %s %j', (name, value) => {
    const got = typeof value === 'number' ? value : JSON.stringify(value);
    const error = { code: 'bad-input', got, expected: expect.any(String), message: expect.stringContaining(name) };
    expect(() => validateSettings({ [name]: value })).toThrow(expect.objectContaining(error));
  });

  it.each([
    [{ '-1': 1 }, '"-1"'],
    [{ '1.5': 1 }, '"1.5"'],
    [{ word: 1 }, '"word"'],
    [{ 5: 100.5 }, 100.5],
    [{ 5: Number.NaN }, Number.NaN],
    [{ 5: '1' }, '"1"'],
  ])('refuses logitBias %j', (logitBias, got) => {
    const error = {
      code: 'bad-input',
      got,
      expected: expect.any(String),
      message: expect.stringContaining('logitBias'),
    };
    expect(() => validateSettings({ logitBias } as object)).toThrow(expect.objectContaining(error));
  });
});
