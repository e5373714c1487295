/** Calls as a page makes them: odd arguments, aborts that cross, loops that are left. Each was once wrong. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import { openMachine } from '../../e2e/machine';
import { fetchModel, hfPacked, tinyStories } from '../../e2e/reading';
import type { Message } from '../protocol/generate-types';
import { load, type Model } from './model';

const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
const long = { temperature: 0, ignoreEos: true };

describe('a loaded model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load({ url: tinyStories });
  });
  afterAll(() => model.dispose());

  test('takes ids as a typed array', async () => {
    const ids = [0, 434, 445, 261, 400];
    const { logits } = await model.evaluate(ids);
    expect((await model.evaluate(Uint32Array.from(ids) as unknown as number[])).logits).toEqual(logits);
    expect(await model.detokenize(Uint32Array.from(ids) as unknown as number[])).toBe('Once upon a time');
  });

  test('refuses what is neither ids nor text', async () => {
    const nothing = undefined as unknown as number[];
    for (const work of [
      () => model.evaluate(nothing),
      () => model.perplexity(nothing),
      () => model.detokenize('x' as unknown as number[]),
      () => model.tokenize(5 as unknown as string),
      () => model.complete(nothing).result,
      () => model.evaluate(['1'] as unknown as number[]),
    ]) {
      expect(await failure(work())).toMatchObject({ code: 'bad-input', expected: expect.anything() });
    }
  });

  test('refuses options that cannot be sent', async () => {
    const options = { ...long, maxTokens: 1, stop: (() => {}) as never };
    expect((await failure(model.chat(dog, options).result)).code).toBe('bad-input');
    expect((await model.chat(dog, { ...long, maxTokens: 1 }).result).tokens).toHaveLength(1);
  });

  test('refuses options that it does not know', async () => {
    const misspelt = { max_tokens: 5 } as object;
    expect(await failure(model.chat(dog, misspelt).result)).toMatchObject({ code: 'bad-input', got: 'max_tokens' });
    const wrong = { thread: 1 } as object;
    expect(await failure(load({ url: tinyStories }, wrong))).toMatchObject({ code: 'bad-input', got: 'thread' });
  });

  test('refuses ids that are no tokens when it is to write them out', async () => {
    for (const id of [4096, -1, 1.5, '5']) {
      expect((await failure(model.detokenize([id as number]))).code).toBe('bad-input');
    }
  });

  test('is free for the next call when a loop has been left', async () => {
    for (let i = 0; i < 5; i++) {
      for await (const { index } of model.chat(dog, long)) if (index === 2) break;
      const { tokens } = await model.chat(dog, { ...long, maxTokens: 3 }).result;
      expect(tokens).toHaveLength(3);
    }
  });

  test('begins the next answer when the one at work has been aborted, without waiting for it', async () => {
    const first = model.chat(dog, long);
    first.abort();
    const second = model.chat(dog, { ...long, maxTokens: 3 });
    expect((await first.result).finishReason).toBe('abort');
    expect((await second.result).tokens).toHaveLength(3);
  });

  test('hears an abort that is followed by one of a finished, a refused or a waiting answer', async () => {
    const finished = model.chat(dog, { ...long, maxTokens: 1 });
    await finished.result;
    const running = model.chat(dog, long);
    for await (const _ of running) {
      const refused = model.chat(dog, long);
      running.abort();
      finished.abort();
      refused.abort();
      await refused.result.catch(() => {});
      break;
    }
    expect((await running.result).finishReason).toBe('abort');
    expect((await running.result).tokens.length).toBeLessThan(500);
  });

  test('gives no negative rate for an answer without tokens', async () => {
    const endOfTurn = { 2: 100 };
    const { tokens, timings, finishReason } = await model.complete([0], { logitBias: endOfTurn }).result;
    expect([tokens, finishReason]).toEqual([[], 'stop']);
    expect(timings.decodeTokensPerSecond).toBe(0);
  });

  test('says so when a prompt is longer than the context', async () => {
    const error = await failure(model.complete(Array(1025).fill(5)).result);
    expect(error).toMatchObject({ code: 'context-full', got: 1025 });
    const full = await model.complete(Array(1024).fill(5)).result;
    expect([full.finishReason, full.tokens]).toEqual(['length', []]);
  });
});

test('a load whose signal fires as it becomes ready rejects', async () => {
  const controller = new AbortController();
  const options = {
    signal: controller.signal,
    onProgress: ({ phase }: { phase: string }) => phase === 'warmup' && controller.abort(),
  };
  expect(await failure(load({ url: tinyStories }, options))).toMatchObject({ code: 'aborted', name: 'AbortError' });
});

test('a folder that is not there is named', async () => {
  const error = await failure(load({ url: '/no/model/here' }));
  expect(error).toMatchObject({ code: 'bad-file', file: 'model.safetensors' });
  expect(error.expected).toContain('/no/model/here/');
});

test('a source that is no address, and one that is nothing', async () => {
  expect((await failure(load({ url: 'http://' }))).code).toBe('bad-input');
  expect((await failure(load(undefined as never))).code).toBe('bad-input');
});

test('the files of an input element', async () => {
  const transfer = new DataTransfer();
  for (const name of ['config.json', 'model.safetensors']) {
    transfer.items.add(new File([await (await fetch(`${tinyStories}${name}`)).blob()], name));
  }
  const model = await load(transfer.files);
  expect((await model.evaluate([0, 434])).logits).toHaveLength(2 * 4096);
  await model.dispose();
});

test('an embedding that holds NaN is refused', async () => {
  const files = await fetchModel(hfPacked);
  const weights = files.weights.slice();
  const header = Number(new DataView(weights.buffer).getBigUint64(0, true));
  const { 'model.embed_tokens.weight': tensor } = JSON.parse(new TextDecoder().decode(weights.subarray(8, 8 + header)));
  new DataView(weights.buffer).setUint16(8 + header + tensor.data_offsets[0] + 512 * 3, 0x7fc0, true);
  const error = await failure(openMachine({ ...files, weights }, { kernel: 'lut8' }));
  expect(error).toMatchObject({ code: 'bad-file', file: 'model.safetensors', got: 'infinity or NaN' });
});

test('a pass that asks for more logits than there is room for is refused', async () => {
  const machine = await openMachine(await fetchModel(hfPacked), { kernel: 'lut8', maxRows: 4 });
  const rows = [0, 1, 2, 3, 4].map((position) => ({ sequence: 0, position, token: 1 }));
  expect((await failure(machine.pool.run(rows, 4))).code).toBe('worker');
});

test('a browser that refuses a kernel worker ends the load with an error', async () => {
  const Real = globalThis.Worker;
  globalThis.Worker = class extends Real {
    constructor(url: string | URL, options?: WorkerOptions) {
      if (String(url).includes('kernel.worker')) throw new DOMException('no more workers', 'SecurityError');
      super(url, options);
    }
  };
  try {
    expect((await failure(load({ url: tinyStories }, { threads: 2 }))).code).toBe('worker');
  } finally {
    globalThis.Worker = Real;
  }
});
