import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SternaError } from '../errors';
import { countParameters, generationDefaults, parseConfig, ternaryWeights } from './config';

const read = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));

/** config.json of BitNet b1.58 2B4T as transformers 4 wrote it. */
const bitnet = {
  architectures: ['BitNetForCausalLM'],
  model_type: 'bitnet',
  auto_map: { AutoConfig: 'configuration_bitnet.BitNetConfig' },
  bos_token_id: 128_000,
  eos_token_id: 128_001,
  hidden_act: 'relu2',
  hidden_size: 2560,
  intermediate_size: 6912,
  max_position_embeddings: 4096,
  num_attention_heads: 20,
  num_hidden_layers: 30,
  num_key_value_heads: 5,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
  vocab_size: 128_256,
  quantization_config: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' },
};

/** config.json of 1bitLLM/bitnet_b1_58-3B: LlamaConfig with two more keys. */
const firstRecipe = {
  architectures: ['BitnetForCausalLM'],
  model_type: 'llama',
  bos_token_id: 1,
  eos_token_id: 2,
  hidden_act: 'silu',
  hidden_size: 3200,
  input_bits: 8,
  intermediate_size: 8640,
  max_position_embeddings: 2048,
  num_attention_heads: 32,
  num_hidden_layers: 26,
  num_key_value_heads: 32,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  rope_theta: 10_000,
  tie_word_embeddings: true,
  vocab_size: 32_002,
  weight_bits: 1,
};

/** config.json of a Llama-shaped model, as Falcon3-3B-Instruct-1.58bit: head_dim stands alone, the head is untied. */
const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 11,
  eos_token_id: 11,
  head_dim: 256,
  hidden_act: 'silu',
  hidden_size: 3072,
  intermediate_size: 9216,
  max_position_embeddings: 32_768,
  num_attention_heads: 12,
  num_hidden_layers: 22,
  num_key_value_heads: 4,
  rms_norm_eps: 1e-6,
  rope_scaling: null,
  rope_theta: 1_000_042,
  tie_word_embeddings: false,
  vocab_size: 131_072,
  quantization_config: { quant_method: 'bitnet', modules_to_not_convert: ['lm_head'] },
};

const quantization = (more: object) => ({ quantization_config: { ...bitnet.quantization_config, ...more } });

const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 1024 };
const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  original_max_position_embeddings: 8192,
  low_freq_factor: 1,
  high_freq_factor: 4,
};

function failure(change: object, generation?: unknown, base: object = bitnet): SternaError {
  try {
    parseConfig({ ...base, ...change }, generation, 'config.json');
  } catch (error) {
    if (error instanceof SternaError) return error;
    throw error;
  }
  throw new Error(`was accepted: ${JSON.stringify(change)}`);
}

