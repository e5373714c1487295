/**
 * The oracle of the kernels: each step of the model in plain TypeScript, no SIMD, no packing. Tests hold the WASM kernels to it
 * bit by bit. Every float32 operation is rounded by Math.fround, in the order that wasm/ uses; the formulas are those of
 * docs/model.md.
 */
import type { ModelConfig } from './config';

const f = Math.fround;

/** A ternary matrix: trits -1, 0, 1 [rows, cols] and the multiplier mean|W|. */
export interface TernaryMatrix {
  trits: Int8Array;
  rows: number;
  cols: number;
  scale: number;
}

/** A ternary matrix with a scale for each row and group of columns. */
export interface GroupedMatrix {
  trits: Int8Array; // [rows, cols]
  rows: number;
  cols: number;
  group: number; // 64 or 128
  scales: Float32Array; // [rows, cols / group]
}

/** A matrix with one scale, or with group scales (columns then padded with zeros to whole groups). */
export type Linear = TernaryMatrix | GroupedMatrix;

/** Sum of lanes in the one order of the kernels. */
const sum4 = (a: number, b: number, c: number, d: number): number => f(f(a + b) + f(c + d));

/** RMSNorm; `count` elements of x are no padding. */
export function rmsNorm(x: Float32Array, gain: Float32Array, eps: number, count = x.length): Float32Array {
  const n = x.length;
  const whole = n & ~15;
  const partial = new Float32Array(16);
  for (let i = 0; i < whole; i++) partial[i & 15] = partial[i & 15]! + f(x[i]! * x[i]!);
  const lane = (j: number): number => sum4(partial[j]!, partial[j + 4]!, partial[j + 8]!, partial[j + 12]!);
  let sum = sum4(lane(0), lane(1), lane(2), lane(3));
  for (let i = whole; i < n; i++) sum = f(sum + f(x[i]! * x[i]!));
  const r = f(1 / f(Math.sqrt(f(f(sum / count) + f(eps)))));
  return x.map((v, i) => gain[i]! * f(v * r));
}

/** Round half to even, as torch.round. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

export interface QuantisedRow {
  codes: Int8Array;
  multiplier: number; // 127 / absmax
  inverse: number; // absmax / 127
}

/** Absmax quantisation of one row to int8. */
export function quantise(x: Float32Array): QuantisedRow {
  const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), f(1e-5));
  const multiplier = f(127 / most);
  return { codes: Int8Array.from(x, (v) => roundEven(f(v * multiplier))), multiplier, inverse: f(most / 127) };
}

/** Exact integer sums T . q. */
function ternarySums({ trits, rows, cols }: TernaryMatrix, codes: Int8Array): Int32Array {
  const sums = new Int32Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += trits[r * cols + c]! * codes[c]!;
    sums[r] = sum;
  }
  return sums;
}

export function bitLinear(matrix: TernaryMatrix, q: QuantisedRow): Float32Array {
  const scale = f(matrix.scale * q.inverse);
  return Float32Array.from(ternarySums(matrix, q.codes), (sum) => f(sum) * scale);
}

/** e^x in float32, as wasm/math.ts expPs. */
export function expF32(x: number): number {
  if (!(x >= f(-87.3))) return 0;
  const c = Math.min(x, 88);
  const n = roundEven(f(c * f(Math.LOG2E)));
  const r = f(f(c - f(n * 0.693359375)) - f(n * f(-2.1219444e-4)));
  let y = f(1 / 5040);
  for (const term of [f(1 / 720), f(1 / 120), f(1 / 24), f(1 / 6), 0.5, 1, 1]) y = f(f(y * r) + term);
  return f(y * 2 ** n);
}

/** Turns of RoPE: f32[headDim / 2] radians a position, and what cosines and sines are multiplied by. */
export interface Turns {
  frequencies: Float32Array;
  multiplier: number;
}

