/** RoPE tables of whole models: stretched frequencies against formulas in float64, and what GGUF files say of them. */
import { describe, expect, test } from 'vitest';
import { pieces } from '../../bench/byte-file';
import { floatTensor } from '../../bench/encode-floats';
import { randomWeights } from '../../bench/random-weights';
import { small } from '../../bench/shapes';
import { checkpointFiles } from '../../bench/synthesize';
import type { Entry } from '../../bench/write-gguf';
import { type Files, fillMemory } from '../../e2e/filling';
import { bitDifference, inPasses, openMachine, relativeError, rowsOf, someTokens } from '../../e2e/machine';
import { plainSwitches } from '../../e2e/plant';
import { createPacker, stagingOf } from '../checkpoint/packer';
import type { ModelConfig, RopeScaling } from './config';
import { compileKernels, instantiateKernels } from './kernels';
import { createMemory, type PlanOptions, planMemory } from './plan-memory';
import { ropeTurns } from './reference-kernels';
import { writeRopeTables } from './rope';

const { module } = await compileKernels(false);
const options: PlanOptions = {
  kernel: 'lut8',
  threads: 1,
  contextLength: 40,
  sequences: 1,
  maxRows: 1,
  kvCache: 'f32',
  lmHead: 'bf16',
};

/** The tables of a configuration: frequencies, and cosines and sines of the position `at`. */
function tablesOf(change: Partial<ModelConfig>, factors: number[] = [], contextLength = 40, at = contextLength - 1) {
  const sizes = { hidden: 64, layers: 1, heads: 1, kvHeads: 1, ffn: 64, vocab: 8, headDim: 128 };
  const config: ModelConfig = { ...plainSwitches, subNorms: false, ...sizes, ...change };
  const plan = planMemory(config, { ...options, contextLength });
  const memory = createMemory(plan.bytes, false);
  if (factors.length) new Float32Array(memory.buffer, plan.ropeFactors, factors.length).set(factors);
  writeRopeTables(instantiateKernels(module, memory), memory, plan);
  const table = (from: number, row: number) =>
    new Float32Array(memory.buffer, from + row * plan.headDim * 2, config.headDim / 2).slice();
  return {
    frequencies: table(plan.ropeFrequencies, 0),
    cosines: table(plan.cosines, at),
    sines: table(plan.sines, at),
  };
}

/** theta^(-2i/d) in float64. */
const plain = (theta: number, headDim: number): number[] =>
  Array.from({ length: headDim / 2 }, (_, i) => theta ** (-(2 * i) / headDim));

const clamp = (x: number): number => Math.min(1, Math.max(0, x));

/** YaRN as ggml writes it (rope_yarn, ggml_rope_yarn_corr_dims), in float64: by angle a position, i0 = 2i. */
function ggmlYarn(theta: number, headDim: number, scale: number, context: number, fast: number, slow: number) {
  const dim = (beta: number) => (headDim * Math.log(context / (beta * 2 * Math.PI))) / (2 * Math.log(theta));
  const [start, end] = [Math.max(0, Math.floor(dim(fast))), Math.min(headDim - 1, Math.ceil(dim(slow)))];
  return plain(theta, headDim).map((extrapolated, i) => {
    const mix = 1 - clamp((i - start) / Math.max(0.001, end - start));
    return extrapolated * scale * (1 - mix) + extrapolated * mix;
  });
}

const worst = (got: Float32Array, right: number[]): number => {
  expect(got.length).toBe(right.length);
  return Math.max(...right.map((value, i) => Math.abs(got[i]! / value - 1)));
};
const yarn = { kind: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, attentionFactor: 1, attentionLog: 0.1 } as const;
const FLOAT32 = 1e-6; // the exponent is rounded to float32, and its error comes back times ln theta

