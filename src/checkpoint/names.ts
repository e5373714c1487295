/** Names of the tensors of a model, in the three ways that checkpoints write them. */

/** `hf`: transformers; `hf-1bitllm`: the first b1.58 models, with sub-norms of other names; `gguf`: llama.cpp. */
export type NameStyle = 'hf' | 'hf-1bitllm' | 'gguf';

/** The matrices of a layer. */
export const linears = ['query', 'key', 'value', 'output', 'gate', 'up', 'down'] as const;
export type Linear = (typeof linears)[number];

/** The gains of a layer; which of them a model has, its config says (`subNorms`, `qkNorm`). */
export type Norm = 'inputNorm' | 'attentionNorm' | 'ffnInputNorm' | 'ffnNorm' | 'queryNorm' | 'keyNorm';

export type Role = Linear | Norm;

const hf: Record<Role, string> = {
  inputNorm: 'input_layernorm',
  query: 'self_attn.q_proj',
  key: 'self_attn.k_proj',
  value: 'self_attn.v_proj',
  queryNorm: 'self_attn.q_norm',
  keyNorm: 'self_attn.k_norm',
  attentionNorm: 'self_attn.attn_sub_norm',
  output: 'self_attn.o_proj',
  ffnInputNorm: 'post_attention_layernorm',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  ffnNorm: 'mlp.ffn_sub_norm',
  down: 'mlp.down_proj',
};

// llama.cpp, gguf-py/gguf/constants.py, TENSOR_NAMES
const gguf: Record<Role, string> = {
  inputNorm: 'attn_norm',
  query: 'attn_q',
  key: 'attn_k',
  value: 'attn_v',
  queryNorm: 'attn_q_norm',
  keyNorm: 'attn_k_norm',
  attentionNorm: 'attn_sub_norm',
  output: 'attn_output',
  ffnInputNorm: 'ffn_norm',
  gate: 'ffn_gate',
  up: 'ffn_up',
  ffnNorm: 'ffn_sub_norm',
  down: 'ffn_down',
};

const layers: Record<NameStyle, { prefix: string; names: Record<Role, string> }> = {
  hf: { prefix: 'model.layers', names: hf },
  'hf-1bitllm': {
    prefix: 'model.layers',
    names: { ...hf, attentionNorm: 'self_attn.inner_attn_ln', ffnNorm: 'mlp.ffn_layernorm' },
  },
  gguf: { prefix: 'blk', names: gguf },
};

/** The full name of every tensor of layer `layer` that a model may have, with ".weight". */
export function tensorNames(style: NameStyle, layer: number): Record<Role, string> {
  const { prefix, names } = layers[style];
  const full = Object.entries(names).map(([role, name]) => [role, `${prefix}.${layer}.${name}.weight`]);
  return Object.fromEntries(full) as Record<Role, string>;
}

/** The full names of the tensors outside the layers. */
export function globalNames(style: NameStyle): { embedding: string; finalNorm: string; head: string } {
  if (style === 'gguf')
    return { embedding: 'token_embd.weight', finalNorm: 'output_norm.weight', head: 'output.weight' };
  return { embedding: 'model.embed_tokens.weight', finalNorm: 'model.norm.weight', head: 'lm_head.weight' };
}

/** Divisors of the RoPE frequencies in GGUF files: Llama 3.1's, and the two of longrope. */
export const ropeTensors = {
  factors: 'rope_freqs.weight',
  short: 'rope_factors_short.weight',
  long: 'rope_factors_long.weight',
};

/** The name of the tensor [1] that may hold the scale of the matrix of this name. */
export function scaleName(style: NameStyle, weight: string): string {
  return style === 'gguf' ? weight.replace(/weight$/, 'scale') : `${weight}_scale`;
}
