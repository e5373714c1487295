/** `logitBias` with the real model: what the definition gives, alone and with everything that must not change it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { SternaError } from '../errors';
import type { GenerateOptions } from '../protocol/generate-types';

const prompt =
  'Once upon a time, there was a little girl named Lily. She loved to play with her ball. Once upon a time,';
const greedy = { temperature: 0, ignoreEos: true, maxTokens: 25, draft: false };

describe('logitBias', () => {
  let model: Model;
  let others: Model[];
  let ids: number[];
  beforeAll(async () => {
    const small = { contextLength: 128 };
    model = await load({ url: tinyStories }, { ...small, lmHead: 'int8', threads: 1 });
    others = [
      await load({ url: tinyStories }, { ...small, lmHead: 'int8', threads: 2, screening: true }),
      await load({ url: tinyStories }, { ...small, lmHead: 'int8', threads: 2, sequences: 2 }),
    ];
    ids = await model.tokenize(prompt, { bos: true });
  });
  afterAll(() => Promise.all([model, ...others].map((each) => each.dispose())));
  const say = async (options: GenerateOptions, by = model): Promise<number[]> =>
    (await by.complete(ids, { ...greedy, ...options }).result).tokens;

  test('is added to the logits', async () => {
    const plain = await say({});
    const logitBias: Record<number, number> = { [plain[0]!]: -3, [plain[3]!]: -100, [plain[4]!]: 2.5, 300: 8 };
    const tokens = await say({ logitBias });
    expect(tokens).not.toEqual(plain);
    const { logits } = await model.evaluate([...ids, ...tokens]);
    const { vocab } = model.info.config;
    for (const [i, token] of tokens.entries()) {
      const at = (ids.length + i - 1) * vocab;
      const row = logits.slice(at, at + vocab);
      for (const [id, bias] of Object.entries(logitBias)) row[Number(id)]! += bias;
      expect(token).toBe(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
    }
  });

  test('100 forces a token, -100 forbids it, {} changes nothing', async () => {
    expect(new Set(await say({ logitBias: { 77: 100 } }))).toEqual(new Set([77]));
    const plain = await say({});
    expect(await say({ logitBias: {} })).toEqual(plain);
    expect(await say({ logitBias: { [plain[5]!]: -100 } })).not.toContain(plain[5]);
  });

  test('is the same with drafts, screening, threads and several answers', async () => {
    const logitBias = { 300: 6, 261: -4, 445: 2 };
    for (const settings of [
      {},
      { temperature: 0.8, seed: 3, repetitionPenalty: 0.8 },
      { temperature: 0.7, topK: 5, seed: 1 },
    ]) {
      const right = await say({ ...settings, logitBias });
      expect(await say({ ...settings, logitBias, draft: true })).toEqual(right);
      for (const other of others) {
        expect(await say({ ...settings, logitBias }, other)).toEqual(right);
        expect(await say({ ...settings, logitBias, draft: true }, other)).toEqual(right);
      }
      const { answers } = await others[1]!.complete(ids, { ...greedy, ...settings, logitBias, n: 2 }).result;
      expect(answers[0]!.tokens).toEqual(right);
    }
  });

  test('of an id outside the vocabulary is refused', async () => {
    const error: SternaError = await say({ logitBias: { 4096: 1 } }).then(
      () => expect.fail('no error'),
      (reason) => reason,
    );
    expect(error).toMatchObject({ code: 'bad-input', got: 4096, expected: '0 to 4095' });
  });
});
