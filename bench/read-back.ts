/**
 * Reads checkpoints element by element, straight from the layouts' descriptions: where element e lies is a formula, never
 * a loop over blocks. Slow and plain, to hold writers and loaders against; it shares no code with either.
 */
import type { ByteFile } from './byte-file';
import { type Model, type Part, partsOf } from './families';

export interface ReadTensor {
  type: string;
  /** Row-major, outermost first. */
  shape: number[];
  bytes: Uint8Array<ArrayBuffer>;
}

export interface ReadGguf {
  metadata: Map<string, unknown>;
  tensors: Map<string, ReadTensor>;
}

const decoder = new TextDecoder();

/** An array with `at(i)` at every place. */
function filled<T extends Float32Array | Int8Array>(array: T, at: (i: number) => number): T {
  for (let i = 0; i < array.length; i++) array[i] = at(i);
  return array;
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

export function readSafetensors(file: ByteFile): Map<string, ReadTensor> {
  const dataStart = 8 + Number(viewOf(file.read(0, 8)).getBigUint64(0, true));
  const header = JSON.parse(decoder.decode(file.read(8, dataStart))) as Record<string, unknown>;
  delete header.__metadata__;
  const infos = header as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  return new Map(
    Object.entries(infos).map(([name, { dtype, shape, data_offsets }]) => {
      const [begin, end] = data_offsets;
      return [name, { type: dtype, shape, bytes: file.read(dataStart + begin, dataStart + end) }];
    }),
  );
}

const ggufTypes: Record<number, string> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  8: 'Q8_0',
  12: 'Q4_K',
  14: 'Q6_K',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  36: 'I2_S',
  42: 'Q2_0',
};

/** The tensors of one GGUF file; each reaches to the next one's offset, padding included. */
export function readGguf(file: ByteFile): ReadGguf {
  const headerBytes = file.read(0, Math.min(file.size, 2 ** 24));
  const view = viewOf(headerBytes);
  let at = 24;
  const step = (n: number): number => {
    at += n;
    return at - n;
  };
  const u32 = () => view.getUint32(step(4), true);
  const u64 = () => Number(view.getBigUint64(step(8), true));
  const text = () => {
    const length = u64();
    const begin = step(length);
    return decoder.decode(headerBytes.subarray(begin, at));
  };
  const value = (type: number): unknown => {
    if (type === 2) return view.getUint16(step(2), true);
    if (type === 4) return u32();
    if (type === 5) return view.getInt32(step(4), true);
    if (type === 6) return view.getFloat32(step(4), true);
    if (type === 7) return view.getUint8(step(1)) === 1;
    if (type === 8) return text();
    if (type !== 9) throw new Error(`metadata of type ${type}`);
    const element = u32();
    return Array.from({ length: u64() }, () => value(element));
  };
  if (decoder.decode(headerBytes.subarray(0, 4)) !== 'GGUF' || view.getUint32(4, true) !== 3) {
    throw new Error('not GGUF version 3');
  }
  const [tensorCount, entryCount] = [8, 16].map((place) => Number(view.getBigUint64(place, true))) as [number, number];
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < entryCount; i++) {
    const key = text();
    metadata.set(key, value(u32()));
  }
  const infos = Array.from({ length: tensorCount }, () => {
    const name = text();
    const shape = Array.from({ length: u32() }, u64).reverse();
    return { name, shape, type: ggufTypes[u32()] ?? 'unknown', offset: u64() };
  });
  const dataStart = Math.ceil(at / 32) * 32;
  const tensors = infos.map(({ name, type, shape, offset }, i): [string, ReadTensor] => {
    const next = infos[i + 1]?.offset ?? file.size - dataStart;
    return [name, { type, shape, bytes: file.read(dataStart + offset, dataStart + next) }];
  });
  return { metadata, tensors: new Map(tensors) };
}

/** bfloat16 and half numbers from their 16 bits, by the definition. */
export function fromBf16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 7) & 255;
  const fraction = bits & 127;
  return sign * (exponent === 0 ? fraction * 2 ** -133 : (1 + fraction / 128) * 2 ** (exponent - 127));
}

