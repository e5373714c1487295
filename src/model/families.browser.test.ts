/** The forward pass of every family in WASM against src/model/reference.ts, bit by bit: models that come from no file. */
import { beforeAll, describe, expect, test } from 'vitest';
import { bitDifference, inPasses, openPlanted, rowsOf, someTokens } from '../../e2e/machine';
import { answer, type Precision, plainSwitches, randomModel } from '../../e2e/plant';
import { plantRemote } from '../../e2e/remote';
import type { ModelConfig } from './config';
import type { Row } from './pool';
import type { ReferenceModel } from './reference';

const exact: Precision = { kvCache: 'f32', lmHead: 'bf16' };
const small: Precision = { kvCache: 'bf16', lmHead: 'int8' };
const mixed: Precision = { kvCache: 'bf16', lmHead: 'bf16' };
const kernels = ['dot32', 'dot16', 'lut8'] as const;
const kernelsAndThreads = kernels.flatMap((kernel) => [1, 2].map((threads) => ({ kernel, threads })));

type Sizes = Pick<ModelConfig, 'hidden' | 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'ffn' | 'vocab'>;

interface Case {
  name: string;
  sizes: Sizes;
  switches?: Partial<ModelConfig>;
  precision: Precision;
}

const llama = { family: 'llama', subNorms: false, lmHead: 'untied' } as const;
const qwen3 = { family: 'qwen3', subNorms: false, qkNorm: true, rmsNormEps: 1e-6, ropeTheta: 1e6 } as const;
const scales = { embeddingScale: 12, residualScale: 1.4 / Math.sqrt(3), logitScale: 256 / 2304 };
const minicpm = { family: 'minicpm', subNorms: false, ...scales } as const;

const cases: Case[] = [
  {
    name: 'BitNet, relu2, heads of 24',
    sizes: { hidden: 72, layers: 2, heads: 3, kvHeads: 1, headDim: 24, ffn: 100, vocab: 37 },
    switches: { gate: 'relu2' },
    precision: exact,
  },
  {
    name: 'BitNet, SiLU, untied, heads of 32',
    sizes: { hidden: 160, layers: 2, heads: 5, kvHeads: 5, headDim: 32, ffn: 84, vocab: 66 },
    switches: { lmHead: 'untied' },
    precision: small,
  },
  {
    name: 'the first b1.58 recipe, heads of 100',
    sizes: { hidden: 400, layers: 2, heads: 4, kvHeads: 4, headDim: 100, ffn: 540, vocab: 50 },
    precision: mixed,
  },
  {
    name: 'BitNet, heads of 12, two to a key',
    sizes: { hidden: 72, layers: 3, heads: 6, kvHeads: 3, headDim: 12, ffn: 36, vocab: 5 },
    switches: { gate: 'relu2' },
    precision: small,
  },
  {
    name: 'Llama, heads wider than the stream',
    sizes: { hidden: 72, layers: 2, heads: 10, kvHeads: 2, headDim: 24, ffn: 100, vocab: 131 },
    switches: llama,
    precision: exact,
  },
  {
    name: 'Llama, heads of 100, narrower than the stream, tied',
    sizes: { hidden: 328, layers: 2, heads: 3, kvHeads: 1, headDim: 100, ffn: 196, vocab: 66 },
    switches: { ...llama, lmHead: 'tied' },
    precision: { kvCache: 'f32', lmHead: 'int8' },
  },
  {
    name: 'Llama, heads of 2',
    sizes: { hidden: 40, layers: 2, heads: 4, kvHeads: 2, headDim: 2, ffn: 4, vocab: 9 },
    switches: llama,
    precision: mixed,
  },
  {
    name: 'Qwen3 with one scale a matrix, heads of 12',
    sizes: { hidden: 88, layers: 2, heads: 4, kvHeads: 2, headDim: 12, ffn: 68, vocab: 37 },
    switches: qwen3,
    precision: small,
  },
  {
    name: 'Qwen3 with one scale a matrix, heads of 100, three to a key, int8 cache',
    sizes: { hidden: 88, layers: 2, heads: 6, kvHeads: 2, headDim: 100, ffn: 68, vocab: 37 },
    switches: qwen3,
    precision: { kvCache: 'int8', lmHead: 'bf16' },
  },
  {
    name: 'MiniCPM with one scale a matrix',
    sizes: { hidden: 96, layers: 3, heads: 6, kvHeads: 2, headDim: 16, ffn: 132, vocab: 50 },
    switches: { ...minicpm, lmHead: 'untied' },
    precision: small,
  },
  {
    name: 'Qwen3, groups of 128 that do not fill the widths, ternary embedding',
    sizes: { hidden: 200, layers: 2, heads: 6, kvHeads: 2, headDim: 64, ffn: 300, vocab: 77 },
    switches: { ...qwen3, group: 128, ternaryEmbedding: true },
    precision: exact,
  },
  {
    name: 'Qwen3, groups of 64, ternary embedding and lm_head',
    sizes: { hidden: 136, layers: 2, heads: 5, kvHeads: 5, headDim: 24, ffn: 708, vocab: 130 },
    switches: { ...qwen3, group: 64, ternaryEmbedding: true, lmHead: 'untied' },
    precision: small,
  },
  {
    name: 'MiniCPM, groups of 128 over two blocks of columns',
    sizes: { hidden: 768, layers: 2, heads: 4, kvHeads: 1, headDim: 128, ffn: 1408, vocab: 50 },
    switches: { ...minicpm, group: 128 },
    precision: small,
  },
  {
    name: 'MiniCPM, groups of 64, ternary embedding',
    sizes: { hidden: 128, layers: 3, heads: 4, kvHeads: 2, headDim: 16, ffn: 192, vocab: 66 },
    switches: { ...minicpm, group: 64, ternaryEmbedding: true },
    precision: mixed,
  },
  {
    name: 'BitNet, relu2, groups of 64',
    sizes: { hidden: 72, layers: 2, heads: 3, kvHeads: 1, headDim: 24, ffn: 100, vocab: 37 },
    switches: { gate: 'relu2', group: 64 },
    precision: small,
  },
];

