import { type Model, minicpm } from './families';
import type { SafetensorsOptions } from './write-safetensors';

const architectures = {
  bitnet: ['BitNetForCausalLM', 'bitnet'],
  '1bitllm': ['BitnetForCausalLM', 'llama'],
  llama: ['LlamaForCausalLM', 'llama'],
  qwen3: ['Qwen3ForCausalLM', 'qwen3'],
  minicpm: ['MiniCPMForCausalLM', 'minicpm'],
} as const;

/** quantization_config as the family's repositories have it; 1bitLLM's have none, and only masters. */
function quantization({ family }: Model, form: SafetensorsOptions['form']): Record<string, unknown> {
  if (family === '1bitllm') {
    if (form !== 'master') throw new Error('1bitllm has no packed form, only masters');
    return {};
  }
  const linearClass = form === 'divide' ? 'bitlinear' : 'autobitlinear';
  return {
    quantization_config: {
      quant_method: 'bitnet',
      // Llama3-8B-1.58 and Falcon3 do not name it: bitlinear is the default
      ...(family === 'llama' && form === 'divide' ? {} : { linear_class: linearClass }),
      quantization_mode: form === 'master' ? 'online' : 'offline',
    },
  };
}

const torchTypes = { BF16: 'bfloat16', F16: 'float16', F32: 'float32' } as const;

/** config.json, as the Hugging Face hub has it. `form` undefined: of a repository of GGUF files. */
export function configJson(
  model: Model,
  form: SafetensorsOptions['form'] | undefined,
  floats: keyof typeof torchTypes = 'BF16',
): Record<string, unknown> {
  const { family, heads, headDim, hidden } = model;
  const [architecture, modelType] = architectures[family];
  return {
    architectures: [architecture],
    model_type: modelType,
    vocab_size: model.vocab,
    hidden_size: hidden,
    intermediate_size: model.ffn,
    num_hidden_layers: model.layers,
    num_attention_heads: heads,
    num_key_value_heads: model.kvHeads,
    ...(family === 'qwen3' || heads * headDim !== hidden ? { head_dim: headDim } : {}),
    hidden_act: model.gate,
    rms_norm_eps: model.rmsNormEps,
    rope_theta: model.ropeTheta,
    max_position_embeddings: model.maxPositions,
    tie_word_embeddings: model.lmHead === 'tied',
    attention_bias: false,
    bos_token_id: model.bos,
    eos_token_id: model.eos[0],
    torch_dtype: torchTypes[floats],
    ...(family === '1bitllm' ? { weight_bits: 1, input_bits: 8, rope_scaling: null } : {}),
    ...(family === 'minicpm' ? minicpm : {}),
    ...(form === undefined ? {} : quantization(model, form)),
  };
}

/** generation_config.json. */
export const generationJson = ({ bos, eos }: Model): Record<string, unknown> => ({
  bos_token_id: bos,
  eos_token_id: eos.length === 1 ? eos[0] : eos,
});
