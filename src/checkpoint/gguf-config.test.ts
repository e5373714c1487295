import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../model/config';
import { type GgufMetadata, parseGguf } from './gguf';
import { configFromGguf, hasInterleavedHeads } from './gguf-config';
import { globalNames, linears, tensorNames } from './names';
import type { TensorInfo } from './tensors';

const fixture = (path: string) => readFileSync(new URL(`../../e2e/fixtures/${path}`, import.meta.url));

/** Types by what they are used for; `bits` of a weight. */
interface Types {
  linear?: string;
  bits?: number;
  embedding?: string;
  head?: string;
  change?: Record<string, { type: string; bits: number }>;
}

/** A model of two layers: hidden 512, 8 heads of 64, 2 key/value heads, ffn 1024, vocabulary 300. */
function model(arch: string, types: Types = {}, keys: GgufMetadata = {}) {
  const { linear = 'I2_S', bits = 2, embedding = 'F16', head, change = {} } = types;
  const metadata: GgufMetadata = {
    'general.architecture': arch,
    [`${arch}.block_count`]: 2,
    [`${arch}.context_length`]: 2048,
    [`${arch}.embedding_length`]: 512,
    [`${arch}.feed_forward_length`]: 1024,
    [`${arch}.attention.head_count`]: 8,
    [`${arch}.attention.head_count_kv`]: 2,
    [`${arch}.attention.layer_norm_rms_epsilon`]: 1e-6,
    ...keys,
  };
  let at = 4096;
  const tensors: TensorInfo[] = [];
  const add = (name: string, type: string, shape: number[], width: number) => {
    const given = change[name] ?? { type, bits: width };
    const bytes = (shape.reduce((a, b) => a * b, 1) * given.bits) / 8;
    tensors.push({ name, type: given.type, shape, begin: at, end: at + bytes });
    at += Math.ceil(bytes / 32) * 32;
  };
  const names = globalNames('gguf');
  const tableBits: Record<string, number> = { F16: 16, Q2_0: bits, Q6_K: 6.5625, Q4_K: 4.5 };
  add(names.embedding, embedding, [300, 512], tableBits[embedding] ?? 16);
  add(names.finalNorm, 'F32', [512], 32);
  if (head) add(names.head, head, [300, 512], tableBits[head] ?? 16);
  for (let layer = 0; layer < 2; layer++) {
    const all = tensorNames('gguf', layer);
    for (const one of linears) add(all[one], linear, [512, 512], bits);
  }
  return { metadata, tensors };
}

function read(arch: string, types?: Types, keys?: GgufMetadata) {
  const { metadata, tensors } = model(arch, types, keys);
  return configFromGguf(metadata, tensors, 'model.gguf');
}

const common = {
  hidden: 512,
  layers: 2,
  heads: 8,
  kvHeads: 2,
  headDim: 64,
  ffn: 1024,
  vocab: 300,
  maxPositions: 2048,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  subNorms: false,
  qkNorm: false,
  gate: 'silu',
  lmHead: 'tied',
  ternaryEmbedding: false,
  group: 0,
  embeddingScale: 1,
  residualScale: 1,
  logitScale: 1,
  scaleSense: 'multiply',
  bos: null,
  eos: [],
};
const q2 = { linear: 'Q2_0', bits: 2.25, embedding: 'Q2_0' };

/** What the published Ternary Bonsai 8B says of RoPE. */
const bonsai = {
  'qwen3.rope.scaling.type': 'yarn',
  'qwen3.rope.scaling.factor': 4,
  'qwen3.rope.scaling.original_context_length': 16_384,
};

/** A Llama-shaped model with tensors of 32 factors. */
function readWith(names: string[], keys: GgufMetadata) {
  const { metadata, tensors } = model('llama', {}, keys);
  const factors = names.map((name) => ({ name, type: 'F32', shape: [32], begin: 0, end: 128 }));
  return configFromGguf(metadata, [...tensors, ...factors], 'm.gguf');
}

