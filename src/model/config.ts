import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';

/**
 * How the inverse frequencies of RoPE are stretched, and what multiplies its cosines and sines: docs/model.md. Factors are
 * at least 1.
 */
export type RopeScaling =
  | { kind: 'linear'; factor: number }
  | {
      kind: 'yarn';
      factor: number;
      originalPositions: number;
      betaFast: number; // rotations within originalPositions: with so many or more a pair is not stretched
      betaSlow: number; // with so few or fewer it is stretched by the whole factor
      /** Cosines and sines are multiplied by attentionFactor * (1 + attentionLog * ln factor). */
      attentionFactor: number;
      attentionLog: number;
    }
  | { kind: 'llama3'; factor: number; originalPositions: number; lowFactor: number; highFactor: number }
  /** A divisor for each frequency, from a tensor. */
  | { kind: 'factors' }
  /** From one of two tensors: the second where the context is longer than originalPositions. */
  | { kind: 'longrope'; originalPositions: number; attentionFactor: number };

/** One record for every model the engine runs. Sizes are element counts. docs/model.md says what each switch does. */
export interface ModelConfig {
  /** The shape of the model, for display: the switches below say everything that the engine needs to know. */
  family: 'bitnet' | 'llama' | 'qwen3' | 'minicpm';
  hidden: number; // width of the residual stream
  layers: number;
  heads: number; // query heads
  kvHeads: number; // key/value heads; query head j reads kv head floor(j / (heads / kvHeads))
  headDim: number; // heads * headDim need not be hidden
  ffn: number; // intermediate width
  vocab: number;
  maxPositions: number;
  ropeTheta: number;
  ropeScaling?: RopeScaling | undefined;
  rmsNormEps: number;
  gate: 'relu2' | 'silu';
  subNorms: boolean; // RMSNorm before o_proj and down_proj
  qkNorm: boolean; // RMSNorm of each query and key head before RoPE
  lmHead: 'tied' | 'untied';
  ternaryEmbedding: boolean; // embedding and lm_head are ternary with group scales
  /** Columns to one weight scale; 0: one scale a matrix. With groups, activations are quantised per group as well. */
  group: 0 | 64 | 128;
  embeddingScale: number; // multiplies the looked-up row
  residualScale: number; // multiplies what attention and feed-forward add to the residual stream
  logitScale: number; // multiplies the logits
  scaleSense: 'multiply' | 'divide'; // how `weight_scale` of the packed HF form is meant
  bos: number | null;
  eos: number[];
}

/**
 * Largest sizes the engine takes. `width` bounds every BitLinear dimension: an int32 sum of 127 * 16384 is far from
 * overflow, and scratch memory is planned from it. Positions up to 2^24 are exact in float32, as RoPE needs them.
 */
export const limits = { width: 16_384, layers: 512, heads: 1024, headDim: 1024, vocab: 1_000_000, positions: 2 ** 24 };

const generationFile = 'generation_config.json';

/** The object at `key`; an empty one if the key is absent or null. */
function objectAt(json: Json, key: string, file: string): Json {
  const value = json[key] ?? {};
  if (!isObject(value)) {
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected: 'an object' });
  }
  return value;
}

/** A whole number from 1 to `most`; `fallback` if the key is null or absent and a fallback is given. */
export function sizeAt(json: Json, key: string, most: number, file: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected: 'a positive whole number' });
  }
  if (value > most) throw unsupported(key, value, `at most ${most}`, file);
  return value;
}

/** A finite number within [least, most]; `fallback` if the key is null or absent. */
export function numberAt<T>(
  json: Json,
  key: string,
  least: number,
  most: number,
  fallback: T,
  file: string,
): number | T {
  const value = json[key] ?? undefined;
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    const expected = `a number from ${least} to ${most}`;
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected });
  }
  return value;
}

/** A finite number within [least, most] that must be there. */
export function requiredAt(json: Json, key: string, least: number, most: number, file: string): number {
  const value = numberAt(json, key, least, most, undefined, file);
  if (value !== undefined) return value;
  throw new SternaError('bad-file', `no ${key}`, { file, got: 'nothing', expected: 'a number' });
}

/** The token ids at `key` (a number or an array of numbers), each within the vocabulary; undefined if absent. */
export function idsAt(json: Json, key: string, vocab: number, file: string): number[] | undefined {
  const value = json[key];
  if (value === undefined) return undefined;
  const ids: unknown[] = value === null ? [] : Array.isArray(value) ? value : [value];
  return ids.map((id) => {
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab) return id;
    const expected = `token ids from 0 to ${vocab - 1}`;
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected });
  });
}

export function unsupported(field: string, got: unknown, expected: string | number, file: string): SternaError {
  return new SternaError('unsupported', `this engine does not run this ${field}`, { file, got: shown(got), expected });
}

