/**
 * A model as GGUF version 3 (ggml's docs/gguf.md), in one file or split as llama-gguf-split does. Metadata keys and tensor
 * names as llama.cpp's converter and bitnet.cpp's write them.
 */
import { type ByteFile, bytesOf, fileOfTensors, type PlacedTensor, type TensorBytes } from './byte-file';
import { type FloatType, floatTensor } from './encode-floats';
import { encodeI2S, encodeQ2, encodeTQ1, encodeTQ2 } from './encode-ternary';
import { type Model, minicpm, type Part, partsOf, scaleOf, type Weights } from './families';
import { type TokenizerFiles, tokenizerEntries } from './gguf-tokenizer';
import { cutTensors, partName } from './parts';

export interface GgufOptions {
  /** i2_s-arm: the byte order of ARM builds. q2_0-64, q2_0-128: mainline's group and PrismML's. */
  ternary: 'i2_s' | 'i2_s-arm' | 'tq1_0' | 'tq2_0' | 'q2_0-64' | 'q2_0-128';
  /** Type of embedding and lm_head where they are not ternary. Norms are always F32. */
  floats: FloatType;
  /** More than one: split, NAME-00001-of-0000N.gguf. */
  parts: number;
  /** File name without ending. */
  name: string;
  /** general.architecture. Default by family. */
  arch?: string;
  /** Multipliers in tensors of their own (`.scale`), 1 in the matrices: old files of arch bitnet. */
  scaleTensors?: boolean;
  tokenizer?: TokenizerFiles;
  /** tokenizer.ggml.pre; null: none. Default by family. */
  pre?: string | null;
  /** Metadata and tensors beside those of the family. */
  more?: { metadata: Entry[]; tensors: TensorBytes[] };
}

/** A metadata entry: key, type, value. */
export type Entry =
  | [string, 'u16' | 'u32' | 'i32' | 'f32', number]
  | [string, 'bool', boolean]
  | [string, 'string', string]
  | [string, 'i32[]', number[]]
  | [string, 'string[]', string[]];

const valueTypes = { u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, 'i32[]': 9, 'string[]': 9 };

/** ggml_type; 36 is bitnet.cpp's. */
const tensorTypes = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q8_0: 8,
  Q4_K: 12,
  Q6_K: 14,
  BF16: 30,
  TQ1_0: 34,
  TQ2_0: 35,
  I2_S: 36,
  Q2_0: 42,
};
type GgufType = keyof typeof tensorTypes;

/** general.file_type (llama_ftype); 40 is bitnet.cpp's I2_S. */
const fileTypes = { i2_s: 40, 'i2_s-arm': 40, tq1_0: 36, tq2_0: 37, 'q2_0-64': 41, 'q2_0-128': 41 };

const alignment = 32;
const align = (n: number): number => alignment * Math.ceil(n / alignment);

/** Little-endian bytes, in a buffer that grows. */
class Bytes {
  bytes = new Uint8Array(2 ** 16);
  length = 0;

  /** Appends `n` bytes, which `put` writes. */
  private append(n: number, put: (view: DataView, at: number) => void): void {
    if (this.length + n > this.bytes.length) {
      const wider = new Uint8Array(2 * (this.length + n));
      wider.set(this.bytes);
      this.bytes = wider;
    }
    put(new DataView(this.bytes.buffer), this.length);
    this.length += n;
  }
  u16 = (value: number) => this.append(2, (view, at) => view.setUint16(at, value, true));
  u32 = (value: number) => this.append(4, (view, at) => view.setUint32(at, value, true));
  i32 = (value: number) => this.append(4, (view, at) => view.setInt32(at, value, true));
  u64 = (value: number) => this.append(8, (view, at) => view.setBigUint64(at, BigInt(value), true));
  f32 = (value: number) => this.append(4, (view, at) => view.setFloat32(at, value, true));
  bool = (value: boolean) => this.append(1, (view, at) => view.setUint8(at, value ? 1 : 0));
  string = (value: string) => {
    const text = new TextEncoder().encode(value);
    this.u64(text.length);
    this.append(text.length, (_, at) => this.bytes.set(text, at));
  };
}

function putEntry(to: Bytes, [key, type, value]: Entry): void {
  to.string(key);
  to.u32(valueTypes[type]);
  switch (type) {
    case 'bool':
      to.bool(value);
      break;
    case 'i32[]':
      to.u32(valueTypes.i32);
      to.u64(value.length);
      for (const one of value) to.i32(one);
      break;
    case 'string[]':
      to.u32(valueTypes.string);
      to.u64(value.length);
      for (const one of value) to.string(one);
      break;
    case 'string':
      to.string(value);
      break;
    default:
      to[type](value);
  }
}

