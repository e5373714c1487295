/**
 * The network once more, as a textbook has it: float64 throughout, one token at a time, no order of sums, and nothing of
 * the engine or of src/model/reference.ts. Only the rounding of activations is chosen: for the error of formats and of int8.
 */
import type { ReferenceModel } from '../src/model/reference';
import type { Linear } from '../src/model/reference-kernels';

/** How the input of a BitLinear is rounded to int8: not at all, with one scale a row, or one to so many columns. */
export type Rounding = 'none' | 'row' | 64 | 128;

type Vector = Float64Array;

/** Half to even. */
function nearest(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** What int8 leaves of the input: code * max / 127; code and factor in float32, as docs/model.md has them. */
export function rounded(x: ArrayLike<number>, rounding: Rounding): Vector {
  const out = Float64Array.from(x);
  if (rounding === 'none') return out;
  const size = rounding === 'row' ? out.length : rounding;
  for (let begin = 0; begin < out.length; begin += size) {
    const part = out.subarray(begin, begin + size);
    const most = Math.max(...part.map(Math.abs), rounding === 'row' ? 1e-5 : 0);
    const factor = most < 1e-30 ? 0 : Math.fround(127 / most);
    for (const [i, value] of part.entries()) part[i] = nearest(Math.fround(value * factor)) * (most / 127);
  }
  return out;
}

/** W x for weights trit * scale; x may be narrower than padded columns. */
export function product(matrix: Linear, x: Vector): Vector {
  const { trits, rows, cols } = matrix;
  const group = 'group' in matrix ? matrix.group : cols;
  const out = new Float64Array(rows);
  for (let r = 0, at = 0; r < rows; r++) {
    let y = 0;
    for (let begin = 0; begin < cols; begin += group, at++) {
      let sum = 0;
      const end = Math.min(begin + group, x.length);
      for (let c = begin; c < end; c++) sum += trits[r * cols + c]! * x[c]!;
      y += sum * ('group' in matrix ? matrix.scales[at]! : matrix.scale);
    }
    out[r] = y;
  }
  return out;
}

/** Logits after each token fed. */
export function createPlainNetwork(model: ReferenceModel, rounding: Rounding): (token: number) => Vector {
  const { config, layers } = model;
  const { hidden, heads, kvHeads, headDim, ropeTheta, rmsNormEps } = config;
  const half = headDim / 2;
  const norm = (x: Vector, gain: Float32Array): Vector => {
    const r = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + rmsNormEps);
    return x.map((v, i) => v * r * gain[i]!);
  };
  const linear = (matrix: Linear, x: Vector): Vector => product(matrix, rounded(x, rounding));
  const headsOf = (x: Vector): Vector[] =>
    Array.from({ length: x.length / headDim }, (_, j) => x.slice(j * headDim, (j + 1) * headDim));
  const turned = (x: Vector, position: number, gain: Float32Array | undefined): Vector => {
    const y = gain ? norm(x, gain) : x;
    return y.map((v, i) => {
      const angle = position / ropeTheta ** ((2 * (i % half)) / headDim);
      return v * Math.cos(angle) + (i < half ? -y[i + half]! : y[i - half]!) * Math.sin(angle);
    });
  };
  const caches = layers.map(() => ({ keys: [] as Vector[][], values: [] as Vector[][] }));
  const row = (token: number): Vector => {
    const { embedding } = model;
    const own = Float64Array.from({ length: hidden }, (_, i) => {
      if (embedding instanceof Float32Array) return embedding[token * hidden + i]!;
      const at = token * embedding.cols + i;
      return embedding.trits[at]! * embedding.scales[Math.floor(at / embedding.group)]!;
    });
    return own.map((v) => v * config.embeddingScale);
  };
  const logits = (x: Vector): Vector => {
    const head = model.head ?? model.embedding;
    if (!(head instanceof Float32Array)) return linear(head, x);
    const out = new Float64Array(config.vocab);
    for (let r = 0; r < out.length; r++) {
      let sum = 0;
      for (let i = 0; i < hidden; i++) sum += head[r * hidden + i]! * x[i]!;
      out[r] = sum;
    }
    return out;
  };
  let position = 0;

  return (token) => {
    const h = row(token);
    const add = (y: Vector): void => {
      for (const [i, v] of y.entries()) h[i] = h[i]! + v * config.residualScale;
    };
    for (const [index, layer] of layers.entries()) {
      const { keys, values } = caches[index]!;
      const x = norm(h, layer.inputNorm);
      keys.push(headsOf(linear(layer.key, x)).map((key) => turned(key, position, layer.keyNorm)));
      values.push(headsOf(linear(layer.value, x)));
      const attended = new Float64Array(heads * headDim);
      for (const [j, head] of headsOf(linear(layer.query, x)).entries()) {
        const query = turned(head, position, layer.queryNorm);
        const kv = Math.floor(j / (heads / kvHeads));
        const scores = keys.map((all) => all[kv]!.reduce((sum, v, i) => sum + v * query[i]!, 0) / Math.sqrt(headDim));
        const most = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - most));
        const total = weights.reduce((a, b) => a + b, 0);
        for (const [p, weight] of weights.entries()) {
          for (let i = 0; i < headDim; i++) attended[j * headDim + i]! += (values[p]![kv]![i]! * weight) / total;
        }
      }
      add(linear(layer.output, layer.attentionNorm ? norm(attended, layer.attentionNorm) : attended));
      const y = norm(h, layer.ffnInputNorm);
      const up = linear(layer.up, y);
      const m = linear(layer.gate, y).map((g, i) => {
        const act = config.gate === 'silu' ? g / (1 + Math.exp(-g)) : Math.max(g, 0) ** 2;
        return act * up[i]!;
      });
      add(linear(layer.down, layer.ffnNorm ? norm(m, layer.ffnNorm) : m));
    }
    position++;
    return logits(norm(h, model.finalNorm)).map((v) => v * config.logitScale);
  };
}

/** Sum of the negative log likelihoods (nats) of the tokens after the first. */
export function plainNll(model: ReferenceModel, rounding: Rounding, ids: number[]): number {
  const step = createPlainNetwork(model, rounding);
  return ids.slice(0, -1).reduce((sum, id, i) => {
    const logits = step(id);
    const most = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((all, v) => all + Math.exp(v - most), 0);
    return sum + Math.log(total) + most - logits[ids[i + 1]!]!;
  }, 0);
}