describe('how RoPE is stretched', () => {
  const yarn = { kind: 'yarn', factor: 4, originalPositions: 16_384, betaFast: 32, betaSlow: 1 };
  const own = { ...yarn, attentionFactor: 1, attentionLog: 0.1 };

  test.each([
    [{}, own],
    [{ 'qwen3.rope.scaling.attn_factor': 1.5 }, { ...own, attentionFactor: 1.5 }],
    [
      { 'qwen3.rope.scaling.yarn_beta_fast': 16, 'qwen3.rope.scaling.yarn_beta_slow': 2 },
      { ...own, betaFast: 16, betaSlow: 2 },
    ],
    // what transformers and llama.cpp compute anyway, spelled out
    [{ 'qwen3.rope.scaling.yarn_attn_factor': Math.fround(1 + 0.1 * Math.log(4)) }, own],
    [{ 'qwen3.rope.scaling.yarn_attn_factor': 1, 'qwen3.rope.scaling.yarn_log_multiplier': 0 }, own],
    [{ 'qwen3.rope.scaling.yarn_ext_factor': -1 }, own],
    [{ 'qwen3.rope.scaling.original_context_length': undefined }, { ...own, originalPositions: 2048 }],
    [{ 'qwen3.rope.scaling.factor': 1 }, undefined],
    [{ 'qwen3.rope.scaling.type': 'linear' }, { kind: 'linear', factor: 4 }],
    [{ 'qwen3.rope.scaling.type': 'none' }, undefined],
  ])('%j', (change, expected) => {
    const keys = Object.fromEntries(
      Object.entries({ ...bonsai, ...change }).filter(([, value]) => value !== undefined),
    );
    expect(read('qwen3', q2, keys as GgufMetadata).ropeScaling).toEqual(expected);
  });

  test('linearly, by the old key or without a type', () => {
    expect(read('llama', {}, { 'llama.rope.scale_linear': 8 }).ropeScaling).toEqual({ kind: 'linear', factor: 8 });
    expect(read('llama', {}, { 'llama.rope.scaling.factor': 4 }).ropeScaling).toEqual({ kind: 'linear', factor: 4 });
    expect(read('llama', {}, { 'llama.rope.scaling.factor': 0 }).ropeScaling).toBeUndefined();
  });

  test('by tensors', () => {
    expect(readWith(['rope_freqs.weight'], {}).ropeScaling).toEqual({ kind: 'factors' });
    const keys = { 'llama.rope.scaling.type': 'longrope', 'llama.rope.scaling.original_context_length': 1024 };
    const both = ['rope_factors_long.weight', 'rope_factors_short.weight'];
    const longrope = { kind: 'longrope', originalPositions: 1024, attentionFactor: 1 };
    expect(readWith(both, keys).ropeScaling).toEqual(longrope);
    const more = { ...keys, 'llama.rope.scaling.attn_factor': 1.25 };
    expect(readWith(both, more).ropeScaling).toEqual({ ...longrope, attentionFactor: 1.25 });
  });
});

