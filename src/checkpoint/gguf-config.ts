/**
 * The configuration of a model in a GGUF file, from its metadata and its table of tensors. Keys and their meaning:
 * llama.cpp, src/llama-arch.cpp and src/models/.
 */

import { SternaError } from '../errors';
import {
  checkSizes,
  choice,
  limits,
  type ModelConfig,
  mostStretch,
  numberAt,
  requiredAt,
  type SizeNames,
  sizeAt,
  unsupported,
  yarnLog,
} from '../model/config';
import type { GgufMetadata } from './gguf';
import { readTokens } from './gguf-tokens';
import { globalNames, linears, ropeTensors, tensorNames } from './names';
import { scaleGroup, type TensorInfo } from './tensors';

type Shape = Pick<ModelConfig, 'family' | 'gate' | 'subNorms' | 'qkNorm'>;
const llama: Shape = { family: 'llama', gate: 'silu', subNorms: false, qkNorm: false };

/** `general.architecture`. The first BitNets were made with SiLU; 2B4T, with squared ReLU, has names of its own. */
const shapes = {
  'bitnet-b1.58': { family: 'bitnet', gate: 'relu2', subNorms: true, qkNorm: false },
  'bitnet-25': { family: 'bitnet', gate: 'relu2', subNorms: true, qkNorm: false },
  bitnet: { family: 'bitnet', gate: 'silu', subNorms: true, qkNorm: false },
  llama,
  qwen3: { family: 'qwen3', gate: 'silu', subNorms: false, qkNorm: true },
  minicpm: { ...llama, family: 'minicpm' },
} satisfies Record<string, Shape>;
type Architecture = keyof typeof shapes;

/** Keys that would change what a layer computes, with the values, the first by default, that change nothing. */
const neutral: [key: string, values: (number | boolean | string)[]][] = [
  ['expert_count', [0]],
  ['attention.causal', [true]],
  ['attention.sliding_window', [0]],
  ['attention.scale', [0]],
  ['attention.clamp_kqv', [0]],
  ['attention.max_alibi_bias', [0]],
  ['attn_logit_softcapping', [0]],
  ['final_logit_softcapping', [0]],
  ['use_parallel_residual', [false]],
  ['pooling_type', [0]],
];
const scaleKeys = ['embedding_scale', 'residual_scale', 'logit_scale'] as const;

/** Types that the ternary matrices may have. */
const ternaryTypes = ['I2_S', 'TQ1_0', 'TQ2_0', 'Q2_0'];
/** Types that the embedding and lm_head may have besides. */
const tableTypes = ['F32', 'F16', 'BF16', 'Q8_0', 'Q6_K', 'Q4_K', 'Q4_0'];

/**
 * Whether the rows of q_proj and k_proj are in pairs (0, half, 1, half + 1, ...), for RoPE on neighbouring elements, as
 * llama.cpp's converter writes these families; in the others they are as in Hugging Face's files. Row `r` of a head is
 * then row `(r % 2) * headDim / 2 + floor(r / 2)` of the other order.
 */
export function hasInterleavedHeads(config: ModelConfig): boolean {
  return config.family === 'llama' || config.family === 'minicpm';
}

/**
 * The configuration of the model in a GGUF file. `metadata` is that of the first file, `tensors` those of all files;
 * `file` is the name in errors.
 * Throws `unsupported` for a model that the engine does not run, naming the key or tensor, `bad-file` for missing or
 * nonsensical values.
 */
