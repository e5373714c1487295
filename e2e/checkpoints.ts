/**
 * Checkpoints of bench/synthesize for the engine, and as src/model/reference.ts wants them: read by bench/read-back.ts, which
 * shares no code with the engine.
 */
import type { Model } from '../bench/families';
import { type ReadMatrix, type ReadPart, readRepository } from '../bench/read-back';
import { type Format, type Repository, safetensorsForms } from '../bench/synthesize';
import type { ModelConfig } from '../src/model/config';
import type { ReferenceLayer, ReferenceModel } from '../src/model/reference';
import type { GroupedMatrix, TernaryMatrix } from '../src/model/reference-kernels';
import { toBf16 } from '../src/model/reference-kernels';
import type { Files } from './filling';

const f = Math.fround;

/** All files of a repository as bytes. */
export const filesOf = ({ files }: Repository): Files =>
  Object.fromEntries(Object.entries(files).map(([path, file]) => [path, file.read(0, file.size)]));

/** What config.json or the metadata of a GGUF should come out as, from the sizes that were asked for. */
export function expectedConfig(model: Model, group: ModelConfig['group'], format: Format): ModelConfig {
  const { family, hidden, layers, heads, kvHeads, headDim, ffn, vocab, maxPositions, ropeTheta } = model;
  const isMiniCpm = family === 'minicpm';
  return {
    family: family === '1bitllm' ? 'bitnet' : family,
    ...{ hidden, layers, heads, kvHeads, headDim, ffn, vocab, maxPositions, ropeTheta },
    rmsNormEps: safetensorsForms.some((form) => form === format) ? model.rmsNormEps : f(model.rmsNormEps),
    gate: model.gate,
    subNorms: family === 'bitnet' || family === '1bitllm',
    qkNorm: family === 'qwen3',
    lmHead: model.lmHead,
    ternaryEmbedding: model.ternaryEmbedding,
    group,
    // MiniCPM's values in float32, as GGUF has them; the logits are divided by the third
    embeddingScale: isMiniCpm ? 12 : 1,
    residualScale: isMiniCpm ? f(1.4 / Math.sqrt(layers)) : 1,
    logitScale: isMiniCpm ? 1 / f(hidden / 256) : 1,
    scaleSense: format === 'divide' ? 'divide' : 'multiply',
    bos: model.bos,
    eos: model.eos,
  };
}

/** Group scales for `group` columns, from those of wider groups or of the matrix. */
function narrowed({ rows, cols, trits, group: wide, scales }: ReadMatrix, group: 64 | 128): GroupedMatrix {
  const [to, from] = [cols / group, cols / wide];
  const at = (i: number): number =>
    wide === 0 ? scales[0]! : scales[Math.floor(i / to) * from + Math.floor(((i % to) * group) / wide)]!;
  return { trits, rows, cols, group, scales: Float32Array.from({ length: rows * to }, (_, i) => at(i)) };
}

/** A checkpoint as the oracle wants it. `format`: in which it is written. */
export function referenceOf(
  { files }: Pick<Repository, 'files'>,
  model: Model,
  config: ModelConfig,
  format: Format,
): ReferenceModel {
  const parts = readRepository(files, model, format === 'i2_s-arm');
  const isMaster = format === 'master';
  const part = (name: string): ReadPart => {
    const found = parts.get(name);
    if (!found) throw new Error(`${name} is missing`);
    return found;
  };
  const floats = (name: string): Float32Array => {
    const read = part(name);
    if (!('floats' in read)) throw new Error(`${name} is ternary`);
    return read.floats;
  };
  const linear = (name: string): TernaryMatrix | GroupedMatrix => {
    const read = part(name);
    if (!('trits' in read)) throw new Error(`${name} is not ternary`);
    if (config.group) return narrowed(read, config.group);
    const { trits, rows, cols, scales } = read;
    // absmean in float32: weights are multiplied by 1 / mean, and the scale is the inverse of that
    return { trits, rows, cols, scale: isMaster ? f(1 / f(1 / scales[0]!)) : scales[0]! };
  };
  // the engine keeps rows of floats as bf16
  const table = (name: string) =>
    config.ternaryEmbedding ? (linear(name) as GroupedMatrix) : floats(name).map(toBf16);
  const layer = (index: number): ReferenceLayer => {
    const [prefix, old] = [`model.layers.${index}`, model.family === '1bitllm'];
    const [attention, mlp] = [`${prefix}.self_attn`, `${prefix}.mlp`];
    return {
      inputNorm: floats(`${prefix}.input_layernorm`),
      query: linear(`${attention}.q_proj`),
      key: linear(`${attention}.k_proj`),
      value: linear(`${attention}.v_proj`),
      ...(config.qkNorm && { queryNorm: floats(`${attention}.q_norm`), keyNorm: floats(`${attention}.k_norm`) }),
      ...(config.subNorms && {
        attentionNorm: floats(`${attention}.${old ? 'inner_attn_ln' : 'attn_sub_norm'}`),
        ffnNorm: floats(`${mlp}.${old ? 'ffn_layernorm' : 'ffn_sub_norm'}`),
      }),
      output: linear(`${attention}.o_proj`),
      ffnInputNorm: floats(`${prefix}.post_attention_layernorm`),
      gate: linear(`${mlp}.gate_proj`),
      up: linear(`${mlp}.up_proj`),
      down: linear(`${mlp}.down_proj`),
    };
  };
  return {
    config,
    embedding: table('model.embed_tokens'),
    ...(config.lmHead === 'untied' && { head: table('lm_head') }),
    layers: Array.from({ length: config.layers }, (_, index) => layer(index)),
    finalNorm: floats('model.norm'),
  };
}
