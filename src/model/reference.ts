/**
 * The oracle: the same model in plain TypeScript, one token at a time, no threads, of the steps of reference-kernels.ts. Tests
 * hold the forward pass to it bit by bit. Heads are padded as in memory where a sum of floats depends on it.
 */
import type { ModelConfig } from './config';
import type { CacheKind } from './memory';
import {
  attend,
  attendInt8,
  bitLinear,
  bitLinearGroups,
  type GroupedMatrix,
  gate,
  type Int8Head,
  int8Head,
  type Linear,
  lmHead,
  lmHeadInt8,
  padHead,
  quantise,
  quantiseEmbeddingRow,
  quantiseGroups,
  rmsNorm,
  rope,
  ropeTurns,
  toBf16,
  unpadHead,
} from './reference-kernels';

const f = Math.fround;

export interface ReferenceLayer {
  inputNorm: Float32Array;
  query: Linear;
  key: Linear;
  value: Linear;
  queryNorm?: Float32Array; // [headDim]
  keyNorm?: Float32Array;
  attentionNorm?: Float32Array; // absent: no sub-norm
  output: Linear;
  ffnInputNorm: Float32Array;
  gate: Linear;
  up: Linear;
  ffnNorm?: Float32Array;
  down: Linear;
}

export interface ReferenceModel {
  config: ModelConfig;
  embedding: Float32Array | GroupedMatrix; // [vocab, hidden]
  head?: Float32Array | GroupedMatrix; // absent: tied
  layers: ReferenceLayer[];
  finalNorm: Float32Array;
  ropeFactors?: Float32Array; // [headDim / 2], those of longrope that hold for the context
}

/** The rows of an array, `width` elements each. */
const rowsOf = (x: Float32Array, width: number): Float32Array[] =>
  Array.from({ length: x.length / width }, (_, r) => x.slice(r * width, (r + 1) * width));

