import { type Family, type Model, type ModelShape, modelOf, type Weights } from './families';

type Json = Record<string, unknown>;

/** The sizes in a config.json. */
function shapeOf(config: Json): ModelShape {
  const architecture = (config.architectures as string[])[0]!;
  const families: Record<string, Family> = {
    BitNetForCausalLM: 'bitnet',
    BitnetForCausalLM: '1bitllm',
    LlamaForCausalLM: 'llama',
    Qwen3ForCausalLM: 'qwen3',
    MiniCPMForCausalLM: 'minicpm',
  };
  const family = families[architecture];
  if (!family) throw new Error(`${architecture} is not known here`);
  const size = (key: string) => config[key] as number;
  return {
    family,
    hidden: size('hidden_size'),
    ffn: size('intermediate_size'),
    layers: size('num_hidden_layers'),
    heads: size('num_attention_heads'),
    kvHeads: size('num_key_value_heads'),
    ...(config.head_dim === undefined ? {} : { headDim: size('head_dim') }),
    vocab: size('vocab_size'),
    maxPositions: size('max_position_embeddings'),
    gate: config.hidden_act as Model['gate'],
    lmHead: config.tie_word_embeddings ? 'tied' : 'untied',
    group: 0,
    ropeTheta: size('rope_theta'),
    rmsNormEps: size('rms_norm_eps'),
    bos: size('bos_token_id'),
  };
}

/**
 * The weights of an existing packed checkpoint: its parsed config.json and generation_config.json, and the bytes of its
 * one model.safetensors. Floats must be BF16 (weight_scale may be F32). Throws for what is not there.
 */
export function packedWeights(config: Json, generation: Json, bytes: Uint8Array): Weights {
  const eos = [config.eos_token_id, generation.eos_token_id ?? []].flat() as number[];
  const model = modelOf({ ...shapeOf(config), eos: [...new Set(eos)] });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const dataStart = 8 + Number(view.getBigUint64(0, true));
  type Info = { dtype: string; shape: number[]; data_offsets: [number, number] };
  const header: Record<string, Info> = JSON.parse(new TextDecoder().decode(bytes.subarray(8, dataStart)));
  const beginOf = (name: string, type: string): number => {
    const info = header[name];
    if (info?.dtype !== type) throw new Error(`${name} is ${info?.dtype ?? 'missing'}, not ${type}`);
    return dataStart + info.data_offsets[0];
  };
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  const bf16At = (at: number): number => {
    word[0] = view.getUint16(at, true) << 16;
    return float[0]!;
  };
  const quantization = config.quantization_config as Json;
  const divides = (quantization.linear_class ?? 'bitlinear') === 'bitlinear';
  return {
    model,
    codes({ hf, rows, cols }, row, out) {
      const quarter = rows / 4;
      const begin = beginOf(`${hf}.weight`, 'U8') + (row % quarter) * cols;
      const shift = 2 * Math.floor(row / quarter);
      for (let i = 0; i < cols; i++) out[i] = (bytes[begin + i]! >> shift) & 3;
    },
    scales({ hf }, _, out) {
      const name = `${hf}.weight_scale`;
      const stored =
        header[name]?.dtype === 'F32' ? view.getFloat32(beginOf(name, 'F32'), true) : bf16At(beginOf(name, 'BF16'));
      out.fill(divides ? 1 / stored : stored);
    },
    floats({ hf, cols }, row, out) {
      const begin = beginOf(`${hf}.weight`, 'BF16') + row * cols * 2;
      for (let i = 0; i < cols; i++) out[i] = bf16At(begin + 2 * i);
    },
  };
}
