/**
 * Loads a model in the engine worker: source -> description -> plan -> weights in memory (from the store, or downloaded,
 * packed and kept) -> pool.
 */
import { createXXHash64 } from 'hash-wasm';
import {
  type Described,
  type Description,
  describe,
  type TextFiles,
  textVersionOf,
  versionOf,
} from '../checkpoint/describe';
import { free } from '../checkpoint/free';
import { createPacker, fillPadding, type Packer } from '../checkpoint/packer';
import { exactTables, storedSize } from '../checkpoint/parts';
import { createReport, type Report } from '../checkpoint/progress';
import type { I2sOrder } from '../checkpoint/ternary';
import {
  downloadExactTables,
  downloadWeights,
  EXACT,
  exactBytesMissing,
  type Filling,
  RECORD_BYTES,
  type Resume,
  restoreWeights,
} from '../checkpoint/weights';
import { type ErrorCode, SternaError } from '../errors';
import { countParameters } from '../model/config';
import { chooseKernel, instantiateKernels, type KernelChoice } from '../model/kernels';
import { ABORT, REQUEST } from '../model/memory';
import { createMemory } from '../model/plan-memory';
import { type Pool, type Spawn, startPool } from '../model/pool';
import { writeRopeTables } from '../model/rope';
import type { LoadTimes, ModelInfo, Progress } from '../protocol/load-types';
import type { LoadRequest } from '../protocol/protocol';
import { type Origin, openOrigin, sourceKey } from '../sources/origin';
import { openStore, type Store } from '../store/store';
import { withFreeLock, withLock } from '../store/store-lock';
import type { StoredModel } from '../store/store-manifest';
import { stopTokensOf } from '../text/end-of-turn';
import { createTokenizer, type Tokenizer } from '../text/tokenizer';
import { toolFormatOf } from '../text/tool-format';
import { chooseI2sOrder } from './i2s-order';
import {
  type CheckedOptions,
  checkOptions,
  type Layout,
  layOut,
  lmHeadOf,
  screeningOf,
  sharing,
  threadCount,
} from './options';

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

const WARM_UP_MS = 60;
/** What the store keeps of a model beside its weights: also the form of its tables, and the byte order once it is known. */
export interface KeptDescription extends Description {
  tables: 'bf16' | 'int8';
  i2sOrder?: I2sOrder;
}

/** What a source holds; where it cannot be reached, what the store has of it. */
export interface Found extends Omit<Described, 'heads'> {
  heads: Described['heads'] | undefined;
  origin: Origin | undefined;
  key: string;
  store: Store | undefined;
}

/** A server that is down, a repository that is gone, or holds no or several models now: no reason to refuse what is here. */
const UNUSABLE: ErrorCode[] = ['offline', 'download', 'bad-file', 'bad-input'];

/**
 * Finds out what a source holds. The store answers for what it has of the source's present version, and with its newest
 * whole model for a source that cannot be reached or has no weights to choose.
 * @throws SternaError `offline` if neither can tell; as describe() and the origin do
 */
export async function findModel(
  source: LoadRequest['source'],
  cache: boolean,
  report: Report,
  signal: AbortSignal,
): Promise<Found> {
  const key = sourceKey(source);
  const store = cache && key !== '' ? await openStore() : undefined;
  report('config');
  const opened = await openOrigin(source, signal, ({ file, reason, attempt, tries }) =>
    report.retry(file, `${reason} (try ${attempt} of ${tries})`),
  ).catch((error: SternaError) => error);
  const origin = opened instanceof Error ? undefined : opened;
  const version = store && origin && (await versionOf(origin).catch((error: SternaError) => error));
  const trouble = [opened, version].find((one) => one instanceof Error);
  if (trouble && !UNUSABLE.includes(trouble.code)) throw trouble;
  const model = await store?.find(key, version instanceof Error ? undefined : version);
  const known = store && model && (!trouble || model.complete) ? await readDescription(store, model) : undefined;
  const isCurrent = trouble || !origin || known?.description.textVersion === (await textVersionOf(origin));
  if (known && isCurrent) return { ...known, heads: undefined, origin, key, store };
  if (trouble || opened instanceof Error) throw trouble;
  return { ...(await describe(opened, signal, report)), origin, key, store };
}

