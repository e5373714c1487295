/** Loads a model in the engine worker: files -> configuration -> plan -> packed memory -> pool. */
import { templateOf } from './chat-template';
import { createPacker } from './checkpoint';
import { generationDefaults, type ModelConfig, parseConfig } from './config';
import type { ByteSource } from './download';
import { SternaError } from './errors';
import { chooseKernel, instantiateKernels } from './kernels';
import { ABORT, createMemory, type MemoryPlan, planMemory, REQUEST } from './memory';
import { type Origin, openOrigin } from './origin';
import { type Pool, type Spawn, startPool } from './pool';
import type { LoadRequest, ModelInfo, Progress } from './protocol';
import { readSafetensors } from './safetensors';
import { createTokenizer, type Tokenizer } from './tokenizer';

export interface LoadedModel {
  info: ModelInfo;
  memory: WebAssembly.Memory;
  shared: boolean;
  pool: Pool;
  tokenizer: Tokenizer | undefined;
  chatTemplate: string | undefined;
  stopTokens: ReadonlySet<number>;
  /** The words of the memory (memory.ts). */
  words: Int32Array;
}

/** Turns end with one of these in one family or another; config files often name only one of a model's several. */
const END_OF_TURN = ['<|eot_id|>', '<|end_of_text|>', '<|endoftext|>', '<|im_end|>', '<|end|>', '</s>'];
/** Rows of a prefill pass. Without shared memory an abort is heard only between passes, so these are shorter. */
const MAX_ROWS = { shared: 256, single: 64 };
const MOST_THREADS = 64;
const MOST_DEFAULT_THREADS = 8;
/** Some 0.8 ms a token: with less to do, threads lose more at barriers to a page that is also busy than they gain. */
const WEIGHTS_PER_THREAD = 40e6;
/** An exact bf16 embedding up to this size, int8 above. */
const BF16_HEAD_BYTES = 64e6;
const WARM_UP_MS = 60;

/** Whether this worker can share memory with others, and if not, why. */
function sharing(): { shared: boolean; reason: string } {
  if (!globalThis.crossOriginIsolated) {
    return { shared: false, reason: 'the page is not cross-origin isolated (COOP and COEP headers are missing)' };
  }
  if (typeof SharedArrayBuffer === 'undefined')
    return { shared: false, reason: 'the browser has no SharedArrayBuffer' };
  const { port1, port2 } = new MessageChannel();
  try {
    port1.postMessage(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
    return { shared: true, reason: '' };
  } catch {
    return { shared: false, reason: 'the browser cannot post shared WebAssembly memory' };
  } finally {
    port1.close();
    port2.close();
  }
}

function checkThreads(wanted: number | undefined): void {
  if (wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_THREADS)) return;
  const facts = { got: String(wanted), expected: `an integer from 1 to ${MOST_THREADS}` };
  throw new SternaError('bad-input', 'threads', facts);
}

function threadCount(wanted: number | undefined, config: ModelConfig): { threads: number; threadsReason: string } {
  if (wanted !== undefined) return { threads: wanted, threadsReason: 'as asked' };
  const cores = navigator.hardwareConcurrency || 1;
  const useful = Math.ceil(ternaryWeights(config) / WEIGHTS_PER_THREAD);
  if (useful < cores && useful < MOST_DEFAULT_THREADS) {
    return {
      threads: useful,
      threadsReason: `the model is small: ${WEIGHTS_PER_THREAD / 1e6} million weights a thread`,
    };
  }
  return { threads: Math.min(cores, MOST_DEFAULT_THREADS), threadsReason: `the browser reports ${cores} cores` };
}

function contextLength(wanted: number | undefined, { maxPositions }: ModelConfig): number {
  if (wanted === undefined) return Math.min(maxPositions, 4096);
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > maxPositions) {
    throw new SternaError('bad-input', 'contextLength', {
      got: String(wanted),
      expected: `an integer from 1 to ${maxPositions}`,
    });
  }
  return wanted;
}

function oneOf<T extends string>(name: string, value: T | undefined, allowed: readonly T[], fallback: T): T {
  const chosen = value ?? fallback;
  if (!allowed.includes(chosen))
    throw new SternaError('bad-input', name, { got: String(chosen), expected: allowed.join(' or ') });
  return chosen;
}

/** A file that a model cannot do without. */
async function required<T>(folder: Origin, file: string, opened: Promise<T | null | undefined>): Promise<T> {
  const value = await opened;
  if (value !== null && value !== undefined) return value;
  const facts = { file, got: 'nothing', expected: `a file in ${folder.address}` };
  throw new SternaError('bad-file', 'there is no such file, or it may not be read', facts);
}

/**
 * Loads a model.
 * @throws SternaError as the parts do: `download`, `bad-file`, `unsupported`, `bad-input`, `out-of-memory`, `aborted`, `worker`
 */
