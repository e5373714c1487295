/**
 * Every family in every format that it comes in, from the bytes of a checkpoint to logits: bit by bit what
 * src/model/reference.ts computes from the same checkpoint as bench/read-back.ts reads it. And restored from the stored form:
 * the same memory.
 */
import { describe, expect, test } from 'vitest';
import { type ModelShape, modelOf } from '../../bench/families';
import { randomWeights } from '../../bench/random-weights';
import { type ReadTensor, readSafetensors } from '../../bench/read-back';
import { small } from '../../bench/shapes';
import { checkpointFiles, type WriteOptions } from '../../bench/synthesize';
import { expectedConfig, filesOf, referenceOf } from '../../e2e/checkpoints';
import { fillMemory, restoreMemory, weightDifference } from '../../e2e/filling';
import { gaussian, prng } from '../../e2e/kernel-lab';
import {
  bitDifference,
  inPasses,
  openMachine,
  relativeError,
  rowsOf,
  someTokens,
  type TestMachine,
} from '../../e2e/machine';
import { createPlainNetwork, product, rounded } from '../../e2e/plain-network';
import { answer } from '../../e2e/plant';
import { bitLinear, prepare, quantisedRows, quantiseRow } from '../model/bitlinear';
import type { ModelConfig } from '../model/config';
import { compileKernels } from '../model/kernels';
import type { ReferenceModel } from '../model/reference';
import type { Linear } from '../model/reference-kernels';
import { createShare } from '../model/share';
import { linears } from './names';

const { module } = await compileKernels(true);
const kernels = ['dot32', 'dot16', 'lut8'] as const;

interface Case extends WriteOptions {
  name: string;
  shape: ModelShape;
  /** Group scales that the engine finds. Default none. */
  group?: ModelConfig['group'];
  lmHead?: 'bf16' | 'int8';
}

const odd: ModelShape = {
  family: 'llama',
  hidden: 72,
  ffn: 100,
  layers: 2,
  heads: 6,
  kvHeads: 2,
  headDim: 24,
  vocab: 38,
};
const tied: ModelShape = { ...odd, lmHead: 'tied' };
const heads100: ModelShape = { ...small['heads of 100']!, ffn: 272 };
const llama100: ModelShape = { ...heads100, family: 'llama', kvHeads: 2 };
const llama64: ModelShape = { family: 'llama', hidden: 256, ffn: 384, layers: 2, heads: 4, kvHeads: 2, vocab: 70 };
const thin256: ModelShape = { ...small.bitnet!, ffn: 256, vocab: 60 };
const qwen3 = small['qwen3 group 64']!;
const bonsai: ModelShape = { ...small.qwen3!, ffn: 384, vocab: 70 };
const minicpm: ModelShape = { ...small.minicpm!, hidden: 512, vocab: 50 };

const masters = (['BF16', 'F16', 'F32'] as const).flatMap((floats): Case[] => [
  {
    name: `first recipe, master ${floats}`,
    shape: { ...small['1bitllm']!, ffn: 100, vocab: 30 },
    format: 'master',
    floats,
  },
  { name: `first recipe, heads of 100, master ${floats}`, shape: heads100, format: 'master', floats, lmHead: 'int8' },
]);
const embeddings = (['F32', 'F16', 'BF16', 'Q8_0', 'Q6_K', 'Q4_K', 'Q4_0'] as const).flatMap((floats) =>
  (['bf16', 'int8'] as const).map((lmHead): Case => {
    const shape = lmHead === 'bf16' ? llama64 : thin256;
    return { name: `embedding ${floats}, ${lmHead} lm_head`, shape, format: 'i2_s', floats, lmHead };
  }),
);

