/** Keys and values of a session to and from the store's records: as they lie in memory, whatever the length of the context. */

import { RECORD_BYTES } from '../checkpoint/weights';
import type { LoadedModel } from '../engine/loader';
import type { Piece } from '../generate/session';
import type { MemoryPlan } from '../model/memory';
import type { Store } from '../store/store';
import { xxh64 } from '../store/store-hash';
import type { StoredModel } from '../store/store-manifest';
import type { CacheMark, ModelMark } from '../store/store-sessions';

/** Pieces in groups of at most a record, cut where they have to be. */
function* inRecords(pieces: Piece[]): Generator<Piece[]> {
  let group: Piece[] = [];
  let room = RECORD_BYTES;
  for (const piece of pieces) {
    for (let done = 0; done < piece.bytes; ) {
      const bytes = Math.min(piece.bytes - done, room);
      group.push({ at: piece.at + done, bytes });
      done += bytes;
      room -= bytes;
      if (room > 0) continue;
      yield group;
      [group, room] = [[], RECORD_BYTES];
    }
  }
  if (group.length > 0) yield group;
}

export const bytesOf = (pieces: Piece[]): number => pieces.reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * Appends the pieces to what is stored, record by record.
 * @param between called with the bytes done so far; it throws when the caller has aborted
 * @throws SternaError as Store.append()
 */
export async function writePieces(
  store: Store,
  model: StoredModel,
  memory: WebAssembly.Memory,
  pieces: Piece[],
  between: (done: number) => Promise<void>,
): Promise<void> {
  const bytes = new Uint8Array(memory.buffer);
  let done = 0;
  for (const group of inRecords(pieces)) {
    await between(done);
    const record = new Uint8Array(bytesOf(group));
    let at = 0;
    for (const piece of group) {
      record.set(bytes.subarray(piece.at, piece.at + piece.bytes), at);
      at += piece.bytes;
    }
    await store.append(model, record, { file: 0, from: done, to: done + record.length }, undefined);
    done += record.length;
  }
  await between(done);
}

/**
 * Reads the pieces back.
 * @returns false if a record is missing, damaged or of another size; the memory of the pieces then holds anything
 */
export async function readPieces(
  store: Store,
  model: StoredModel,
  memory: WebAssembly.Memory,
  pieces: Piece[],
  between: (done: number) => Promise<void>,
): Promise<boolean> {
  const bytes = new Uint8Array(memory.buffer);
  const room = new Uint8Array(Math.min(RECORD_BYTES, bytesOf(pieces)));
  let [done, n] = [0, 0];
  for (const group of inRecords(pieces)) {
    await between(done);
    const record = await store.read(model, n++, 'weights', room);
    if (record?.length !== bytesOf(group)) return false;
    let at = 0;
    for (const piece of group) {
      bytes.set(record.subarray(at, at + piece.bytes), piece.at);
      at += piece.bytes;
    }
    done += record.length;
  }
  await between(done);
  return n === model.records.length;
}

/** Bytes of the memory, in a copy that is not shared. */
const copyOf = (memory: WebAssembly.Memory, at: number, bytes: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(new Uint8Array(memory.buffer, at, bytes));

/**
 * Which weights a model has. Picked files have no version: norms and the scales of the matrices tell them apart, which
 * are the same in memory whatever the kernel.
 */
export async function modelMark({ info, memory, pool: { plan } }: LoadedModel): Promise<ModelMark> {
  const { name, version } = info;
  if (version !== '') return { name, version, weights: '' };
  const facts: unknown[] = [plan.config];
  const norm = async (at: number): Promise<number> =>
    facts.push(await xxh64(copyOf(memory, at, plan.config.hidden * 4)));
  for (const layer of plan.layers) {
    await norm(layer.inputNorm);
    await norm(layer.ffnInputNorm);
    const { query, key, value, output, gate, up, down } = layer;
    for (const { scale } of [query, key, value, output, gate, up, down]) facts.push(scale);
  }
  await norm(plan.finalNorm);
  return { name, version, weights: await xxh64(new TextEncoder().encode(JSON.stringify(facts))) };
}

export async function cacheMark({ info, memory, pool: { plan } }: LoadedModel): Promise<CacheMark> {
  const { kvCache, embedding }: MemoryPlan = plan;
  const rope = await xxh64(copyOf(memory, plan.ropeFrequencies, plan.config.headDim * 2));
  return { kvCache, embedding: embedding.kind, i2sOrder: info.i2sOrder ?? '', rope };
}
