import { SternaError } from './errors';

/** One record for every model the engine runs. Sizes are element counts. */
export interface ModelConfig {
  modelType: string; // "bitnet"
  hidden: number; // width of the residual stream
  layers: number;
  heads: number; // query heads
  kvHeads: number; // key/value heads; query head j reads kv head floor(j / (heads / kvHeads))
  headDim: number;
  ffn: number; // intermediate width
  vocab: number;
  maxPositions: number;
  ropeTheta: number;
  rmsNormEps: number;
  gate: 'relu2' | 'silu';
  scaleSense: 'multiply' | 'divide'; // how `weight_scale` of the packed file is meant
  bos: number | null;
  eos: number[];
}

/**
 * Largest sizes the engine takes. `width` bounds every BitLinear dimension: an int32 sum of 127 * 16384 is far from
 * overflow, and scratch memory is planned from it. Positions up to 2^24 are exact in float32, as RoPE needs them.
 */
export const limits = { width: 16_384, layers: 512, heads: 1024, headDim: 1024, vocab: 1_000_000, positions: 2 ** 24 };

const generationFile = 'generation_config.json';

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value as an error shows it: numbers as they are, the rest as JSON, cut to 60 characters. */
function shown(value: unknown): string | number {
  if (typeof value === 'number') return value;
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
}

/** The object at `key`; an empty one if the key is absent or null. */
function objectAt(json: Json, key: string, file: string): Json {
  const value = json[key] ?? {};
  if (!isObject(value)) {
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected: 'an object' });
  }
  return value;
}

/** A whole number from 1 to `most`; `fallback` if the key is null or absent and a fallback is given. */
function sizeAt(json: Json, key: string, most: number, file: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected: 'a positive whole number' });
  }
  if (value > most) throw unsupported(key, value, `at most ${most}`, file);
  return value;
}

/** A finite number within [least, most]; `fallback` if the key is null or absent. */
function numberAt<T>(json: Json, key: string, least: number, most: number, fallback: T, file: string): number | T {
  const value = json[key] ?? undefined;
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    const expected = `a number from ${least} to ${most}`;
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected });
  }
  return value;
}

/** The token ids at `key` (a number or an array of numbers), each within the vocabulary; undefined if absent. */
function idsAt(json: Json, key: string, vocab: number, file: string): number[] | undefined {
  const value = json[key];
  if (value === undefined) return undefined;
  const ids: unknown[] = value === null ? [] : Array.isArray(value) ? value : [value];
  return ids.map((id) => {
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab) return id;
    const expected = `token ids from 0 to ${vocab - 1}`;
    throw new SternaError('bad-file', `bad ${key}`, { file, got: shown(value), expected });
  });
}

function unsupported(field: string, got: unknown, expected: string | number, file: string): SternaError {
  return new SternaError('unsupported', `this engine does not run this ${field}`, { file, got: shown(got), expected });
}

/** Throws unless the value, or its default in transformers when the key is absent or null, is among `known`. */
function choice<T>(json: Json, key: string, fallback: T, known: readonly T[], file: string): T {
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
    throw unsupported('quantization_config', 'nothing', 'packed ternary weights, quant_method "bitnet"', file);
  }
  const quantization = objectAt(config, 'quantization_config', file);
  choice(quantization, 'quant_method', '', ['bitnet'], file);
  choice(quantization, 'quantization_mode', 'offline', ['offline'], file);
  choice(quantization, 'use_rms_norm', false, [false], file);
  const kept = quantization.modules_to_not_convert ?? [];
  // Only the head and the embedding may be left unquantised: they are in every model of this family.
  if (!Array.isArray(kept) || kept.some((name) => !['lm_head', 'embed_tokens', 'model.embed_tokens'].includes(name))) {
    throw unsupported('modules_to_not_convert', kept, 'none but lm_head', file);
  }
  const known = ['bitlinear', 'autobitlinear'] as const;
  return choice(quantization, 'linear_class', 'bitlinear', known, file) === 'autobitlinear' ? 'multiply' : 'divide';
}

