/** `logitsProcessor` and `onToken` with the real model: what they see, change and throw, and that nothing else changes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { failure } from '../../e2e/failure';
import { openMachine, someTokens } from '../../e2e/machine';
import { syntheticModel, tinyStories } from '../../e2e/reading';
import { createYield } from '../checkpoint/yield';
import { createPassCosts } from '../generate/draft';
import { generate } from '../generate/generate';
import { validateSettings } from '../generate/settings';
import { createSlots } from '../generate/slots';
import { stagesOf } from '../generate/stages';
import type { Chunk, GenerateOptions, LogitsContext, LogitsProcessor } from '../protocol/generate-types';
import type { GenerateMessage, LogitsReply } from '../protocol/protocol';
import { callProcessor } from './logits-processor';
import { load, type Model } from './model';

const greedy = { temperature: 0, ignoreEos: true, maxTokens: 12 };
/** A function that gives what it is asked for after some turns of the event loop. */
const later =
  (process: LogitsProcessor): LogitsProcessor =>
  async (logits, context) => {
    await new Promise((resolve) => setTimeout(resolve));
    await process(logits, context);
  };
/** Ends when the page says so. */
function held() {
  let release = (): void => {};
  let called = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const begun = new Promise<void>((resolve) => {
    called = resolve;
  });
  return { release, called, released, begun };
}

