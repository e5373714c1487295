/** What a source holds, and what it would cost to load it, before anything large is downloaded. */

import { exactTables, storedSize } from '../checkpoint/parts';
import { createReport } from '../checkpoint/progress';
import { EXACT, exactBytesMissing, RECORD_BYTES } from '../checkpoint/weights';
import type { SternaError } from '../errors';
import { countParameters } from '../model/config';
import type { KernelName } from '../model/memory';
import type { Inspection } from '../protocol/load-types';
import type { LoadRequest } from '../protocol/protocol';
import type { StoredModel } from '../store/store-manifest';
import { findModel, type KeptDescription, storedTextSize } from './loader';
import { checkOptions, layOut, lmHeadOf, sharing, threadCount } from './options';

/**
 * Reads listing, configuration and headers of a source; where it is in the store already, that suffices.
 * @throws SternaError as a load does, but for memory and storage: what does not fit is said in `obstacles`
 */
export async function inspect({ source, options }: LoadRequest, signal: AbortSignal): Promise<Inspection> {
  const checked = checkOptions(options);
  const found = await findModel(
    source,
    checked.cache,
    createReport(() => {}),
    signal,
  );
  const { description, store, key } = found;
  const { config, files, version } = description;
  const wanted = lmHeadOf(checked.lmHead, config);
  const model = await store?.find(key, version);
  const weightBytes = files.reduce((sum, { size }) => sum + size, 0);
  const totalBytes = weightBytes + description.textBytes;
  const obstacles: string[] = [];

  const here = sharing();
  // every kernel wants about the same memory; dot16 stands for them
  const { threads } = threadCount(checked.threads, config, here);
  const how = { kernel: 'dot16' as KernelName, threads, shared: here.shared, mostBytes: Number.POSITIVE_INFINITY };
  const tables = (model?.description as KeptDescription | undefined)?.tables ?? wanted;
  const ample = layOut(description, checked, how, RECORD_BYTES, tables);
  const fits = memoryIsGiven(ample.plan.bytes);
  const { plan, parts } = fits ? ample : layOut(description, checked, how, RECORD_BYTES, tables, true);
  if (!fits && !memoryIsGiven(plan.bytes)) obstacles.push(`memory: the browser does not give ${inWords(plan.bytes)}`);

  const needsExact = tables === 'int8' && wanted === 'bf16';
  const exact = needsExact || model?.extra[EXACT] ? exactTables(parts) : [];
  const storedBytes = storedSize(parts) + storedSize(exact) + storedTextSize(found.text);
  const missing = storedBytes - (model?.bytes ?? 0);
  if (store && missing > 0) {
    await store.needRoom(missing, description.name).catch((error: SternaError) => {
      if (error.code !== 'quota') throw error;
      const { got } = error;
      obstacles.push(
        `storage: ${inWords(missing)} are needed, ${typeof got === 'number' ? inWords(got) : got} are free`,
      );
    });
  }
  return {
    name: description.name,
    version,
    config,
    format: description.format,
    parameters: countParameters(config),
    totalBytes,
    downloadBytes: model ? bytesMissing(model, weightBytes) + exactBytesMissing(model, exact) : totalBytes,
    storedBytes,
    memoryBytes: plan.bytes,
    cached: model?.complete ? 'complete' : model && model.records.length > 0 ? 'partly' : 'no',
    hasTokenizer: found.text !== undefined,
    obstacles,
  };
}

const inWords = (bytes: number): string =>
  bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

/** Bytes of the files that no record has been made of. */
const bytesMissing = ({ complete, records }: StoredModel, all: number): number =>
  complete ? 0 : records.reduce((left, { from, to }) => left - (to - from), all);

/** Whether the browser would give so much memory: reserving it costs nothing, and it is let go at once. */
function memoryIsGiven(bytes: number): boolean {
  const pages = Math.ceil(bytes / 65536);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer.byteLength === bytes;
  } catch {
    return false;
  }
}