describe('parseConfig', () => {
  test('reads 2B4T', () => {
    expect(parseConfig(bitnet, { eos_token_id: [128_001, 128_009] }, 'config.json')).toEqual({
      family: 'bitnet',
      hidden: 2560,
      layers: 30,
      heads: 20,
      kvHeads: 5,
      headDim: 128,
      ffn: 6912,
      vocab: 128_256,
      maxPositions: 4096,
      ropeTheta: 500_000,
      rmsNormEps: 1e-5,
      gate: 'relu2',
      subNorms: true,
      qkNorm: false,
      lmHead: 'tied',
      ternaryEmbedding: false,
      group: 0,
      embeddingScale: 1,
      residualScale: 1,
      logitScale: 1,
      scaleSense: 'multiply',
      bos: 128_000,
      eos: [128_001, 128_009],
    });
  });

  test('reads the fixtures', () => {
    const packed = parseConfig(read('e2e/fixtures/hf-packed/config.json'), undefined, 'config.json');
    expect(packed).toMatchObject({ hidden: 256, headDim: 64, kvHeads: 2, scaleSense: 'multiply', bos: 0, eos: [1] });
    const folder = 'demo/public/models/tiny-stories-ternary';
    const stories = parseConfig(read(`${folder}/config.json`), read(`${folder}/generation_config.json`), 'config.json');
    expect(stories).toMatchObject({ layers: 5, vocab: 4096, maxPositions: 1024, eos: [1, 2] });
  });

  test('absent keys mean the class defaults of transformers', () => {
    const { hidden_act, rms_norm_eps, rope_theta, bos_token_id, eos_token_id, ...rest } = bitnet;
    const config = parseConfig({ ...rest, quantization_config: { quant_method: 'bitnet' } }, undefined, 'config.json');
    expect(config).toMatchObject({ gate: 'relu2', rmsNormEps: 1e-5, ropeTheta: 500_000, scaleSense: 'divide' });
    expect(config).toMatchObject({ bos: 128_000, eos: [128_001] });
    const small = parseConfig({ ...rest, vocab_size: 100 }, undefined, 'config.json');
    expect(small).toMatchObject({ bos: null, eos: [] });
    const { tie_word_embeddings, ...untied } = bitnet;
    expect(parseConfig(untied, undefined, 'config.json')).toMatchObject({ lmHead: 'untied' });
  });

  test('reads the first b1.58 recipe', () => {
    const expected = {
      family: 'bitnet',
      hidden: 3200,
      layers: 26,
      heads: 32,
      kvHeads: 32,
      headDim: 100,
      ffn: 8640,
      gate: 'silu',
      subNorms: true,
      lmHead: 'tied',
      ropeTheta: 10_000,
      rmsNormEps: 1e-5,
      group: 0,
      bos: 1,
      eos: [2],
    };
    expect(parseConfig(firstRecipe, undefined, 'config.json')).toMatchObject(expected);
    const bitnetType = { ...firstRecipe, model_type: 'bitnet', num_key_value_heads: undefined };
    expect(parseConfig(bitnetType, undefined, 'config.json')).toMatchObject(expected);
  });

  test('reads a Llama-shaped model, and the class defaults of LlamaConfig', () => {
    expect(parseConfig(llama, { eos_token_id: [11, 12] }, 'config.json')).toMatchObject({
      family: 'llama',
      hidden: 3072,
      heads: 12,
      kvHeads: 4,
      headDim: 256,
      gate: 'silu',
      subNorms: false,
      qkNorm: false,
      lmHead: 'untied',
      ropeTheta: 1_000_042,
      rmsNormEps: 1e-6,
      scaleSense: 'divide',
      bos: 11,
      eos: [11, 12],
    });
    const { tie_word_embeddings, rope_theta, rms_norm_eps, hidden_act, num_key_value_heads, head_dim, ...rest } = llama;
    const { bos_token_id, eos_token_id, architectures, ...bare } = rest;
    expect(parseConfig(bare, undefined, 'config.json')).toMatchObject({
      kvHeads: 12,
      headDim: 256,
      gate: 'silu',
      lmHead: 'untied',
      ropeTheta: 10_000,
      rmsNormEps: 1e-6,
      bos: 1,
      eos: [2],
    });
  });

  test.each([
    [{ head_dim: 128 }, { headDim: 128, hidden: 3072, heads: 12 }],
    [{ head_dim: 100 }, { headDim: 100 }],
    [{ tie_word_embeddings: true }, { lmHead: 'tied' }],
    [quantization({ linear_class: 'autobitlinear', quantization_mode: 'online' }), { scaleSense: 'multiply' }],
    [{ rope_scaling: { rope_type: 'default' } }, { ropeTheta: 1_000_042 }],
    [{ num_key_value_heads: null }, { kvHeads: 12 }],
  ])('accepts a Llama-shaped model with %j', (change, expected) => {
    expect(parseConfig({ ...llama, ...change }, undefined, 'config.json')).toMatchObject(expected);
  });

  test.each([
    [{ rope_theta: undefined, rope_parameters: { rope_theta: 10_000, rope_type: 'default' } }, { ropeTheta: 10_000 }],
    [{ rope_parameters: { rope_theta: 10_000 } }, { ropeTheta: 10_000 }],
    [{ rope_parameters: null, rope_scaling: null }, { ropeTheta: 500_000 }],
    [{ hidden_act: 'silu' }, { gate: 'silu' }],
    [quantization({ linear_class: 'bitlinear' }), { scaleSense: 'divide' }],
    [quantization({ modules_to_not_convert: ['lm_head'] }), { scaleSense: 'multiply' }],
    [quantization({ quantization_mode: 'online' }), { scaleSense: 'multiply' }],
    [{ hidden_size: 240 }, { headDim: 12 }],
    [{ num_key_value_heads: null }, { kvHeads: 20 }],
    [{ head_dim: 128 }, { headDim: 128 }],
    [
      { eos_token_id: [7, 8, 7], bos_token_id: null },
      { eos: [7, 8], bos: null },
    ],
    [{ eos_token_id: null }, { eos: [] }],
  ])('accepts %j', (change, expected) => {
    expect(parseConfig({ ...bitnet, ...change }, undefined, 'config.json')).toMatchObject(expected);
  });

  const linear = { kind: 'linear', factor: 4 };
  const stretched = { kind: 'yarn', factor: 4, originalPositions: 1024, betaFast: 32, betaSlow: 1 };
  test.each([
    [{ rope_scaling: { type: 'linear', factor: 4 } }, linear],
    [{ rope_parameters: { rope_type: 'linear', factor: 4 } }, linear],
    // the older name goes first, and within it the newer key
    [{ rope_scaling: { rope_type: 'linear', type: 'yarn', factor: 4 }, rope_parameters: yarn }, linear],
    [{ rope_scaling: {}, rope_parameters: { rope_type: 'linear', factor: 4 } }, linear],
    [{ rope_parameters: { rope_type: 'linear', factor: 1 } }, undefined],
    [{ rope_parameters: { ...yarn, factor: 1 } }, undefined],
    [{ rope_parameters: yarn }, { ...stretched, attentionFactor: 1, attentionLog: 0.1 }],
    [{ rope_parameters: { ...yarn, attention_factor: 1.5 } }, { ...stretched, attentionFactor: 1.5, attentionLog: 0 }],
    [
      { rope_scaling: { ...yarn, beta_fast: 16, beta_slow: 2, truncate: true, mscale: null } },
      { ...stretched, betaFast: 16, betaSlow: 2, attentionFactor: 1, attentionLog: 0.1 },
    ],
    [
      { rope_scaling: { ...yarn, original_max_position_embeddings: undefined } },
      { ...stretched, originalPositions: 4096, attentionFactor: 1, attentionLog: 0.1 },
    ],
    [
      { rope_scaling: yarn, original_max_position_embeddings: 512 },
      { ...stretched, originalPositions: 512, attentionFactor: 1, attentionLog: 0.1 },
    ],
    [{ rope_scaling: llama3 }, { kind: 'llama3', factor: 8, originalPositions: 8192, lowFactor: 1, highFactor: 4 }],
  ])('stretches RoPE: %j', (change, expected) => {
    expect(parseConfig({ ...bitnet, ...change }, undefined, 'config.json').ropeScaling).toEqual(expected);
  });

  test('a base beside the factors of RoPE goes before the one at top level', () => {
    const change = { rope_parameters: { ...yarn, rope_theta: 1_000_000 } };
    expect(parseConfig({ ...bitnet, ...change }, undefined, 'config.json').ropeTheta).toBe(1_000_000);
  });

  test.each([
    ['model_type', { model_type: 'mistral' }, '"mistral"'],
    ['model_type', { model_type: 'qwen3' }, '"qwen3"'],
    ['architectures', { model_type: 'llama' }, '["BitNetForCausalLM"]'],
    ['model_type', { model_type: undefined }, '""'],
    ['architectures', { architectures: ['BitNetModel'] }, '["BitNetModel"]'],
    ['hidden_act', { hidden_act: 'gelu' }, '"gelu"'],
    ['tie_word_embeddings', { tie_word_embeddings: 'yes' }, '"yes"'],
    ['attention_bias', { attention_bias: true }, 'true'],
    ['mlp_bias', { mlp_bias: true }, 'true'],
    ['sliding_window', { sliding_window: 512 }, 512],
    ['rope_type', { rope_scaling: { rope_type: 'longrope', factor: 8 } }, '"longrope"'],
    ['type', { rope_scaling: { type: 'dynamic', factor: 2 } }, '"dynamic"'],
    ['rope_type', { rope_parameters: { rope_type: 'proportional' } }, '"proportional"'],
    ['truncate', { rope_parameters: { ...yarn, truncate: false } }, 'false'],
    ['mscale', { rope_parameters: { ...yarn, mscale: 1 } }, 1],
    ['mscale_all_dim', { rope_parameters: { ...yarn, mscale_all_dim: 0.7 } }, 0.7],
    ['beta_fast of YaRN', { rope_parameters: { ...yarn, beta_fast: 0.5 } }, 0.5],
    ['RoPE base under YaRN', { rope_parameters: { ...yarn, rope_theta: 1 } }, 1],
    ['partial_rotary_factor', { rope_parameters: { partial_rotary_factor: 0.5 } }, 0.5],
    ['quantization_config', { quantization_config: undefined }, '"nothing"'],
    ['quant_method', quantization({ quant_method: 'gptq' }), '"gptq"'],
    ['linear_class', quantization({ linear_class: 'linear' }), '"linear"'],
    ['quantization_mode', quantization({ quantization_mode: 'static' }), '"static"'],
    ['use_rms_norm', quantization({ use_rms_norm: true }), 'true'],
    ['modules_to_not_convert', quantization({ modules_to_not_convert: ['q_proj'] }), '["q_proj"]'],
    ['hidden_size', { hidden_size: 16_385 }, 16_385],
    ['intermediate_size', { intermediate_size: 6910 }, 6910],
    ['hidden_size', { hidden_size: 260, num_attention_heads: 10 }, 260],
    ['head_dim', { hidden_size: 200, num_attention_heads: 8, num_key_value_heads: 4 }, 25],
    ['head_dim', { head_dim: 64 }, 64],
    ['vocab_size', { vocab_size: 1_000_001 }, 1_000_001],
    ['num_hidden_layers', { num_hidden_layers: 513 }, 513],
  ])('does not run: %s %j', (field, change, got) => {
    const error = failure(change);
    expect(error).toMatchObject({ code: 'unsupported', file: 'config.json', got });
    expect(error.message).toContain(` ${field} (expected `);
  });

  test.each([
    ['weight_bits', { weight_bits: 2 }, 2],
    ['input_bits', { input_bits: 4 }, 4],
    ['quantization_config', { quantization_config: { quant_method: 'bitnet' } }, '{"quant_method":"bitnet"}'],
    ['hidden_act', { hidden_act: 'relu2' }, '"relu2"'],
    ['head_dim', { head_dim: 96 }, 96],
    // an ordinary float model
    ['quantization_config', { architectures: ['LlamaForCausalLM'] }, '"nothing"'],
  ])('does not run as the first b1.58 recipe: %s %j', (field, change, got) => {
    const error = failure(change, undefined, firstRecipe);
    expect(error).toMatchObject({ code: 'unsupported', file: 'config.json', got });
    expect(error.message).toContain(` ${field} (expected `);
  });

  test.each([
    ['quantization_config', { quantization_config: null }, '"nothing"'],
    ['quant_method', { quantization_config: { quant_method: 'gptq' } }, '"gptq"'],
    ['architectures', { architectures: ['MistralForCausalLM'] }, '["MistralForCausalLM"]'],
    ['hidden_act', { hidden_act: 'relu2' }, '"relu2"'],
    ['attention_bias', { attention_bias: true }, 'true'],
    ['mlp_bias', { mlp_bias: true }, 'true'],
    ['rope_type', { rope_scaling: { rope_type: 'longrope', factor: 8 } }, '"longrope"'],
    ['head_dim', { head_dim: 99 }, 99],
    ['head_dim', { num_attention_heads: 60, head_dim: 276 }, 276], // 280 in memory: 16800 columns
    ['vocab_size', { vocab_size: 1_000_001 }, 1_000_001],
  ])('does not run as a Llama-shaped model: %s %j', (field, change, got) => {
    const error = failure(change, undefined, llama);
    expect(error).toMatchObject({ code: 'unsupported', file: 'config.json', got });
    expect(error.message).toContain(` ${field} (expected `);
  });

  test('says where Qwen3 models are read from', () => {
    expect(failure({ model_type: 'qwen3' }).message).toMatch(/Qwen3 models run from a GGUF file/);
  });

  test.each([
    ['hidden_size', { hidden_size: undefined }],
    ['hidden_size', { hidden_size: '2560' }],
    ['intermediate_size', { intermediate_size: 0 }],
    ['num_hidden_layers', { num_hidden_layers: 1.5 }],
    ['num_attention_heads', { num_attention_heads: -20 }],
    ['num_key_value_heads', { num_key_value_heads: undefined }],
    ['num_key_value_heads', { num_key_value_heads: 3 }],
    ['num_key_value_heads', { num_key_value_heads: 40 }],
    ['head_dim', { num_attention_heads: 24, num_key_value_heads: 6 }],
    ['vocab_size', { vocab_size: 2 ** 60 }],
    ['max_position_embeddings', { max_position_embeddings: null }],
    ['rms_norm_eps', { rms_norm_eps: 0 }],
    ['rms_norm_eps', { rms_norm_eps: 'tiny' }],
    ['rope_theta', { rope_theta: -1 }],
    ['rope_theta', { rope_parameters: { rope_theta: Number.NaN } }],
    ['rope_parameters', { rope_parameters: 'default' }],
    ['factor', { rope_parameters: { ...yarn, factor: 0.5 } }],
    ['factor', { rope_scaling: { type: 'linear', factor: '4' } }],
    ['attention_factor', { rope_parameters: { ...yarn, attention_factor: -1 } }],
    ['original_max_position_embeddings', { rope_parameters: { ...yarn, original_max_position_embeddings: 0.5 } }],
    ['high_freq_factor', { rope_scaling: { ...llama3, high_freq_factor: 1 } }],
    ['quantization_config', { quantization_config: 'bitnet' }],
    ['eos_token_id', { eos_token_id: 128_256 }],
    ['eos_token_id', { eos_token_id: [1, 'two'] }],
    ['bos_token_id', { bos_token_id: -1 }],
  ])('is damaged: %s %j', (field, change) => {
    const error = failure(change);
    expect(error).toMatchObject({ code: 'bad-file', file: 'config.json' });
    expect(error.message).toContain(`bad ${field} (expected `);
  });

  test.each([
    ['factor', { rope_scaling: { type: 'linear' } }],
    ['factor', { rope_parameters: { rope_type: 'yarn' } }],
    ['low_freq_factor', { rope_scaling: { ...llama3, low_freq_factor: undefined } }],
  ])('does not say: %s %j', (field, change) => {
    expect(failure(change)).toMatchObject({ code: 'bad-file', message: expect.stringContaining(`no ${field} `) });
  });

  test('names generation_config.json when that is wrong', () => {
    expect(failure({}, { eos_token_id: 999_999 })).toMatchObject({ code: 'bad-file', file: 'generation_config.json' });
  });

  test.each([[null], [undefined], [[]], ['config'], [7]])('is no configuration: %j', (json) => {
    expect(() => parseConfig(json, undefined, 'config.json')).toThrow(/not a model configuration/);
  });
});