const yarn = { kind: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, attentionFactor: 1, attentionLog: 0.1 } as const;

/** Original contexts are short, so that frequencies of every kind turn a good deal within the 40 positions. */
const stretched: Case[] = [
  {
    name: 'Qwen3, YaRN',
    sizes: { hidden: 128, layers: 2, heads: 4, kvHeads: 2, headDim: 64, ffn: 200, vocab: 70 },
    switches: { ...qwen3, ropeScaling: { ...yarn, originalPositions: 1000 } },
    precision: small,
  },
  {
    name: 'Llama, YaRN with a multiplier of its own, heads of 12',
    sizes: { hidden: 40, layers: 2, heads: 3, kvHeads: 1, headDim: 12, ffn: 36, vocab: 40 },
    switches: { ...llama, ropeScaling: { ...yarn, originalPositions: 100, attentionFactor: 1.3, attentionLog: 0 } },
    precision: exact,
  },
  {
    name: 'Llama, stretched linearly',
    sizes: { hidden: 64, layers: 2, heads: 4, kvHeads: 2, headDim: 16, ffn: 100, vocab: 40 },
    switches: { ...llama, ropeScaling: { kind: 'linear', factor: 3 } },
    precision: exact,
  },
  {
    name: 'Llama 3.1',
    sizes: { hidden: 64, layers: 2, heads: 2, kvHeads: 1, headDim: 32, ffn: 100, vocab: 40 },
    switches: {
      ...llama,
      ropeScaling: { kind: 'llama3', factor: 8, originalPositions: 200, lowFactor: 1, highFactor: 4 },
    },
    precision: mixed,
  },
  {
    name: 'Llama, frequencies divided by a tensor',
    sizes: { hidden: 64, layers: 2, heads: 4, kvHeads: 2, headDim: 20, ffn: 100, vocab: 40 },
    switches: { ...llama, ropeScaling: { kind: 'factors' } },
    precision: exact,
  },
];