function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Element `e` of a float tensor, exactly; block types as ggml's dequantize_row_* of them. */
function floatAt(type: string, view: DataView, e: number): number {
  const half = (at: number) => fromF16(view.getUint16(at, true));
  switch (type) {
    case 'F32':
      return view.getFloat32(4 * e, true);
    case 'F16':
      return half(2 * e);
    case 'BF16':
      return fromBf16(view.getUint16(2 * e, true));
    case 'Q8_0': {
      const block = 34 * Math.floor(e / 32);
      return Math.fround(view.getInt8(block + 2 + (e % 32)) * half(block));
    }
    case 'Q4_0': {
      const block = 18 * Math.floor(e / 32);
      const code = (view.getUint8(block + 2 + (e % 16)) >> (e % 32 < 16 ? 0 : 4)) & 15;
      return Math.fround((code - 8) * half(block));
    }
    case 'Q4_K': {
      const block = 144 * Math.floor(e / 256);
      const i = e % 256;
      const r = i >> 5; // run of 32
      const byte = (k: number) => view.getUint8(block + 4 + k);
      const scale = r < 4 ? byte(r) & 63 : (byte(r + 4) & 15) + 16 * (byte(r - 4) >> 6);
      const least = r < 4 ? byte(r + 4) & 63 : (byte(r + 4) >> 4) + 16 * (byte(r) >> 6);
      const code = (view.getUint8(block + 16 + 32 * (r >> 1) + (i % 32)) >> (4 * (r % 2))) & 15;
      const product = Math.fround(Math.fround(half(block) * scale) * code);
      return Math.fround(product - Math.fround(half(block + 2) * least));
    }
    case 'Q6_K': {
      const block = 210 * Math.floor(e / 256);
      const i = e % 256;
      const h = i >> 7; // half
      const r = (i % 128) >> 5; // run of 32
      const l = i % 32; // place in the run
      const low = (view.getUint8(block + 64 * h + l + (r % 2) * 32) >> (r < 2 ? 0 : 4)) & 15;
      const high = (view.getUint8(block + 128 + 32 * h + l) >> (2 * r)) & 3;
      const step = Math.fround(half(block + 208) * view.getInt8(block + 192 + (i >> 4)));
      return Math.fround(step * (low + 16 * high - 32));
    }
  }
  throw new Error(`${type} is no float type known here`);
}

/** All numbers of a float tensor as float32, exactly. */
export function floatsOf({ type, shape, bytes }: ReadTensor): Float32Array<ArrayBuffer> {
  const view = viewOf(bytes);
  return filled(new Float32Array(shape.reduce((a, b) => a * b, 1)), (e) => floatAt(type, view, e));
}

export interface ReadMatrix {
  rows: number;
  cols: number;
  /** -1, 0, +1; a code 3 would be 2. */
  trits: Int8Array;
  /** Columns to one scale; 0: one scale a matrix. */
  group: number;
  /** f32[rows, cols / group], or f32[1]. */
  scales: Float32Array;
}

/** Trit of element `e` of a GGUF ternary tensor. `block` of I2_S: 128 as x86 writes it, 64 as ARM does. */
function tritAt(type: string, bytes: Uint8Array, e: number, block: number): number {
  switch (type) {
    case 'I2_S': {
      const quarter = block / 4;
      const j = e % block;
      const byte = bytes[Math.floor(e / block) * quarter + (j % quarter)]!;
      return ((byte >> (6 - 2 * Math.floor(j / quarter))) & 3) - 1;
    }
    case 'TQ2_0': {
      const h = (e % 256) >> 7;
      const j = e % 128;
      const byte = bytes[66 * Math.floor(e / 256) + 32 * h + (j % 32)]!;
      return ((byte >> (2 * (j >> 5))) & 3) - 1;
    }
    case 'TQ1_0': {
      // bytes 0..31 hold elements 0..159, bytes 32..47 elements 160..239, bytes 48..51 elements 240..255
      const i = e % 256;
      const from = i < 160 ? 0 : i < 240 ? 160 : 240;
      const to = i < 160 ? 0 : i < 240 ? 32 : 48;
      const width = i < 160 ? 32 : i < 240 ? 16 : 4;
      const byte = bytes[54 * Math.floor(e / 256) + to + ((i - from) % width)]!;
      const shifted = (byte * 3 ** Math.floor((i - from) / width)) & 255;
      return ((shifted * 3) >> 8) - 1;
    }
    case 'Q2_0': {
      const j = e % block;
      const byte = bytes[(block / 4 + 2) * Math.floor(e / block) + 2 + (j >> 2)]!;
      return ((byte >> (2 * (j % 4))) & 3) - 1;
    }
  }
  throw new Error(`${type} is no ternary type known here`);
}

/** A ternary tensor of a GGUF file. TQ types whose blocks all have one scale count as without groups. `arm`: its I2_S came from an ARM build. */
function matrixOf({ type, shape, bytes }: ReadTensor, arm = false): ReadMatrix {
  const [rows = 0, cols = 0] = shape;
  const view = viewOf(bytes);
  const size = rows * cols;
  // Q2_0 does not say its group: 18 bytes hold 64 weights, 34 bytes hold 128; padded to a multiple of 32
  const group = type !== 'Q2_0' ? 0 : Math.ceil((size * 18) / 64 / 32) * 32 === bytes.length ? 64 : 128;
  const block = type === 'I2_S' ? (arm ? 64 : 128) : group;
  const trits = filled(new Int8Array(size), (e) => tritAt(type, bytes, e, block));
  const scaleAt = (i: number): number => {
    if (type === 'I2_S') return view.getFloat32(size / 4, true);
    if (type === 'TQ2_0') return fromF16(view.getUint16(66 * i + 64, true));
    if (type === 'TQ1_0') return fromF16(view.getUint16(54 * i + 52, true));
    return fromF16(view.getUint16((group / 4 + 2) * i, true));
  };
  const count = type === 'I2_S' ? 1 : size / (group || 256);
  const scales = filled(new Float32Array(count), scaleAt);
  if (group > 0) return { rows, cols, trits, group, scales };
  if (scales.some((scale) => scale !== scales[0])) return { rows, cols, trits, group: 256, scales };
  return { rows, cols, trits, group: 0, scales: scales.slice(0, 1) };
}