export async function loadModel(
  { source, options }: LoadRequest,
  onProgress: (progress: Progress) => void,
  spawn: Spawn,
  signal: AbortSignal,
): Promise<LoadedModel> {
  const start = performance.now();
  const known = ['threads', 'kernel', 'contextLength', 'kvCache', 'lmHead'];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown) throw new SternaError('bad-input', 'unknown option', { got: unknown, expected: known.join(', ') });
  const kernelWanted = oneOf('kernel', options.kernel, ['auto', 'dot32', 'dot16', 'lut8'], 'auto');
  const kvCache = oneOf('kvCache', options.kvCache, ['bf16', 'f32'], 'bf16');
  const headWanted = oneOf('lmHead', options.lmHead, ['auto', 'bf16', 'int8'], 'auto');
  const { shared, reason } = sharing();
  checkThreads(options.threads);

  const folder = await openOrigin(source, signal);
  onProgress({ phase: 'config', file: 'config.json', loaded: 0, total: 0 });
  const configJson = await required(folder, 'config.json', folder.json('config.json'));
  const generation = await folder.json('generation_config.json');
  const config = parseConfig(configJson, generation, 'config.json');
  const defaults = generationDefaults(generation);
  const { threads, threadsReason } = shared
    ? threadCount(options.threads, config)
    : { threads: 1, threadsReason: `one thread: ${reason}` };
  const context = contextLength(options.contextLength, config);
  const lmHead =
    headWanted === 'auto' ? (config.vocab * config.hidden * 2 <= BF16_HEAD_BYTES ? 'bf16' : 'int8') : headWanted;
  const choice = await chooseKernel(kernelWanted, shared);
  signal.throwIfAborted();

  onProgress({ phase: 'tokenizer', file: 'tokenizer.json', loaded: 0, total: 0 });
  const tokenizerConfig = await folder.json('tokenizer_config.json');
  const tokenizerJson = await folder.json('tokenizer.json');
  const tokenizer = tokenizerJson === undefined ? undefined : createTokenizer(tokenizerJson, tokenizerConfig);
  const chatTemplate =
    tokenizer && (templateOf(tokenizerConfig) ?? templateOf(undefined, await folder.text('chat_template.jinja')));

  const plan = planMemory(config, {
    kernel: choice.kernel,
    threads,
    contextLength: context,
    sequences: 1,
    maxRows: Math.min(shared ? MAX_ROWS.shared : MAX_ROWS.single, context),
    kvCache,
    lmHead,
  });
  const file = 'model.safetensors';
  const weights = await required<ByteSource>(folder, file, folder.open(file));
  const memory = await readWeights(weights, choice.module, plan, shared, signal, onProgress);

  onProgress({ phase: 'warmup', file: '', loaded: weights.size, total: weights.size });
  const words = new Int32Array(memory.buffer);
  const aborted = (): boolean => words[REQUEST / 4] !== 0 && Atomics.load(words, ABORT / 4) === words[REQUEST / 4];
  const pool = await startPool(choice.module, memory, plan, aborted, spawn);
  await warmUp(pool);
  signal.throwIfAborted();
  const info: ModelInfo = {
    name: folder.name,
    config,
    kernel: choice.kernel,
    kernelReason: choice.reason,
    kernelRates: choice.rates,
    relaxedSimd: choice.relaxedSimd,
    threads,
    threadsReason,
    crossOriginIsolated: globalThis.crossOriginIsolated,
    contextLength: context,
    kvCache,
    lmHead,
    bytes: { file: weights.size, ternary: plan.ternaryBytes, memory: plan.bytes },
    parameters: countParameters(config),
    hasTokenizer: tokenizer !== undefined,
    loadMs: performance.now() - start,
    defaults,
  };
  onProgress({ phase: 'ready', file: '', loaded: weights.size, total: weights.size });
  return { info, memory, shared, pool, tokenizer, chatTemplate, stopTokens: stopTokensOf(config, tokenizer), words };
}

/** Streams the weights into a new memory of the plan, and writes the tables that the kernels want. */
export async function readWeights(
  weights: ByteSource,
  module: WebAssembly.Module,
  plan: MemoryPlan,
  shared: boolean,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void = () => {},
): Promise<WebAssembly.Memory> {
  const { name: file, size: total } = weights;
  const memory = createMemory(plan.bytes, shared);
  const kernels = instantiateKernels(module, memory);
  kernels.writeConstants();
  const packer = createPacker(kernels, memory, plan, file);
  let [read, told] = [0, 0];
  await readSafetensors(weights, signal, {
    header(header) {
      packer.header(header);
      read = header.dataStart;
    },
    data(tensor, offset, chunk) {
      packer.data(tensor, offset, chunk);
      read += chunk.length;
      if (read - told < total / 100 && read < total) return;
      told = read;
      onProgress({ phase: 'weights', file, loaded: read, total });
    },
  });
  const { headDim, ropeTheta } = plan.config;
  for (let position = 0; position < plan.contextLength; position++) {
    const at = (position * headDim * 4) / 2;
    kernels.ropeTables(position, headDim, ropeTheta, plan.cosines + at, plan.sines + at);
  }
  return memory;
}

/** A few passes of either size, so that the browser's optimising compiler has seen the kernels. */
async function warmUp({ run, plan }: Pool): Promise<void> {
  const rows = (n: number) => Array.from({ length: n }, (_, position) => ({ sequence: 0, position, token: 0 }));
  const most = Math.min(8, plan.maxRows);
  const end = performance.now() + WARM_UP_MS;
  do {
    await run(rows(1), 0);
    await run(rows(most), most - 1);
  } while (performance.now() < end);
}

/** Every token that ends a turn: those the configuration names, and those of the vocabulary that are known to. */
function stopTokensOf(config: ModelConfig, tokenizer: Tokenizer | undefined): Set<number> {
  const known = END_OF_TURN.map((token) => tokenizer?.idOf(token)).filter(
    (id) => id !== undefined && tokenizer?.special(id),
  );
  return new Set([...config.eos, ...(known as number[])]);
}

function ternaryWeights({ hidden, layers, heads, kvHeads, headDim, ffn }: ModelConfig): number {
  return layers * hidden * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * ffn);
}

function countParameters(config: ModelConfig): number {
  const { hidden, layers, heads, headDim, ffn, vocab } = config;
  const norms = layers * (2 * hidden + heads * headDim + ffn) + hidden;
  return vocab * hidden + ternaryWeights(config) + norms;
}