describe('frequencies', () => {
  test.each([
    ['Ternary Bonsai 8B', 1e6, 128, { ...yarn, originalPositions: 16_384 }],
    ['factor 8 over 4096', 10_000, 100, { ...yarn, factor: 8, originalPositions: 4096 }],
    ['narrow betas', 500_000, 64, { ...yarn, factor: 2.5, originalPositions: 8192, betaFast: 4, betaSlow: 3 }],
    ['a ramp of no width', 10_000, 64, { ...yarn, originalPositions: 7, betaSlow: 1.3 }],
    ['a context of one turn', 10_000, 64, { ...yarn, originalPositions: 7 }],
  ] as [string, number, number, Extract<RopeScaling, { kind: 'yarn' }>][])(
    'YaRN, %s: as ggml has it, and the multiplier 1 + 0.1 ln factor',
    (_, ropeTheta, headDim, ropeScaling) => {
      const { factor, originalPositions, betaFast, betaSlow } = ropeScaling;
      const right = ggmlYarn(ropeTheta, headDim, 1 / factor, originalPositions, betaFast, betaSlow);
      const { frequencies, cosines, sines } = tablesOf({ ropeTheta, headDim, ropeScaling });
      expect(worst(frequencies, right)).toBeLessThan(FLOAT32);
      const multiplier = 1 + 0.1 * Math.log(factor);
      for (const [i, frequency] of right.entries()) {
        expect(cosines[i]).toBeCloseTo(multiplier * Math.cos(39 * frequency), 5);
        expect(sines[i]).toBeCloseTo(multiplier * Math.sin(39 * frequency), 5);
      }
    },
  );

  test('YaRN, Ternary Bonsai 8B: what stays, what is divided by 4, and the ramp between', () => {
    const { frequencies } = tablesOf({ ropeTheta: 1e6, ropeScaling: { ...yarn, originalPositions: 16_384 } });
    const ratios = plain(1e6, 128).map((value, i) => value / frequencies[i]!);
    // 128 ln(16384 / (32 * 2 pi)) / (2 ln 1e6) = 20.4 and, for one turn, 36.4: the ramp is from pair 20 to pair 37
    expect(ratios.slice(0, 21).every((ratio) => Math.abs(ratio - 1) < 1e-6)).toBe(true);
    expect(ratios.slice(37).every((ratio) => Math.abs(ratio - 4) < 1e-5)).toBe(true);
    expect(ratios[28]).toBeCloseTo(1 / (1 - (0.75 * 8) / 17), 5);
  });

  test('an attention factor that is stated replaces the logarithm', () => {
    const stated = { ...yarn, originalPositions: 16_384, attentionFactor: 1.5, attentionLog: 0 };
    const { cosines } = tablesOf({ ropeScaling: stated }, [], 40, 0);
    expect([...cosines]).toEqual(Array(64).fill(1.5));
  });

  test('linear', () => {
    const { frequencies, cosines } = tablesOf({ ropeScaling: { kind: 'linear', factor: 8 } });
    expect(
      worst(
        frequencies,
        plain(10_000, 128).map((value) => value / 8),
      ),
    ).toBeLessThan(FLOAT32);
    // position 8 of a model stretched by 8 is position 1 of the plain one
    const [far, near] = [tablesOf({ ropeScaling: { kind: 'linear', factor: 8 } }, [], 40, 8), tablesOf({}, [], 40, 1)];
    expect(bitDifference(far.cosines, near.cosines, 64)).toBe('');
    expect(Math.max(...cosines)).toBeLessThanOrEqual(1);
  });

  test('Llama 3.1: by its formula, and by the factors that converters write for it', () => {
    const [factor, original, low, high] = [8, 8192, 1, 4];
    const divisors = plain(500_000, 128).map((frequency) => {
      const turns = (original * frequency) / (2 * Math.PI);
      if (turns > high) return 1;
      if (turns < low) return factor;
      const smooth = (turns - low) / (high - low);
      return 1 / ((1 - smooth) / factor + smooth);
    });
    expect(new Set(divisors).size).toBeGreaterThan(4);
    const right = plain(500_000, 128).map((frequency, i) => frequency / divisors[i]!);
    const llama3 = { kind: 'llama3', factor, originalPositions: original, lowFactor: low, highFactor: high } as const;
    expect(worst(tablesOf({ ropeTheta: 500_000, ropeScaling: llama3 }).frequencies, right)).toBeLessThan(FLOAT32);
    const byTensor = tablesOf({ ropeTheta: 500_000, ropeScaling: { kind: 'factors' } }, divisors);
    expect(worst(byTensor.frequencies, right)).toBeLessThan(FLOAT32);
  });

  test('longrope: the short factors up to the original context, the long ones above', () => {
    const longrope = { kind: 'longrope', originalPositions: 40, attentionFactor: 1.25 } as const;
    const short = Array.from({ length: 64 }, (_, i) => 1 + i / 64);
    const long = Array.from({ length: 64 }, (_, i) => 1 + i);
    for (const [context, right] of [
      [40, short],
      [41, long],
    ] as const) {
      const { frequencies, cosines } = tablesOf({ ropeScaling: longrope }, [...short, ...long], context);
      const wanted = plain(10_000, 128).map((value, i) => value / right[i]!);
      expect(worst(frequencies, wanted), `context ${context}`).toBeLessThan(FLOAT32);
      expect(cosines[63]).toBeCloseTo(1.25 * Math.cos((context - 1) * wanted[63]!), 5);
    }
  });

  test('the oracle has the same bits', () => {
    const scalings: (RopeScaling | undefined)[] = [
      undefined,
      { kind: 'linear', factor: 3.3 },
      { ...yarn, originalPositions: 16_384 },
      { ...yarn, factor: 7, originalPositions: 500, betaFast: 20, betaSlow: 2.5 },
      { ...yarn, originalPositions: 3 }, // the ramp ends before it begins
      { kind: 'llama3', factor: 32, originalPositions: 8192, lowFactor: 1, highFactor: 4 },
    ];
    for (const ropeScaling of scalings) {
      for (const headDim of [2, 12, 64, 100, 128]) {
        for (const ropeTheta of [10_000, 500_000, 1_000_042, 5_000_000]) {
          const { frequencies } = tablesOf({ headDim, ropeTheta, ropeScaling });
          const right = ropeTurns({ headDim, ropeTheta, ropeScaling }).frequencies as Float32Array<ArrayBuffer>;
          expect(bitDifference(frequencies, right, headDim), `${ropeScaling?.kind}, ${headDim}`).toBe('');
        }
      }
    }
  });
});