/** general.architecture that a converter gives the family. */
function archOf({ family, gate }: Model): string {
  if (family === 'bitnet') return gate === 'relu2' ? 'bitnet-b1.58' : 'bitnet';
  return family === '1bitllm' ? 'bitnet' : family;
}

const preTokenizers = {
  bitnet: 'llama-bpe',
  '1bitllm': 'default',
  llama: 'llama-bpe',
  qwen3: 'qwen2',
  minicpm: 'default',
};

function metadataOf(model: Model, arch: string, options: GgufOptions): Entry[] {
  const { family, hidden, heads, headDim, layers } = model;
  const headSizes: Entry[] = [
    [`${arch}.attention.key_length`, 'u32', headDim],
    [`${arch}.attention.value_length`, 'u32', headDim],
  ];
  const multipliers: Entry[] = [
    [`${arch}.embedding_scale`, 'f32', minicpm.scale_emb],
    [`${arch}.residual_scale`, 'f32', minicpm.scale_depth / Math.sqrt(layers)],
    [`${arch}.logit_scale`, 'f32', hidden / minicpm.dim_model_base],
  ];
  return [
    ['general.architecture', 'string', arch],
    ['general.name', 'string', 'synthetic ternary'],
    ['general.file_type', 'u32', fileTypes[options.ternary]],
    ['general.quantization_version', 'u32', 2],
    [`${arch}.vocab_size`, 'u32', model.vocab],
    [`${arch}.context_length`, 'u32', model.maxPositions],
    [`${arch}.embedding_length`, 'u32', hidden],
    [`${arch}.block_count`, 'u32', layers],
    [`${arch}.feed_forward_length`, 'u32', model.ffn],
    [`${arch}.rope.dimension_count`, 'u32', headDim],
    [`${arch}.attention.head_count`, 'u32', heads],
    [`${arch}.attention.head_count_kv`, 'u32', model.kvHeads],
    [`${arch}.attention.layer_norm_rms_epsilon`, 'f32', model.rmsNormEps],
    [`${arch}.rope.freq_base`, 'f32', model.ropeTheta],
    ...(family === 'qwen3' || heads * headDim !== hidden ? headSizes : []),
    ...(family === 'minicpm' ? multipliers : []),
    ...tokenizerEntries(model, options.tokenizer, options.pre === undefined ? preTokenizers[family] : options.pre),
  ];
}

/**
 * The row of the HF matrix at row `row` of the GGUF. Architectures with interleaved RoPE pairs (2i, 2i + 1) have the rows
 * of each query and key head in that order; the HF pairs are (i, i + headDim / 2).
 */
function sourceRow({ rows, heads }: Part, row: number): number {
  const headDim = rows / heads;
  const at = row % headDim;
  return row - at + (at % 2) * (headDim / 2) + Math.floor(at / 2);
}