/** Throws unless the value, or its default in transformers when the key is absent or null, is among `known`. */
export function choice<T>(json: Json, key: string, fallback: T, known: readonly T[], file: string): T {
  const value = json[key] ?? fallback;
  const found = known.find((one) => one === value);
  if (found === undefined) {
    throw unsupported(key, value, known.map((one) => JSON.stringify(one ?? 'nothing')).join(' or '), file);
  }
  return found;
}

/** How the packed weights are meant, from `quantization_config` (transformers' BitNetQuantConfig and its defaults). */
function readScaleSense(config: Json, file: string): ModelConfig['scaleSense'] {
  if ((config.quantization_config ?? null) === null) {
    throw unsupported('quantization_config', 'nothing', 'ternary weights, quant_method "bitnet"', file);
  }
  const quantization = objectAt(config, 'quantization_config', file);
  choice(quantization, 'quant_method', '', ['bitnet'], file);
  // online: the file holds float weights, which the loader quantises
  choice(quantization, 'quantization_mode', 'offline', ['offline', 'online'], file);
  choice(quantization, 'use_rms_norm', false, [false], file);
  const kept = quantization.modules_to_not_convert ?? [];
  // Only the head and the embedding may be left unquantised: they are in every model of this family.
  if (!Array.isArray(kept) || kept.some((name) => !['lm_head', 'embed_tokens', 'model.embed_tokens'].includes(name))) {
    throw unsupported('modules_to_not_convert', kept, 'none but lm_head', file);
  }
  const known = ['bitlinear', 'autobitlinear'] as const;
  return choice(quantization, 'linear_class', 'bitlinear', known, file) === 'autobitlinear' ? 'multiply' : 'divide';
}

/** The shapes of model that come as config.json, and the class defaults of each where keys are absent. */
const shapes = {
  // BitNetConfig of transformers; token ids are those of the Llama 3 vocabulary
  BitNetForCausalLM: {
    gate: 'relu2',
    ropeTheta: 500_000,
    eps: 1e-5,
    bos: 128_000,
    eos: 128_001,
    subNorms: true,
    gates: ['relu2', 'silu'],
  },
  // the first b1.58 models (1bitLLM/bitnet_b1_58-*): the class came with the repository, on top of LlamaConfig
  BitnetForCausalLM: { gate: 'silu', ropeTheta: 10_000, eps: 1e-6, bos: 1, eos: 2, subNorms: true, gates: ['silu'] },
  // LlamaConfig of transformers
  LlamaForCausalLM: { gate: 'silu', ropeTheta: 10_000, eps: 1e-6, bos: 1, eos: 2, subNorms: false, gates: ['silu'] },
} as const;

type Architecture = keyof typeof shapes;

/** Which of the shapes a configuration describes. */
function readArchitecture(config: Json, file: string): Architecture {
  if (config.model_type === 'qwen3') {
    throw unsupported('model_type', 'qwen3', '"bitnet" or "llama"; Qwen3 models run from a GGUF file', file);
  }
  const modelType = choice<string>(config, 'model_type', '', ['bitnet', 'llama'], file);
  const known: Architecture[] =
    modelType === 'bitnet' ? ['BitNetForCausalLM', 'BitnetForCausalLM'] : ['LlamaForCausalLM', 'BitnetForCausalLM'];
  const architectures = config.architectures ?? [known[0]];
  const found = Array.isArray(architectures) ? known.find((name) => architectures.includes(name)) : undefined;
  if (!found) throw unsupported('architectures', architectures, known.map((name) => `["${name}"]`).join(' or '), file);
  return found;
}

/** The largest factor by which positions may be stretched. */
export const mostStretch = 10_000;
/** YaRN's own multiplier of cosines and sines is 1 + 0.1 ln factor. */
export const yarnLog = 0.1;

/**
 * RoPE as transformers 5.18 reads it (modeling_rope_utils.py): `rope_scaling`, the older name, goes before
 * `rope_parameters`, and a base within either before the one at top level.
 */
function readRope(
  config: Json,
  base: number,
  maxPositions: number,
  file: string,
): Pick<ModelConfig, 'ropeTheta' | 'ropeScaling'> {
  const older = objectAt(config, 'rope_scaling', file);
  const rope = Object.keys(older).length ? older : objectAt(config, 'rope_parameters', file);
  for (const of of [config, rope]) choice(of, 'partial_rotary_factor', 1, [1], file);
  const theta = numberAt(config, 'rope_theta', 1, 1e12, base, file);
  const ropeTheta = numberAt(rope, 'rope_theta', 1, 1e12, theta, file);
  return { ropeTheta, ropeScaling: readRopeScaling(config, rope, maxPositions, file) };
}

const ropeTypes = ['default', 'linear', 'yarn', 'llama3'] as const;

