/**
 * Loads a model in the engine worker: source -> description -> plan -> weights in memory (from the store, or downloaded,
 * packed and kept) -> pool.
 */
import { type Described, type Description, describe, type TextFiles, versionOf } from './describe';
import { SternaError } from './errors';
import { chooseI2sOrder } from './i2s-order';
import { chooseKernel, instantiateKernels, type KernelChoice, type Kernels } from './kernels';
import { ABORT, createMemory, type MemoryPlan, REQUEST } from './memory';
import {
  type CheckedOptions,
  checkOptions,
  countParameters,
  type Layout,
  layOut,
  lmHeadOf,
  sharing,
  threadCount,
} from './options';
import { type Origin, openOrigin, sourceKey } from './origin';
import { createPacker, fillPadding, type Packer } from './packer';
import { storedSize } from './parts';
import { type Pool, type Spawn, startPool } from './pool';
import { createReport, type Report } from './progress';
import type { LoadRequest, LoadTimes, ModelInfo, Progress } from './protocol';
import { openStore, type Store } from './store';
import { withLock } from './store-lock';
import type { StoredModel } from './store-manifest';
import type { I2sOrder } from './ternary';
import { createTokenizer, type Tokenizer } from './tokenizer';
import {
  downloadExactTables,
  downloadWeights,
  EXACT,
  type Filling,
  RECORD_BYTES,
  type Resume,
  restoreWeights,
} from './weights';

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
const END_OF_TURN = ['<|eot_id|>', '<|end_of_text|>', '<|endoftext|>', '<|im_end|>', '<|end|>', '<|eom_id|>', '</s>'];
const WARM_UP_MS = 60;
/** Room for a record and the unit that fills it up. */
export const RECORD_ROOM = RECORD_BYTES + 2 ** 18;

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

/**
 * Finds out what a source holds. The store answers for what it has of the source's present version, and for a source
 * that cannot be reached.
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
    report('weights', file, 0, 0, `${reason} (try ${attempt} of ${tries})`),
  ).catch((error: SternaError) => error);
  if (opened instanceof Error) {
    // a hub that is down, or a repository that is gone, is no reason to refuse what is here
    const mayHelp = opened.code === 'offline' || opened.code === 'download';
    const model = mayHelp ? await store?.find(key) : undefined;
    if (!store || !model?.complete) throw opened;
    return { ...(await readDescription(store, model)), heads: undefined, origin: undefined, key, store };
  }
  const model = await store?.find(key, await versionOf(opened));
  if (store && model) {
    const known = await readDescription(store, model);
    if (known.text || !model.text) return { ...known, heads: undefined, origin: opened, key, store };
  }
  return { ...(await describe(opened, signal, report)), origin: opened, key, store };
}

/** The text is undefined where it is damaged: the tokenizer files are then read from the source again. */
async function readDescription(store: Store, model: StoredModel) {
  const text = await store.readText(model);
  return {
    description: model.description as KeptDescription,
    text: text === undefined ? undefined : (JSON.parse(text) as TextFiles),
  };
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
  const found = await findModel(source, checked.cache, report, signal);
  const { description, text } = found;
  const { config } = description;
  const { threads, threadsReason } = threadCount(checked.threads, config, sharingHere);
  const choice = await chooseKernel(checked.kernel, shared);
  signal.throwIfAborted();
  const tokenizer = text && createTokenizer(text.tokenizer, text.config);
  times.describe = performance.now() - start;

  const loading: Loading = { found, options: checked, choice, threads, shared, report, signal, times };
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
    kvCache: checked.kvCache,
    lmHead: plan.head.kind,
    bytes: { file: fileBytes, ternary: plan.ternaryBytes, memory: plan.bytes },
    parameters: countParameters(config),
    hasTokenizer: tokenizer !== undefined,
    noTokenizer: tokenizer ? undefined : description.noTokenizer,
    loadMs: performance.now() - start,
    loadTimes: times,
    defaults: description.defaults,
  };
  report('ready', '', fileBytes, fileBytes);
  const stopTokens = stopTokensOf(config.eos, tokenizer);
  return { info, memory, shared, pool, tokenizer, chatTemplate: text?.template, stopTokens, words };
}

async function keepOrder({ store, model }: NonNullable<Filling['kept']>, i2sOrder: I2sOrder): Promise<void> {
  model.description = { ...(model.description as KeptDescription), i2sOrder };
  await store.finish(model);
}

