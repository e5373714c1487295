/**
 * Headers of GGUF files, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 * Not `@huggingface/gguf` (0.4, MIT): it fetches the file by itself, from a URL or with Node's fs, so that a File, a
 * cached or a half-downloaded one cannot be handed to it; it begins a value anew with each 2 MB that it fetches; and it
 * does not check where tensors begin and end, which is how a truncated file is found out.
 */
import { SternaError } from '../errors';
import { createCursor, type GgufCursor, type GgufValue, NeedsMore } from './gguf-values';
import { blocks, type TensorInfo, wideQ2Block } from './tensors';

export interface GgufHeader {
  /** No prototype: keys are the file's. */
  metadata: Record<string, GgufValue>;
  /** In the order of their data, without a gap but for the padding between them. */
  tensors: TensorInfo[];
  /** File offset of the data. */
  dataStart: number;
}

/** `general.type`, `general.alignment` and so on are text and numbers of the file: anything may be missing or wrong. */
export type GgufMetadata = GgufHeader['metadata'];

/**
 * Types by their id in the file (ggml.h; I2_S: bitnet.cpp). Both kinds of Q2_0 have one id: `placeTensors` tells them
 * apart.
 */
const types: Record<number, keyof typeof blocks> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  36: 'I2_S',
  42: 'Q2_0',
};
/** Behind the weights of an I2_S tensor: the scale, float32, and padding. */
const i2sTail = 32;

const mostPairs = 100_000;
const mostTensors = 100_000;
const mostDims = 4;
const longestName = 1000;
const defaultAlignment = 32;

/** A tensor before its end is known: `offset` from the start of the data. */
interface Entry {
  name: string;
  typeId: number;
  shape: number[];
  elements: number;
  offset: number;
}

const shownName = (name: string) => name.slice(0, 100);

/**
 * Parses the header of a GGUF file from the file's first bytes, all of them or some. `{ needs }`: this many are wanted
 * (never more than the file has); call again with at least so many, from the beginning of the file. `fileSize` is the
 * file's size, `file` its name in errors.
 *
 * The header is checked whole: numbers fit, names are unique, and every tensor of a known type lies where the one
 * before it ends, so a truncated file is found out before any weight is read.
 * Throws `bad-file`, or `unsupported` for a big-endian file or another version.
 */
export function parseGguf(bytes: Uint8Array, fileSize: number, file: string): GgufHeader | { needs: number } {
  try {
    return readHeader(createCursor(bytes, fileSize, file), fileSize, file);
  } catch (error) {
    if (!(error instanceof NeedsMore)) throw error;
    // Twice as much at least: each call begins anew.
    return { needs: Math.min(fileSize, Math.max(error.needs, 2 * bytes.length, 65_536)) };
  }
}

function readHeader(cursor: GgufCursor, fileSize: number, file: string): GgufHeader {
  const magic = cursor.u32();
  // "GGUF", read as a little-endian number
  if (magic !== 0x46554747) {
    throw cursor.bad('not a GGUF file', `0x${magic.toString(16)}`, 'GGUF in its first four bytes');
  }
  const version = cursor.u32();
  if (version !== 2 && version !== 3) {
    const got = version & 0xffff ? `version ${version}` : 'big-endian, or a version unknown';
    throw new SternaError('unsupported', 'GGUF file of this kind', {
      file,
      got,
      expected: 'little-endian, version 2 or 3',
    });
  }
  const tensorCount = cursor.u64();
  const pairCount = cursor.u64();
  if (tensorCount > mostTensors) throw cursor.bad('too many tensors', tensorCount, `at most ${mostTensors}`);
  if (pairCount > mostPairs) throw cursor.bad('too much metadata', `${pairCount} keys`, `at most ${mostPairs}`);

  const metadata: GgufMetadata = Object.create(null);
  for (let i = 0; i < pairCount; i++) {
    const key = cursor.string('key', longestName);
    if (key in metadata) throw cursor.bad('key twice', shownName(key), 'each key once');
    metadata[key] = cursor.value();
  }
  const entries = new Map<string, Entry>();
  for (let i = 0; i < tensorCount; i++) {
    const entry = readEntry(cursor);
    if (entries.has(entry.name)) throw cursor.bad('tensor twice', shownName(entry.name), 'each tensor once');
    entries.set(entry.name, entry);
  }
  const alignment = metadata['general.alignment'] ?? defaultAlignment;
  if (typeof alignment !== 'number' || !Number.isInteger(Math.log2(alignment)) || alignment < 1) {
    throw cursor.bad('bad general.alignment', String(alignment).slice(0, 60), 'a power of 2');
  }
  const dataStart = align(cursor.position(), alignment);
  return { metadata, tensors: placeTensors([...entries.values()], dataStart, alignment, fileSize, file), dataStart };
}