/** The frequencies of a model; `factors` divide them. The formulas of transformers' modeling_rope_utils.py in float32. */
export function ropeTurns(
  { headDim, ropeTheta, ropeScaling: scaling }: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>,
  factors?: Float32Array,
): Turns {
  const turns: Turns = { frequencies: new Float32Array(headDim / 2), multiplier: 1 };
  for (let i = 0; i < headDim / 2; i++) {
    const period = f(ropeTheta ** f((2 * i) / headDim));
    const plain = f(1 / period);
    let frequency = factors ? f(plain / factors[i]!) : plain;
    if (scaling?.kind === 'linear') frequency = f(plain / f(scaling.factor));
    if (scaling?.kind === 'yarn') {
      const correction = (beta: number): number =>
        (headDim * Math.log(scaling.originalPositions / (beta * 2 * Math.PI))) / (2 * Math.log(ropeTheta));
      const first = Math.max(0, Math.floor(correction(scaling.betaFast)));
      let last = Math.min(headDim - 1, Math.ceil(correction(scaling.betaSlow)));
      if (first === last) last += 0.001;
      const ramp = Math.max(0, Math.min(1, f(f(i - first) / f(last - first))));
      const mix = f(1 - ramp);
      frequency = f(f(f(1 / f(f(scaling.factor) * period)) * f(1 - mix)) + f(plain * mix));
    }
    if (scaling?.kind === 'llama3') {
      const { factor, lowFactor, highFactor, originalPositions } = scaling;
      const wave = f(f(2 * Math.PI) * f(1 / plain));
      const smooth = f(f(f(originalPositions * f(1 / wave)) - f(lowFactor)) / f(highFactor - lowFactor));
      if (wave > f(originalPositions / lowFactor)) frequency = f(plain / f(factor));
      else if (!(wave < f(originalPositions / highFactor)))
        frequency = f(f(f(f(1 - smooth) * plain) / f(factor)) + f(smooth * plain));
    }
    turns.frequencies[i] = frequency;
  }
  if (scaling?.kind === 'yarn')
    turns.multiplier = f(scaling.attentionFactor * (1 + scaling.attentionLog * Math.log(scaling.factor)));
  if (scaling?.kind === 'longrope') turns.multiplier = f(scaling.attentionFactor);
  return turns;
}

