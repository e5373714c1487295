/**
 * Weights into memory: from the store, from the source, or what is there from the store and the rest from the source.
 * What is downloaded is packed as it comes, and kept in records; with each record goes the place in the file where the
 * download can go on, and the state of the file's sha256 up to there.
 */
import { createSHA256, sha256 as digestOf } from 'hash-wasm';
import { SternaError } from '../errors';
import type { LoadTimes } from '../protocol/load-types';
import type { ByteSource } from '../sources/download';
import type { Origin } from '../sources/origin';
import type { Store } from '../store/store';
import type { StoredModel, StoredRecord } from '../store/store-manifest';
import type { Description } from './describe';
import { free } from './free';
import type { Packer } from './packer';
import type { Report } from './progress';
import { createYield } from './yield';

/** A record is full at 16 MB, or when so much of the file has gone into it (a float master packs to a tenth). */
export const RECORD_BYTES = 16 * 2 ** 20;
const RECORD_SOURCE_BYTES = 64 * 2 ** 20;

/** So many bytes are packed in one go, before messages and writes are seen to. */
const TURN_BYTES = 2 ** 20;

/** Where a download goes on: byte `offset` of a file, `hash` the sha256 state of all bytes before it. */
export interface Resume {
  file: number;
  offset: number;
  hash?: Uint8Array;
}

export interface Filling {
  description: Description;
  /** The first bytes of each weight file, where they have just been read. */
  heads: (Uint8Array<ArrayBuffer> | undefined)[];
  packer: Packer;
  /** Undefined: the source cannot be reached. */
  origin: Origin | undefined;
  /** Where records are kept, and the model's manifest there; undefined: they are not. */
  kept: { store: Store; model: StoredModel } | undefined;
  /** Whether this tab alone is at the stored model: then it may write. */
  alone: boolean;
  signal: AbortSignal;
  report: Report;
  times: LoadTimes;
}

/** Adds the time of some work to a total. */
async function timed<T>(times: LoadTimes, key: keyof LoadTimes, work: Promise<T> | (() => T)): Promise<T> {
  const start = performance.now();
  try {
    return await (typeof work === 'function' ? work() : work);
  } finally {
    times[key] += performance.now() - start;
  }
}

const totalBytes = ({ files }: Description): number => files.reduce((sum, { size }) => sum + size, 0);

async function openFile({ description, origin }: Filling, file: number): Promise<ByteSource> {
  const { path, size, sha256, tag } = description.files[file]!;
  if (!origin) throw new SternaError('offline', 'this file is needed again', { file: path, got: 'no connection' });
  const source = await origin.open(path);
  const [got, expected] = source?.size === size ? [source.tag ?? source.sha256, tag ?? sha256] : [source?.size, size];
  const facts = { file: path, got: got ?? 'nothing', expected: expected ?? 'nothing' };
  if (source?.size !== size || source.sha256 !== sha256 || source.tag !== tag) {
    throw new SternaError('download', 'the file on the server is another one now', facts);
  }
  return source;
}

/**
 * Reads the kept records of a stream back. A record that is missing or damaged is fetched again and put in its place.
 * @returns false if there is such a record, and it may not be written
 * @throws SternaError `offline` if that needs the source and it cannot be reached; as the source and the packer do
 */
export async function restoreWeights(filling: Filling, stream = 'weights'): Promise<boolean> {
  const { kept, alone, packer, signal, times, report } = filling;
  if (!kept) return true;
  const { store, model } = kept;
  const records = recordsOf(model, stream);
  const rooms = [0, 1].map(() => new Uint8Array(Math.max(0, ...records.map(({ bytes }) => bytes))));
  const read = (n: number): Promise<Uint8Array<ArrayBuffer> | undefined> => {
    const reading = store.read(model, n, stream, rooms[n % 2]);
    reading.catch(() => {}); // it may never be waited for
    return reading;
  };
  const total = records.reduce((sum, { bytes }) => sum + bytes, 0);
  let [loaded, next] = [0, read(0)];
  for (const [n, record] of records.entries()) {
    signal.throwIfAborted();
    report('cache', model.name, loaded, total);
    const bytes = await timed(times, 'read', next);
    if (!bytes && !alone) return false;
    next = read(n + 1);
    packer.seek(record.file, record.from);
    if (bytes) {
      await timed(times, 'pack', () => packer.restore(bytes));
      if (bytes.buffer !== rooms[n % 2]!.buffer) free(bytes);
    } else await heal(filling, n, stream);
    loaded += record.bytes;
  }
  return true;
}

