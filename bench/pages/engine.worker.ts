/** The bench's engine: a model loaded as the product loads it, and passes that are timed below the public API. */
import { expose } from 'comlink';
import { createYield } from '../../src/checkpoint/yield';
import { type LoadedModel, loadModel } from '../../src/engine/loader';
import { createPassCosts, type PassCosts } from '../../src/generate/draft';
import { type GenerateContext, generate } from '../../src/generate/generate';
import { logitsView } from '../../src/generate/session';
import { validateSettings } from '../../src/generate/settings';
import { createSlots } from '../../src/generate/slots';
import { compileKernels } from '../../src/model/kernels';
import type { Spawn } from '../../src/model/pool';
import type { GenerateSettings } from '../../src/protocol/generate-types';
import type { LoadOptions, ModelInfo } from '../../src/protocol/load-types';
import { type BenchPool, startBenchPool } from './pool';
import { spawnKernelWorker } from './spawn';

export interface OpenOptions {
  url: string;
  options: Pick<LoadOptions, 'kernel' | 'threads' | 'contextLength' | 'sequences'>;
  /** Of the compiled prototype, where there is one. */
  prototype?: string | undefined;
}

export interface Scripted {
  tokens: number;
  tokenMs: number;
  drafted: number;
  accepted: number;
}

const yieldToMessages = createYield();
let model: LoadedModel;
let module: WebAssembly.Module;
let prototype: WebAssembly.Module | undefined;
let pool: BenchPool;
let costs: PassCosts;

const median = (numbers: number[]): number => numbers.sort((a, b) => a - b)[numbers.length >> 1]!;

/** Always the same tokens, no two runs of them alike. */
const tokenAt = (position: number): number => 3 + ((position * 7919 + 13) % (model.info.config.vocab - 3));
const tokensTo = (end: number): number[] => Array.from({ length: end }, (_, i) => tokenAt(i));

/** An answer to a prompt of which all but `missing` tokens count as in the cache. */
function answer(prompt: number[], missing: number, maxTokens: number, more: GenerateSettings = {}) {
  const slots = createSlots(pool.plan.sequences);
  slots[0]!.tokens = prompt.slice(0, prompt.length - missing);
  const settings: GenerateSettings = { temperature: 0, ignoreEos: true, maxTokens, draft: false, ...more };
  const context: GenerateContext = {
    pool,
    memory: model.memory,
    slots,
    owner: 0,
    costs,
    tokenizer: undefined,
    stopTokens: new Set(),
    aborted: () => false,
    yieldToMessages,
  };
  return generate(context, prompt, validateSettings(settings, {}), () => {});
}

/**
 * Keys and values at every position, without a prefill of minutes: bytes that are small numbers in every precision of the
 * cache. The time of a pass depends on how many there are, not on what they say.
 */
function fillCache(): void {
  const {
    memory,
    pool: { plan },
  } = model;
  const bytes = new Uint8Array(memory.buffer, plan.layers[0]!.keys, plan.rowTokens - plan.layers[0]!.keys);
  const piece = Uint8Array.from({ length: 2 ** 20 }, (_, i) => 0x30 + ((i * 7) % 16));
  for (let at = 0; at < bytes.length; at += piece.length) bytes.set(piece.subarray(0, bytes.length - at), at);
}

const host = {
  async open({ url, options, prototype: address }: OpenOptions): Promise<ModelInfo> {
    const spawn: Spawn = (start, onMessage) =>
      spawnKernelWorker({ ...start, slowness: 1, prototype: undefined }, onMessage);
    model = await loadModel({ source: { url }, options }, () => {}, spawn, new AbortController().signal);
    costs = createPassCosts(model.info.kernel);
    ({ module } = await compileKernels(model.shared, model.info.relaxedSimd));
    if (address && model.info.relaxedSimd) prototype = await WebAssembly.compileStreaming(fetch(address));
    fillCache();
    await host.slow([]);
    return model.info;
  },
  /** Starts the pool anew, its kernel workers so many times as slow as they are, and warms it. */
  async slow(slowness: number[]): Promise<void> {
    pool = await startBenchPool(model, module, { slowness, prototype });
    await answer(tokensTo(64), 64, 1);
    await answer(tokensTo(64), 1, 8);
    await host.stream(2);
    pool.prototype?.();
  },
  /** Ms of a plain read of the ternary weights. */
  async stream(times: number): Promise<number> {
    const all: number[] = [];
    for (let i = 0; i < times; i++) {
      const start = performance.now();
      await pool.run([], 0);
      all.push(performance.now() - start);
    }
    return median(all);
  },
  /** Ms of the prototype's pass over them; undefined where it does not run. */
  async prototype(times: number): Promise<number | undefined> {
    const { prototype: run } = pool;
    return run && median(Array.from({ length: times }, run));
  },
  /** Ms a token from position `context` on, sampling included. */
  async decode(context: number, tokens: number): Promise<number> {
    const { timings } = await answer(tokensTo(context), 1, tokens + 1);
    return timings.decodeMs / tokens;
  },
  /** Ms a token by step, from position `context` on. */
  async steps(context: number, tokens: number): Promise<Record<string, number>> {
    await answer(tokensTo(context), 1, 2);
    pool.steps.start();
    const start = performance.now();
    const { usage } = await answer(tokensTo(context), 1, tokens);
    const all = performance.now() - start;
    const steps = { ...pool.steps.stop(), all };
    return Object.fromEntries(Object.entries(steps).map(([step, ms]) => [step, ms / usage.completionTokens]));
  },
  /** Logits after the last tokens of a prompt: of a large pass, then of single rows. */
  async logits(ids: number[]): Promise<Float32Array> {
    const rows = ids.map((token, position) => ({ sequence: 0, position, token }));
    const all: number[] = [];
    for (const part of [rows.slice(0, -2), rows.slice(-2, -1), rows.slice(-1)]) {
      await pool.run(part, part.length - 1);
      all.push(...logitsView(model.memory, pool.plan, 0));
    }
    return Float32Array.from(all);
  },
  /** Ms for a token of each of `n` answers, which are written at once. */
  async batch(n: number, context: number, tokens: number): Promise<number> {
    const { timings } = await answer(tokensTo(context), 1, tokens + 1, { n });
    return timings.decodeMs / tokens;
  },
  /**
   * Ms a token of an answer that is given beforehand, with drafts or without. Random weights would say nothing that the
   * prompt has said; so after each pass the logits are made to say the next token. All else is as it is.
   */
  async scripted(prompt: string, reply: string, draft: boolean): Promise<Scripted> {
    const [before, after] = [prompt, reply].map((text) => model.tokenizer!.encode(text, {})) as [number[], number[]];
    pool.script = [...before, ...after];
    const { timings, tokens, draft: drafts } = await answer(before, 1, after.length, { draft: draft && 'auto' });
    pool.script = undefined;
    if (tokens.some((token, i) => token !== after[i])) throw new Error('the answer is not the one that was given');
    return { tokens: tokens.length, tokenMs: timings.decodeMs / (tokens.length - 1), ...drafts };
  },
  /** Ms of a prompt, and until the first token. */
  async prefill(tokens: number): Promise<{ promptMs: number; firstTokenMs: number }> {
    const { timings } = await answer(tokensTo(tokens), tokens, 1);
    return { promptMs: timings.promptMs, firstTokenMs: timings.firstTokenMs };
  },
};

export type BenchHost = typeof host;

expose(host);
