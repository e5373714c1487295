/** Headers of GGUF files for tests, right or wrong as wanted: nothing is checked. */

const types = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool', 'string', 'array', 'u64', 'i64', 'f64'] as const;
type Scalar = Exclude<(typeof types)[number], 'array'>;
type Value = string | number | boolean | bigint;

/** A metadata entry: key, type, value. */
export type Entry = [key: string, type: Scalar, value: Value] | [key: string, type: `${Scalar}[]`, value: Value[]];

export interface HeaderTensor {
  name: string;
  /** Outermost first; the file gets it reversed. */
  shape: (number | bigint)[];
  typeId: number;
  /** From the start of the data. Default: behind the tensor before, padded to 32. */
  offset?: number;
  /** Bytes of its data; only for the default offsets and the size of the file. */
  bytes: number;
}

export interface HeaderOptions {
  magic?: string;
  version?: number;
  alignment?: number;
  /** Instead of the true counts. */
  counts?: [tensors: number | bigint, entries: number | bigint];
  /** No bytes of the tensors, only the padding in front of them. */
  headerOnly?: boolean;
}

const utf8 = new TextEncoder();

/** A whole file, its data zeros; the last tensor is not padded. */
export function ggufFile(
  entries: Entry[],
  tensors: HeaderTensor[] = [],
  options: HeaderOptions = {},
): Uint8Array<ArrayBuffer> {
  const { alignment = 32 } = options;
  const parts: Uint8Array[] = [];
  const put = (length: number, write: (view: DataView) => void) => {
    const bytes = new Uint8Array(length);
    write(new DataView(bytes.buffer));
    parts.push(bytes);
  };
  const writers: Record<Scalar, (value: Value) => void> = {
    u8: (value) => put(1, (view) => view.setUint8(0, Number(value))),
    i8: (value) => put(1, (view) => view.setInt8(0, Number(value))),
    u16: (value) => put(2, (view) => view.setUint16(0, Number(value), true)),
    i16: (value) => put(2, (view) => view.setInt16(0, Number(value), true)),
    u32: (value) => put(4, (view) => view.setUint32(0, Number(value), true)),
    i32: (value) => put(4, (view) => view.setInt32(0, Number(value), true)),
    f32: (value) => put(4, (view) => view.setFloat32(0, Number(value), true)),
    bool: (value) => put(1, (view) => view.setUint8(0, Number(value))),
    u64: (value) => put(8, (view) => view.setBigUint64(0, BigInt(value), true)),
    i64: (value) => put(8, (view) => view.setBigInt64(0, BigInt(value), true)),
    f64: (value) => put(8, (view) => view.setFloat64(0, Number(value), true)),
    string: (value) => {
      const text = utf8.encode(String(value));
      writers.u64(text.length);
      parts.push(text);
    },
  };
  const typeId = (type: (typeof types)[number]) => writers.u32(types.indexOf(type));

  parts.push(utf8.encode(options.magic ?? 'GGUF'));
  writers.u32(options.version ?? 3);
  const [tensorCount, entryCount] = options.counts ?? [tensors.length, entries.length];
  writers.u64(tensorCount);
  writers.u64(entryCount);
  for (const [key, type, value] of entries) {
    writers.string(key);
    const scalar = type.replace('[]', '') as Scalar;
    if (Array.isArray(value)) {
      typeId('array');
      typeId(scalar);
      writers.u64(value.length);
      for (const one of value) writers[scalar](one);
    } else {
      typeId(scalar);
      writers[scalar](value);
    }
  }
  let free = 0;
  let end = 0;
  for (const { name, shape, typeId, offset = free, bytes } of tensors) {
    writers.string(name);
    writers.u32(shape.length);
    for (const size of [...shape].reverse()) writers.u64(size);
    writers.u32(typeId);
    writers.u64(offset);
    end = Math.max(end, offset + bytes);
    free = align(end, alignment);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new Uint8Array(tensors.length > 0 ? align(length, alignment) + (options.headerOnly ? 0 : end) : length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function align(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}