const recordsOf = (model: StoredModel, stream: string): StoredRecord[] =>
  (stream === 'weights' ? model.records : model.extra[stream]) ?? [];

/** Packs the bytes of one record anew. */
async function heal(filling: Filling, n: number, stream: string): Promise<void> {
  const { kept, packer, signal } = filling;
  const { store, model } = kept!;
  const { file, from, to, bytes } = recordsOf(model, stream)[n]!;
  const source = await openFile(filling, file);
  const record = new Uint8Array(bytes);
  let length = 0;
  for await (const piece of source.stream(from, to, signal)) {
    packer.take(piece, (stored) => {
      if (length + stored.length <= bytes) record.set(stored, length);
      length += stored.length;
      return false;
    });
  }
  if (length !== bytes) {
    const facts = { file: source.name, got: length, expected: bytes };
    throw new SternaError('bad-file', 'a stored record cannot be made again', facts);
  }
  // If the room is gone, the weights are right all the same.
  await store.replace(model, n, record, stream).catch((error: SternaError) => {
    if (error.code === 'bad-file') throw error;
  });
}

/**
 * Downloads the weights from where `resume` says, to the end.
 * @throws SternaError `bad-file` if a file's sha256 is not the hub's, also when it has been fetched once more; `quota`;
 * as the source and the packer do
 */
export async function downloadWeights(filling: Filling, resume: Resume): Promise<void> {
  const { files } = filling.description;
  let from = (await isHashState(resume.hash)) ? resume : { file: resume.file, offset: 0 };
  if (from !== resume) await forgetFile(filling, from);
  for (let tries = 0; from.file < files.length; ) {
    const wrong = await downloadFile(filling, from);
    if (wrong) {
      from = { file: from.file, offset: 0 };
      await forgetFile(filling, from);
      if (++tries === 2) throw wrong;
    } else {
      tries = 0;
      from = { file: from.file + 1, offset: 0 };
    }
  }
}

/**
 * Only the whole file's hash can show a byte that changed on the way: all that was made of the file goes. If it was a byte
 * of the header, so does what was made of that: the description.
 */
async function forgetFile(filling: Filling, from: Resume): Promise<void> {
  const { heads, kept } = filling;
  heads[from.file] = undefined;
  await readHead(filling, from.file, await openFile(filling, from.file));
  const first = kept?.model.records.findIndex(({ file }) => file === from.file) ?? -1;
  if (kept && first >= 0) await kept.store.truncate(kept.model, first, from);
}

/** The header of a file, which must be the one that the description was made of. */
async function readHead(
  { description, kept, signal }: Filling,
  file: number,
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const { path, dataStart, headSha256: expected } = description.files[file]!;
  const head = await source.read(0, dataStart, signal);
  const got = await digestOf(head);
  if (got === expected) return head;
  await kept?.store.discard(kept.model);
  throw new SternaError('bad-file', 'sha256 of the header', { file: path, got, expected });
}

/** Whether this version of the hash library can go on from the state that another may have saved. */
async function isHashState(state: Uint8Array | undefined): Promise<boolean> {
  try {
    if (state) (await createSHA256()).load(state);
    return true;
  } catch {
    return false;
  }
}