test('counts weights and parameters', () => {
  const config = parseConfig(bitnet, undefined, 'config.json');
  // the published total of 2B4T
  expect([ternaryWeights(config), countParameters(config)]).toEqual([2_084_044_800, 2_412_820_480]);
  const falcon = parseConfig(llama, undefined, 'config.json');
  const weights = 22 * (2 * 3072 * 3072 + 2 * 1024 * 3072 + 3 * 3072 * 9216);
  expect(ternaryWeights(falcon)).toBe(weights);
  expect(countParameters(falcon)).toBe(2 * 131_072 * 3072 + weights + 22 * 2 * 3072 + 3072);
  expect(countParameters({ ...falcon, qkNorm: true, lmHead: 'tied' })).toBe(
    131_072 * 3072 + weights + 22 * (2 * 3072 + 2 * 256) + 3072,
  );
});

describe('generationDefaults', () => {
  test.each([
    [
      { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 50 },
      { temperature: 0.6, topP: 0.9, topK: 50 },
    ],
    [{ temperature: 0.6, top_k: null }, { temperature: 0.6 }],
    [{ do_sample: false, temperature: 0.6 }, { temperature: 0 }],
    [{ bos_token_id: 1 }, {}],
    [undefined, {}],
  ])('%j', (generation, expected) => {
    expect(generationDefaults(generation)).toStrictEqual(expected);
  });

  test.each([{ temperature: -1 }, { temperature: 'hot' }, { top_p: 1.5 }, { top_k: -1 }])(
    'damaged: %j',
    (generation) => {
      expect(() => generationDefaults(generation)).toThrow(/^generation_config.json: bad t.* got /);
    },
  );
});

test('values nested deeper than the stack are shown without them', () => {
  const deep = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`);
  expect(failure({ hidden_size: deep })).toMatchObject({ code: 'bad-file', got: 'something deeply nested' });
  expect(failure({ hidden_act: deep })).toMatchObject({ code: 'unsupported', got: 'something deeply nested' });
});