function ternaryTensor(weights: Weights, part: Part, arch: string, options: GgufOptions): TensorBytes[] {
  const { rows, cols, gguf } = part;
  const { group } = weights.model;
  const { ternary } = options;
  const [block, blockBytes, type] = {
    i2_s: [128, 32, 'I2_S'],
    'i2_s-arm': [128, 32, 'I2_S'],
    tq1_0: [256, 54, 'TQ1_0'],
    tq2_0: [256, 66, 'TQ2_0'],
    'q2_0-64': [64, 18, 'Q2_0'],
    'q2_0-128': [128, 34, 'Q2_0'],
  }[ternary] as [number, number, GgufType];
  // blocks of I2_S alone run on from row to row: a unit is as many rows as make whole ones
  let unitRows = 1;
  while (type === 'I2_S' && (unitRows * cols) % block !== 0) unitRows *= 2;
  if (type === 'I2_S' ? rows % unitRows !== 0 : cols % block !== 0) {
    const wanted = type === 'I2_S' ? `${rows} rows of ${cols} columns are` : `${cols} columns are`;
    throw new Error(`${gguf}: ${wanted} not a multiple of ${block}, as ${type} needs`);
  }
  if (group !== 0 && (type === 'I2_S' || group % block !== 0 || cols % group !== 0)) {
    throw new Error(`${gguf}: scales to ${group} of ${cols} columns do not fit ${ternary}`);
  }
  const interleaved = part.heads > 0 && (arch === 'llama' || arch === 'minicpm');
  const codes = new Uint8Array(unitRows * cols);
  const given = new Float32Array(group === 0 ? 1 : cols / group);
  const scales = new Float32Array(Math.floor(cols / block)); // of the blocks
  const make = (unit: number, out: Uint8Array) => {
    let from = 0;
    for (let i = 0; i < unitRows; i++) {
      const row = unit * unitRows + i;
      from = interleaved ? sourceRow(part, row) : row;
      weights.codes(part, from, codes.subarray(i * cols, (i + 1) * cols));
    }
    weights.scales(part, from, given);
    for (let i = 0; i < scales.length; i++) scales[i] = given[group === 0 ? 0 : Math.floor((i * block) / group)]!;
    if (options.scaleTensors) scales.fill(1);
    if (type === 'I2_S') encodeI2S(codes, ternary === 'i2_s' ? 128 : 64, out);
    else if (type === 'TQ1_0') encodeTQ1(codes, scales, out);
    else if (type === 'TQ2_0') encodeTQ2(codes, scales, out);
    else encodeQ2(codes, ternary === 'q2_0-64' ? 64 : 128, scales, out);
  };
  const unitBytes = ((unitRows * cols) / block) * blockBytes;
  const tensor = { name: `${gguf}.weight`, type, shape: [rows, cols], units: rows / unitRows, unitBytes, make };
  const own = group === 0 ? scaleOf(weights, part) : 0;
  const tail = new Uint8Array(32);
  new Float32Array(tail.buffer)[0] = options.scaleTensors ? 1 : own;
  const made: TensorBytes[] = [type === 'I2_S' ? { ...tensor, tail } : tensor];
  if (options.scaleTensors) made.push(floatTensor(`${gguf}.scale`, 'F32', [1], (_, out) => out.fill(own)));
  return made;
}

function tensorsOf(weights: Weights, arch: string, options: GgufOptions): TensorBytes[] {
  return partsOf(weights.model).flatMap((part) => {
    if (part.kind === 'linear') return ternaryTensor(weights, part, arch, options);
    const shape = part.kind === 'gain' ? [part.cols] : [part.rows, part.cols];
    const type = part.kind === 'gain' ? 'F32' : options.floats;
    return [floatTensor(`${part.gguf}.weight`, type, shape, (row, out) => weights.floats(part, row, out))];
  });
}

function fileOf(metadata: Entry[], tensors: TensorBytes[]): ByteFile {
  const header = new Bytes();
  header.u32(0x46554747); // "GGUF"
  header.u32(3);
  header.u64(tensors.length);
  header.u64(metadata.length);
  for (const entry of metadata) putEntry(header, entry);
  let offset = 0;
  const offsets = tensors.map((tensor) => {
    const at = offset;
    header.string(tensor.name);
    header.u32(tensor.shape.length);
    for (const size of [...tensor.shape].reverse()) header.u64(size);
    header.u32(tensorTypes[tensor.type as GgufType]);
    header.u64(at);
    offset = align(at + bytesOf(tensor));
    return at;
  });
  const dataStart = align(header.length);
  const placed = tensors.map((tensor, i): PlacedTensor => ({ ...tensor, begin: dataStart + offsets[i]! }));
  return fileOfTensors(header.bytes.slice(0, header.length), placed, dataStart + offset);
}

/** The GGUF files of a model. Throws for types that do not fit its widths or its groups. */
export function ggufFiles(weights: Weights, options: GgufOptions): Record<string, ByteFile> {
  const arch = options.arch ?? archOf(weights.model);
  const { more = { metadata: [], tensors: [] } } = options;
  const metadata = [...metadataOf(weights.model, arch, options), ...more.metadata];
  const tensors = [...tensorsOf(weights, arch, options), ...more.tensors];
  const runs = cutTensors(tensors, options.parts);
  const files = runs.map((run, i) => {
    const split: Entry[] = [
      ['split.no', 'u16', i],
      ['split.count', 'u16', runs.length],
      ['split.tensors.count', 'i32', tensors.length],
    ];
    // the first part has the whole metadata, the others only their place
    const entries = runs.length === 1 ? metadata : i === 0 ? [...metadata, ...split] : split;
    return [partName(options.name, i, runs.length, 'gguf'), fileOf(entries, run)] as const;
  });
  return Object.fromEntries(files);
}