/** Undefined where the text is missing or damaged: the tokenizer files are then read from the source again. */
async function readDescription(store: Store, model: StoredModel) {
  const description = model.description as KeptDescription;
  if (description.noTokenizer !== undefined) return { description, text: undefined };
  const text = await store.readText(model);
  return text === undefined ? undefined : { description, text: JSON.parse(text) as TextFiles };
}

/** Everything that a load passes from step to step. */
interface Loading {
  found: Found;
  options: CheckedOptions;
  choice: KernelChoice;
  threads: number;
  shared: boolean;
  report: Report;
  signal: AbortSignal;
  times: LoadTimes;
  /** Once it is there: what begins to fill may have to begin once more. */
  memory?: WebAssembly.Memory;
}

interface Filled {
  layout: Layout;
  memory: WebAssembly.Memory;
  packer: Packer;
  order: I2sOrder | undefined;
  /** Where the weights are kept. */
  kept: Filling['kept'];
  fromStore: boolean;
}

/**
 * Loads a model.
 * @throws SternaError as the parts do: `download`, `offline`, `bad-file`, `unsupported`, `bad-input`, `out-of-memory`,
 * `quota`, `aborted`, `worker`
 */
export async function loadModel(
  { source, options }: LoadRequest,
  onProgress: (progress: Progress) => void,
  spawn: Spawn,
  signal: AbortSignal,
): Promise<LoadedModel> {
  const start = performance.now();
  const times: LoadTimes = { describe: 0, network: 0, pack: 0, hash: 0, store: 0, read: 0, start: 0 };
  const checked = checkOptions(options);
  const report = createReport(onProgress);
  const sharingHere = sharing();
  const { shared } = sharingHere;
  const choosing = chooseKernel(checked.kernel, shared);
  choosing.catch(() => {}); // told below, after what is wrong with the source
  const found = await findModel(source, checked.cache, report, signal);
  const { description } = found;
  const { config } = description;
  const { threads, threadsReason } = threadCount(checked.threads, config, sharingHere);
  const choice = await choosing;
  signal.throwIfAborted();
  const tokenizer = found.text && createTokenizer(found.text.tokenizer, found.text.config);
  const chatTemplate = found.text?.template;
  times.describe = performance.now() - start;

  const usable = choice.screens ? checked : { ...checked, screening: false as const };
  const loading: Loading = { found, options: usable, choice, threads, shared, report, signal, times };
  const filled = await fill(loading);
  const { layout, memory, packer } = filled;
  const { plan } = layout;
  const fileBytes = description.files.reduce((sum, { size }) => sum + size, 0);

  report('warmup', '', fileBytes, fileBytes);
  const started = performance.now();
  const words = new Int32Array(memory.buffer);
  const aborted = (): boolean => words[REQUEST / 4] !== 0 && Atomics.load(words, ABORT / 4) === words[REQUEST / 4];
  const pool = await startPool(choice.module, memory, plan, aborted, spawn);
  await warmUp(pool);
  signal.throwIfAborted();
  const isI2s = description.files.some(({ tensors }) => tensors.some(({ type }) => type === 'I2_S'));
  let i2sOrder = isI2s ? filled.order : undefined;
  if (isI2s && !i2sOrder) {
    i2sOrder = await chooseI2sOrder(pool, memory, tokenizer, packer);
    if (filled.kept) await keepOrder(filled.kept, i2sOrder);
  }
  times.start = performance.now() - started;
  const { screening, screeningReason } = screeningOf(checked, config);
  const noPlane = choice.screens ? 'there is not enough memory' : 'this browser computes its bounds wrongly';
  const info: ModelInfo = {
    name: description.name,
    version: description.version,
    format: description.format,
    cached: { before: filled.fromStore, now: filled.kept !== undefined },
    i2sOrder,
    config,
    kernel: choice.kernel,
    kernelReason: choice.reason,
    kernelRates: choice.rates,
    relaxedSimd: choice.relaxedSimd,
    threads,
    threadsReason,
    crossOriginIsolated: globalThis.crossOriginIsolated,
    contextLength: plan.contextLength,
    sequences: plan.sequences,
    kvCache: checked.kvCache,
    lmHead: plan.head.kind,
    screening: plan.screening !== undefined,
    screeningReason: screening && !plan.screening ? noPlane : screeningReason,
    bytes: { file: fileBytes, ternary: plan.ternaryBytes, memory: plan.bytes },
    parameters: countParameters(config),
    hasTokenizer: tokenizer !== undefined,
    noTokenizer: tokenizer ? undefined : description.noTokenizer,
    toolFormat: toolFormatOf(chatTemplate),
    loadMs: performance.now() - start,
    loadTimes: times,
    defaults: description.defaults,
  };
  const stopTokens = stopTokensOf(config.eos, tokenizer);
  return { info, memory, shared, pool, tokenizer, chatTemplate, stopTokens, words };
}

