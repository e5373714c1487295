import { describe, expect, it } from 'vitest';
import type { GenerateResult } from '../protocol/generate-types';
import { readEmbeddingRequest } from './openai-embeddings';
import { createTextChunks, readTextRequest, textCompletionOf } from './openai-text';

const refused = (code: string, name: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(name) });

describe('a request for text', () => {
  it('is a prompt and settings under our names', () => {
    const given = {
      model: 'm',
      user: 'u',
      prompt: 'a',
      max_tokens: 3,
      top_p: 0.5,
      n: 2,
      best_of: 2,
      echo: false,
      suffix: null,
    };
    expect(readTextRequest({ ...given, logprobs: 4 })).toEqual({
      prompt: 'a',
      options: { maxTokens: 3, topP: 0.5, n: 2, logprobs: 4 },
      stream: false,
      includeUsage: false,
    });
    expect(readTextRequest({ prompt: [1, 2], stream: true, stream_options: { include_usage: true } })).toEqual({
      prompt: [1, 2],
      options: {},
      stream: true,
      includeUsage: true,
    });
    for (const prompt of [['a'], 'a']) expect(readTextRequest({ prompt }).prompt).toBe('a');
    expect(readTextRequest({ prompt: [[1, 2]] }).prompt).toEqual([1, 2]);
  });

  it.each([
    ['bad-input', 'prompt', {}],
    ['bad-input', 'prompt', { prompt: [] }],
    ['bad-input', 'prompt[0]', { prompt: [{}] }],
    ['unsupported', 'several prompts', { prompt: ['a', 'b'] }],
    ['unsupported', 'best_of', { prompt: 'a', best_of: 3 }],
    ['unsupported', 'echo', { prompt: 'a', echo: true }],
    ['unsupported', 'suffix', { prompt: 'a', suffix: 'b' }],
    ['bad-input', 'logprobs', { prompt: 'a', logprobs: true }],
    ['bad-input', 'unknown parameter', { prompt: 'a', messages: [] }],
    ['bad-input', 'stream_options', { prompt: 'a', stream_options: {} }],
  ])('is refused with %s, naming %s', (code, name, params) => {
    expect(() => readTextRequest(params)).toThrow(refused(code, name));
  });
});

describe('a text completion', () => {
  const head = { id: 'cmpl-1', created: 1, model: 'm', system_fingerprint: 'fp' };
  const scored = [
    { token: 1, logprob: -1, topLogprobs: [{ token: 1, logprob: -1 }] },
    { token: 2, logprob: -2, topLogprobs: [{ token: 3, logprob: -0.5 }] },
  ];
  const names = ['', 'so', ' on', ' far'];
  const textOf = (token: number) => ({ token: names[token]!, bytes: [] });
  const result = {
    answers: [{ text: 'so on', tokens: [1, 2], finishReason: 'length', seed: 1, logprobs: scored }],
    usage: { promptTokens: 3, cachedTokens: 0, completionTokens: 2 },
  } as unknown as GenerateResult;
  const logprobs = {
    tokens: ['so', ' on'],
    token_logprobs: [-1, -2],
    top_logprobs: [{ so: -1 }, { ' far': -0.5 }],
    text_offset: [0, 2],
  };

  it('is the same as a whole and in pieces', () => {
    const whole = textCompletionOf(head, result, textOf);
    expect(whole.choices).toEqual([{ index: 0, text: 'so on', logprobs, finish_reason: 'length' }]);
    expect(textCompletionOf(head, result).choices[0]!.logprobs).toBeNull();
    const chunks = createTextChunks(head, 1, false);
    const pieces = [
      ...scored.flatMap((score, index) =>
        chunks.next({ ...score, text: names[score.token]!, index, answer: 0 }, textOf),
      ),
      ...chunks.next({ text: '', token: 2, index: 1, answer: 0 }, textOf), // nothing to tell
      ...chunks.end(result),
    ];
    expect(pieces.map(({ choices }) => choices[0]!.text)).toEqual(['so', ' on', '']);
    expect(pieces.map(({ choices }) => choices[0]!.logprobs?.text_offset)).toEqual([[0], [2], undefined]);
    expect(pieces.map(({ choices }) => choices[0]!.finish_reason)).toEqual([null, null, 'length']);
    expect(pieces[0]).not.toHaveProperty('usage');
  });
});

describe('a request for embeddings', () => {
  it('is read, or refused by name', () => {
    expect(readEmbeddingRequest({ input: 'a', model: 'm', dimensions: 8 }, 8)).toEqual({ input: 'a', base64: false });
    expect(readEmbeddingRequest({ input: ['a'], encoding_format: 'base64' }, 8)).toEqual({
      input: ['a'],
      base64: true,
    });
    expect(() => readEmbeddingRequest({ input: 'a', dimensions: 4 }, 8)).toThrow(refused('unsupported', 'dimensions'));
    expect(() => readEmbeddingRequest({ input: 'a', encoding_format: 'int8' }, 8)).toThrow(
      refused('bad-input', 'encoding_format'),
    );
    expect(() => readEmbeddingRequest({ input: 'a', temperature: 1 }, 8)).toThrow(
      refused('bad-input', 'unknown parameter'),
    );
  });
});