describe.each([1, 2])('%i threads', (threads) => {
  let model: Model;
  let ids: number[];
  beforeAll(async () => {
    model = await load(
      { url: tinyStories },
      { contextLength: 128, threads, sequences: 2, lmHead: 'int8', screening: true },
    );
    ids = await model.tokenize('The dog and the ball and the dog and the ball and the', { bos: true });
  });
  afterAll(() => model.dispose());
  const say = async (options: GenerateOptions): Promise<number[]> =>
    (await model.complete(ids, { ...greedy, ...options }).result).tokens;

  test('sees the logits of evaluate(), and the tokens so far', async () => {
    const rows: Float32Array[] = [];
    const contexts: LogitsContext[] = [];
    const shared: boolean[] = [];
    const plain = await say({});
    const tokens = await say({
      logitsProcessor(logits, context) {
        rows.push(logits.slice());
        shared.push((logits.buffer as unknown) instanceof SharedArrayBuffer);
        contexts.push(context);
      },
    });
    expect(tokens).toEqual(plain);
    expect(shared).toEqual([false, ...Array(11).fill(true)]);
    const { logits } = await model.evaluate([...ids, ...tokens]);
    const { vocab } = model.info.config;
    expect(rows).toHaveLength(12);
    for (const [i, row] of rows.entries()) {
      const at = (ids.length + i - 1) * vocab;
      expect(row.every((logit, token) => logit === logits[at + token])).toBe(true);
      expect(contexts[i]).toEqual({ tokens: [...ids, ...tokens.slice(0, i)], promptTokens: ids.length, answer: 0 });
    }
  });

  test.each([false, true])('changes them, in its own time: %j', async (slow) => {
    const only: LogitsProcessor = (logits, { tokens, promptTokens }) => {
      const allowed = 300 + tokens.length - promptTokens;
      for (let token = 0; token < logits.length; token++) if (token !== allowed) logits[token] = -Infinity;
    };
    const logitsProcessor = slow ? later(only) : only;
    for (const draft of [true, false]) {
      for (const temperature of [0, 1]) {
        const tokens = await say({ logitsProcessor, draft, temperature, seed: 1 });
        expect(tokens).toEqual(Array.from({ length: 12 }, (_, i) => 300 + i));
      }
    }
  });

  test('of several answers, each has its own tokens; drafts, bias and log probabilities are as they are without it', async () => {
    const seen: number[][] = [];
    const logitsProcessor: LogitsProcessor = (logits, { tokens, answer }) => {
      seen[answer] = tokens.slice(ids.length);
      logits[400 + answer]! += 3;
    };
    const options = { temperature: 1, seed: 6, maxTokens: 20, ignoreEos: true, logitBias: { 300: 2 } };
    const { answers } = await model.complete(ids, { ...options, n: 2, logitsProcessor, logprobs: 2 }).result;
    for (const [i, { tokens, seed, logprobs }] of answers.entries()) {
      expect(seen[i]).toEqual(tokens.slice(0, -1));
      const logitBias = { 300: 2, [400 + i]: 3 };
      for (const draft of [true, false]) {
        const right = await model.complete(ids, { ...options, seed, logitBias, logprobs: 2, draft }).result;
        expect([right.tokens, right.logprobs]).toEqual([tokens, logprobs]);
      }
    }
  });

  test('throws: the answer rejects with the message and the cause; the next call is right', async () => {
    const plain = await say({});
    const boom = new RangeError('boom');
    const throwing: LogitsProcessor = (_, { tokens, promptTokens }) => {
      if (tokens.length - promptTokens === 3) throw boom;
    };
    for (const logitsProcessor of [throwing, later(throwing)]) {
      const got: number[] = [];
      const generation = model.complete(ids, { ...greedy, logitsProcessor });
      const error = await failure(
        (async () => {
          for await (const { token } of generation) got.push(token);
        })(),
      );
      expect(error).toMatchObject({ code: 'bad-input', got: 'boom', cause: boom });
      expect(error.message).toContain('boom');
      expect(await failure(generation.result)).toBe(error);
      expect(got).toEqual(plain.slice(0, 3));
      expect(await say({})).toEqual(plain);
    }
  });

  test.each([
    ['NaN', (logits: Float32Array) => void logits.fill(Number.NaN, 17, 18), 'NaN for token 17'],
    ['Infinity', (logits: Float32Array) => void logits.fill(Infinity, 5), 'Infinity for token 5'],
    ['nothing', (logits: Float32Array) => void logits.fill(-Infinity), '-Infinity for all tokens'],
  ])('leaves %s: an error that says so', async (_, logitsProcessor, got) => {
    for (const temperature of [0, 1]) {
      const error = await failure(model.complete(ids, { ...greedy, temperature, logitsProcessor }).result);
      expect(error).toMatchObject({ code: 'bad-input', got });
      expect(error.message).toContain('logitsProcessor');
    }
    expect(await say({ maxTokens: 2 })).toHaveLength(2);
  });

  test.each(['abort()', 'signal', 'leaving the loop'])('aborted while it is at work by %s', async (how) => {
    const plain = await say({});
    for (const at of [0, 4]) {
      const { release, called, released, begun } = held();
      const controller = new AbortController();
      let late: Float32Array | undefined;
      const logitsProcessor: LogitsProcessor = async (logits, { tokens, promptTokens }) => {
        if (tokens.length - promptTokens < at) return;
        called();
        await released;
        late = logits.fill(7); // must not reach another answer
      };
      const generation = model.complete(ids, { ...greedy, logitsProcessor, signal: controller.signal });
      if (how === 'leaving the loop' && at > 0) {
        for await (const { index } of generation) if (index === at - 1) break;
      } else {
        await begun;
        if (how === 'signal') controller.abort();
        else generation.abort();
      }
      const { finishReason, tokens } = await generation.result;
      expect([finishReason, tokens]).toEqual(['abort', plain.slice(0, at)]);
      const next = model.complete(ids, greedy);
      release();
      expect((await next.result).tokens).toEqual(plain);
      if (how !== 'leaving the loop') expect(late).toBeDefined();
    }
  });

  test('disposed while it is at work: the answer rejects', async () => {
    const other = await load({ url: tinyStories }, { contextLength: 64, threads });
    const { called, released, begun } = held();
    const logitsProcessor = () => {
      called();
      return released;
    };
    const { result } = other.complete(ids, { ...greedy, logitsProcessor });
    await begun;
    await other.dispose();
    expect((await failure(result)).code).toBe('disposed');
  });

  test('onToken hears of every chunk before the result, also when nobody iterates', async () => {
    const heard: Chunk[] = [];
    const options = { ...greedy, stop: ['zebra', 'b'], temperature: 1, seed: 2, n: 2 };
    const generation = model.complete(ids, { ...options, onToken: (chunk) => void heard.push(chunk) });
    const { answers } = await generation.result;
    for (const [i, { text }] of answers.entries()) {
      const own = heard.filter(({ answer }) => answer === i);
      expect(own.map((chunk) => chunk.text).join('')).toBe(text);
    }
    const iterated: Chunk[] = [];
    for await (const chunk of generation) iterated.push(chunk);
    expect(iterated).toEqual(heard);
  });

  test('onToken may abort', async () => {
    const generation = model.complete(ids, {
      ...greedy,
      maxTokens: 100,
      onToken: ({ index }) => index === 3 && generation.abort(),
    } as GenerateOptions);
    expect((await generation.result).finishReason).toBe('abort');
  });
});

