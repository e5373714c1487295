/** Files that are made while they are read, so that one of 5 GB needs neither memory nor disk. */

export interface ByteFile {
  size: number;
  /** Bytes `from` to `to` (exclusive), in a buffer of their own. The same bytes each time. Throws if out of range. */
  read(from: number, to: number): Uint8Array<ArrayBuffer>;
}

/** A tensor as its file has it: units (rows, mostly) that can be made in any order, then perhaps a tail. */
export interface TensorBytes {
  name: string;
  type: string;
  /** Row-major, outermost first. */
  shape: number[];
  units: number;
  unitBytes: number;
  /** Writes unit `unit` to `out`, u8[unitBytes] at the start of a buffer. */
  make(unit: number, out: Uint8Array): void;
  tail?: Uint8Array;
}

export interface PlacedTensor extends TensorBytes {
  begin: number; // offset in the file
}

export const bytesOf = ({ units, unitBytes, tail }: TensorBytes): number => units * unitBytes + (tail?.length ?? 0);

function checkRange(from: number, to: number, size: number): void {
  if (from < 0 || to < from || to > size) throw new RangeError(`bytes ${from} to ${to} of a file of ${size}`);
}

/** A file that is in memory. */
export function fileOfBytes(bytes: Uint8Array): ByteFile {
  const read = (from: number, to: number) => {
    checkRange(from, to, bytes.length);
    return new Uint8Array(bytes.subarray(from, to));
  };
  return { size: bytes.length, read };
}

/** A file of JSON, or of text. */
export function fileOfJson(value: unknown): ByteFile {
  return fileOfBytes(new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value, null, 2)));
}

/** A header, then tensors, each at its place; bytes between them are 0. */
export function fileOfTensors(header: Uint8Array, tensors: PlacedTensor[], size: number): ByteFile {
  let unit = new Uint8Array(0);
  let made: [PlacedTensor, number] | undefined; // what is in `unit`: a range most often begins where another ended
  /** Copies the part of a stretch of the file that the wanted range covers. */
  const copy = (bytes: Uint8Array, at: number, out: Uint8Array, from: number) => {
    const begin = Math.max(at, from);
    const end = Math.min(at + bytes.length, from + out.length);
    if (begin < end) out.set(bytes.subarray(begin - at, end - at), begin - from);
  };
  const read = (from: number, to: number) => {
    checkRange(from, to, size);
    const out = new Uint8Array(to - from);
    copy(header, 0, out, from);
    for (const tensor of tensors) {
      const { begin, units, unitBytes, tail } = tensor;
      if (begin >= to || begin + bytesOf(tensor) <= from) continue;
      const first = Math.max(0, Math.floor((from - begin) / unitBytes));
      const last = Math.min(units, Math.ceil((to - begin) / unitBytes));
      for (let i = first; i < last; i++) {
        if (made?.[0] !== tensor || made[1] !== i) {
          if (unit.length !== unitBytes) unit = new Uint8Array(unitBytes);
          tensor.make(i, unit);
          made = [tensor, i];
        }
        copy(unit, begin + i * unitBytes, out, from);
      }
      if (tail) copy(tail, begin + units * unitBytes, out, from);
    }
    return out;
  };
  return { size, read };
}

/** The bytes of a file, or of a range of it, in pieces of at most 1 MB. */
export function* pieces(file: ByteFile, from = 0, to = file.size): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = from; at < to; at += 2 ** 20) yield file.read(at, Math.min(at + 2 ** 20, to));
}