function readEntry(cursor: GgufCursor): Entry {
  const name = cursor.string('tensor name', longestName);
  const what = `tensor ${shownName(name)}`;
  const dims = cursor.u32();
  if (dims > mostDims) throw cursor.bad(`${what}: dimensions`, dims, `at most ${mostDims}`);
  const shape: number[] = [];
  let elements = 1;
  for (let i = 0; i < dims; i++) {
    const size = cursor.u64();
    if (size < 1) throw cursor.bad(`${what}: bad shape`, size, 'sizes from 1');
    shape.unshift(size); // the file has the innermost first
    elements *= size;
  }
  if (!Number.isSafeInteger(elements)) throw cursor.bad(`${what}: too large`, `[${shape}]`, 'at most 2^53 elements');
  const typeId = cursor.u32();
  const type = types[typeId];
  const block = type ? blocks[type][0] : 1;
  // I2_S alone runs over the ends of rows
  const unit = type === 'I2_S' ? elements : (shape.at(-1) ?? 1);
  if (unit % block !== 0) throw cursor.bad(`${what}: row of this length`, unit, `a multiple of ${block}`);
  return { name, typeId, shape, elements, offset: cursor.u64() };
}

function align(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}

function bytesOf({ typeId, elements }: Entry, wide: boolean): number | undefined {
  const type = types[typeId];
  if (!type) return undefined;
  const [columns, bytes] = type === 'Q2_0' && wide ? wideQ2Block : blocks[type];
  return Math.ceil(elements / columns) * bytes + (type === 'I2_S' ? i2sTail : 0);
}

/**
 * Begin and end of every tensor. As llama.cpp does, each is wanted where the one before it ends, padded to `alignment`;
 * behind a tensor of an unknown type the next may begin anywhere.
 */
function placeTensors(
  entries: Entry[],
  dataStart: number,
  alignment: number,
  fileSize: number,
  file: string,
): TensorInfo[] {
  entries.sort((a, b) => a.offset - b.offset);
  const wide = hasWideGroups(entries, dataStart, alignment, fileSize);
  let free = 0; // where the next tensor is expected; behind an unknown one, where it may begin at the earliest
  let exact = true;
  return entries.map((entry, i) => {
    const { name, typeId, shape, offset } = entry;
    if (exact ? offset !== free : offset < free || offset % alignment !== 0) {
      const expected = exact ? `offset ${free}` : `at least ${free}`;
      throw new SternaError('bad-file', `tensor ${shownName(name)} leaves a hole or overlaps another`, {
        file,
        got: `offset ${offset}`,
        expected,
      });
    }
    const size = bytesOf(entry, wide);
    exact = size !== undefined;
    const begin = dataStart + offset;
    const end = exact ? begin + size! : dataStart + (entries[i + 1]?.offset ?? Math.max(offset, fileSize - dataStart));
    if (begin > fileSize || end > fileSize)
      throw new SternaError('bad-file', 'truncated', { file, got: fileSize, expected: end });
    free = exact ? align(offset + size!, alignment) : offset;
    return { name, type: types[typeId] ?? `type ${typeId}`, shape, begin, end };
  });
}

/** Whether the Q2_0 tensors have groups of 128: told by the room that one of them has, since the id is the same. */
function hasWideGroups(entries: Entry[], dataStart: number, alignment: number, fileSize: number): boolean {
  for (const [i, entry] of entries.entries()) {
    if (types[entry.typeId] !== 'Q2_0') continue;
    const [narrow, wide] = [bytesOf(entry, false)!, bytesOf(entry, true)!];
    const next = entries[i + 1];
    // The last tensor may end the file unpadded.
    const room = next ? next.offset - entry.offset : fileSize - dataStart - entry.offset;
    if (align(narrow, alignment) === align(wide, alignment)) continue; // too small to tell
    if (entry.elements % 128 === 0 && (next ? room === align(wide, alignment) : room >= wide && room < narrow))
      return true;
    return false;
  }
  return false;
}

const mostFiles = 1000;

/**
 * All files of a model that is split over several, from the name of any of them (llama.cpp's gguf-split:
 * `name-00001-of-00003.gguf`); undefined for any other name.
 */
export function splitNames(path: string): string[] | undefined {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i.exec(path);
  if (!match) return undefined;
  const [index, count] = [Number(match[2]), Number(match[3])];
  if (index < 1 || index > count || count > mostFiles) return undefined;
  const five = (n: number) => String(n).padStart(5, '0');
  return Array.from({ length: count }, (_, i) => `${match[1]}-${five(i + 1)}-of-${five(count)}.gguf`);
}

/**
 * Checks that these headers are the parts of one model, in order; `files` are their names. The first has the metadata.
 * Throws `bad-file` for a part that is missing, out of place or from another model.
 */
export function checkSplits(headers: GgufHeader[], files: string[]): void {
  const names = new Set<string>();
  for (const [i, { metadata, tensors }] of headers.entries()) {
    const file = files[i] ?? '';
    const want = (key: string, expected: number, fallback: number | undefined) => {
      const got = metadata[key] ?? fallback;
      if (got !== expected) throw new SternaError('bad-file', `bad ${key}`, { file, got: String(got), expected });
    };
    // A model in one file need not have the keys.
    want('split.count', headers.length, headers.length === 1 ? 1 : undefined);
    want('split.no', i, headers.length === 1 ? 0 : undefined);
    for (const { name } of tensors) {
      if (names.has(name)) {
        const facts = { file, got: shownName(name), expected: 'each tensor in one file' };
        throw new SternaError('bad-file', 'tensor in two files', facts);
      }
      names.add(name);
    }
  }
  const total = headers[0]?.metadata['split.tensors.count'] ?? names.size;
  if (total !== names.size) {
    const facts = { file: files[0] ?? '', got: names.size, expected: String(total) };
    throw new SternaError('bad-file', 'tensors in all files together', facts);
  }
}
