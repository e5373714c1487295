/** Log probabilities of an answer's tokens: against transformers, evaluate() and perplexity(), and the same bits everywhere. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hfPacked, readFixture, tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { GenerateOptions, Message, TokenLogprobs } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';

const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];

/** Natural log softmax in float64. */
function logSoftmax(row: Float32Array): number[] {
  const max = row.reduce((a, b) => Math.max(a, b));
  const logSum = Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0)) + max;
  return Array.from(row, (x) => x - logSum);
}

/** Ids by their logits, the likeliest first, of equals the lower id. */
const order = (row: Float32Array): number[] => [...row.keys()].sort((i, j) => row[j]! - row[i]! || i - j);

async function logprobsOf(model: Model, ids: number[], options: GenerateOptions): Promise<TokenLogprobs[]> {
  const { tokens, logprobs } = await model.complete(ids, { logprobs: 5, ...options }).result;
  expect(logprobs!.map(({ token }) => token)).toEqual(tokens);
  return logprobs!;
}

test('are those of transformers where no activation can be rounded otherwise', async () => {
  const prompts = await readFixture('flip-safe.safetensors');
  const model = await load({ url: hfPacked }, { kvCache: 'f32', lmHead: 'bf16' });
  const { vocab } = model.info.config;
  for (let i = 0; i < 8; i++) {
    const ids = [...prompts.i32(`prompt${i}.ids`)];
    const right = logSoftmax(prompts.f32(`prompt${i}.logits`).slice(-vocab));
    const [first] = await logprobsOf(model, ids, {
      maxTokens: 1,
      temperature: 1,
      seed: i,
      logprobs: 20,
      ignoreEos: true,
    });
    expect(first!.topLogprobs).toHaveLength(20);
    for (const { token, logprob } of [first!, ...first!.topLogprobs]) expect(logprob).toBeCloseTo(right[token]!, 4);
  }
  await model.dispose();
});

describe('of the embedded model', () => {
  let model: Model;
  let ids: number[];
  beforeAll(async () => {
    model = await load({ url: tinyStories }, { contextLength: 160, threads: 1, lmHead: 'int8' });
    ({ ids } = await model.applyChatTemplate(dog));
  });
  afterAll(() => model.dispose());

  test.each([
    { temperature: 0 },
    { temperature: 1.2, seed: 5, logprobs: 20 },
    { temperature: 0.8, topK: 3, seed: 2, logprobs: 1 },
    { temperature: 0, repetitionPenalty: 1.5, frequencyPenalty: 1, logprobs: 3 },
    { temperature: 0, logitBias: { 300: 100, 5: 100 }, logprobs: 2 },
    { temperature: 0.5, seed: 1, logprobs: 0 },
  ] as GenerateOptions[])('the log softmax of the logits of evaluate(): %j', async (options) => {
    const { logprobs = 5 } = options;
    const given = await logprobsOf(model, ids, { maxTokens: 20, ignoreEos: true, ...options });
    const tokens = given.map(({ token }) => token);
    const { logits } = await model.evaluate([...ids, ...tokens]);
    const { vocab } = model.info.config;
    for (const [i, { token, logprob, topLogprobs }] of given.entries()) {
      const at = (ids.length + i - 1) * vocab;
      const row = logits.subarray(at, at + vocab);
      const right = logSoftmax(row);
      expect(topLogprobs.map((top) => top.token)).toEqual(order(row).slice(0, logprobs));
      for (const one of [{ token, logprob }, ...topLogprobs]) expect(one.logprob).toBeCloseTo(right[one.token]!, 6);
      expect(topLogprobs.find((top) => top.token === token)?.logprob ?? logprob).toBe(logprob);
    }
  });

  test('sum up to the bits of perplexity()', async () => {
    const given = await logprobsOf(model, [0], { maxTokens: 60, temperature: 1, seed: 3, ignoreEos: true });
    const { nll, tokens } = await model.perplexity([0, ...given.map(({ token }) => token)]);
    expect(tokens).toBe(60);
    expect(given.reduce((sum, { logprob }) => sum - logprob, 0)).toBe(nll);
  });

  test('come with the chunks, once for each token, and not unless asked for', async () => {
    const options = { maxTokens: 40, temperature: 0.8, seed: 4, stop: [' dog', 'zebra', 'z'], ignoreEos: true };
    const generation = model.chat(dog, { ...options, logprobs: 2 });
    const told: TokenLogprobs[] = [];
    let chunks = 0;
    for await (const { token, logprob, topLogprobs } of generation) {
      chunks++;
      if (logprob !== undefined) told.push({ token, logprob, topLogprobs: topLogprobs! });
    }
    const { logprobs, answers, tokens, text } = await generation.result;
    expect(told).toEqual(logprobs);
    expect(answers[0]!.logprobs).toEqual(logprobs);
    expect(told).toHaveLength(tokens.length);
    expect(chunks).toBeGreaterThanOrEqual(tokens.length);
    const plain = model.chat(dog, options);
    for await (const chunk of plain) expect(Object.keys(chunk).sort()).toEqual(['answer', 'index', 'text', 'token']);
    const without = await plain.result;
    expect(without.text).toBe(text);
    expect('logprobs' in without || 'logprobs' in without.answers[0]!).toBe(false);
  });

  test('are the same with drafts', async () => {
    const text = 'The dog and the ball and the dog and the ball and the dog and the';
    const looping = await model.tokenize(text, { bos: true });
    const options = { temperature: 0, repetitionPenalty: 0.7, ignoreEos: true, maxTokens: 60 };
    const right = await logprobsOf(model, looping, { ...options, draft: false });
    const drafted = await model.complete(looping, { ...options, logprobs: 5, draft: true }).result;
    expect(drafted.draft.accepted).toBeGreaterThan(5);
    expect(drafted.logprobs).toEqual(right);
  });

  test.each([
    { threads: 2 },
    { kernel: 'dot16' },
    { kernel: 'lut8', threads: 2 },
    { screening: true },
    { sequences: 3, threads: 2 },
  ] as LoadOptions[])('are the same bits with %j', async (how) => {
    const other = await load({ url: tinyStories }, { contextLength: 160, lmHead: 'int8', ...how });
    for (const options of [
      { temperature: 0 },
      { temperature: 1, topK: 5, seed: 8 },
      { temperature: 1, seed: 9, logprobs: 0 },
    ]) {
      const all = { maxTokens: 40, ...options };
      const right = await logprobsOf(model, ids, all);
      expect(await logprobsOf(other, ids, all)).toEqual(right);
      if (!how.sequences) continue;
      const { answers } = await other.complete(ids, { logprobs: 5, ...all, n: 3 }).result;
      expect(answers[0]!.logprobs).toEqual(right);
      const third = await model.complete(ids, { logprobs: 5, ...all, seed: answers[2]!.seed }).result;
      expect(answers[2]!.logprobs).toEqual(third.logprobs);
    }
    await other.dispose();
  });
});