function joined(rows: Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

/** A matrix whose every scale is multiplied by a factor. */
const scaled = (matrix: Linear, factor: number): Linear =>
  'group' in matrix
    ? { ...matrix, scales: matrix.scales.map((v) => v * f(factor)) }
    : { ...matrix, scale: f(matrix.scale * f(factor)) };

/** BitLinear on an input that is not quantised yet. */
function linear(matrix: Linear, x: Float32Array): Float32Array {
  if (!('group' in matrix)) return bitLinear(matrix, quantise(x));
  const padded = new Float32Array(matrix.cols);
  padded.set(x);
  return bitLinearGroups(matrix, quantiseGroups(padded, matrix.group));
}

/** One timeline: feed tokens one by one, get the logits of the final normed state; or, `headless`, the state itself. */
export function createReference(model: ReferenceModel, options: { kvCache: CacheKind; lmHead: 'bf16' | 'int8' }) {
  const { config } = model;
  const { hidden, heads, kvHeads, headDim, rmsNormEps: eps, residualScale } = config;
  // the residual scale is folded into the matrices that add to the residual stream
  const layers = model.layers.map((layer) => ({
    ...layer,
    output: scaled(layer.output, residualScale),
    down: scaled(layer.down, residualScale),
  }));
  const caches = layers.map(() => Array.from({ length: kvHeads }, () => openCache(options.kvCache, headDim)));
  const embedding = openTable(model.embedding, hidden, options.lmHead);
  const head = model.head ? openTable(model.head, hidden, options.lmHead) : embedding;
  const turns = ropeTurns(config, model.ropeFactors);
  let position = 0;

  const headsOf = (x: Float32Array): Float32Array[] => rowsOf(x, headDim);
  /** Norm of a head, if it has one, and RoPE. */
  const turned = (x: Float32Array, gain: Float32Array | undefined): Float32Array => {
    const normed = gain ? unpadHead(rmsNorm(padHead(x), padHead(gain), eps, headDim), headDim) : x;
    return padHead(rope(normed, position, turns));
  };
  /** Sub-norm over all heads, if there is one; the result without padding. */
  const joinHeads = (padded: Float32Array[], gain: Float32Array | undefined): Float32Array => {
    if (!gain) return joined(padded.map((x) => unpadHead(x, headDim)));
    const normed = rmsNorm(joined(padded), joined(headsOf(gain).map(padHead)), eps, heads * headDim);
    return joined(rowsOf(normed, normed.length / heads).map((x) => unpadHead(x, headDim)));
  };

  return function step(token: number, headless = false): Float32Array {
    let h = embedding.row(token).map((v) => v * f(config.embeddingScale));
    const add = (y: Float32Array): void => {
      h = h.map((v, i) => v + y[i]!);
    };
    for (const [index, layer] of layers.entries()) {
      const cache = caches[index]!;
      const x = rmsNorm(h, layer.inputNorm, eps);
      const values = headsOf(linear(layer.value, x));
      for (const [j, key] of headsOf(linear(layer.key, x)).entries())
        cache[j]!.push(turned(key, layer.keyNorm), padHead(values[j]!));
      const attention = headsOf(linear(layer.query, x)).map((query, j) =>
        cache[Math.floor(j / (heads / kvHeads))]!.attend(turned(query, layer.queryNorm)),
      );
      add(linear(layer.output, joinHeads(attention, layer.attentionNorm)));
      const y = rmsNorm(h, layer.ffnInputNorm, eps);
      const m = gate(config.gate, linear(layer.gate, y), linear(layer.up, y));
      add(linear(layer.down, layer.ffnNorm ? rmsNorm(m, layer.ffnNorm, eps) : m));
    }
    position++;
    const state = rmsNorm(h, model.finalNorm, eps);
    return headless ? state : head.logits(state).map((v) => v * f(config.logitScale));
  };
}

/** An embedding of hidden states: their mean or the last, over its L2 norm; float64, rounded once. */
export function pooled(states: Float32Array[], pooling: 'mean' | 'last', normalize: boolean): Float32Array {
  const some = pooling === 'mean' ? states : states.slice(-1);
  const mean = Array.from(some[0]!, (_, i) => some.reduce((sum, state) => sum + state[i]!, 0) / some.length);
  const norm = normalize ? Math.sqrt(mean.reduce((sum, v) => sum + v * v, 0)) || 1 : 1;
  return Float32Array.from(mean, (v) => v / norm);
}

/** An embedding or lm_head in one of its three forms. */
function openTable(
  table: Float32Array | GroupedMatrix,
  hidden: number,
  kind: 'bf16' | 'int8',
): { row(token: number): Float32Array; logits(x: Float32Array): Float32Array } {
  if (!(table instanceof Float32Array)) {
    const { trits, cols, group, scales } = table;
    const element = (at: number): number => trits[at]! * scales[Math.floor(at / group)]!;
    return {
      row: (token) => Float32Array.from({ length: hidden }, (_, i) => element(token * cols + i)),
      logits: (x) => linear(table, x),
    };
  }
  const rows = rowsOf(table, hidden);
  if (kind === 'bf16') return { row: (token) => rows[token]!, logits: (x) => lmHead(table, x) };
  const int8Rows = rows.map(quantiseEmbeddingRow);
  return {
    row: (token) => Float32Array.from(int8Rows[token]!.codes, (code) => code * int8Rows[token]!.scale),
    logits: (x) => lmHeadInt8(int8Rows, x),
  };
}

/** The cache of one key/value head; what is pushed and asked are padded heads. */
function openCache(kind: CacheKind, headDim: number) {
  if (kind === 'int8') {
    const keys: Int8Head[] = [];
    const values: Int8Head[] = [];
    return {
      push: (key: Float32Array, value: Float32Array) => {
        keys.push(int8Head(key));
        values.push(int8Head(value));
      },
      attend: (query: Float32Array) => attendInt8(query, keys, values, headDim),
    };
  }
  const stored = kind === 'bf16' ? (x: Float32Array) => x.map(toBf16) : (x: Float32Array) => x;
  const keys: Float32Array[] = [];
  const values: Float32Array[] = [];
  return {
    push: (key: Float32Array, value: Float32Array) => {
      keys.push(stored(key));
      values.push(stored(value));
    },
    attend: (query: Float32Array) => attend(query, keys, values, headDim),
  };
}
