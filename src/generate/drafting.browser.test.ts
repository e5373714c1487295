/** Drafting with the real model: the same tokens, text, reason and cache as without, whatever was guessed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { GenerateOptions, GenerateResult } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';

const story =
  'Once upon a time, there was a little girl named Lily. She loved to play with her big red ball in the park. ' +
  'One day, Lily saw a dog. The dog was sad. Lily gave the dog her ball, and the dog was happy. ';

describe.each([
  ['whole lm_head', {}],
  ['screened lm_head, int8 cache', { lmHead: 'int8', screening: true, kvCache: 'int8' }],
] as [string, LoadOptions][])('drafting, %s', (_, head) => {
  let model: Model;
  /** The same model in another timeline, which never drafts. */
  let plain: Model;
  let prompts: number[][];
  beforeAll(async () => {
    model = await load({ url: tinyStories }, { ...head, contextLength: 320, threads: 2 });
    plain = await load({ url: tinyStories }, { ...head, contextLength: 320, threads: 2 });
    const texts = [story, story.repeat(2), 'The dog and the ball and the dog and the', 'One'];
    prompts = await Promise.all(texts.map((text) => model.tokenize(text, { bos: true })));
  });
  afterAll(() => Promise.all([model.dispose(), plain.dispose()]));

  const facts = ({ text, tokens, finishReason, usage }: GenerateResult) => ({ text, tokens, finishReason, usage });

  /** Both answers, which must agree in all that does not depend on time. */
  async function both(prompt: number[], options: GenerateOptions): Promise<GenerateResult> {
    const right = await plain.complete(prompt, { ...options, draft: false }).result;
    const got = await model.complete(prompt, { ...options, draft: true }).result;
    expect(facts(got)).toEqual(facts(right));
    expect(right.draft).toEqual({ drafted: 0, accepted: 0 });
    expect(got.draft.accepted).toBeLessThanOrEqual(Math.min(got.draft.drafted, got.tokens.length));
    return got;
  }

  test.each([
    { temperature: 0 },
    { temperature: 0.6, topP: 0.9 },
    { temperature: 1, topK: 20, topP: 1 },
    { temperature: 1, topP: 1, minP: 0.1 },
    { temperature: 0, repetitionPenalty: 1.2 },
    { temperature: 0.5, repetitionPenalty: 0.8, ignoreEos: true },
    { temperature: 0.7, frequencyPenalty: 0.5, presencePenalty: 0.5 },
    { temperature: 0.3, frequencyPenalty: -0.5, ignoreEos: true },
    { temperature: 0.5, stop: ['. The', 'ball', 'happy'] },
    { temperature: 0.5, stop: [' was a little girl named L'], ignoreEos: true },
  ] as GenerateOptions[])('%j', async (options) => {
    const sum = { drafted: 0, accepted: 0 };
    for (const prompt of prompts) {
      for (let seed = 0; seed < 2; seed++) {
        const { draft } = await both(prompt, { maxTokens: 90, ...options, seed });
        sum.drafted += draft.drafted;
        sum.accepted += draft.accepted;
      }
    }
    expect(sum.drafted).toBeGreaterThan(0);
  });

  test('every length of answer: ends in the middle of a draft too', async () => {
    const looping = { temperature: 0, repetitionPenalty: 0.7, ignoreEos: true };
    const whole = await both(prompts[1]!, { ...looping, maxTokens: 60 });
    expect(whole.draft.accepted).toBeGreaterThan(20);
    for (let maxTokens = 1; maxTokens < 60; maxTokens++) {
      const { tokens } = await both(prompts[1]!, { ...looping, maxTokens });
      expect(tokens).toEqual(whole.tokens.slice(0, maxTokens));
    }
  });

  test('every stop token and stop string in the middle of a draft', async () => {
    const looping = { temperature: 0, repetitionPenalty: 0.7, ignoreEos: true, maxTokens: 40 };
    const { tokens } = await both(prompts[1]!, looping);
    const texts = await Promise.all(tokens.map((token) => model.detokenize([token])));
    for (const text of new Set(texts.filter((piece) => piece.trim() !== ''))) {
      const { finishReason } = await both(prompts[1]!, { ...looping, stop: text });
      expect(finishReason).toBe('stop');
    }
    // a story that ends and is told again: end-of-turn tokens are guessed too
    const told = [...prompts[0]!, 2];
    for (let seed = 0; seed < 6; seed++) await both([...told, ...told, 0], { temperature: 0.4, seed });
  });

  test('the context is full in the middle of a draft', async () => {
    const verse = prompts[0]!.slice(1);
    const long = [...prompts[1]!, ...verse, ...verse, ...verse, ...verse].slice(0, 310);
    for (let length = 300; length < 310; length++) {
      const prompt = long.slice(0, length);
      const { tokens, finishReason } = await both(prompt, { temperature: 0, repetitionPenalty: 0.7, ignoreEos: true });
      expect([tokens.length, finishReason]).toEqual([320 - length, 'length']);
    }
  });

  test('aborted in the middle of a draft; the next answer is right', async () => {
    const options = { temperature: 0, repetitionPenalty: 0.7, ignoreEos: true, draft: true };
    const whole = await both(prompts[1]!, options);
    for (const last of [3, 20, 21, 22, 23, 24, 25, 60]) {
      const generation = model.complete(prompts[1]!, options);
      for await (const { index } of generation) if (index === last) generation.abort();
      const { finishReason, tokens } = await generation.result;
      if (finishReason === 'abort') expect(tokens.length).toBeLessThan(whole.tokens.length);
      expect(tokens).toEqual(whole.tokens.slice(0, tokens.length));
      const again = await model.complete(prompts[1]!, options).result;
      expect(again.tokens).toEqual(whole.tokens);
    }
  });

  test('left to itself, it says the same', async () => {
    for (const prompt of prompts) {
      for (let seed = 0; seed < 3; seed++) {
        const options = { temperature: 0.3, seed, ignoreEos: true };
        const right = await plain.complete(prompt, { ...options, draft: false }).result;
        expect(facts(await model.complete(prompt, options).result)).toEqual(facts(right));
      }
    }
  });

  test('answers side by side are not drafted', async () => {
    const two = await load({ url: tinyStories }, { contextLength: 320, sequences: 2 });
    const result = await two.complete(prompts[1]!, { n: 2, draft: true, temperature: 0, maxTokens: 40 }).result;
    expect(result.draft).toEqual({ drafted: 0, accepted: 0 });
    await two.dispose();
  });
});