/** Keeps the byte order that was found, unless another tab is at work on the model: it can be found again. */
async function keepOrder({ store, model }: NonNullable<Filling['kept']>, i2sOrder: I2sOrder): Promise<void> {
  const keep = async (): Promise<void> => {
    const now = await store.find(model.key, model.version);
    if (!now?.complete) return; // removed meanwhile
    now.description = { ...(now.description as KeptDescription), i2sOrder };
    await store.finish(now);
  };
  await withFreeLock(model.key, model.name, 'exclusive', keep).catch(() => {});
}

/**
 * Weights into a new memory. A whole model is read by any number of tabs; one alone downloads, or mends it. Whether it
 * is whole is looked up before the lock of readers is asked for: else two tabs that look at once wait for each other.
 */
async function fill(loading: Loading): Promise<Filled> {
  const { found, signal, report } = loading;
  const { store, key, description } = found;
  if (!store) return (await fillFrom(loading, undefined, true))!;
  const waiting = (): void => report('waiting');
  const stored = (): Promise<StoredModel | undefined> => store.find(key, description.version);
  const readOnly = async (): Promise<Filled | undefined> => {
    const model = await stored();
    return model?.complete ? fillFrom(loading, model, false) : undefined;
  };
  const read = (await stored())?.complete && (await withLock(key, signal, readOnly, waiting, 'shared'));
  if (read) return read;
  return (await withLock(key, signal, async () => fillFrom(loading, await stored(), true), waiting))!;
}

/**
 * The layout and its memory. Screening that is not asked for is left out where it does not fit.
 * @throws SternaError as layOut() and createMemory()
 */
function reserve(loading: Loading, tables: 'bf16' | 'int8'): { layout: Layout; memory: WebAssembly.Memory } {
  const { found, options, choice, threads, shared } = loading;
  const attempt = (sparing: boolean) => {
    const how = { kernel: choice.kernel, threads, shared };
    const layout = layOut(found.description, options, how, RECORD_BYTES, tables, sparing);
    const { bytes } = layout.plan;
    if (loading.memory?.buffer.byteLength !== bytes) loading.memory = createMemory(bytes, shared);
    return { layout, memory: loading.memory };
  };
  try {
    return attempt(false);
  } catch (error) {
    if (!(error instanceof SternaError && error.code === 'out-of-memory')) throw error;
    return attempt(true);
  }
}

