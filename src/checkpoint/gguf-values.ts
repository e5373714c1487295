/** Numbers, texts and arrays as GGUF writes them: little-endian, lengths first. The beginning of a file is enough. */
import { SternaError } from '../errors';

/** Arrays of numbers of up to 32 bits and floats keep their type; booleans are bytes, 64-bit integers Float64Array. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

export type GgufValue = string | number | boolean | string[] | GgufNumbers;

/** Thrown where the bytes at hand end but the file does not: `needs` bytes of the file would do to go on. */
export class NeedsMore {
  readonly needs: number;
  constructor(needs: number) {
    this.needs = needs;
  }
}

/** Real headers are about 10 MB: vocabulary and merges. */
const mostHeaderBytes = 100_000_000;

/** Value types by their id (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "gguf_metadata_value_type"). */
const arrays = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Uint8Array, // bool
] as const;
const [uint8, int8, uint16, int16, uint32, int32, float32, bool, text, array, uint64, int64, float64] =
  Array(13).keys();

export type GgufCursor = ReturnType<typeof createCursor>;

/**
 * Reads `bytes`, the beginning of a file of `fileSize` bytes, front to back. Every method throws `bad-file` where the
 * file is damaged and `NeedsMore` where more of it is needed. Nothing is allocated for a length before the bytes that
 * it stands for are there.
 */
export function createCursor(bytes: Uint8Array, fileSize: number, file: string) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const most = Math.min(fileSize, mostHeaderBytes);
  let at = 0;

  function bad(message: string, got: string | number, expected: string | number): SternaError {
    return new SternaError('bad-file', message, { file, got, expected });
  }

  /** The place of the next `length` bytes, which the reader moves behind. */
  function take(length: number): number {
    const begin = at;
    const end = begin + length;
    if (end > most) {
      if (fileSize < mostHeaderBytes) throw bad('truncated', fileSize, `at least ${end} bytes`);
      throw bad('header too long', `at least ${end} bytes`, `at most ${mostHeaderBytes}`);
    }
    if (end > bytes.length) throw new NeedsMore(end);
    at = end;
    return begin;
  }

  const u32 = (): number => view.getUint32(take(4), true);

  /** A 64-bit integer; beyond 2^53 no number is exact, and none is meant. */
  function long(signed: boolean): number {
    const begin = take(8);
    const high = signed ? view.getInt32(begin + 4, true) : view.getUint32(begin + 4, true);
    const value = high * 2 ** 32 + view.getUint32(begin, true);
    if (!Number.isSafeInteger(value)) throw bad('number too large', value, 'at most 2^53');
    return value;
  }
  const u64 = (): number => long(false);

  function string(what: string, longest: number): string {
    const length = u64();
    if (length > longest) throw bad(`${what} too long`, `${length} bytes`, `at most ${longest}`);
    const begin = take(length);
    return utf8.decode(bytes.subarray(begin, at));
  }

  /** Walks the lengths first, so that a half-read vocabulary leaves no garbage. */
  function strings(count: number): string[] {
    const begin = at;
    for (let left = count; left > 0; left--) {
      if (at + 8 * left > bytes.length) take(8 * left); // throws
      take(u64());
    }
    return decodeStrings(view, begin, count);
  }

  function elements(): GgufValue {
    const type = u32();
    const count = u64();
    if (type === text) return strings(count);
    if (type === uint64 || type === int64) {
      if (at + 8 * count > bytes.length) take(8 * count); // throws
      return Float64Array.from({ length: count }, () => long(type === int64));
    }
    const Type = type === float64 ? Float64Array : arrays[type];
    if (!Type) throw bad('bad array', `elements of type ${type}`, 'numbers, booleans or strings');
    const begin = take(count * Type.BYTES_PER_ELEMENT);
    const copy = new Type(count); // the file may have it unaligned
    new Uint8Array(copy.buffer).set(bytes.subarray(begin, at));
    return copy;
  }

  function value(): GgufValue {
    const type = u32();
    switch (type) {
      case uint8:
        return view.getUint8(take(1));
      case int8:
        return view.getInt8(take(1));
      case uint16:
        return view.getUint16(take(2), true);
      case int16:
        return view.getInt16(take(2), true);
      case uint32:
        return u32();
      case int32:
        return view.getInt32(take(4), true);
      case float32:
        return view.getFloat32(take(4), true);
      case bool:
        return view.getUint8(take(1)) !== 0;
      case text:
        return string('text', mostHeaderBytes);
      case array:
        return elements();
      case uint64:
      case int64:
        return long(type === int64);
      case float64:
        return view.getFloat64(take(8), true);
      default:
        throw bad('bad value', `type ${type}`, 'a type from 0 to 12');
    }
  }

  return { bad, u32, u64, string, value, position: () => at };
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
const batchBytes = 16_384;

/**
 * `count` strings, each behind its length, from `at` on; all of them are there. A call of TextDecoder takes about a
 * microsecond, too long for 400,000 tokens and merges, so they are decoded in batches and cut apart.
 */
function decodeStrings(view: DataView, at: number, count: number): string[] {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const all = new Array<string>(count);
  const widths = new Uint16Array(count); // UTF-16 units of each string
  const batch = new Uint8Array(batchBytes);
  let used = 0;
  let cut = 0; // strings that are done
  try {
    for (let i = 0, next = at; i <= count; i++) {
      const length = i < count ? view.getUint32(next, true) : Number.POSITIVE_INFINITY;
      if (used + length > batchBytes) {
        const text = strict.decode(batch.subarray(0, used));
        for (let from = 0; cut < i; cut++) {
          all[cut] = text.slice(from, from + widths[cut]!);
          from += widths[cut]!;
        }
        used = 0;
        if (i === count) return all;
      }
      next += 8;
      if (length > batchBytes || (length > 0 && isInside(bytes[next]!))) break;
      for (const end = next + length; next < end; next++) {
        const byte = bytes[next]!;
        batch[used++] = byte;
        // a character begins here; those of four bytes are two units
        if (!isInside(byte)) widths[i]! += byte < 0xf0 ? 1 : 2;
      }
    }
  } catch {
    // not UTF-8
  }
  // Long texts, or bytes that are no characters: one by one, with U+FFFD where needed.
  for (let i = 0; i < count; i++) {
    const begin = at + 8;
    at = begin + view.getUint32(at, true);
    all[i] = utf8.decode(bytes.subarray(begin, at));
  }
  return all;
}

/** Whether this byte goes on with a character that an earlier one began. */
function isInside(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
