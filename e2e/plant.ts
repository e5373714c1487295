/**
 * Models that come from no file: random weights for any ModelConfig, and their way into the memory of a plan through the
 * pack kernels alone. Holds the engine's passes against src/model/reference.ts whatever the file formats do.
 */
import type { ModelConfig } from '../src/model/config';
import type { Kernels } from '../src/model/kernels';
import type { HeadPlan, Matrix, MemoryPlan } from '../src/model/memory';
import { createReference, type ReferenceLayer, type ReferenceModel } from '../src/model/reference';
import { type GroupedMatrix, type Linear, type TernaryMatrix, toBf16 } from '../src/model/reference-kernels';
import { writeRopeTables } from '../src/model/rope';
import { gaussian, pad, prng } from './kernel-lab';
import type { MachineOptions } from './machine';

/** The switches of a plain BitNet; tests change what they are about. */
export const plainSwitches = {
  family: 'bitnet',
  maxPositions: 4096,
  ropeTheta: 10_000,
  rmsNormEps: 1e-5,
  gate: 'silu',
  subNorms: true,
  qkNorm: false,
  lmHead: 'tied',
  ternaryEmbedding: false,
  group: 0,
  embeddingScale: 1,
  residualScale: 1,
  logitScale: 1,
  scaleSense: 'multiply',
  bos: null,
  eos: [],
} satisfies Partial<ModelConfig>;

/** A random model of a configuration, always the same for a seed. */
export function randomModel(config: ModelConfig, seed: number): ReferenceModel {
  const { hidden, ffn, heads, kvHeads, headDim, vocab, group } = config;
  const random = prng(seed);
  const gains = (n: number): Float32Array => gaussian(n, random, 0.15).map((v) => 1 + v);
  // an input of unit size gives an output of about unit size: else every softmax would be one-hot
  const scale = (cols: number): number => Math.fround((0.8 + 0.4 * random()) / Math.sqrt(0.67 * cols));
  /** Random for `width` columns, then zeros. */
  const tritsOf = (rows: number, cols: number, width: number): Int8Array => {
    const trits = new Int8Array(rows * cols);
    for (let row = 0; row < rows; row++)
      for (let at = row * cols; at < row * cols + width; at++) trits[at] = Math.floor(random() * 3) - 1;
    return trits;
  };
  const matrix = (rows: number, cols: number): TernaryMatrix => ({
    trits: tritsOf(rows, cols, cols),
    rows,
    cols,
    scale: scale(cols),
  });
  const groupedMatrix = (rows: number, width: number): GroupedMatrix => {
    const cols = pad(width, group);
    return {
      trits: tritsOf(rows, cols, width),
      rows,
      cols,
      group,
      scales: Float32Array.from({ length: (rows * cols) / group }, () => scale(width)),
    };
  };
  const linear = group ? groupedMatrix : matrix;
  const table = (): Float32Array | GroupedMatrix =>
    config.ternaryEmbedding ? groupedMatrix(vocab, hidden) : gaussian(vocab * hidden, random, 0.5).map(toBf16);
  const layer = (): ReferenceLayer => ({
    inputNorm: gains(hidden),
    query: linear(heads * headDim, hidden),
    key: linear(kvHeads * headDim, hidden),
    value: linear(kvHeads * headDim, hidden),
    ...(config.qkNorm && { queryNorm: gains(headDim), keyNorm: gains(headDim) }),
    ...(config.subNorms && { attentionNorm: gains(heads * headDim), ffnNorm: gains(ffn) }),
    output: linear(hidden, heads * headDim),
    ffnInputNorm: gains(hidden),
    gate: linear(ffn, hidden),
    up: linear(ffn, hidden),
    down: linear(hidden, ffn),
  });
  return {
    config,
    embedding: table(),
    ...(config.lmHead === 'untied' && { head: table() }),
    layers: Array.from({ length: config.layers }, layer),
    finalNorm: gains(hidden),
    ...(config.ropeScaling?.kind === 'factors' && {
      ropeFactors: Float32Array.from({ length: headDim / 2 }, () => 1 + 7 * random()),
    }),
  };
}

export type Precision = Required<Pick<MachineOptions, 'kvCache' | 'lmHead'>>;

/** Logits of each position of a sequence by the oracle: the right answer. f32[tokens, vocab] */
export function answer(model: ReferenceModel, precision: Precision, tokens: number[]): Float32Array<ArrayBuffer> {
  const step = createReference(model, precision);
  const { vocab } = model.config;
  const out = new Float32Array(tokens.length * vocab);
  for (const [i, token] of tokens.entries()) out.set(step(token), i * vocab);
  return out;
}