/** The RoPE base: transformers 5 keeps it in `rope_parameters`, older files at top level. */
function readRopeTheta(config: Json, file: string): number {
  const parameters = objectAt(config, 'rope_parameters', file);
  for (const rope of [parameters, objectAt(config, 'rope_scaling', file)]) {
    choice(rope, 'rope_type', 'default', ['default'], file);
    choice(rope, 'type', 'default', ['default'], file);
    choice(rope, 'partial_rotary_factor', 1, [1], file);
  }
  choice(config, 'partial_rotary_factor', 1, [1], file);
  const theta = numberAt(config, 'rope_theta', 1, 1e12, 500_000, file);
  return numberAt(parameters, 'rope_theta', 1, 1e12, theta, file);
}

/**
 * Reads a Hugging Face `config.json` (transformers' BitNetConfig; absent keys mean its class defaults, except sizes,
 * which every saved file names). `generation` is the parsed `generation_config.json`, undefined if there is none; its
 * end-of-text ids are added to the config's own. `file` is the name used in errors.
 * Throws `unsupported` for a model that the engine does not run, `bad-file` for missing or nonsensical values.
 */
export function parseConfig(json: unknown, generation: unknown | undefined, file: string): ModelConfig {
  if (!isObject(json)) {
    throw new SternaError('bad-file', 'not a model configuration', { file, got: shown(json), expected: 'an object' });
  }
  const modelType = choice<string>(json, 'model_type', '', ['bitnet'], file);
  const architectures = json.architectures ?? ['BitNetForCausalLM'];
  if (!Array.isArray(architectures) || !architectures.includes('BitNetForCausalLM')) {
    throw unsupported('architectures', architectures, '["BitNetForCausalLM"]', file);
  }
  const gate = choice(json, 'hidden_act', 'relu2', ['relu2', 'silu'] as const, file);
  choice(json, 'tie_word_embeddings', false, [true], file);
  for (const bias of ['attention_bias', 'mlp_bias']) choice(json, bias, false, [false], file);
  choice(json, 'sliding_window', null, [null], file);
  const scaleSense = readScaleSense(json, file);
  const ropeTheta = readRopeTheta(json, file);
  const rmsNormEps = numberAt(json, 'rms_norm_eps', 1e-12, 0.1, 1e-5, file);

  const hidden = sizeAt(json, 'hidden_size', limits.width, file);
  const ffn = sizeAt(json, 'intermediate_size', limits.width, file);
  const layers = sizeAt(json, 'num_hidden_layers', limits.layers, file);
  const heads = sizeAt(json, 'num_attention_heads', limits.heads, file);
  // transformers: null means "as many as query heads". Absent would mean 5, the number of one model: ask for it.
  const asHeads = json.num_key_value_heads === null ? heads : undefined;
  const kvHeads = sizeAt(json, 'num_key_value_heads', limits.heads, file, asHeads);
  const vocab = sizeAt(json, 'vocab_size', limits.vocab, file);
  const maxPositions = sizeAt(json, 'max_position_embeddings', limits.positions, file);
  for (const [key, size] of [
    ['hidden_size', hidden],
    ['intermediate_size', ffn],
  ] as const) {
    if (size % 4 !== 0) throw unsupported(key, size, 'a multiple of 4', file);
  }
  if (heads % kvHeads !== 0) {
    const expected = `a divisor of num_attention_heads ${heads}`;
    throw new SternaError('bad-file', 'bad num_key_value_heads', { file, got: kvHeads, expected });
  }
  const headDim = sizeAt(json, 'head_dim', limits.headDim, file, hidden / heads);
  if (headDim % 8 !== 0) throw unsupported('head_dim', headDim, 'a multiple of 8', file);
  // attn_sub_norm has hidden_size gains and spans the joined heads, so the two widths must agree.
  if (heads * headDim !== hidden) throw unsupported('head_dim', headDim, hidden / heads, file);

  const defaults = isObject(generation) ? generation : {};
  // The class defaults are ids of the Llama 3 vocabulary: they stand for nothing in a smaller one.
  const eos = idsAt(json, 'eos_token_id', vocab, file) ?? [128_001].filter((id) => id < vocab);
  const bos = idsAt(json, 'bos_token_id', vocab, file) ?? [128_000].filter((id) => id < vocab);
  const moreEos = idsAt(defaults, 'eos_token_id', vocab, generationFile) ?? [];
  return {
    modelType,
    hidden,
    layers,
    heads,
    kvHeads,
    headDim,
    ffn,
    vocab,
    maxPositions,
    ropeTheta,
    rmsNormEps,
    gate,
    scaleSense,
    bos: bos[0] ?? null,
    eos: [...new Set([...eos, ...moreEos])],
  };
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