/** One file from an offset; the error if its sha256 turns out wrong. */
async function downloadFile(filling: Filling, { file, offset, hash }: Resume): Promise<SternaError | undefined> {
  const { description, heads, packer, signal, times, report } = filling;
  const { path, size, sha256 } = description.files[file]!;
  const before = description.files.slice(0, file).reduce((sum, each) => sum + each.size, 0);
  const total = totalBytes(description);
  const hasher = sha256 === undefined ? undefined : (await createSHA256()).init();
  if (hash) hasher?.load(hash);
  const records = createRecorder(filling, file, offset, 'weights', () => hasher?.save());
  packer.seek(file, offset);

  // Bytes that are here already come without a pause, in which nothing else gets its turn.
  const turn = createYield();
  let sinceTurn = 0;

  const absorb = async (piece: Uint8Array): Promise<void> => {
    for (let rest = piece; rest.length > 0; ) {
      const taken = await timed(times, 'pack', () => packer.take(rest, records.add));
      const part = rest.subarray(0, taken);
      if (hasher) await timed(times, 'hash', () => hasher.update(part));
      rest = rest.subarray(taken);
      if (records.full) await timed(times, 'store', records.flush());
    }
  };

  const source = await openFile(filling, file);
  if (offset === 0) {
    const head = heads[file] ?? (await readHead(filling, file, source));
    heads[file] = undefined;
    await absorb(head);
    free(head); // 10 MB of a GGUF file
  }
  const pieces = source.stream(packer.offset, size, signal)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await timed(times, 'network', pieces.next());
      if (done) break;
      await absorb(value);
      sinceTurn += value.length;
      free(value);
      report('weights', path, before + packer.offset, total);
      if (sinceTurn < TURN_BYTES) continue;
      sinceTurn = 0;
      await timed(times, 'store', turn());
    }
    await timed(times, 'store', records.flush());
  } finally {
    await pieces.return?.();
    records.end();
  }
  const got = hasher?.digest('hex');
  if (got === sha256) return undefined;
  return new SternaError('bad-file', 'sha256', { file: path, got: got ?? 'none', expected: sha256 ?? 'none' });
}

/**
 * Fetches exact rows for tables that the store has as int8, and keeps them beside, as a stream of their own.
 * @param filling with a packer of the tables alone
 * @param ranges bytes of the tables in the files
 */
export async function downloadExactTables(filling: Filling, ranges: { file: number; begin: number; end: number }[]) {
  const { kept, packer, signal, times, report } = filling;
  const done = kept ? recordsOf(kept.model, EXACT).at(-1) : undefined;
  for (const { file, begin, end } of ranges) {
    const from = done && done.file === file && done.to > begin ? done.to : begin;
    if (done && (done.file > file || from >= end)) continue;
    const source = await openFile(filling, file);
    const records = createRecorder(filling, file, from, EXACT, () => undefined);
    packer.seek(file, from);
    try {
      for await (const piece of source.stream(from, end, signal)) {
        for (let rest: Uint8Array = piece; rest.length > 0; ) {
          const taken = await timed(times, 'pack', () => packer.take(rest, records.add));
          rest = rest.subarray(taken);
          if (records.full) await timed(times, 'store', records.flush());
        }
        free(piece);
        report('weights', source.name, packer.offset - begin, end - begin);
      }
      await timed(times, 'store', records.flush());
    } finally {
      records.end();
    }
  }
}

/** Name of that stream. */
export const EXACT = 'bf16';

/** Bytes of the tables that the stream still lacks. */
export function exactBytesMissing(
  { extra }: StoredModel,
  ranges: { file: number; begin: number; end: number }[],
): number {
  const all = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return (extra[EXACT] ?? []).reduce((left, { from, to }) => left - (to - from), all);
}

/** Gathers stored bytes into records. One at a time is in memory: the next one begins when it is written. */
function createRecorder(
  { kept, packer }: Filling,
  file: number,
  offset: number,
  stream: string,
  hash: () => Uint8Array | undefined,
) {
  let room = new Uint8Array(0);
  let [length, from, full] = [0, offset, false];
  return {
    /** Adds one unit; true if the record is full with it. */
    add(stored: Uint8Array): boolean {
      if (!kept) return false;
      if (length + stored.length > room.length) {
        const larger = new Uint8Array(Math.max(length + stored.length, RECORD_BYTES + 2 ** 16));
        larger.set(room.subarray(0, length));
        free(room);
        room = larger;
      }
      room.set(stored, length);
      length += stored.length;
      full = length >= RECORD_BYTES || packer.offset - from >= RECORD_SOURCE_BYTES;
      return full;
    },
    /** Decided at the end of a unit only: a record must not end within one. */
    get full(): boolean {
      return full;
    },
    /** Writes the record, with the place where a download goes on after it. */
    async flush(): Promise<void> {
      if (!kept || length === 0) return;
      const resume: Resume = { file, offset: packer.offset };
      const hashed = hash();
      if (hashed) resume.hash = hashed;
      const state = stream === 'weights' ? resume : kept.model.state;
      await kept.store.append(kept.model, room.subarray(0, length), { file, from, to: packer.offset }, state, stream);
      [length, from, full] = [0, packer.offset, false];
    },
    /** Gives the memory back. */
    end(): void {
      free(room);
    },
  };
}