function readRopeScaling(config: Json, rope: Json, maxPositions: number, file: string): ModelConfig['ropeScaling'] {
  const key = (rope.rope_type ?? undefined) === undefined ? 'type' : 'rope_type';
  const kind = choice<(typeof ropeTypes)[number]>(rope, key, 'default', ropeTypes, file);
  if (kind === 'default') return undefined;
  const factor = requiredAt(rope, 'factor', 1, mostStretch, file);
  if (kind === 'linear') return factor === 1 ? undefined : { kind, factor };
  const original = sizeAt(rope, 'original_max_position_embeddings', limits.positions, file, maxPositions);
  const originalPositions = sizeAt(config, 'original_max_position_embeddings', limits.positions, file, original);
  if (kind === 'llama3') {
    const lowFactor = requiredAt(rope, 'low_freq_factor', 1e-3, 1e6, file);
    const highFactor = requiredAt(rope, 'high_freq_factor', 1e-3, 1e6, file);
    if (highFactor <= lowFactor) {
      const facts = { file, got: highFactor, expected: `more than low_freq_factor ${lowFactor}` };
      throw new SternaError('bad-file', 'bad high_freq_factor', facts);
    }
    return factor === 1 ? undefined : { kind, factor, originalPositions, lowFactor, highFactor };
  }
  choice(rope, 'truncate', true, [true], file);
  for (const of of ['mscale', 'mscale_all_dim']) choice(rope, of, null, [null], file);
  const attention = numberAt(rope, 'attention_factor', 1e-3, 1e3, undefined, file);
  if (factor === 1 && (attention ?? 1) === 1) return undefined;
  return {
    kind,
    factor,
    originalPositions,
    betaFast: numberAt(rope, 'beta_fast', 1e-3, 1e6, 32, file),
    betaSlow: numberAt(rope, 'beta_slow', 1e-3, 1e6, 1, file),
    attentionFactor: attention ?? 1,
    attentionLog: attention === undefined ? yarnLog : 0,
  };
}

/** Where a configuration keeps the sizes, for errors: config.json and GGUF have names of their own. */
export type SizeNames = Record<'hidden' | 'ffn' | 'heads' | 'kvHeads' | 'headDim', string>;

const jsonNames: SizeNames = {
  hidden: 'hidden_size',
  ffn: 'intermediate_size',
  heads: 'num_attention_heads',
  kvHeads: 'num_key_value_heads',
  headDim: 'head_dim',
};

/**
 * Checks how the sizes of a model go together, whatever file they are from. Each alone must be a whole number from 1 to
 * its limit already.
 * @throws SternaError `bad-file` for sizes that contradict each other, `unsupported` for what the kernels do not take
 */
export function checkSizes(config: ModelConfig, names: SizeNames, file: string): void {
  const { hidden, ffn, heads, kvHeads, headDim, group } = config;
  if (heads % kvHeads !== 0) {
    const facts = { file, got: kvHeads, expected: `a divisor of ${names.heads} ${heads}` };
    throw new SternaError('bad-file', `bad ${names.kvHeads}`, facts);
  }
  if (hidden % 8 !== 0) throw unsupported(names.hidden, hidden, 'a multiple of 8', file);
  if (ffn % 4 !== 0) throw unsupported(names.ffn, ffn, 'a multiple of 4', file);
  if (headDim % 2 !== 0) throw unsupported(names.headDim, headDim, 'an even number', file);
  // groups of columns of o_proj must not be torn apart by the padding of heads
  if (group && headDim % 8 !== 0) throw unsupported(names.headDim, headDim, 'a multiple of 8', file);
  if (heads * Math.ceil(headDim / 8) * 8 > limits.width) {
    throw unsupported(names.headDim, headDim, `at most ${limits.width} elements in all ${heads} heads`, file);
  }
  const { ropeScaling, ropeTheta } = config;
  if (ropeScaling?.kind === 'yarn') {
    const { betaFast, betaSlow } = ropeScaling;
    // where the ramp of YaRN begins and ends comes out of these
    if (ropeTheta <= 1) throw unsupported('RoPE base under YaRN', ropeTheta, 'more than 1', file);
    if (betaFast < betaSlow) throw unsupported('beta_fast of YaRN', betaFast, `at least beta_slow, ${betaSlow}`, file);
  }
  // attn_sub_norm has hidden_size gains and spans the joined heads
  if (config.subNorms && heads * headDim !== hidden) throw unsupported(names.headDim, headDim, hidden / heads, file);
}

/**
 * Reads a Hugging Face `config.json`; absent keys mean the class defaults of transformers, except sizes, which every
 * saved file names. `generation` is the parsed `generation_config.json`, undefined if there is none; its end-of-text ids
 * are added to the config's own. `file` is the name used in errors.
 * Throws `unsupported` for a model that the engine does not run, `bad-file` for missing or nonsensical values.
 */