const cases: Case[] = [
  ...masters,
  { name: 'BitNet, packed, odd', shape: { ...odd, family: 'bitnet', heads: 3, kvHeads: 1 }, format: 'multiply' },
  {
    name: 'BitNet, master F16',
    shape: { ...odd, family: 'bitnet', heads: 3, kvHeads: 1 },
    format: 'master',
    floats: 'F16',
  },
  { name: 'Llama, divide, untied', shape: odd, format: 'divide' },
  { name: 'Llama, divide, tied, int8 lm_head', shape: tied, format: 'divide', lmHead: 'int8' },
  { name: 'Llama, multiply, F32 tables', shape: odd, format: 'multiply', floats: 'F32', lmHead: 'int8' },
  { name: 'Llama, heads of 100, divide', shape: { ...llama100, heads: 3, kvHeads: 1, headDim: 100 }, format: 'divide' },
  { name: 'Llama, packed, four shards', shape: odd, format: 'divide', parts: 4 },
  { name: 'Llama, master, three shards', shape: odd, format: 'master', parts: 3 },
  ...(['i2_s', 'i2_s-arm', 'tq1_0', 'tq2_0'] as const).map((format): Case => {
    const shape = format.startsWith('i2_s') ? llama64 : { ...llama64, ffn: 512 };
    return { name: `Llama GGUF, rows in pairs, ${format}`, shape, format };
  }),
  { name: 'Llama GGUF, heads of 100, i2_s', shape: llama100, format: 'i2_s' },
  { name: 'Llama GGUF, heads of 100, i2_s-arm', shape: llama100, format: 'i2_s-arm', lmHead: 'int8' },
  {
    name: 'Llama GGUF, wide heads, tied, split',
    shape: { ...small['wide heads']!, lmHead: 'tied' },
    format: 'tq2_0',
    parts: 3,
  },
  { name: 'first recipe GGUF, heads of 100, i2_s', shape: heads100, format: 'i2_s' },
  { name: 'first recipe GGUF, heads of 100, i2_s-arm', shape: heads100, format: 'i2_s-arm' },
  { name: 'first recipe GGUF, tq1_0', shape: { ...small['1bitllm']!, vocab: 40 }, format: 'tq1_0' },
  { name: 'BitNet GGUF, scale tensors, i2_s', shape: thin256, format: 'i2_s', scaleTensors: true },
  { name: 'BitNet GGUF, scale tensors, tq2_0', shape: thin256, format: 'tq2_0', scaleTensors: true, arch: 'bitnet-25' },
  { name: 'BitNet GGUF, i2_s-arm, split', shape: thin256, format: 'i2_s-arm', parts: 4 },
  ...embeddings,
  { name: 'MiniCPM, i2_s', shape: { ...minicpm, group: 0 }, format: 'i2_s' },
  { name: 'MiniCPM, i2_s, untied', shape: { ...minicpm, group: 0, lmHead: 'untied' }, format: 'i2_s', lmHead: 'int8' },
  { name: 'MiniCPM, scales to 256, tq1_0', shape: minicpm, format: 'tq1_0', group: 128 },
  { name: 'MiniCPM, scales to 256, tq2_0', shape: minicpm, format: 'tq2_0', group: 128, lmHead: 'int8' },
  { name: 'MiniCPM, one scale, tq2_0', shape: { ...minicpm, group: 0 }, format: 'tq2_0', group: 128 },
  { name: 'MiniCPM, q2_0-128', shape: minicpm, format: 'q2_0-128', group: 128 },
  {
    name: 'Llama, several scales (TriLM), tq2_0',
    shape: { ...llama64, ffn: 512, group: 256 },
    format: 'tq2_0',
    group: 128,
  },
  { name: 'Qwen3, g128, tied ternary embedding', shape: bonsai, format: 'q2_0-128', group: 128 },
  { name: 'Qwen3, g128, as g64', shape: bonsai, format: 'q2_0-64', group: 64, parts: 2 },
  { name: 'Qwen3, g64, heads of 96', shape: qwen3, format: 'q2_0-64', group: 64 },
  { name: 'Qwen3, g64, untied', shape: { ...qwen3, lmHead: 'untied' }, format: 'q2_0-64', group: 64 },
  { name: 'Qwen3, g128, untied', shape: { ...bonsai, lmHead: 'untied' }, format: 'q2_0-128', group: 128 },
  {
    name: 'Qwen3, g128, float embedding',
    shape: { ...bonsai, ternaryEmbedding: false },
    ...{ format: 'q2_0-128', floats: 'Q6_K', group: 128, lmHead: 'int8' },
  },
];