describe('the configuration in a GGUF file', () => {
  test.each(['i2_s.gguf', 'i2_s-arm.gguf', 'tq1_0.gguf', 'tq2_0.gguf'])('%s: as that of the same model', (name) => {
    const file = fixture(`gguf/${name}`);
    const header = parseGguf(file, file.length, name);
    if ('needs' in header) throw new Error('incomplete');
    const json = JSON.parse(fixture('hf-packed/config.json').toString());
    const expected = parseConfig(json, undefined, 'config.json');
    const config = configFromGguf(header.metadata, header.tensors, name);
    expect(config).toEqual({ ...expected, rmsNormEps: Math.fround(expected.rmsNormEps), bos: 0, eos: [1] });
    expect(hasInterleavedHeads(config)).toBe(false);
  });

  test('BitNet: 2B4T with squared ReLU, the first ones with SiLU; an own head where there is one', () => {
    const bitnet = { ...common, family: 'bitnet', subNorms: true };
    expect(read('bitnet-b1.58')).toEqual({ ...bitnet, gate: 'relu2' });
    expect(read('bitnet-25', { head: 'F16' })).toEqual({ ...bitnet, gate: 'relu2', lmHead: 'untied' });
    // llama.cpp's converter writes a scaling that scales nothing
    const none = { 'bitnet.rope.scaling.type': 'linear', 'bitnet.rope.scaling.factor': 1 };
    expect(read('bitnet', { linear: 'TQ2_0', bits: 2.0625 }, none)).toEqual(bitnet);
  });

  test('Llama: no sub-norms, rows of heads interleaved', () => {
    const config = read('llama', { embedding: 'Q4_K', head: 'Q6_K' }, { 'llama.rope.freq_base': 500_000 });
    expect(config).toEqual({ ...common, family: 'llama', lmHead: 'untied', ropeTheta: 500_000 });
    expect(hasInterleavedHeads(config)).toBe(true);
    const wide = { 'llama.attention.key_length': 128, 'llama.rope.dimension_count': 128 };
    expect(read('llama', {}, wide).headDim).toBe(128);
    const { 'llama.attention.head_count_kv': _, ...alone } = model('llama').metadata;
    expect(configFromGguf(alone, model('llama').tensors, '').kvHeads).toBe(8);
  });

  test('Qwen3: norms of heads, groups of 64 or 128 by their bytes, ternary embedding and head', () => {
    const keys = { 'qwen3.attention.key_length': 128, 'qwen3.attention.value_length': 128 };
    const qwen = { ...common, family: 'qwen3', qkNorm: true, ternaryEmbedding: true, group: 64, headDim: 128 };
    const config = read('qwen3', q2, keys);
    expect(config).toEqual(qwen);
    expect(hasInterleavedHeads(config)).toBe(false);
    expect(read('qwen3', { ...q2, bits: 2.125, head: 'Q2_0' }, keys)).toEqual({
      ...qwen,
      group: 128,
      lmHead: 'untied',
    });
    expect(read('qwen3', { ...q2, embedding: 'Q6_K' }, keys)).toEqual({ ...qwen, ternaryEmbedding: false });
  });

  test('MiniCPM: factors, a scale for each group', () => {
    const keys = { 'minicpm.embedding_scale': 12, 'minicpm.residual_scale': 0.25, 'minicpm.logit_scale': 8 };
    const minicpm = { ...common, family: 'minicpm', group: 128 };
    const config = read('minicpm', { linear: 'TQ2_0', bits: 2.0625, embedding: 'Q6_K' }, keys);
    expect(config).toEqual({ ...minicpm, embeddingScale: 12, residualScale: 0.25, logitScale: 1 / 8 });
    expect(hasInterleavedHeads(config)).toBe(true);
    expect(() => read('minicpm', {}, { ...keys, 'minicpm.logit_scale': 0 })).toThrow(/bad minicpm.logit_scale/);
    expect(() => read('minicpm')).toThrow(/no minicpm.embedding_scale/);
  });

  test('what ends an answer: EOS, EOT and tokens of known texts', () => {
    const tokens = Array.from({ length: 280 }, (_, i) => `t${i}`);
    tokens[9] = '<|eot_id|>';
    tokens[11] = '<|im_end|>';
    const keys = {
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.bos_token_id': 5,
      'tokenizer.ggml.eos_token_id': 6,
      'tokenizer.ggml.eot_token_id': 7,
      'tokenizer.ggml.eom_token_id': 9,
    };
    expect(read('llama', {}, keys)).toMatchObject({ bos: 5, eos: [6, 7, 9, 11] });
    const pieces = { 'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.tokens': ['<unk>', '<s>', '</s>', 'a'] };
    expect(read('llama', {}, pieces)).toMatchObject({ bos: 1, eos: [2] });
  });
});