export function parseConfig(json: unknown, generation: unknown | undefined, file: string): ModelConfig {
  if (!isObject(json)) {
    throw new SternaError('bad-file', 'not a model configuration', { file, got: shown(json), expected: 'an object' });
  }
  const architecture = readArchitecture(json, file);
  const shape = shapes[architecture];
  const gate = choice<ModelConfig['gate']>(json, 'hidden_act', shape.gate, shape.gates, file);
  const tied = choice(json, 'tie_word_embeddings', false, [true, false], file);
  for (const bias of ['attention_bias', 'mlp_bias']) choice(json, bias, false, [false], file);
  choice(json, 'sliding_window', null, [null], file);
  let scaleSense: ModelConfig['scaleSense'] = 'multiply';
  if (architecture === 'BitnetForCausalLM') {
    choice(json, 'weight_bits', 1, [1], file);
    choice(json, 'input_bits', 8, [8], file);
    choice(json, 'quantization_config', null, [null], file);
  } else {
    scaleSense = readScaleSense(json, file);
  }
  const maxPositions = sizeAt(json, 'max_position_embeddings', limits.positions, file);
  const rmsNormEps = numberAt(json, 'rms_norm_eps', 1e-12, 0.1, shape.eps, file);

  const hidden = sizeAt(json, 'hidden_size', limits.width, file);
  const heads = sizeAt(json, 'num_attention_heads', limits.heads, file);
  // null means "as many as query heads", absent too but for BitNetConfig: there it means 5, the number of one model.
  const asHeads = json.num_key_value_heads === null || architecture !== 'BitNetForCausalLM' ? heads : undefined;
  const vocab = sizeAt(json, 'vocab_size', limits.vocab, file);

  const defaults = isObject(generation) ? generation : {};
  // The ids of the class stand for nothing in a smaller vocabulary.
  const eos = idsAt(json, 'eos_token_id', vocab, file) ?? [shape.eos].filter((id) => id < vocab);
  const bos = idsAt(json, 'bos_token_id', vocab, file) ?? [shape.bos].filter((id) => id < vocab);
  const moreEos = idsAt(defaults, 'eos_token_id', vocab, generationFile) ?? [];
  const config: ModelConfig = {
    family: shape.subNorms ? 'bitnet' : 'llama',
    hidden,
    layers: sizeAt(json, 'num_hidden_layers', limits.layers, file),
    heads,
    kvHeads: sizeAt(json, 'num_key_value_heads', limits.heads, file, asHeads),
    headDim: sizeAt(json, 'head_dim', limits.headDim, file, hidden / heads),
    ffn: sizeAt(json, 'intermediate_size', limits.width, file),
    vocab,
    maxPositions,
    ...readRope(json, shape.ropeTheta, maxPositions, file),
    rmsNormEps,
    gate,
    subNorms: shape.subNorms,
    qkNorm: false,
    lmHead: tied ? 'tied' : 'untied',
    ternaryEmbedding: false,
    group: 0,
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
    scaleSense,
    bos: bos[0] ?? null,
    eos: [...new Set([...eos, ...moreEos])],
  };
  checkSizes(config, jsonNames, file);
  return config;
}

/** Ternary weights outside the embedding. */
export function ternaryWeights({ hidden, layers, heads, kvHeads, headDim, ffn }: ModelConfig): number {
  return layers * hidden * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * ffn);
}

/** All parameters: weights, gains, embedding and, where it is one of its own, lm_head; scales of ternary weights apart. */
export function countParameters(config: ModelConfig): number {
  const { hidden, layers, heads, headDim, ffn, vocab } = config;
  const subNorms = config.subNorms ? heads * headDim + ffn : 0;
  const gains = layers * (2 * hidden + subNorms + (config.qkNorm ? 2 * headDim : 0)) + hidden;
  return vocab * hidden * (config.lmHead === 'tied' ? 1 : 2) + ternaryWeights(config) + gains;
}

/**
 * The sampling defaults of a parsed Hugging Face `generation_config.json`; absent keys stay absent. `do_sample: false`
 * means greedy, that is temperature 0. Throws `bad-file` for values that are not numbers or out of range.
 */
export function generationDefaults(generation: unknown): { temperature?: number; topK?: number; topP?: number } {
  if (!isObject(generation)) return {};
  const temperature = numberAt(generation, 'temperature', 0, 100, undefined, generationFile);
  const topK = numberAt(generation, 'top_k', 0, limits.vocab, undefined, generationFile);
  const topP = numberAt(generation, 'top_p', 0, 1, undefined, generationFile);
  if (generation.do_sample === false) return { temperature: 0 };
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topK === undefined ? {} : { topK: Math.floor(topK) }),
    ...(topP === undefined ? {} : { topP }),
  };
}