/** A packed matrix: byte (r, k) holds rows r, r + rows / 4, ..., lowest bits first. */
function packedMatrix(weight: ReadTensor, scale: ReadTensor, divides: boolean): ReadMatrix {
  const [byteRows = 0, cols = 0] = weight.shape;
  const at = (e: number) => {
    const row = Math.floor(e / cols);
    const byte = weight.bytes[(row % byteRows) * cols + (e % cols)]!;
    return ((byte >> (2 * Math.floor(row / byteRows))) & 3) - 1;
  };
  const trits = filled(new Int8Array(4 * byteRows * cols), at);
  const stored = floatsOf(scale)[0]!;
  return { rows: 4 * byteRows, cols, trits, group: 0, scales: Float32Array.of(divides ? 1 / stored : stored) };
}

/** Absmean quantisation, in float64: m = max(mean|w|, 1e-5), trit = round(w / m) clamped, ties to even. */
function masterMatrix(weight: ReadTensor): ReadMatrix {
  const [rows = 0, cols = 0] = weight.shape;
  const values = floatsOf(weight);
  const mean = Math.max(values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length, 1e-5);
  // a tie, 0.5, goes to 0, which is even
  const tritOf = (value: number) => (Math.abs(value / mean) > 0.5 ? Math.sign(value) : 0);
  const trits = filled(new Int8Array(values.length), (e) => tritOf(values[e]!));
  return { rows, cols, trits, group: 0, scales: Float32Array.of(mean) };
}

export type ReadPart = ReadMatrix | { floats: Float32Array };

/** The rows of a matrix of arch llama in HF order: row i of a head lies at 2 (i mod d/2) + floor(i / (d/2)). */
function inHfOrder(matrix: ReadMatrix, heads: number): ReadMatrix {
  const { rows, cols, trits, scales, group } = matrix;
  const half = rows / heads / 2;
  const groups = group === 0 ? 0 : cols / group;
  const [ordered, orderedScales] = [trits.slice(), scales.slice()];
  for (let row = 0; row < rows; row++) {
    const i = row % (2 * half);
    const from = row - i + 2 * (i % half) + Math.floor(i / half);
    ordered.set(trits.subarray(from * cols, (from + 1) * cols), row * cols);
    orderedScales.set(scales.subarray(from * groups, (from + 1) * groups), row * groups);
  }
  return { ...matrix, trits: ordered, scales: orderedScales };
}

const numbered = (files: Record<string, ByteFile>, ending: string): ByteFile[] =>
  Object.keys(files)
    .filter((path) => path.endsWith(ending))
    .sort()
    .map((path) => files[path]!);

/**
 * Every part of a model, by its HF name, from a repository in any form. `arm`: I2_S in the byte order of ARM builds.
 * Throws for a tensor that is missing, is there twice, or does not have the part's shape.
 */
export function readRepository(files: Record<string, ByteFile>, model: Model, arm = false): Map<string, ReadPart> {
  const ggufs = numbered(files, '.gguf').map(readGguf);
  const tensors = new Map<string, ReadTensor>();
  for (const file of [...numbered(files, '.safetensors').map(readSafetensors), ...ggufs.map((gguf) => gguf.tensors)]) {
    for (const [name, tensor] of file) {
      if (tensors.has(name)) throw new Error(`${name} is there twice`);
      tensors.set(name, tensor);
    }
  }
  const need = (name: string): ReadTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${name} is missing`);
    return tensor;
  };
  const configFile = files['config.json'];
  const config = configFile ? JSON.parse(decoder.decode(configFile.read(0, configFile.size))) : {};
  const divides = (config.quantization_config?.linear_class ?? 'bitlinear') === 'bitlinear';
  const arch = ggufs[0]?.metadata.get('general.architecture');
  const fromGguf = (part: Part): ReadPart => {
    const weight = need(`${part.gguf}.weight`);
    if (part.kind !== 'linear') return { floats: floatsOf(weight) };
    const matrix = matrixOf(weight, arm);
    const own = tensors.get(`${part.gguf}.scale`);
    const scaled = own ? { ...matrix, scales: matrix.scales.map((scale) => scale * floatsOf(own)[0]!) } : matrix;
    return part.heads > 0 && (arch === 'llama' || arch === 'minicpm') ? inHfOrder(scaled, part.heads) : scaled;
  };
  const fromHf = (part: Part): ReadPart => {
    const weight = need(`${part.hf}.weight`);
    if (part.kind !== 'linear') return { floats: floatsOf(weight) };
    if (weight.type !== 'U8') return masterMatrix(weight);
    return packedMatrix(weight, need(`${part.hf}.weight_scale`), divides);
  };
  return new Map(
    partsOf(model).map((part) => {
      const read = ggufs.length > 0 ? fromGguf(part) : fromHf(part);
      const size = 'trits' in read ? read.trits.length : read.floats.length;
      if (size !== part.rows * part.cols) throw new Error(`${part.hf} has ${size} elements`);
      return [part.hf, read];
    }),
  );
}
