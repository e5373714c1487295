import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';
import type { TensorInfo } from './tensors';

/** Bytes of one element of each data type that the format knows in whole bytes. */
const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
} as const;

/** What a safetensors file says about itself. */
export interface SafetensorsHeader {
  /** In the order of their data. Together they cover the data without gap or overlap. */
  tensors: TensorInfo[];
  /** File offset of the data: the 8 bytes of the header's length and the header itself. */
  dataStart: number;
  metadata: Map<string, string>;
}

const prefixBytes = 8;
const mostHeaderBytes = 100_000_000;
const mostTensors = 100_000;
const mostDims = 8;

function bad(file: string, message: string, got: string | number, expected: string | number): SternaError {
  return new SternaError('bad-file', message, { file, got, expected });
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Bytes of the JSON header, from the first 8 bytes of a file of `fileSize` bytes. Throws `bad-file`. */
function headerBytes(bytes: Uint8Array, fileSize: number, file: string): number {
  if (bytes.length < prefixBytes || fileSize < prefixBytes) {
    throw bad(file, 'too short to be safetensors', Math.min(bytes.length, fileSize), `at least ${prefixBytes} bytes`);
  }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, prefixBytes).getBigUint64(0, true));
  const most = Math.min(mostHeaderBytes, fileSize - prefixBytes);
  if (length < 2 || length > most) throw bad(file, 'bad header length', length, `2 to ${most}`);
  return length;
}

/**
 * How many bytes from the beginning of the file `parseHeader` wants, from the bytes that are there: at least 8.
 * @throws SternaError `bad-file`
 */
export function headerEnd(bytes: Uint8Array, fileSize: number, file: string): number {
  return prefixBytes + headerBytes(bytes, fileSize, file);
}

/**
 * Parses the header of a safetensors file (https://github.com/huggingface/safetensors, "Format") and checks it whole:
 * every tensor's bytes match its type and shape, and the tensors fill the file to its last byte, so a truncated file is
 * found out before any weight is read. `bytes` is the file's beginning, with all of the header; `fileSize` its size;
 * `file` its name in errors. Throws `bad-file`.
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  const dataStart = headerEnd(bytes, fileSize, file);
  if (bytes.length < dataStart) throw bad(file, 'header cut short', bytes.length, dataStart);
  const json = parseJson(bytes.subarray(prefixBytes, dataStart), file);
  const metadata = new Map<string, string>();
  const tensors: TensorInfo[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== '__metadata__') {
      if (tensors.push(readTensor(name, value, dataStart, file)) > mostTensors) {
        throw bad(file, 'too many tensors', Object.keys(json).length, `at most ${mostTensors}`);
      }
      continue;
    }
    if (!isObject(value)) throw bad(file, 'bad __metadata__', shown(value), 'an object of strings');
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') throw bad(file, 'bad __metadata__', shown(text), 'an object of strings');
      metadata.set(key, text);
    }
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  for (const { name, begin, end: next } of tensors) {
    if (begin !== end) {
      const what = `tensor ${name.slice(0, 100)} leaves a hole or overlaps another`;
      throw bad(file, what, begin - dataStart, end - dataStart);
    }
    end = next;
  }
  if (end > fileSize) throw bad(file, 'truncated', fileSize, end);
  if (end < fileSize) throw bad(file, 'more bytes than its tensors have', fileSize, end);
  return { tensors, dataStart, metadata };
}

function parseJson(bytes: Uint8Array, file: string): Json {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw bad(file, 'bad header', `${error}`.slice(0, 100), 'JSON');
  }
  // The format wants the brace in the first byte; blanks may follow the object, not precede it.
  if (!isObject(json) || bytes[0] !== 0x7b) throw bad(file, 'bad header', shown(json), 'a JSON object');
  return json;
}

function readTensor(name: string, value: unknown, dataStart: number, file: string): TensorInfo {
  const what = `tensor ${name.slice(0, 100)}`;
  if (!isObject(value)) throw bad(file, what, shown(value), 'an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    throw bad(file, `${what}: bad dtype`, shown(dtype), Object.keys(elementBytes).join(' '));
  }
  if (!Array.isArray(shape) || shape.length > mostDims || !shape.every(isSize)) {
    throw bad(file, `${what}: bad shape`, shown(shape), `at most ${mostDims} sizes`);
  }
  const [begin, end] = Array.isArray(offsets) && offsets.length === 2 ? (offsets as unknown[]) : [];
  if (!isSize(begin) || !isSize(end) || begin > end) {
    throw bad(file, `${what}: bad data_offsets`, shown(offsets), 'begin and end');
  }
  let size: number = elementBytes[dtype as keyof typeof elementBytes];
  for (const dim of shape) size *= dim;
  // A product beyond 2^53 may have lost bits, but not its size: it cannot equal a difference of safe integers.
  if (size !== end - begin) throw bad(file, `${what}: bytes do not match dtype and shape`, end - begin, size);
  return { name, type: dtype, shape, begin: dataStart + begin, end: dataStart + end };
}