describe.each([...cases, ...stretched])('$name', ({ sizes, switches, precision }) => {
  const config: ModelConfig = { ...plainSwitches, ...sizes, ...switches };
  const seed = config.hidden + config.ffn;
  const { vocab } = config;
  const sequences = [someTokens(40, vocab), someTokens(33, vocab, 99)];
  /** Rows of both sequences in turn, positions in order. */
  const both: Row[] = rowsOf(sequences[0]!)
    .flatMap((row, i) => [row, rowsOf(sequences[1]!, 1)[i]])
    .filter((row) => row !== undefined);
  const options = { ...precision, contextLength: 45, sequences: 2, maxRows: 40 };
  let model: ReferenceModel;
  let right: Float32Array<ArrayBuffer>[] = [];
  const rightOf = (rows: Row[]): Float32Array<ArrayBuffer> => {
    const out = new Float32Array(rows.length * vocab);
    for (const [i, { sequence, position }] of rows.entries())
      out.set(right[sequence]!.subarray(position * vocab, (position + 1) * vocab), i * vocab);
    return out;
  };

  beforeAll(() => {
    model = randomModel(config, seed);
    right = sequences.map((tokens) => answer(model, precision, tokens));
    expect(right.every((logits) => logits.every(Number.isFinite))).toBe(true);
    expect(new Set(right[0]).size).toBeGreaterThan(vocab); // no dead model
  });

  test.each(kernelsAndThreads)('$kernel, $threads threads', async ({ kernel, threads }) => {
    const host = await plantRemote(model, { ...options, kernel, threads });
    for (const cut of [[40], [1], [4, 5, 8, 9, 3, 2, 1, 16, 7]]) {
      const rows = rowsOf(sequences[0]!);
      const got = await host.logits(inPasses(rows, cut));
      expect(bitDifference(got, rightOf(rows), vocab), `passes of ${cut}`).toBe('');
    }
    for (const cut of [[2], [4, 5, 1, 12, 3]]) {
      const got = await host.logits(inPasses(both, cut));
      expect(bitDifference(got, rightOf(both), vocab), `two sequences, passes of ${cut}`).toBe('');
    }
  });

  test.each([
    { kernel: 'lut8', shared: false, relaxed: false },
    { kernel: 'dot32', shared: false, relaxed: true },
  ] as const)('other builds: $kernel, shared $shared, relaxed $relaxed', async (build) => {
    const machine = await openPlanted(model, { ...options, ...build });
    machine.poison();
    const got = await machine.logits(inPasses(both, [1, 40, 3]));
    expect(bitDifference(got, rightOf(both), vocab)).toBe('');
  });

  test.each([1, 5])('a plan for at most %i rows', async (maxRows) => {
    for (const kernel of kernels) {
      const machine = await openPlanted(model, { ...options, kernel, maxRows });
      machine.poison();
      const got = await machine.logits(inPasses(both, [maxRows]));
      expect(bitDifference(got, rightOf(both), vocab), kernel).toBe('');
    }
  });
});

describe.each([
  ['heads of 12, qk norms', { ...qwen3, heads: 3, kvHeads: 1, headDim: 12 }, small],
  ['heads of 100, sub-norms', { heads: 2, kvHeads: 2, headDim: 100, hidden: 200 }, exact],
] as [string, Partial<ModelConfig>, Precision][])('over an attention block, %s', (_, change, precision) => {
  const config: ModelConfig = { ...plainSwitches, hidden: 40, layers: 2, ffn: 36, vocab: 9, ...change } as ModelConfig;
  const tokens = someTokens(300, config.vocab);

  const model = randomModel(config, 1);
  let right: Float32Array<ArrayBuffer>;
  beforeAll(() => {
    right = answer(model, precision, tokens);
  });

  test.each(kernels)('%s, 2 threads', async (kernel) => {
    const host = await plantRemote(model, { ...precision, kernel, threads: 2, contextLength: 300 });
    for (const cut of [[64], [61, 1, 2, 4, 1, 3]]) {
      const got = await host.logits(inPasses(rowsOf(tokens), cut));
      expect(bitDifference(got, right, config.vocab), `passes of ${cut}`).toBe('');
    }
  });
});
