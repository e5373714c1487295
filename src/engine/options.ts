/** The options of a load, checked and completed. */

import type { Description } from '../checkpoint/describe';
import { type Staging, stagingOf } from '../checkpoint/packer';
import { type Part, partsOf } from '../checkpoint/parts';
import { SternaError } from '../errors';
import { type ModelConfig, ternaryWeights } from '../model/config';
import type { CacheKind, KernelName, MemoryPlan } from '../model/memory';
import { type PlanOptions, planMemory } from '../model/plan-memory';
import type { LoadRequest } from '../protocol/protocol';

/** Rows of a prefill pass. Without shared memory an abort is heard only between passes, so these are shorter. */
const MAX_ROWS = { shared: 256, single: 64 };
const MOST_THREADS = 64;
const MOST_DEFAULT_THREADS = 8;
const MOST_SEQUENCES = 64;
/** Some 0.8 ms a token: with less to do, threads lose more at barriers to a page that is also busy than they gain. */
const WEIGHTS_PER_THREAD = 40e6;
/** Rows of an lm_head from which on screening pays. */
const SCREENED_ROWS = 32_768;
/** An exact bf16 embedding up to this size, int8 above. */
const BF16_HEAD_BYTES = 64e6;

type Options = LoadRequest['options'];

/** Options as the caller means them: everything there, nothing decided that depends on the model. */
export interface CheckedOptions {
  threads: number | undefined;
  kernel: 'auto' | KernelName;
  contextLength: number | undefined;
  sequences: number;
  kvCache: CacheKind;
  lmHead: 'auto' | 'bf16' | 'int8';
  screening: 'auto' | boolean;
  cache: boolean;
  i2sOrder: 'auto' | 'x86' | 'arm';
}

function oneOf<T>(name: string, value: T | undefined, allowed: readonly T[], fallback: T): T {
  const chosen = value ?? fallback;
  if (!allowed.includes(chosen))
    throw new SternaError('bad-input', name, { got: String(chosen), expected: allowed.join(' or ') });
  return chosen;
}

/** @throws SternaError `bad-input` for an option that does not exist, or a value that it cannot have */
export function checkOptions(options: Options): CheckedOptions {
  const checked: CheckedOptions = {
    threads: options.threads,
    kernel: oneOf('kernel', options.kernel, ['auto', 'dot32', 'dot16', 'lut8'], 'auto'),
    contextLength: options.contextLength,
    sequences: options.sequences ?? 1,
    kvCache: oneOf('kvCache', options.kvCache, ['bf16', 'f32', 'int8'], 'bf16'),
    lmHead: oneOf('lmHead', options.lmHead, ['auto', 'bf16', 'int8'], 'auto'),
    screening: oneOf('screening', options.screening, ['auto', true, false], 'auto'),
    cache: oneOf('cache', options.cache, [true, false], true),
    i2sOrder: oneOf('i2sOrder', options.i2sOrder, ['auto', 'x86', 'arm'], 'auto'),
  };
  const unknown = Object.keys(options).find((name) => !(name in checked));
  if (unknown) {
    const facts = { got: unknown, expected: Object.keys(checked).join(', ') };
    throw new SternaError('bad-input', 'unknown option', facts);
  }
  const { threads } = checked;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    const facts = { got: String(threads), expected: `an integer from 1 to ${MOST_THREADS}` };
    throw new SternaError('bad-input', 'threads', facts);
  }
  const { sequences } = checked;
  if (!(Number.isInteger(sequences) && sequences >= 1 && sequences <= MOST_SEQUENCES)) {
    const facts = { got: String(sequences), expected: `an integer from 1 to ${MOST_SEQUENCES}` };
    throw new SternaError('bad-input', 'sequences', facts);
  }
  const { contextLength: context } = checked;
  if (context !== undefined && !(Number.isInteger(context) && context >= 1)) {
    throw new SternaError('bad-input', 'contextLength', { got: String(context), expected: 'an integer from 1' });
  }
  return checked;
}

/** Whether this worker can share memory with others, and if not, why. */
export function sharing(): { shared: boolean; reason: string } {
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

export function threadCount(
  wanted: number | undefined,
  config: ModelConfig,
  { shared, reason }: ReturnType<typeof sharing>,
): { threads: number; threadsReason: string } {
  if (!shared) return { threads: 1, threadsReason: `one thread: ${reason}` };
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

/** How embedding and lm_head are kept, where they are no ternary matrices. */
export function lmHeadOf(wanted: CheckedOptions['lmHead'], { vocab, hidden }: ModelConfig): 'bf16' | 'int8' {
  if (wanted !== 'auto') return wanted;
  return vocab * hidden * 2 <= BF16_HEAD_BYTES ? 'bf16' : 'int8';
}

/**
 * Whether the lm_head is screened, if there is memory for it.
 * @throws SternaError `bad-input` if it is asked for and there is no int8 lm_head
 */
export function screeningOf(
  { screening, lmHead }: Pick<CheckedOptions, 'screening' | 'lmHead'>,
  config: ModelConfig,
): { screening: boolean; screeningReason: string } {
  const kind = config.ternaryEmbedding ? 'ternary' : lmHeadOf(lmHead, config);
  const no = (screeningReason: string) => ({ screening: false, screeningReason });
  if (screening === false) return no('as asked');
  if (kind !== 'int8') {
    if (screening === 'auto') return no(`the lm_head is ${kind}`);
    throw new SternaError('bad-input', 'screening', {
      got: `an lm_head that is ${kind}`,
      expected: 'one that is int8',
    });
  }
  if (screening === true) return { screening, screeningReason: 'as asked' };
  if (config.vocab < SCREENED_ROWS) return no(`the lm_head has only ${config.vocab} rows`);
  return { screening: true, screeningReason: `the lm_head has ${config.vocab} int8 rows` };
}

/** The memory of a model, with room to pack its weights in, and the parts that its files fall into. */
export interface Layout {
  plan: MemoryPlan;
  parts: Part[];
  staging: Staging;
}

/**
 * Plans the memory for a description.
 * @param storedTables the form in which the store has (or will have) embedding and lm_head
 * @param sparing without screening, unless it is asked for
 * @throws SternaError as partsOf(), planMemory() and screeningOf()
 */
export function layOut(
  { config, files, style, interleaved }: Description,
  options: CheckedOptions,
  choice: Pick<PlanOptions, 'kernel' | 'threads' | 'mostBytes'> & { shared: boolean },
  recordBytes: number,
  storedTables?: 'bf16' | 'int8',
  sparing = false,
): Layout {
  const { shared, ...how } = choice;
  const context = contextLength(options.contextLength, config);
  const planOptions: PlanOptions = {
    ...how,
    contextLength: context,
    sequences: options.sequences,
    maxRows: Math.max(Math.min(shared ? MAX_ROWS.shared : MAX_ROWS.single, context), options.sequences),
    kvCache: options.kvCache,
    lmHead: lmHeadOf(options.lmHead, config),
    screening: screeningOf(options, config).screening && !(sparing && options.screening === 'auto'),
  };
  const draft = planMemory(config, planOptions);
  const staging = stagingOf(partsOf(files, draft, style, interleaved, storedTables), recordBytes);
  const plan = planMemory(config, { ...planOptions, stagingBytes: staging.bytes });
  return { plan, parts: partsOf(files, plan, style, interleaved, storedTables), staging };
}