describe('what is refused, by name', () => {
  const ternary = 'unsupported';
  test.each<[string, () => unknown, string, RegExp]>([
    [
      'an ordinary quantised model',
      () => read('llama', { linear: 'Q4_K', bits: 4.5 }),
      ternary,
      /blk.0.attn_q.weight.*I2_S, TQ1_0, TQ2_0, Q2_0.*got "Q4_K"/,
    ],
    [
      'one matrix that is not ternary',
      () => read('llama', { change: { 'blk.1.ffn_down.weight': { type: 'Q4_0', bits: 4.5 } } }),
      ternary,
      /blk.1.ffn_down.weight.*got "Q4_0"/,
    ],
    ['floats', () => read('bitnet', { linear: 'F16', bits: 16 }), ternary, /got "F16"/],
    [
      'groups of two sizes',
      () => read('qwen3', { ...q2, change: { 'blk.1.ffn_up.weight': { type: 'Q2_0', bits: 2.125 } } }),
      ternary,
      /blk.1.ffn_up.weight.*64 weights.*got "Q2_0, a scale for 128 weights"/,
    ],
    [
      'groups and none',
      () => read('qwen3', { ...q2, change: { 'blk.1.ffn_up.weight': { type: 'TQ2_0', bits: 2.0625 } } }),
      ternary,
      /got "TQ2_0, a scale for the matrix"/,
    ],
    [
      'an embedding of another type',
      () => read('llama', { embedding: 'Q5_K' }),
      ternary,
      /token_embd.weight.*F32.*got "Q5_K"/,
    ],
    [
      'a ternary embedding in groups of another size',
      () => read('qwen3', { ...q2, change: { 'token_embd.weight': { type: 'Q2_0', bits: 2.125 } } }),
      ternary,
      /token_embd.*groups of 64.*groups of 128/,
    ],
    [
      'a ternary embedding with another head',
      () => read('qwen3', { ...q2, head: 'F16' }),
      ternary,
      /output.weight.*expected Q2_0.*got "F16"/,
    ],
    ['an unknown architecture', () => read('gemma3'), ternary, /general.architecture.*got "gemma3"/],
    ['a hybrid one', () => read('qwen35'), ternary, /got "qwen35"/],
    ['no architecture', () => configFromGguf({}, [], 'x.gguf'), ternary, /x.gguf: .*general.architecture/],
    ['an adapter', () => read('llama', {}, { 'general.type': 'adapter' }), ternary, /general.type.*got "adapter"/],
    ['experts', () => read('llama', {}, { 'llama.expert_count': 8 }), ternary, /llama.expert_count.*got 8/],
    [
      'a sliding window',
      () => read('llama', {}, { 'llama.attention.sliding_window': 4096 }),
      ternary,
      /sliding_window.*got 4096/,
    ],
    [
      'RoPE stretched in a way of its own',
      () => read('qwen3', q2, { 'qwen3.rope.scaling.type': 'ntk' }),
      ternary,
      /rope.scaling.type.*got "ntk"/,
    ],
    ['squeezed RoPE', () => read('llama', {}, { 'llama.rope.scaling.factor': 0.5 }), ternary, /factor.*got 0.5/],
    [
      'another multiplier of YaRN',
      () => read('qwen3', q2, { ...bonsai, 'qwen3.rope.scaling.yarn_attn_factor': 1.5 }),
      ternary,
      /yarn_attn_factor.*1 or 1.13.*got 1.5/,
    ],
    [
      'a part of YaRN',
      () => read('qwen3', q2, { ...bonsai, 'qwen3.rope.scaling.yarn_ext_factor': 0.5 }),
      ternary,
      /yarn_ext_factor.*got 0.5/,
    ],
    [
      "DeepSeek's YaRN",
      () => read('qwen3', q2, { ...bonsai, 'qwen3.rope.scaling.yarn_log_multiplier': 0.1 }),
      ternary,
      /yarn_log_multiplier.*got 0.1/,
    ],
    [
      'a multiplier without YaRN',
      () => read('llama', {}, { 'llama.rope.scaling.attn_factor': 1.2 }),
      ternary,
      /attn_factor.*got 1.2/,
    ],
    [
      'a factor that is no number',
      () => read('qwen3', q2, { ...bonsai, 'qwen3.rope.scaling.factor': '4' }),
      'bad-file',
      /rope.scaling.factor.*got "4"/,
    ],
    [
      'RoPE over a part of the head',
      () => read('llama', {}, { 'llama.rope.dimension_count': 32 }),
      ternary,
      /rope.dimension_count.*expected 64.*got 32/,
    ],
    [
      'values of another width',
      () => read('llama', {}, { 'llama.attention.value_length': 32 }),
      ternary,
      /value_length.*got 32/,
    ],
    ['no causal mask', () => read('qwen3', q2, { 'qwen3.attention.causal': false }), ternary, /causal.*got false/],
    [
      'factors of another family',
      () => read('llama', {}, { 'llama.logit_scale': 4 }),
      ternary,
      /llama.logit_scale.*got 4/,
    ],
    ['too many layers', () => read('llama', {}, { 'llama.block_count': 100_000 }), ternary, /block_count.*got 100000/],
    [
      'a width that the kernels do not take',
      () => read('llama', {}, { 'llama.embedding_length': 500, 'llama.attention.key_length': 64 }),
      ternary,
      /llama.embedding_length.*multiple of 8.*got 500/,
    ],
    ['no layers', () => read('llama', {}, { 'llama.block_count': 0 }), 'bad-file', /block_count.*got 0/],
    [
      'more layers than it has',
      () => read('llama', {}, { 'llama.block_count': 3 }),
      'bad-file',
      /missing.*blk.2.attn_q.weight/,
    ],
    [
      'no epsilon',
      () => read('llama', {}, { 'llama.attention.layer_norm_rms_epsilon': 'small' }),
      'bad-file',
      /epsilon/,
    ],
    [
      'heads that do not go together',
      () => read('llama', {}, { 'llama.attention.head_count_kv': 3 }),
      'bad-file',
      /head_count_kv.*got 3/,
    ],
    [
      'a size of text',
      () => read('llama', {}, { 'llama.context_length': '2048' }),
      'bad-file',
      /context_length.*got "2048"/,
    ],
    [
      'more tokens than rows',
      () => read('llama', {}, { 'tokenizer.ggml.tokens': Array(301).fill('x') }),
      'bad-file',
      /tokens.*at most 300.*got 301/,
    ],
    [
      'a token id outside',
      () => read('llama', {}, { 'tokenizer.ggml.eos_token_id': 300 }),
      'bad-file',
      /eos_token_id.*got 300/,
    ],
    [
      'tokens that are no list',
      () => read('llama', {}, { 'tokenizer.ggml.tokens': 5 }),
      'bad-file',
      /tokenizer.ggml.tokens/,
    ],
  ])('%s', (_, run, code, message) => {
    expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test.each([
    [{ 'llama.rope.scaling.type': 'longrope' }, ['rope_freqs.weight']],
    [{}, ['rope_factors_short.weight', 'rope_factors_long.weight']],
    [{ 'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': 4 }, ['rope_freqs.weight']],
    [{ 'llama.rope.scaling.factor': 2 }, ['rope_freqs.weight']],
    [{ 'llama.rope.scaling.type': 'yarn' }, ['rope_freqs.weight']],
  ])('RoPE stretched twice, or by tensors of another kind: %j %j', (keys, names) => {
    expect(() => readWith(names, keys)).toThrow(expect.objectContaining({ code: 'unsupported' }));
  });

  test('an embedding that is no matrix, or none', () => {
    const { metadata, tensors } = model('llama');
    const flat = tensors.map((tensor) => (tensor.name === 'token_embd.weight' ? { ...tensor, shape: [9] } : tensor));
    expect(() => configFromGguf(metadata, flat, 'm.gguf')).toThrow(/shape of tensor token_embd.weight.*got \[9\]/);
    expect(() => configFromGguf(metadata, tensors.slice(1), 'm.gguf')).toThrow(/missing.*token_embd.weight/);
  });
});
