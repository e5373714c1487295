// BitLinear for two rows at once: the integers and the float32 of the oracle, hence of the GEMV row by row.
import { describe, expect, test } from 'vitest';
import {
  ACTIVATIONS,
  activations,
  bitDifference,
  COLS,
  expectedRows,
  hfBytes,
  joined,
  type Lab,
  once,
  openLabs,
  packMatrix,
  pad,
  prng,
  ROWS,
  record,
  ternary,
  WEIGHTS,
} from '../e2e/kernel-lab';
import type { TernaryMatrix } from '../src/reference';

const f = Math.fround;
const labs = (await openLabs(16)).filter(({ build }) => build.relaxed);

/** A matrix in memory, and the kernel over it. Codes, records and results of the two rows lie apart. */
function open(lab: Lab, matrix: TernaryMatrix) {
  const [rows, cols] = [pad(matrix.rows, 16), pad(matrix.cols, 64)];
  lab.reset();
  const [stride, recordStride, outStride] = [cols + 64, 48, rows * 4 + 16];
  const codes = lab.take(stride + cols);
  const records = lab.take(recordStride + 16);
  const out = lab.take(outStride + rows * 4);
  const tiles = packMatrix(lab, matrix, hfBytes(matrix), 'tiles');
  const load = (pair: Int8Array[], inverses: number[]): void => {
    for (const [i, q] of pair.entries()) {
      const padded = new Int8Array(cols);
      padded.set(q);
      lab.write(codes + i * stride, padded);
      lab.write(records + i * recordStride, record(q, inverses[i]!));
    }
  };
  const multiply = (begin: number, n: number, scale: number, add: number): void => {
    const [w, to] = [tiles + (begin * cols) / 4, out + begin * 4];
    lab.kernels.gemvDot16Pair(w, codes, stride, records, recordStride, n, cols, scale, to, outStride, add);
  };
  const write = (pair: Float32Array[]): void => {
    for (const [i, y] of pair.entries()) lab.write(out + i * outStride, y);
  };
  const read = (): Float32Array => joined([lab.f32(out, rows), lab.f32(out + outStride, rows)]);
  return { load, multiply, write, read, rows };
}

describe.each(COLS)('%i columns', (cols) => {
  /** Every pattern with every other one. */
  const pairs = ACTIVATIONS.flatMap((a, i) =>
    ACTIVATIONS.slice(i).map((b) => [activations(cols, a, cols), activations(cols, b, cols + 1)]),
  );
  const cases = once(() =>
    ROWS.filter((rows) => rows <= 100).flatMap((rows) =>
      WEIGHTS.filter((weights) => rows === 16 || weights === 'random').map((weights) => {
        const matrix = ternary(rows, cols, weights, rows * 50000 + cols);
        return { matrix, what: `${rows} rows, weights ${weights}` };
      }),
    ),
  );
  const blank = (rows: number): Float32Array[] => [0, 1].map(() => new Float32Array(rows).fill(Number.NaN));

  test.each(labs)('$name: integer sums are exact', (lab) => {
    for (const { matrix, what } of cases()) {
      const { load, multiply, write, read, rows } = open(lab, matrix);
      for (const [i, pair] of pairs.entries()) {
        load(pair, [1, 1]);
        write(blank(rows));
        multiply(0, rows, 1, 0);
        const wanted = joined(pair.map((codes) => expectedRows(matrix, codes)));
        expect(bitDifference(read(), wanted), `${what}, pair ${i}`).toBe('');
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: rows in the middle, scales of their own, adding', (lab) => {
    const matrix = ternary(48, cols, 'random', cols);
    const { load, multiply, write, read, rows } = open(lab, matrix);
    const random = prng(cols);
    const [scale, inverses] = [f(0.1 + random()), [f(0.001 + random()), f(0.001 + random())]];
    const pair = pairs[0]!;
    load(pair, inverses);
    const answers = pair.map((codes, i) => expectedRows(matrix, codes).map((sum) => sum * f(scale * inverses[i]!)));
    const before = answers.map((y) => y.map(() => 200 * random() - 100));
    for (const [begin, n] of [
      [0, 48],
      [16, 16],
      [32, 16],
    ] as const) {
      const part = (y: Float32Array, row: Float32Array, add: boolean): Float32Array =>
        row.map((v, r) => (r < begin || r >= begin + n ? v : add ? v + y[r]! : y[r]!));
      for (const add of [false, true]) {
        write(before);
        multiply(begin, n, scale, +add);
        const wanted = joined(answers.map((y, i) => part(y, before[i]!, add)));
        expect(bitDifference(read(), wanted), `${n} rows from ${begin}, ${add ? 'adding' : 'overwriting'}`).toBe('');
      }
    }
    expect(rows).toBe(48);
    expect(lab.overruns()).toEqual([]);
  });
});