test('what is no function is refused', async () => {
  const model = await load({ url: tinyStories }, { contextLength: 64 });
  for (const name of ['logitsProcessor', 'onToken']) {
    const error = await failure(model.complete([0], { [name]: 'yes' }).result);
    expect(error).toMatchObject({ code: 'bad-input', got: 'string', expected: 'a function' });
    expect(error.message).toContain(name);
  }
  await model.dispose();
});

describe.each([true, false])('engine and page with memory shared: %j', (shared) => {
  test('the same tokens as with the bias that the function adds; a row given away and an abort', async () => {
    const files = syntheticModel(packedCheckpoint(shapeOdd));
    const { pool, memory } = await openMachine(files, { kernel: 'dot16', shared });
    const prompt = someTokens(9, shapeOdd.vocab);

    /** As the engine and startGeneration() do it, over a port. */
    async function answer(options: GenerateOptions, process?: LogitsProcessor, begin?: (abort: () => void) => void) {
      const { port1, port2 } = new MessageChannel();
      const send = (reply: LogitsReply): void => port1.postMessage(reply);
      const calls = process && callProcessor(process, () => (shared ? memory.buffer : undefined), send);
      let copies = 0;
      port1.onmessage = ({ data }: MessageEvent<GenerateMessage>) => {
        if (!('row' in data)) return;
        if (data.row.logits instanceof Float32Array) copies++;
        void calls!.handle(data.row);
      };
      begin?.(() => calls!.abort());
      const settings = validateSettings({ temperature: 30, seed: 3, maxTokens: 20, ...options });
      const tell = (message: GenerateMessage): void => port2.postMessage(message);
      const page = process && { tell, port: port2, shared };
      const context = {
        pool,
        memory,
        slots: createSlots(1),
        owner: 0,
        costs: createPassCosts(pool.plan.kernel),
        tokenizer: undefined,
        stopTokens: new Set<number>(),
      };
      const work = { ...context, aborted: () => false, yieldToMessages: createYield() };
      try {
        const stages = stagesOf(settings, shapeOdd.vocab, prompt, page);
        return { ...(await generate(work, prompt, settings, tell, stages)), copies };
      } finally {
        port1.close();
      }
    }
    const bias: LogitsProcessor = (logits) => {
      logits[7]! += 100;
    };
    const right = await answer({ logitBias: { 7: 100 } });
    expect(right.tokens).toContain(7);
    expect(right.tokens).not.toEqual((await answer({})).tokens);
    for (const process of [bias, later(bias)]) {
      const { tokens, copies } = await answer({}, process);
      expect(tokens).toEqual(right.tokens);
      expect(copies).toBe(shared ? 0 : 20);
    }
    const giveAway: LogitsProcessor = (logits) =>
      void structuredClone(logits, { transfer: [logits.buffer as ArrayBuffer] });
    expect(await failure(answer({}, giveAway))).toMatchObject({ code: 'bad-input' });
    let abort = (): void => {};
    const never: LogitsProcessor = () => {
      queueMicrotask(() => abort());
      return new Promise(() => {});
    };
    const aborted = await answer({}, never, (by) => {
      abort = by;
    });
    expect([aborted.tokens, aborted.finishReason]).toEqual([[], 'abort']);
  });
});