type Factors = Record<string, number[]>;

/** A Llama-shaped model as one GGUF file, with what it says of RoPE. */
function gguf(metadata: Entry[], factors: Factors = {}, floats: 'F32' | 'Q4_K' = 'F32'): Files {
  const tensors = Object.entries(factors).map(([name, values]) =>
    floatTensor(name, 'F32', [values.length], (_, out) => out.set(values)),
  );
  const weights = randomWeights({ ...small.llama!, maxPositions: 64 });
  const { files } = checkpointFiles(weights, { format: 'tq2_0', floats, more: { metadata, tensors } });
  const file = files['model.gguf']!;
  const bytes = new Uint8Array(file.size);
  let at = 0;
  for (const piece of pieces(file)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { 'model.gguf': bytes };
}

const fill = (files: Files, contextLength = 40) =>
  fillMemory(module, files, { ...options, contextLength, shared: false });
const halfHead = randomWeights(small.llama!).model.headDim / 2;
const ramp = (least: number): number[] => Array.from({ length: halfHead }, (_, i) => Math.fround(least + i / 10));

describe('GGUF files', () => {
  test('YaRN', async () => {
    const { plan, memory } = await fill(
      gguf([
        ['llama.rope.scaling.type', 'string', 'yarn'],
        ['llama.rope.scaling.factor', 'f32', 4],
        ['llama.rope.scaling.original_context_length', 'u32', 1000],
      ]),
    );
    const right = ropeTurns({ ...plan.config, ropeScaling: { ...yarn, originalPositions: 1000 } });
    const got = new Float32Array(memory.buffer, plan.ropeFrequencies, halfHead).slice();
    expect(bitDifference(got, right.frequencies as Float32Array<ArrayBuffer>, halfHead)).toBe('');
    expect(new Float32Array(memory.buffer, plan.cosines, 1)[0]).toBe(right.multiplier);
  });

  test('a tensor of factors; its stored form brings the same', async () => {
    const factors = ramp(1);
    const { plan, memory, parts, stored } = await fill(gguf([], { 'rope_freqs.weight': factors }));
    const right = ropeTurns(plan.config, Float32Array.from(factors)).frequencies as Float32Array<ArrayBuffer>;
    const table = () => new Float32Array(memory.buffer, plan.ropeFrequencies, halfHead).slice();
    expect(bitDifference(table(), right, halfHead)).toBe('');
    const index = parts.findIndex(({ place }) => place.kind === 'ropeFactors');
    const [part, unit] = [parts[index]!, parts.slice(0, index).reduce((sum, { units }) => sum + units, 0)];
    new Uint8Array(memory.buffer).fill(0, plan.ropeFactors, plan.ropeFactors + halfHead * 4);
    const kernels = instantiateKernels(module, memory);
    const packer = createPacker(kernels, memory, plan, [part], stagingOf(parts, 0), ['model.gguf'], 'x86');
    packer.seek(0, 0);
    packer.restore(stored[unit]!.bytes);
    writeRopeTables(kernels, memory, plan);
    expect(bitDifference(table(), right, halfHead)).toBe('');
  });

  test('longrope: both tensors are kept, the context decides', async () => {
    const [short, long] = [ramp(1), ramp(2)];
    const files = gguf(
      [
        ['llama.rope.scaling.type', 'string', 'longrope'],
        ['llama.rope.scaling.original_context_length', 'u32', 40],
      ],
      { 'rope_factors_long.weight': long, 'rope_factors_short.weight': short },
    );
    for (const [context, factors] of [
      [40, short],
      [64, long],
    ] as const) {
      const { plan, memory, parts } = await fill(files, context);
      expect(parts.filter(({ place }) => place.kind === 'ropeFactors').length).toBe(2);
      const right = ropeTurns(plan.config, Float32Array.from(factors)).frequencies as Float32Array<ArrayBuffer>;
      const got = new Float32Array(memory.buffer, plan.ropeFrequencies, halfHead).slice();
      expect(bitDifference(got, right, halfHead), `context ${context}`).toBe('');
    }
  });

  test.each([
    ['no numbers', { 'rope_freqs.weight': [...ramp(1).slice(1), Number.NaN] }, /finite numbers.*NaN/],
    ['a zero', { 'rope_freqs.weight': [0, ...ramp(1).slice(1)] }, /RoPE factor in tensor rope_freqs.weight.*got 0/],
    ['too few', { 'rope_freqs.weight': ramp(1).slice(1) }, /shape of tensor rope_freqs.weight/],
  ] as [string, Factors, RegExp][])('factors that are wrong: %s', async (_, factors, message) => {
    const error = await fill(gguf([], factors)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'bad-file', message: expect.stringMatching(message) });
  });

  test('longrope without its tensors', async () => {
    const error = await fill(gguf([['llama.rope.scaling.type', 'string', 'longrope']])).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'bad-file', expected: 'rope_factors_short.weight' });
  });

  test('tables in Q4_K: logits near those of exact tables', async () => {
    const logits = async (floats: 'F32' | 'Q4_K') => {
      const machine = await openMachine(gguf([], {}, floats), { kernel: 'lut8', shared: false });
      return machine.logits(inPasses(rowsOf(someTokens(12, machine.plan.config.vocab)), [5]));
    };
    const [exact, coarse] = [await logits('F32'), await logits('Q4_K')];
    const error = relativeError(coarse, exact);
    expect(error).toBeGreaterThan(0.001);
    expect(error).toBeLessThan(0.3);
  });
});