/** Weights into a new memory. What has to be downloaded is downloaded by one tab alone. */
async function fill(loading: Loading): Promise<Filled> {
  const { found, signal, report } = loading;
  const { store, key, description } = found;
  if (!store) return fillFrom(loading, undefined);
  const stored = (): Promise<StoredModel | undefined> => store.find(key, description.version);
  const isComplete = (await stored())?.complete === true;
  const work = async (): Promise<Filled> => fillFrom(loading, await stored());
  // tabs that only read do not wait for each other, but a model is not deleted under them
  return withLock(key, signal, work, () => report('waiting'), isComplete ? 'shared' : 'exclusive');
}

async function fillFrom(loading: Loading, stored: StoredModel | undefined): Promise<Filled> {
  const { found, options, choice, threads, shared, report, signal, times } = loading;
  const { description, store, origin } = found;
  const wanted = lmHeadOf(options.lmHead, description.config);
  const tables = (stored?.description as KeptDescription | undefined)?.tables ?? wanted;
  if (store && stored && !stored.complete && tables === 'int8' && wanted === 'bf16') {
    await store.discard(stored); // a download of the other form cannot be gone on with
    return fillFrom(loading, undefined);
  }
  const how = { kernel: choice.kernel, threads, shared };
  const layout = layOut(description, options, how, RECORD_ROOM, tables);
  const { plan, parts, staging } = layout;
  const model = stored ?? (store && (await begin(loading, store, storedSize(parts), tables)));
  const kept = store && model && { store, model };
  const order = options.i2sOrder === 'auto' ? (model?.description as KeptDescription)?.i2sOrder : options.i2sOrder;

  const memory = createMemory(plan.bytes, shared);
  const kernels = instantiateKernels(choice.module, memory);
  kernels.writeConstants();
  fillPadding(memory, plan);
  const names = description.files.map(({ path }) => path);
  const packer = createPacker(kernels, memory, plan, parts, staging, names, order ?? 'x86');
  const filling: Filling = { description, heads: found.heads ?? [], packer, origin, kept, signal, report, times };
  const fromStore = model?.complete === true;
  await restoreWeights(filling);
  if (!fromStore) {
    await downloadWeights(filling, (model?.state as Resume | undefined) ?? { file: 0, offset: 0 });
    if (kept) await kept.store.finish(kept.model);
  } else await kept?.store.touch(kept.model);
  if (tables === 'int8' && wanted === 'bf16') {
    const exact = parts
      .filter(({ place }) => place.kind === 'table')
      .map((part) => ({ ...part, storedBytes: part.cols * 2 }));
    const exactPacker = createPacker(kernels, memory, plan, exact, staging, names, 'x86');
    await restoreWeights({ ...filling, packer: exactPacker }, EXACT);
    await downloadExactTables({ ...filling, packer: exactPacker }, exact);
  }
  packer.finish();
  writeRopeTables(kernels, plan);
  return { layout, memory, packer, order, kept, fromStore };
}

/** Begins to keep a model, if there is room for it. */
async function begin(
  { found, signal }: Loading,
  store: Store,
  recordBytes: number,
  tables: 'bf16' | 'int8',
): Promise<StoredModel> {
  const { key, description, text } = found;
  const textJson = text && JSON.stringify(text);
  const expectedBytes = recordBytes + (textJson?.length ?? 0);
  const { free } = await store.estimate();
  if (free < expectedBytes) {
    const facts = { file: description.name, got: free, expected: expectedBytes };
    throw new SternaError('quota', "the browser's storage has not enough room, in bytes", facts);
  }
  const { version, name } = description;
  const state: Resume = { file: 0, offset: 0 };
  const kept: KeptDescription = { ...description, tables };
  const model = await store.begin({ key, version, name, expectedBytes, description: kept, state });
  signal.throwIfAborted();
  if (textJson !== undefined) await store.writeText(model, textJson);
  return model;
}

/** Cosines and sines of every position. */
export function writeRopeTables(kernels: Kernels, plan: MemoryPlan): void {
  const { headDim, config, contextLength, cosines, sines } = plan;
  for (let position = 0; position < contextLength; position++) {
    const at = (position * headDim * 4) / 2;
    kernels.ropeTables(position, config.headDim, config.ropeTheta, cosines + at, sines + at);
  }
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
function stopTokensOf(eos: number[], tokenizer: Tokenizer | undefined): Set<number> {
  const known = END_OF_TURN.map((token) => tokenizer?.idOf(token)).filter(
    (id) => id !== undefined && tokenizer?.special(id),
  );
  return new Set([...eos, ...(known as number[])]);
}
