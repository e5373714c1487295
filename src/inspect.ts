/** What a source holds, and what it would cost to load it, before anything large is downloaded. */

import { countParameters } from './config';
import { SternaError } from './errors';
import { findModel, type KeptDescription } from './loader';
import type { KernelName } from './memory';
import { checkOptions, layOut, lmHeadOf, sharing, threadCount } from './options';
import { storedSize } from './parts';
import { createReport } from './progress';
import type { Inspection, LoadRequest } from './protocol';
import { openStore } from './store';
import { RECORD_BYTES } from './weights';

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
  const { description, key } = found;
  const { config, files, version } = description;
  const store = found.store ?? (await openStore());
  const model = key === '' ? undefined : await store?.find(key, version);
  const textBytes = found.text ? JSON.stringify(found.text).length : 0;
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0) + textBytes;
  const obstacles: string[] = [];

  const here = sharing();
  // every kernel wants about the same memory; dot16 stands for them
  const how = { kernel: 'dot16' as KernelName, ...threadCount(checked.threads, config, here), shared: here.shared };
  const tables = (model?.description as KeptDescription | undefined)?.tables ?? lmHeadOf(checked.lmHead, config);
  let [storedBytes, memoryBytes] = [model?.expectedBytes ?? 0, 0];
  try {
    const { plan, parts } = layOut(description, checked, how, RECORD_BYTES, tables);
    storedBytes = storedSize(parts) + textBytes;
    memoryBytes = plan.bytes;
    probeMemory(plan.bytes);
  } catch (error) {
    if (!(error instanceof SternaError) || error.code !== 'out-of-memory') throw error;
    obstacles.push(
      `memory: ${inGb(Number(error.got) || Number(error.expected))} are needed, more than this browser gives`,
    );
  }
  if (store && checked.cache && key !== '' && !model?.complete) {
    const missing = storedBytes - (model?.bytes ?? 0);
    const { free } = await store.estimate();
    if (free < missing) obstacles.push(`storage: ${inGb(missing)} are needed, ${inGb(free)} are free`);
  }
  return {
    name: description.name,
    version,
    config,
    format: description.format,
    parameters: countParameters(config),
    totalBytes,
    downloadBytes: model?.complete ? 0 : totalBytes - (model ? bytesDone(model) + (model.text?.bytes ?? 0) : 0),
    storedBytes,
    memoryBytes,
    cached: model?.complete ? 'complete' : model && model.records.length > 0 ? 'partly' : 'no',
    hasTokenizer: found.text !== undefined,
    obstacles,
  };
}

const inGb = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** Bytes of the files that records have been made of. */
const bytesDone = ({ records }: { records: { from: number; to: number }[] }): number =>
  records.reduce((sum, { from, to }) => sum + to - from, 0);

/** Whether the browser would give so much memory: reserving it costs nothing, and it is let go at once. */
function probeMemory(bytes: number): void {
  const pages = Math.ceil(bytes / 65536);
  try {
    new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    throw new SternaError('out-of-memory', 'the browser refuses the memory for the model, in bytes', {
      got: 'refused',
      expected: bytes,
    });
  }
}
