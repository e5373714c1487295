/** Scores against sums over the logits of evaluate(), windows included; and what load() and the scores refuse. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Checkpoint, checkpointBytes, packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { someTokens } from '../../e2e/machine';
import { load, type Model } from '../api/model';
import type { SternaError } from '../errors';
import type { LoadOptions } from '../protocol/load-types';

const { vocab } = shapeOdd;
const tokens = someTokens(300, vocab);

function filesOf({ config, generation, ...checkpoint }: Checkpoint): File[] {
  return [
    new File([JSON.stringify(config)], 'config.json'),
    new File([JSON.stringify(generation)], 'generation_config.json'),
    new File([checkpointBytes({ config, generation, ...checkpoint })], 'model.safetensors'),
  ];
}
const files = filesOf(packedCheckpoint({ ...shapeOdd, maxPositions: 2 ** 24 }));

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: SternaError) => error.code,
  );

describe('perplexity', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load(files, { contextLength: 290, threads: 2 });
  });
  afterAll(() => model.dispose());

  /** Negative log likelihood of targets from..to of a window, by its logits. */
  async function nllOf(window: number[], from: number, to: number): Promise<number> {
    const { logits } = await model.evaluate(window.slice(0, -1));
    let sum = 0;
    for (let target = from; target <= to; target++) {
      const row = Array.from(logits.subarray((target - 1) * vocab, target * vocab));
      sum += Math.log(row.reduce((s, v) => s + Math.exp(v), 0)) - row[window[target]!]!;
    }
    return sum;
  }

  test('of one window: the sum over its logits', async () => {
    const text = tokens.slice(0, 291);
    const { nll, perplexity, tokens: count } = await model.perplexity(text);
    const right = await nllOf(text, 1, 290);
    expect(count).toBe(290);
    expect(nll / right).toBeCloseTo(1, 6);
    expect(perplexity / Math.exp(right / 290)).toBeCloseTo(1, 6);
    expect(perplexity).toBeGreaterThan(vocab / 2); // random weights know nothing
  });

  test('of windows one after the other: each begins anew', async () => {
    const { nll, tokens: count } = await model.perplexity(tokens.slice(0, 50), { window: 20 });
    const windows = [tokens.slice(0, 21), tokens.slice(20, 41), tokens.slice(40, 50)];
    const sums = [await nllOf(windows[0]!, 1, 20), await nllOf(windows[1]!, 1, 20), await nllOf(windows[2]!, 1, 9)];
    expect(count).toBe(49);
    expect(nll / sums.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  });

  test('of overlapping windows: each target once, in the first that reaches it', async () => {
    const { nll, tokens: count } = await model.perplexity(tokens.slice(0, 30), { window: 16, stride: 6 });
    const windows = [tokens.slice(0, 17), tokens.slice(6, 23), tokens.slice(12, 29), tokens.slice(18, 30)];
    const sums = [
      await nllOf(windows[0]!, 1, 16),
      await nllOf(windows[1]!, 11, 16),
      await nllOf(windows[2]!, 11, 16),
      await nllOf(windows[3]!, 11, 11),
    ];
    expect(count).toBe(29);
    expect(nll / sums.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  });

  test.each([
    ['one token', [3], {}, 'bad-input'],
    ['an id outside', [3, vocab], {}, 'bad-input'],
    ['an empty window', [3, 4], { window: 0 }, 'bad-input'],
    ['a window larger than the context', [3, 4], { window: 291 }, 'bad-input'],
    ['a stride larger than the window', [3, 4], { window: 5, stride: 6 }, 'bad-input'],
    ['text without a tokenizer', 'a text', {}, 'no-tokenizer'],
  ])('refuses %s', async (_, input, options, code) => {
    expect(await codeOf(model.perplexity(input, options))).toBe(code);
  });

  test('logits of the whole context, and of no token more', async () => {
    expect((await model.evaluate(tokens.slice(0, 290))).logits).toHaveLength(290 * vocab);
    expect(await codeOf(model.evaluate(tokens.slice(0, 291)))).toBe('context-full');
  });
});

describe('load', () => {
  test.each([
    [{ threads: 0 }],
    [{ threads: 1.5 }],
    [{ threads: 65 }],
    [{ contextLength: 0 }],
    [{ contextLength: 2 ** 24 + 1 }],
    [{ kernel: 'fast' }],
    [{ kvCache: 'f16' }],
    [{ lmHead: 'int4' }],
  ])('refuses %j', async (options) => {
    const failed = load(files, options as LoadOptions);
    expect(await codeOf(failed)).toBe('bad-input');
    await expect(failed).rejects.toThrow(new RegExp(Object.keys(options)[0]!));
  });

  test('a context that does not fit 4 GiB', async () => {
    const failed = load(files, { contextLength: 2 ** 24 });
    await expect(failed).rejects.toMatchObject({ code: 'out-of-memory', got: expect.any(Number) });
  });

  test('aborted before it began, and no source', async () => {
    expect(await codeOf(load(files, { signal: AbortSignal.abort() }))).toBe('aborted');
    expect(await codeOf(load('models/' as unknown as File[]))).toBe('bad-input');
    expect(await codeOf(load([]))).toBe('bad-file');
  });

  test('tells its phases in order, and what it chose', async () => {
    const phases: string[] = [];
    const model = await load(files, { onProgress: ({ phase }) => phases.push(phase), kernel: 'lut8', threads: 1 });
    expect([...new Set(phases)]).toEqual(['config', 'tokenizer', 'weights', 'warmup', 'ready']);
    expect(model.info).toMatchObject({
      kernel: 'lut8',
      threads: 1,
      contextLength: 4096,
      kvCache: 'bf16',
      lmHead: 'bf16',
    });
    expect(model.info).toMatchObject({ hasTokenizer: false, bytes: { file: files[2]!.size }, config: { vocab } });
    await model.dispose();
    const auto = await load(files, { contextLength: 8 });
    expect([auto.info.threads, auto.info.threadsReason]).toEqual([1, expect.stringContaining('small')]);
    const rates = Object.entries(auto.info.kernelRates).sort((a, b) => b[1] - a[1]);
    expect(auto.info.kernel).toBe(rates[0]?.[0]);
    await auto.dispose();
  });
});
