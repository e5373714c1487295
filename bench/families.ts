/** The model families that can be written: their sizes, their tensors, and the names of these in both containers. */

/**
 * bitnet: BitNet b1.58 2B4T. 1bitllm: bitnet_b1_58-large and -3B, whose sub-norms have other names. llama: Llama3-8B-1.58,
 * Falcon3-1.58bit, Falcon-E. qwen3: Ternary Bonsai. minicpm: BitCPM4.
 */
export type Family = 'bitnet' | '1bitllm' | 'llama' | 'qwen3' | 'minicpm';

/** Sizes of a model, in elements. What is left out follows from the family. */
export interface ModelShape {
  family?: Family; // default bitnet
  hidden: number;
  ffn: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim?: number; // default hidden / heads
  vocab: number;
  maxPositions?: number;
  gate?: 'relu2' | 'silu';
  lmHead?: 'tied' | 'untied';
  /** Columns to one weight scale; 0: one scale a matrix. */
  group?: 0 | 64 | 128 | 256;
  /** Embedding and lm_head are ternary. Default: in qwen3 with groups. */
  ternaryEmbedding?: boolean;
  ropeTheta?: number;
  rmsNormEps?: number;
  bos?: number;
  /** The first is in config.json, all are in generation_config.json. */
  eos?: number[];
}

export type Model = Required<ModelShape>;

const defaults = {
  bitnet: { gate: 'relu2', lmHead: 'tied', group: 0, ropeTheta: 500_000, rmsNormEps: 1e-5 },
  '1bitllm': { gate: 'silu', lmHead: 'tied', group: 0, ropeTheta: 10_000, rmsNormEps: 1e-5 },
  llama: { gate: 'silu', lmHead: 'untied', group: 0, ropeTheta: 500_000, rmsNormEps: 1e-5 },
  qwen3: { gate: 'silu', lmHead: 'tied', group: 128, ropeTheta: 1_000_000, rmsNormEps: 1e-6 },
  minicpm: { gate: 'silu', lmHead: 'tied', group: 256, ropeTheta: 10_000, rmsNormEps: 1e-6 },
} as const;

/** A shape with everything named. */
export function modelOf(shape: ModelShape): Model {
  const family = shape.family ?? 'bitnet';
  return {
    headDim: shape.hidden / shape.heads,
    maxPositions: 4096,
    ternaryEmbedding: family === 'qwen3' && shape.group !== 0,
    bos: 0,
    eos: [1, 2],
    ...defaults[family],
    ...shape,
    family,
  };
}

/** MiniCPM's three multipliers, as config.json has them (values of MiniCPM4). */
export const minicpm = { scale_emb: 12, scale_depth: 1.4, dim_model_base: 256 };

/** One tensor of a model, or for a linear its weight and what belongs to it; names without `.weight`. */
export interface Part {
  /** gain: f32 of a norm, one row. table: rows of floats (embedding, lm_head). linear: a ternary matrix. */
  kind: 'gain' | 'table' | 'linear';
  hf: string;
  gguf: string;
  rows: number;
  cols: number;
  /** Heads of a query or key matrix, whose rows have an order of their own in some GGUFs; else 0. */
  heads: number;
}

/** The parts of a model in the order of its computation. */
export function partsOf(model: Model): Part[] {
  const { family, hidden, ffn, heads, kvHeads, headDim, vocab } = model;
  const gain = (hf: string, gguf: string, cols: number): Part => ({ kind: 'gain', hf, gguf, rows: 1, cols, heads: 0 });
  const linear = (hf: string, gguf: string, rows: number, cols: number, rotated = 0): Part => {
    return { kind: 'linear', hf, gguf, rows, cols, heads: rotated };
  };
  const kind = model.ternaryEmbedding ? 'linear' : 'table';
  const table = (hf: string, gguf: string): Part => ({ kind, hf, gguf, rows: vocab, cols: hidden, heads: 0 });
  const old = family === '1bitllm';
  const subNorms = family === 'bitnet' || old;
  const parts = [table('model.embed_tokens', 'token_embd')];
  for (let layer = 0; layer < model.layers; layer++) {
    const [prefix, blk] = [`model.layers.${layer}`, `blk.${layer}`];
    const [attention, mlp] = [`${prefix}.self_attn`, `${prefix}.mlp`];
    parts.push(
      gain(`${prefix}.input_layernorm`, `${blk}.attn_norm`, hidden),
      linear(`${attention}.q_proj`, `${blk}.attn_q`, heads * headDim, hidden, heads),
      linear(`${attention}.k_proj`, `${blk}.attn_k`, kvHeads * headDim, hidden, kvHeads),
      linear(`${attention}.v_proj`, `${blk}.attn_v`, kvHeads * headDim, hidden),
    );
    if (family === 'qwen3') {
      parts.push(gain(`${attention}.q_norm`, `${blk}.attn_q_norm`, headDim));
      parts.push(gain(`${attention}.k_norm`, `${blk}.attn_k_norm`, headDim));
    }
    if (subNorms) {
      const name = old ? 'inner_attn_ln' : 'attn_sub_norm';
      parts.push(gain(`${attention}.${name}`, `${blk}.attn_sub_norm`, heads * headDim));
    }
    parts.push(
      linear(`${attention}.o_proj`, `${blk}.attn_output`, hidden, heads * headDim),
      gain(`${prefix}.post_attention_layernorm`, `${blk}.ffn_norm`, hidden),
      linear(`${mlp}.gate_proj`, `${blk}.ffn_gate`, ffn, hidden),
      linear(`${mlp}.up_proj`, `${blk}.ffn_up`, ffn, hidden),
    );
    if (subNorms) parts.push(gain(`${mlp}.${old ? 'ffn_layernorm' : 'ffn_sub_norm'}`, `${blk}.ffn_sub_norm`, ffn));
    parts.push(linear(`${mlp}.down_proj`, `${blk}.ffn_down`, hidden, ffn));
  }
  parts.push(gain('model.norm', 'output_norm', hidden));
  if (model.lmHead === 'untied') parts.push(table('lm_head', 'output'));
  return parts;
}

/** What the weights of a model are, whatever form they are written in. Every row can be asked for, in any order. */
export interface Weights {
  model: Model;
  /** Codes 0, 1, 2 (= -1, 0, +1) of a row of a linear: u8[cols], at a multiple of 4 in its buffer. */
  codes(part: Part, row: number, out: Uint8Array): void;
  /** Multipliers of a row of a linear: f32[cols / group]; with group 0 one number, the same for every row. */
  scales(part: Part, row: number, out: Float32Array): void;
  /** A row of a table, or the gains of a norm (row 0): f32[cols], each a bfloat16 number. */
  floats(part: Part, row: number, out: Float32Array): void;
}

/** The one multiplier of a matrix without groups. */
export function scaleOf(weights: Weights, part: Part): number {
  const scale = new Float32Array(1);
  weights.scales(part, 0, scale);
  return scale[0]!;
}