export function configFromGguf(metadata: GgufMetadata, tensors: TensorInfo[], file: string): ModelConfig {
  choice(metadata, 'general.type', 'model', ['model'], file);
  const known = Object.keys(shapes) as Architecture[];
  const arch = choice<string>(metadata, 'general.architecture', '', known, file) as Architecture;
  const shape = shapes[arch];
  for (const [key, values] of neutral) choice(metadata, `${arch}.${key}`, values[0], values, file);

  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string): TensorInfo => {
    const tensor = byName.get(name);
    if (!tensor) throw new SternaError('bad-file', 'tensor is missing', { file, got: 'none', expected: name });
    return tensor;
  };
  const size = (key: string, most: number, fallback?: number): number =>
    sizeAt(metadata, `${arch}.${key}`, most, file, fallback);

  const layers = size('block_count', limits.layers);
  const group = readGroup(layers, find, shape.family, file);
  const { embedding: embeddingName, head: headName } = globalNames('gguf');
  const embedding = find(embeddingName);
  const untied = byName.get(headName);
  const ternaryEmbedding = readTable(embedding, group, file);
  if (untied && readTable(untied, group, file) !== ternaryEmbedding) {
    throw unsupported(`type of tensor ${headName}`, untied.type, `${embedding.type}, as the embedding`, file);
  }
  const [vocab = 0, ...rest] = embedding.shape;
  if (rest.length !== 1) {
    const facts = { file, got: `[${embedding.shape}]`, expected: '[vocabulary, width]' };
    throw new SternaError('bad-file', `shape of tensor ${embeddingName}`, facts);
  }
  if (vocab > limits.vocab) throw unsupported('vocabulary', vocab, `at most ${limits.vocab}`, file);
  const { bos, ends } = readTokens(metadata, vocab, file);

  const hidden = size('embedding_length', limits.width);
  const heads = size('attention.head_count', limits.heads);
  const headDim = size('attention.key_length', limits.headDim, hidden / heads);
  choice(metadata, `${arch}.attention.value_length`, headDim, [headDim], file);
  choice(metadata, `${arch}.rope.dimension_count`, headDim, [headDim], file);
  const maxPositions = size('context_length', limits.positions);
  const config: ModelConfig = {
    ...shape,
    hidden,
    layers,
    heads,
    kvHeads: size('attention.head_count_kv', limits.heads, heads),
    headDim,
    ffn: size('feed_forward_length', limits.width),
    vocab,
    maxPositions,
    ropeTheta: numberAt(metadata, `${arch}.rope.freq_base`, 1, 1e12, 10_000, file),
    ropeScaling: readRopeScaling(metadata, arch, new Set(byName.keys()), maxPositions, file),
    rmsNormEps: requiredAt(metadata, `${arch}.attention.layer_norm_rms_epsilon`, 1e-12, 0.1, file),
    lmHead: untied ? 'untied' : 'tied',
    ternaryEmbedding,
    group,
    ...readScales(metadata, arch, file),
    scaleSense: 'multiply',
    bos,
    eos: ends,
  };
  checkSizes(config, sizeNames(arch), file);
  return config;
}

function sizeNames(arch: Architecture): SizeNames {
  return {
    hidden: `${arch}.embedding_length`,
    ffn: `${arch}.feed_forward_length`,
    heads: `${arch}.attention.head_count`,
    kvHeads: `${arch}.attention.head_count_kv`,
    headDim: `${arch}.attention.key_length`,
  };
}

/** Columns to one scale, 0 for one a matrix. Throws unless all matrices are ternary, and of one kind. */
function readGroup(
  layers: number,
  find: (name: string) => TensorInfo,
  family: ModelConfig['family'],
  file: string,
): ModelConfig['group'] {
  let group: ModelConfig['group'] | undefined;
  for (let layer = 0; layer < layers; layer++) {
    const names = tensorNames('gguf', layer);
    for (const linear of linears) {
      const tensor = find(names[linear]);
      const what = `type of tensor ${tensor.name}`;
      if (!ternaryTypes.includes(tensor.type)) {
        throw unsupported(what, tensor.type, `ternary weights: ${ternaryTypes.join(', ')}`, file);
      }
      // BitCPM's matrices have many scales; a block of 256, with one in the file, is two groups with the same.
      const own =
        tensor.type === 'Q2_0' ? scaleGroup(tensor) : family === 'minicpm' && tensor.type !== 'I2_S' ? 128 : 0;
      group ??= own;
      if (own !== group) {
        const name = (columns: number) => (columns ? `a scale for ${columns} weights` : 'a scale for the matrix');
        throw unsupported(what, `${tensor.type}, ${name(own)}`, `${name(group)}, as the first matrix`, file);
      }
    }
  }
  return group ?? 0;
}

/** Whether the embedding or lm_head is ternary. */
function readTable(tensor: TensorInfo, group: ModelConfig['group'], file: string): boolean {
  if (tableTypes.includes(tensor.type)) return false;
  if (tensor.type === 'Q2_0' && scaleGroup(tensor) === group) return true;
  const got = tensor.type === 'Q2_0' ? `Q2_0, groups of ${scaleGroup(tensor)}` : tensor.type;
  const expected = `${tableTypes.join(', ')}${group ? ` or Q2_0, groups of ${group}` : ''}`;
  throw unsupported(`type of tensor ${tensor.name}`, got, expected, file);
}