test.each(cases)('$name', async ({ shape, group = 0, lmHead = 'bf16', ...written }) => {
  const weights = randomWeights(shape, 7);
  const repository = checkpointFiles(weights, written);
  const files = filesOf(repository);
  const config = expectedConfig(modelOf(shape), group, written.format);
  const precision = { kvCache: lmHead === 'bf16' ? 'f32' : 'bf16', lmHead } as const;
  const tokens = someTokens(10, config.vocab);
  const reference = referenceOf(repository, modelOf(shape), config, written.format);
  const right = answer(reference, precision, tokens);
  expect(new Set(right).size).toBeGreaterThan(config.vocab * 2); // no dead model

  const i2sOrder = written.format === 'i2_s-arm' ? 'arm' : 'x86';
  const options = { ...precision, contextLength: 20, i2sOrder } as const;
  for (const kernel of kernels) {
    const machine = await openMachine(files, { ...options, kernel });
    const got = await machine.logits(inPasses(rowsOf(tokens), [6, 1, 3]));
    expect(bitDifference(got, right, config.vocab), kernel).toBe('');
    if (group) expectProducts(machine, reference);
  }
  // the oracle itself against a network that shares nothing with it; a code on a boundary may fall otherwise there
  if (precision.kvCache === 'f32') {
    const plain = createPlainNetwork(reference, group || 'row');
    const logits = Float32Array.from(tokens.flatMap((token) => [...plain(token)]));
    expect(relativeError(logits, right)).toBeLessThan(0.03);
  }

  for (const kernel of ['dot32', 'lut8'] as const) {
    const fill = { ...options, kernel, shared: true, threads: 1, sequences: 1, maxRows: 8 };
    const filled = await fillMemory(module, files, fill);
    const found = filled.description.config;
    expect({ ...found, eos: [...found.eos].sort() }).toEqual(config);
    if (written.format.startsWith('i2_s')) {
      const other = i2sOrder === 'arm' ? 'x86' : 'arm';
      const turned = await fillMemory(module, files, { ...fill, i2sOrder: other });
      expect(weightDifference(filled, turned)).not.toBe('');
      turned.packer.reorder(i2sOrder);
      expect(weightDifference(filled, turned), `${kernel}, turned to ${i2sOrder}`).toBe('');
    }
    for (const recordBytes of kernel === 'dot32' ? [1, 2 ** 20] : [3000]) {
      const restored = restoreMemory(module, filled, fill, recordBytes);
      expect(weightDifference(filled, restored), `${kernel}, records of ${recordBytes}`).toBe('');
    }
  }
});

/**
 * Every BitLinear of a model with group scales against float64: int8 activations for each group of columns, exact sums,
 * scales as f16 numbers, from the trits that bench/read-back.ts finds.
 */
function expectProducts(
  { pool, plan, memory, words }: TestMachine,
  { config, layers, ...tables }: ReferenceModel,
): void {
  const machine = { kernels: pool.kernels, plan, rank: 0, words };
  const share = createShare(machine);
  const group = config.group as 64 | 128;
  const [{ normed }, out] = [plan.perThread[0]!, plan.gateUp];
  const random = gaussian(9 * plan.codesStride, prng(3), 2);
  random.fill(0, 0, group); // a group of zeros
  const inputOf = (row: number, width: number): Float32Array => random.slice(row * width, (row + 1) * width);
  const read = (at: number, count: number): Float32Array => new Float32Array(memory.buffer, at, count).slice();
  const expectNear = (got: Float32Array, matrix: Linear, x: Float32Array, factor = 1): void => {
    const right = product(matrix, rounded(x, group)).map((y) => y * factor);
    expect(relativeError(got, Float32Array.from(right))).toBeLessThan(1e-6);
  };
  for (const [index, layer] of layers.entries()) {
    for (const role of linears) {
      const [matrix, right] = [plan.layers[index]![role], layer[role]];
      const factor = role === 'output' || role === 'down' ? config.residualScale : 1; // it is part of their scales
      for (const count of [1, 9]) {
        const q = quantisedRows(machine, count);
        for (let row = 0; row < count; row++) {
          new Float32Array(memory.buffer, normed, right.cols).set(inputOf(row, right.cols));
          quantiseRow(machine, normed, right.cols, q, row, count === 1);
        }
        if (count > plan.smallRows) prepare(machine, share, [matrix]);
        bitLinear(machine, share, [matrix], q, count, out, plan.gateUpStride, false);
        share.endStep();
        for (let row = 0; row < count; row++) {
          expectNear(read(out + row * plan.gateUpStride * 4, right.rows), right, inputOf(row, right.cols), factor);
        }
      }
    }
  }
  const right = tables.head ?? tables.embedding;
  if (plan.head.kind !== 'ternary' || right instanceof Float32Array) return;
  new Float32Array(memory.buffer, normed, config.hidden).set(inputOf(1, config.hidden));
  const q = quantisedRows(machine, 1);
  quantiseRow(machine, normed, config.hidden, q, 0, true);
  bitLinear(machine, share, [plan.head.matrix], q, 1, plan.logits, 0, false);
  expectNear(read(plan.logits, config.vocab), right, inputOf(1, config.hidden));
}