/** Rotate-half RoPE of one head at a position. The angle is float32, cos and sin are correctly rounded from float64. */
export function rope(x: Float32Array, position: number, { frequencies, multiplier }: Turns): Float32Array {
  const half = x.length / 2;
  const out = new Float32Array(x.length);
  for (let i = 0; i < half; i++) {
    const angle = f(position * frequencies[i]!);
    const [c, s] = [f(f(Math.cos(angle)) * multiplier), f(f(Math.sin(angle)) * multiplier)];
    out[i] = f(x[i]! * c) - f(x[i + half]! * s);
    out[i + half] = f(x[i + half]! * c) + f(x[i]! * s);
  }
  return out;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** Round to the nearest bf16, ties to even. */
export function toBf16(x: number): number {
  float[0] = x;
  word[0] = (word[0]! + 0x7fff + ((word[0]! >>> 16) & 1)) & 0xffff0000;
  return float[0]!;
}

/** Dot product in the order of the kernels: eight partial sums of every eighth element. */
function dot8(a: Float32Array, b: Float32Array): number {
  const partial = new Float32Array(8);
  for (let i = 0; i < a.length; i++) partial[i & 7] = partial[i & 7]! + f(a[i]! * b[i]!);
  return sum4(
    f(partial[0]! + partial[4]!),
    f(partial[1]! + partial[5]!),
    f(partial[2]! + partial[6]!),
    f(partial[3]! + partial[7]!),
  );
}

const BLOCK = 256;

/** A head as it lies in memory: each half padded with zeros to a multiple of 4. */
export function padHead(x: Float32Array): Float32Array {
  const half = x.length / 2;
  const out = new Float32Array(Math.ceil(half / 4) * 8);
  out.set(x.subarray(0, half));
  out.set(x.subarray(half), out.length / 2);
  return out;
}

/** The other way: headDim elements of a padded head. */
export function unpadHead(x: Float32Array, headDim: number): Float32Array {
  const out = x.slice(0, headDim);
  out.set(x.subarray(x.length / 2, x.length / 2 + headDim / 2), headDim / 2);
  return out;
}

/** What one block of positions gives: o is the sum of the values, weighted by exp(score - m), l that of the weights. */
interface Block {
  m: number;
  l: number;
  o: Float32Array;
}

/** Maximum m of the scores, weights exp(s - m) and their sum l. */
function softmaxOf(scores: number[]): { m: number; l: number; weights: number[] } {
  const m = Math.max(...scores);
  const weights = scores.map((s) => expF32(f(s - m)));
  const lanes = new Float32Array(4);
  for (const [p, w] of weights.entries()) lanes[p & 3] = lanes[p & 3]! + w;
  return { m, l: sum4(lanes[0]!, lanes[1]!, lanes[2]!, lanes[3]!), weights };
}

/** Puts blocks together, in order. */
function combine(blocks: Block[]): Float32Array {
  const m = Math.max(...blocks.map((block) => block.m));
  const out = new Float32Array(blocks[0]!.o.length);
  let l = 0;
  for (const [b, block] of blocks.entries()) {
    const weight = expF32(f(block.m - m));
    l = f(l + f(weight * block.l));
    for (let j = 0; j < out.length; j++) out[j] = b === 0 ? block.o[j]! * weight : out[j]! + f(block.o[j]! * weight);
  }
  const inverse = f(1 / l);
  return out.map((v) => v * inverse);
}

/** 256 positions at a time; the last may be fewer. */
const inBlocks = <T>(positions: T[]): T[][] =>
  Array.from({ length: Math.ceil(positions.length / BLOCK) }, (_, b) => positions.slice(b * BLOCK, (b + 1) * BLOCK));

/** Attention of one padded query head over cached keys and values. */
export function attend(
  query: Float32Array,
  keys: Float32Array[],
  values: Float32Array[],
  headDim = query.length,
): Float32Array {
  const scale = f(1 / Math.sqrt(headDim));
  const valueBlocks = inBlocks(values);
  return combine(
    inBlocks(keys).map((block, b) => {
      const { m, l, weights } = softmaxOf(block.map((key) => f(dot8(query, key) * scale)));
      const o = new Float32Array(query.length);
      for (const [p, w] of weights.entries()) {
        const value = valueBlocks[b]![p]!;
        for (let j = 0; j < o.length; j++) o[j] = o[j]! + f(value[j]! * w);
      }
      return { m, l, o };
    }),
  );
}

/** Codes round(x * most / max|x|) and what a code is worth, max|x| / most; zeros where nothing is above 1e-30. */
function codesOf(x: ArrayLike<number>, most: number): { codes: number[]; scale: number } {
  const largest = absmax(Float32Array.from(x));
  const inverse = largest === 0 ? 0 : f(most / largest);
  const codes = Array.from(x, (v) => Math.max(-most, Math.min(most, roundEven(f(v * inverse)) || 0)));
  return { codes, scale: f(largest / most) };
}

/** A cached head of int8: element = code * scale, scale = max|x| / 127. */
export type Int8Head = ReturnType<typeof codesOf>;
export const int8Head = (x: Float32Array): Int8Head => codesOf(x, 127);

/**
 * Attention over cached heads of int8. The query has 15-bit codes; weights, times the scales of the values, have 16-bit
 * codes with one scale a block. Sums are exact integers.
 */
export function attendInt8(
  query: Float32Array,
  keys: Int8Head[],
  values: Int8Head[],
  headDim = query.length,
): Float32Array {
  const q = codesOf(query, 16383);
  const scale = f(q.scale * f(1 / Math.sqrt(headDim)));
  const valueBlocks = inBlocks(values);
  return combine(
    inBlocks(keys).map((block, b) => {
      const scores = block.map((key) => {
        let sum = 0;
        for (let i = 0; i < key.codes.length; i++) sum += key.codes[i]! * q.codes[i]!;
        return f(f(sum) * f(key.scale * scale));
      });
      const { m, l, weights } = softmaxOf(scores);
      const w = codesOf(
        weights.map((weight, p) => (weight > 0 ? f(weight * valueBlocks[b]![p]!.scale) : 0)),
        32767,
      );
      const sums = new Array<number>(query.length).fill(0);
      for (const [p, code] of w.codes.entries()) {
        const { codes } = valueBlocks[b]![p]!;
        for (let j = 0; j < codes.length; j++) sums[j] = sums[j]! + code * codes[j]!;
      }
      return { m, l, o: Float32Array.from(sums, (sum) => f(sum) * w.scale) };
    }),
  );
}

export function gate(kind: ModelConfig['gate'], g: Float32Array, u: Float32Array): Float32Array {
  return g.map((v, i) => {
    if (kind === 'silu') return f(v / f(1 + expF32(-v))) * u[i]!;
    const r = Math.max(v, 0);
    return f(r * r) * u[i]!;
  });
}

/** Logits from exact (bf16) rows. */
export function lmHead(embedding: Float32Array, x: Float32Array): Float32Array {
  const n = x.length;
  return Float32Array.from({ length: embedding.length / n }, (_, r) => dot8(embedding.subarray(r * n, (r + 1) * n), x));
}

/** Largest magnitude; 0 where nothing is above 1e-30. */
function absmax(x: Float32Array): number {
  const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return most < f(1e-30) ? 0 : most;
}

/** An int8 row of the embedding: code * scale, scale = max|row| / 127. */
export function quantiseEmbeddingRow(row: Float32Array): { codes: Int8Array; scale: number } {
  const most = absmax(row);
  const inverse = most > 0 ? f(127 / most) : 0;
  return { codes: Int8Array.from(row, (v) => roundEven(f(v * inverse))), scale: f(most / 127) };
}

/** Logits from int8 rows and 14-bit activations: exact integers, scaled in float64, rounded once. */
export function lmHeadInt8(rows: { codes: Int8Array; scale: number }[], x: Float32Array): Float32Array {
  const most = absmax(x);
  const c = most > 0 ? f(8128 / most) : 0;
  const a = Array.from(x, (v) => roundEven(f(v * c)));
  const inverse = f(most / 8128);
  return Float32Array.from(rows, ({ codes, scale }) => {
    let sum = 0;
    for (let i = 0; i < codes.length; i++) sum += codes[i]! * a[i]!;
    return sum * (scale * inverse);
  });
}

/** One row of activations, quantised group by group. */
export interface GroupedRow {
  codes: Int8Array;
  group: number;
  inverses: Float32Array; // absmax / 127 of each group; 0 where the group is as good as 0
}

/** Absmax quantisation of one row to int8, group by group; the last group may be short. */
export function quantiseGroups(x: Float32Array, group: number): GroupedRow {
  const codes = new Int8Array(x.length);
  const inverses = new Float32Array(Math.ceil(x.length / group));
  for (const g of inverses.keys()) {
    const part = x.subarray(g * group, (g + 1) * group);
    const most = absmax(part);
    if (most === 0) continue;
    const multiplier = f(127 / most);
    codes.set(
      Int8Array.from(part, (v) => roundEven(f(v * multiplier))),
      g * group,
    );
    inverses[g] = most / 127;
  }
  return { codes, group, inverses };
}

/** y += f32(T_g . q_g) * (w[row][g] * a[g]), group after group, every operation rounded to float32. */
export function bitLinearGroups(matrix: GroupedMatrix, q: GroupedRow): Float32Array {
  const { trits, rows, cols, group, scales } = matrix;
  const groups = cols / group;
  const y = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      let sum = 0;
      for (let c = g * group; c < (g + 1) * group; c++) sum += trits[r * cols + c]! * q.codes[c]!;
      const scale = f(scales[r * groups + g]! * q.inverses[g]!);
      y[r] = y[r]! + f(f(sum) * scale);
    }
  }
  return y;
}