/** Undefined if something has to be written, and may not be. */
async function fillFrom(
  loading: Loading,
  stored: StoredModel | undefined,
  alone: boolean,
): Promise<Filled | undefined> {
  const { found, options, choice, report, signal, times } = loading;
  const { description, store, origin } = found;
  const wanted = lmHeadOf(options.lmHead, description.config);
  const tables = (stored?.description as KeptDescription | undefined)?.tables ?? wanted;
  const { layout, memory } = reserve(loading, tables);
  const { plan, parts, staging } = layout;
  const exact = tables === 'int8' && wanted === 'bf16' ? exactTables(parts) : [];
  const renews = stored !== undefined && found.heads !== undefined && !(await hasTexts(store!, stored, found));
  if (!alone && (renews || (stored && exactBytesMissing(stored, exact) > 0))) return undefined;
  if (renews) await renew(store!, stored, found);
  const textJson = found.text && !stored?.text ? JSON.stringify(found.text) : undefined;
  const bytes = storedSize(parts) + storedSize(exact) + (stored?.text?.bytes ?? utf8Size(textJson));
  if (store && bytes > (stored?.bytes ?? 0)) await store.needRoom(bytes - (stored?.bytes ?? 0), description.name);
  const model = stored ?? (store && (await begin(loading, store, bytes, tables, textJson)));
  const kept = store && model && { store, model };
  if (alone) found.text = undefined; // it is in the store and in the tokenizer: 30 MB of heap for Llama 3
  const order = options.i2sOrder === 'auto' ? (model?.description as KeptDescription)?.i2sOrder : options.i2sOrder;

  const kernels = instantiateKernels(choice.module, memory);
  kernels.writeConstants();
  fillPadding(memory, plan);
  const names = description.files.map(({ path }) => path);
  const int8Rows = await createXXHash64();
  const told = exact.length > 0 ? (row: Uint8Array) => void int8Rows.update(row) : undefined;
  const packer = createPacker(kernels, memory, plan, parts, staging, names, order ?? 'x86', told);
  const heads = [...(found.heads ?? [])];
  if (alone) found.heads = undefined; // 10 MB of a GGUF file, let go when it is packed
  const filling: Filling = { description, heads, packer, origin, kept, alone, signal, report, times };
  const fromStore = model?.complete === true;
  if (!(await restoreWeights(filling))) return undefined;
  if (!fromStore) {
    await downloadWeights(filling, (model?.state as Resume | undefined) ?? { file: 0, offset: 0 });
    packer.assertComplete();
    if (kept) await kept.store.finish(kept.model);
  } else {
    packer.assertComplete();
    await kept?.store.touch(kept.model).catch(() => {}); // when it was used is no reason not to use it
  }
  if (exact.length > 0) {
    // no digest covers a part of a file; but rounded to int8, its rows must be the rows that are stored
    const exactRows = await createXXHash64();
    const exactPacker = createPacker(kernels, memory, plan, exact, staging, names, 'x86', (row) =>
      exactRows.update(row),
    );
    const fillingExact = { ...filling, packer: exactPacker };
    if (!(await restoreWeights(fillingExact, EXACT))) return undefined;
    const fetches = !kept || exactBytesMissing(kept.model, exact) > 0;
    if (fetches) await downloadExactTables(fillingExact, exact);
    exactPacker.assertComplete();
    const [got, expected] = [exactRows.digest(), int8Rows.digest()];
    if (got !== expected) {
      await kept?.store.truncate(kept.model, 0, undefined, EXACT);
      await kept?.store.finish(kept.model);
      throw new SternaError('bad-file', 'embedding rows', { file: description.name, got, expected });
    }
    if (fetches) await kept?.store.finish(kept.model);
  }
  packer.finish();
  writeRopeTables(kernels, memory, plan);
  return { layout, memory, packer, order, kept, fromStore };
}

/** Whether what is stored beside the weights is what the source has now, and whole. */
async function hasTexts(store: Store, stored: StoredModel, { description, text }: Found): Promise<boolean> {
  if ((stored.description as KeptDescription).textVersion !== description.textVersion) return false;
  return text === undefined || (await store.readText(stored)) !== undefined;
}

/** Replaces all but the weights. */
async function renew(store: Store, stored: StoredModel, { description, text }: Found): Promise<void> {
  const { tables, i2sOrder } = stored.description as KeptDescription;
  stored.description = { ...description, tables, ...(i2sOrder ? { i2sOrder } : {}) } satisfies KeptDescription;
  await store.writeText(stored, text ? JSON.stringify(text) : '');
}

/** Bytes of the tokenizer files in the store. */
export const storedTextSize = (text: TextFiles | undefined): number => utf8Size(text && JSON.stringify(text));

function utf8Size(text = ''): number {
  const bytes = new TextEncoder().encode(text);
  const { length } = bytes;
  free(bytes);
  return length;
}

/** Begins to keep a model. */
async function begin(
  { found, signal }: Loading,
  store: Store,
  expectedBytes: number,
  tables: 'bf16' | 'int8',
  textJson: string | undefined,
): Promise<StoredModel> {
  const { key, description } = found;
  const { version, name } = description;
  const state: Resume = { file: 0, offset: 0 };
  const kept: KeptDescription = { ...description, tables };
  const model = await store.begin({ key, version, name, expectedBytes, description: kept, state });
  signal.throwIfAborted();
  if (textJson !== undefined) await store.writeText(model, textJson);
  return model;
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