/** Where elements of heads lie in memory, by their place in the model: `count` heads, each half padded. */
function inPaddedHeads(count: number, headDim: number, padded: number): number[] {
  const half = headDim / 2;
  return Array.from({ length: count * headDim }, (_, index) => {
    const [head, i] = [Math.floor(index / headDim), index % headDim];
    return head * padded + (i < half ? i : padded / 2 + i - half);
  });
}

const inOrder = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Writes a model into the memory of a plan, with the tables of the kernels. */
export function plantModel(model: ReferenceModel, kernels: Kernels, memory: WebAssembly.Memory, plan: MemoryPlan) {
  const { config } = model;
  const { heads, kvHeads, headDim, residualScale } = config;
  const bytes = new Uint8Array(memory.buffer);
  const floats = new Float32Array(memory.buffer);
  const queries = inPaddedHeads(heads, headDim, plan.headDim);
  const keys = inPaddedHeads(kvHeads, headDim, plan.headDim);

  const putGain = (at: number, gain: Float32Array, places = inOrder(gain.length)): void => {
    for (const [i, v] of gain.entries()) floats[at / 4 + places[i]!] = v;
  };
  /** `rows`, `cols`: where the rows and columns of the model lie; the rest is padding. */
  const putMatrix = (to: Matrix, from: Linear, by = 1, rows = inOrder(from.rows), cols = inOrder(from.cols)): void => {
    const { at, paddedRows, paddedCols, group } = to;
    bytes.fill(0x55, at, at + (paddedRows * paddedCols) / 4);
    const codes = bytes.subarray(plan.staging, plan.staging + paddedCols);
    for (let r = 0; r < from.rows; r++) {
      codes.fill(1);
      for (let c = 0; c < from.cols; c++) codes[cols[c]!] = from.trits[r * from.cols + c]! + 1;
      if (plan.kernel === 'lut8') kernels.packLanes(plan.staging, 0, at, rows[r]!, paddedRows, paddedCols);
      else kernels.packTiles(plan.staging, 0, at, rows[r]!, paddedCols);
    }
    if (!('group' in from)) {
      to.scale = Math.fround(from.scale * Math.fround(by));
      return;
    }
    const groups = paddedCols / group;
    for (const [i, value] of from.scales.entries()) {
      const [r, g] = [Math.floor(i / groups), i % groups];
      floats[to.scales / 4 + ((r >> 4) * groups + g) * 16 + (r & 15)] = value * Math.fround(by);
    }
  };
  const putTable = (to: HeadPlan, from: Float32Array | GroupedMatrix): void => {
    if (to.kind === 'ternary') {
      putMatrix(to.matrix, from as GroupedMatrix);
      return;
    }
    const values = from as Float32Array;
    const staged = new Uint16Array(memory.buffer, plan.staging, config.hidden);
    for (let row = 0; row < config.vocab; row++) {
      const bits = new Uint32Array(values.slice(row * config.hidden, (row + 1) * config.hidden).buffer);
      staged.set(bits.map((word) => word >>> 16));
      if (to.kind === 'bf16') kernels.packBf16(plan.staging, to.table, row, config.hidden);
      else kernels.packInt8(plan.staging, to.table, row, config.hidden, to.paddedHidden, to.scales, to.sums);
    }
  };

  kernels.writeConstants();
  putTable(plan.embedding, model.embedding);
  if (model.head) putTable(plan.head, model.head);
  for (const [index, layer] of model.layers.entries()) {
    const to = plan.layers[index]!;
    putGain(to.inputNorm, layer.inputNorm);
    putMatrix(to.query, layer.query, 1, queries);
    putMatrix(to.key, layer.key, 1, keys);
    putMatrix(to.value, layer.value, 1, keys);
    if (layer.queryNorm) putGain(to.queryNorm, layer.queryNorm, queries);
    if (layer.keyNorm) putGain(to.keyNorm, layer.keyNorm, queries);
    if (layer.attentionNorm) putGain(to.attentionNorm, layer.attentionNorm, queries);
    putMatrix(to.output, layer.output, residualScale, undefined, config.group ? undefined : queries);
    putGain(to.ffnInputNorm, layer.ffnInputNorm);
    putMatrix(to.gate, layer.gate);
    putMatrix(to.up, layer.up);
    if (layer.ffnNorm) putGain(to.ffnNorm, layer.ffnNorm);
    putMatrix(to.down, layer.down, residualScale);
  }
  putGain(plan.finalNorm, model.finalNorm);
  for (const [i, factor] of (model.ropeFactors ?? []).entries()) floats[plan.ropeFactors / 4 + i] = factor;
  writeRopeTables(kernels, memory, plan);
}