/** MiniCPM's factors (llama.cpp, conversion/minicpm.py, src/models/granite.cpp): logits are divided by `logit_scale`. */
function readScales(
  metadata: GgufMetadata,
  arch: Architecture,
  file: string,
): Pick<ModelConfig, 'embeddingScale' | 'residualScale' | 'logitScale'> {
  const [embeddingScale, residualScale, logitDivisor] = scaleKeys.map((key) => {
    if (arch === 'minicpm') return requiredAt(metadata, `${arch}.${key}`, 1e-6, 1e6, file);
    return choice(metadata, `${arch}.${key}`, 1, [1], file);
  }) as [number, number, number];
  return { embeddingScale, residualScale, logitScale: 1 / logitDivisor };
}

/**
 * How positions are stretched, as llama.cpp does it (llama-model.cpp, llama-context.cpp; rope_yarn in ggml's ops.cpp). It
 * takes YaRN's multiplier 1 + 0.1 ln factor whatever `yarn_attn_factor` says, which some converters fill with another one:
 * only values on which both agree are taken.
 */
function readRopeScaling(
  metadata: GgufMetadata,
  arch: Architecture,
  names: Set<string>,
  maxPositions: number,
  file: string,
): ModelConfig['ropeScaling'] {
  const prefix = `${arch}.rope.scaling`;
  const type = choice(metadata, `${prefix}.type`, 'linear', ['linear', 'none', 'yarn', 'longrope'], file);
  const named = Object.entries(ropeTensors).filter(([, name]) => names.has(name));
  for (const [kind, name] of named) {
    if ((kind === 'factors') === (type === 'longrope'))
      throw unsupported(`tensor ${name}`, name, `none with ${type}`, file);
  }
  const older = numberAt(metadata, `${arch}.rope.scale_linear`, 0, mostStretch, 1, file);
  const given = numberAt(metadata, `${prefix}.factor`, 0, mostStretch, older, file);
  const factor = type === 'none' || given === 0 ? 1 : given;
  if (factor < 1) throw unsupported(`${prefix}.factor`, factor, 'at least 1', file);
  if (factor !== 1 && (named.length || type === 'longrope')) {
    throw unsupported(`${prefix}.factor`, factor, '1 beside tensors that stretch RoPE', file);
  }
  const attentionFactor = numberAt(metadata, `${prefix}.attn_factor`, 1e-3, 1e3, 1, file);
  const originalPositions = sizeAt(metadata, `${prefix}.original_context_length`, limits.positions, file, maxPositions);
  if (type === 'longrope') return { kind: type, originalPositions, attentionFactor };
  if (type === 'yarn') {
    if (named.length) throw unsupported('YaRN beside a tensor', named[0]![1], 'none', file);
    choice(metadata, `${prefix}.yarn_ext_factor`, 1, [1, -1], file);
    choice(metadata, `${prefix}.yarn_log_multiplier`, 0, [0], file);
    const own = 1 + yarnLog * Math.log(factor);
    const stated = numberAt(metadata, `${prefix}.yarn_attn_factor`, 0, 1e3, 1, file);
    if (stated !== 1 && Math.abs(stated - own) > 1e-5) {
      throw unsupported(`${prefix}.yarn_attn_factor`, stated, `1 or ${own}`, file);
    }
    const betaFast = numberAt(metadata, `${prefix}.yarn_beta_fast`, 1e-3, 1e6, 32, file);
    const betaSlow = numberAt(metadata, `${prefix}.yarn_beta_slow`, 1e-3, 1e6, 1, file);
    if (factor === 1 && attentionFactor === 1) return undefined;
    return { kind: type, factor, originalPositions, betaFast, betaSlow, attentionFactor, attentionLog: yarnLog };
  }
  if (attentionFactor !== 1) throw unsupported(`${prefix}.attn_factor`, attentionFactor, 1, file);
  if (named.length) return { kind: 'factors' };
  return factor === 1 ? undefined : { kind: 'linear', factor };
}
