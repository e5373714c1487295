/**
 * Random checkpoints in the packed Hugging Face form of BitNet b1.58 (docs/model.md), to time and test shapes that no
 * small real model has. Nothing here depends on anything but the seed.
 */

/** Sizes of a checkpoint, in elements. Every row count of a linear (hidden, heads * headDim, ...) is a multiple of 4. */
export interface Shape {
  hidden: number;
  ffn: number;
  layers: number;
  heads: number;
  kvHeads: number;
  /** Default: hidden / heads. */
  headDim?: number;
  vocab: number;
  maxPositions?: number;
  gate?: 'relu2' | 'silu';
  /** How `weight_scale` is stored: the multiplier (autobitlinear, the default) or its reciprocal (bitlinear). */
  scaleSense?: 'multiply' | 'divide';
  /** Same seed, same bytes. Default 1. */
  seed?: number;
}

/** A checkpoint that is made while it is read. */
export interface Checkpoint {
  /** config.json, as the Hugging Face hub has it. */
  config: Record<string, unknown>;
  /** generation_config.json. */
  generation: Record<string, unknown>;
  /** Bytes of model.safetensors. */
  size: number;
  /** model.safetensors from the start, in pieces of at most 1 MB; each call starts anew with the same bytes. */
  chunks(): Generator<Uint8Array<ArrayBuffer>>;
}

/** The widths of BitNet b1.58 2B4T, with the 4,096 tokens of tiny-stories-ternary instead of 128,256. */
export const shape2B4T = { hidden: 2560, ffn: 6912, layers: 3, heads: 20, kvHeads: 5, headDim: 128, vocab: 4096 };

/** A shape that fits no tile of 8, 16, 32 or 128, for tests. */
export const shapeOdd = { hidden: 72, ffn: 100, layers: 2, heads: 3, kvHeads: 1, headDim: 24, vocab: 37 };

const chunkBytes = 2 ** 20;

type Random = () => number; // uniform 32-bit integers, unsigned

/** sfc32 of Chris Doty-Humphrey (PractRand), started from one number. */
function randomFrom(seed: number): Random {
  let [a, b, c, counter] = [seed | 0, Math.imul(seed, 0x9e3779b9) | 0, 0x243f6a88, 1];
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  return next;
}

/** About normal, mean 0 and deviation 1: the sum of 12 uniform numbers, exact in every JavaScript engine. */
function normal(random: Random): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random() / 2 ** 32;
  return sum;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The 16 bits of the nearest bfloat16, ties to even. */
function bf16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** Codes 0, 1, 2 (= -1, 0, +1) by a random byte: 39 % zeros, as in trained models; code 3 never. */
const codeOf = Uint8Array.from({ length: 256 }, (_, byte) => (byte < 78 ? 0 : byte < 178 ? 1 : 2));

interface Tensor {
  name: string;
  dtype: 'U8' | 'BF16';
  shape: number[];
  bytes: number;
  /** Writes the next bytes of the tensor. */
  fill(target: Uint8Array, random: Random): void;
}

function bf16Tensor(name: string, shape: number[], value: (random: Random) => number): Tensor {
  const fill = (target: Uint8Array, random: Random) => {
    for (let i = 0; i < target.length; i += 2) {
      const half = bf16(value(random));
      target[i] = half & 255;
      target[i + 1] = half >>> 8;
    }
  };
  return { name, dtype: 'BF16', shape, bytes: 2 * shape.reduce((a, b) => a * b, 1), fill };
}

/** Norm gains around 1, as in trained models. */
function gains(name: string, size: number): Tensor {
  return bf16Tensor(name, [size], (random) => 1 + 0.12 * normal(random));
}

/** A ternary matrix [rows, columns] and its scale, four rows to a byte: see docs/model.md. */
function linear(name: string, rows: number, columns: number, scaleSense: Shape['scaleSense']): Tensor[] {
  if (rows % 4 !== 0) throw new Error(`${name}: ${rows} rows are not a multiple of 4`);
  const fill = (target: Uint8Array, random: Random) => {
    for (let i = 0; i < target.length; i++) {
      const r = random();
      target[i] =
        codeOf[r & 255]! |
        (codeOf[(r >>> 8) & 255]! << 2) |
        (codeOf[(r >>> 16) & 255]! << 4) |
        (codeOf[r >>> 24]! << 6);
    }
  };
  // Such that an input of unit size gives an output of about unit size: else every softmax would be one-hot.
  const scale = (random: Random) => (0.8 + (0.4 * random()) / 2 ** 32) / Math.sqrt(0.61 * columns);
  const stored = scaleSense === 'divide' ? (random: Random) => 1 / scale(random) : scale;
  return [
    { name: `${name}.weight`, dtype: 'U8', shape: [rows / 4, columns], bytes: (rows / 4) * columns, fill },
    bf16Tensor(`${name}.weight_scale`, [1], stored),
  ];
}