describe('one form of embedding and lm_head in the store, another in memory', () => {
  const files = filesOf(checkpointFiles(randomWeights(odd), { format: 'multiply' }));
  const plain = {
    ...{ contextLength: 9, sequences: 1, maxRows: 8, threads: 1 },
    kernel: 'dot16',
    shared: true,
  } as const;
  const options = { ...plain, kvCache: 'f32' } as const;

  test('stored as bf16: int8 rows come out as from the file', async () => {
    const right = await fillMemory(module, files, { ...options, lmHead: 'int8' });
    const exact = { ...options, lmHead: 'int8', storedTables: 'bf16' } as const;
    const filled = await fillMemory(module, files, exact);
    expect(weightDifference(filled, right)).toBe('');
    expect(weightDifference(restoreMemory(module, filled, exact, 5000), right)).toBe('');
  });

  test('stored as int8, bf16 in memory: what is stored is the same', async () => {
    const right = await fillMemory(module, files, { ...options, lmHead: 'int8' });
    const filled = await fillMemory(module, files, { ...options, lmHead: 'bf16', storedTables: 'int8' });
    expect(filled.stored).toEqual(right.stored);
    const exact = await fillMemory(module, files, { ...options, lmHead: 'bf16' });
    expect(weightDifference(filled, exact)).toBe('');
  });
});

test('scales in another shard than their weights, before them and after', async () => {
  const whole = checkpointFiles(randomWeights(odd), { format: 'divide' });
  const files = filesOf(whole);
  const tensors = [...readSafetensors(whole.files['model.safetensors']!)];
  const isScale = ([name]: [string, unknown]): boolean => name.endsWith('_scale');
  const [scales, others] = [tensors.filter(isScale), tensors.filter((tensor) => !isScale(tensor))];
  const options = { ...{ contextLength: 9, sequences: 1, maxRows: 8, threads: 1 }, shared: true } as const;
  const fill = { ...options, kernel: 'lut8', kvCache: 'f32', lmHead: 'bf16' } as const;
  const right = await fillMemory(module, files, fill);
  for (const shards of [
    [scales, others],
    [others, scales],
  ]) {
    const names = shards.map((_, i) => `model-0000${i + 1}-of-00002.safetensors`);
    const map = shards.flatMap((shard, i) => shard.map(([name]) => [name, names[i]]));
    const index = new TextEncoder().encode(JSON.stringify({ weight_map: Object.fromEntries(map) }));
    const { 'model.safetensors': _, ...small } = files;
    const sharded = Object.fromEntries(shards.map((shard, i) => [names[i]!, asSafetensors(shard)]));
    const filled = await fillMemory(module, { ...small, 'model.safetensors.index.json': index, ...sharded }, fill);
    expect(weightDifference(filled, right)).toBe('');
    // a file whose sha256 is wrong is taken once more
    const shard = sharded[names[1]!]!;
    filled.packer.seek(1, 0);
    filled.packer.take(shard, () => false);
    filled.packer.finish();
    expect(weightDifference(filled, right)).toBe('');
  }
});

/** A safetensors file of these tensors. */
function asSafetensors(tensors: [string, ReadTensor][]): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = tensors.map(([name, { type, shape, bytes }]) => {
    end += bytes.length;
    return [name, { dtype: type, shape, data_offsets: [end - bytes.length, end] }] as const;
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  for (const [i, [, { bytes }]] of tensors.entries())
    file.set(bytes, 8 + header.length + entries[i]![1].data_offsets[0]);
  return file;
}