function tensorsOf({
  hidden,
  ffn,
  layers,
  heads,
  kvHeads,
  headDim = hidden / heads,
  vocab,
  scaleSense,
}: Shape): Tensor[] {
  const deviation = 2.5 / Math.sqrt(hidden); // logits of deviation 2.5
  const tensors = [bf16Tensor('model.embed_tokens.weight', [vocab, hidden], (random) => deviation * normal(random))];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const attention = `${prefix}.self_attn`;
    tensors.push(
      gains(`${prefix}.input_layernorm.weight`, hidden),
      gains(`${prefix}.post_attention_layernorm.weight`, hidden),
      gains(`${attention}.attn_sub_norm.weight`, heads * headDim),
      gains(`${prefix}.mlp.ffn_sub_norm.weight`, ffn),
      ...linear(`${attention}.q_proj`, heads * headDim, hidden, scaleSense),
      ...linear(`${attention}.k_proj`, kvHeads * headDim, hidden, scaleSense),
      ...linear(`${attention}.v_proj`, kvHeads * headDim, hidden, scaleSense),
      ...linear(`${attention}.o_proj`, hidden, heads * headDim, scaleSense),
      ...linear(`${prefix}.mlp.gate_proj`, ffn, hidden, scaleSense),
      ...linear(`${prefix}.mlp.up_proj`, ffn, hidden, scaleSense),
      ...linear(`${prefix}.mlp.down_proj`, hidden, ffn, scaleSense),
    );
  }
  tensors.push(gains('model.norm.weight', hidden));
  return tensors;
}

/** The header of a safetensors file, its 8 bytes of length before it, padded to a multiple of 8. */
function headerOf(tensors: Tensor[]): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const begin = end;
    end += bytes;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const json = JSON.stringify(Object.fromEntries([['__metadata__', { format: 'pt' }], ...entries]));
  const padded = new TextEncoder().encode(json.padEnd(8 * Math.ceil(json.length / 8)));
  const header = new Uint8Array(8 + padded.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded.length), true);
  header.set(padded, 8);
  return header;
}

/** A checkpoint of random ternary weights with the sizes of `shape`. Throws for rows that are no multiple of 4. */
export function packedCheckpoint(shape: Shape): Checkpoint {
  const tensors = tensorsOf(shape);
  const header = headerOf(tensors);
  const seed = shape.seed ?? 1;
  function* chunks() {
    const random = randomFrom(seed);
    yield header.slice();
    for (const tensor of tensors) {
      for (let at = 0; at < tensor.bytes; at += chunkBytes) {
        const chunk = new Uint8Array(Math.min(chunkBytes, tensor.bytes - at));
        tensor.fill(chunk, random);
        yield chunk;
      }
    }
  }
  const size = tensors.reduce((sum, tensor) => sum + tensor.bytes, header.length);
  return { config: configOf(shape), generation: { bos_token_id: 0, eos_token_id: [1, 2] }, size, chunks };
}

/** The whole of model.safetensors in one buffer, for small checkpoints. */
export function checkpointBytes({ size, chunks }: Checkpoint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks()) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function configOf(shape: Shape): Record<string, unknown> {
  return {
    architectures: ['BitNetForCausalLM'],
    model_type: 'bitnet',
    vocab_size: shape.vocab,
    hidden_size: shape.hidden,
    intermediate_size: shape.ffn,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    ...(shape.headDim === undefined ? {} : { head_dim: shape.headDim }),
    hidden_act: shape.gate ?? 'relu2',
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    max_position_embeddings: shape.maxPositions ?? 4096,
    tie_word_embeddings: true,
    attention_bias: false,
    bos_token_id: 0,
    eos_token_id: 1,
    torch_dtype: 'bfloat16',
    quantization_config: {
      quant_method: 'bitnet',
      linear_class: shape.scaleSense === 'divide' ? 'bitlinear' : 'autobitlinear',
      quantization_mode: 'offline',
    },
  };
}
