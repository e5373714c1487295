// BitLinear for two to four rows at once: the integers and the float32 of the oracle, hence of the GEMV row by row.
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
import type { TernaryMatrix } from '../src/model/reference-kernels';

const f = Math.fround;
const labs = (await openLabs(16)).filter(({ build }) => build.relaxed);

/** A matrix in memory, and the kernel over it and `count` rows, whose codes, records and results lie apart. */
function open(lab: Lab, matrix: TernaryMatrix, count: number) {
  const [rows, cols] = [pad(matrix.rows, 16), pad(matrix.cols, 64)];
  lab.reset();
  const [stride, recordStride, outStride] = [cols + 64, 48, rows * 4 + 16];
  const codes = lab.take((count - 1) * stride + cols);
  const records = lab.take((count - 1) * recordStride + 16);
  const out = lab.take((count - 1) * outStride + rows * 4);
  const tiles = packMatrix(lab, matrix, hfBytes(matrix), 'tiles');
  const load = (some: Int8Array[], inverses: number[]): void => {
    for (const [i, q] of some.entries()) {
      const padded = new Int8Array(cols);
      padded.set(q);
      lab.write(codes + i * stride, padded);
      lab.write(records + i * recordStride, record(q, inverses[i]!));
    }
  };
  const multiply = (begin: number, n: number, scale: number, add: number): void => {
    const [w, to] = [tiles + (begin * cols) / 4, out + begin * 4];
    lab.kernels.gemvDot16Rows(count, w, codes, stride, records, recordStride, n, cols, scale, to, outStride, add);
  };
  const write = (some: Float32Array[]): void => {
    for (const [i, y] of some.entries()) lab.write(out + i * outStride, y);
  };
  const read = (): Float32Array => joined(Array.from({ length: count }, (_, i) => lab.f32(out + i * outStride, rows)));
  return { load, multiply, write, read, rows };
}

describe.each([2, 3, 4])('%i rows of activations', (count) => {
  describe.each(COLS)('%i columns', (cols) => {
    /** Every pattern beside every other one, and in every place. */
    const some = ACTIVATIONS.flatMap((_, i) =>
      ACTIVATIONS.map((_, j) =>
        Array.from({ length: count }, (_, row) =>
          activations(cols, ACTIVATIONS[(i + row * j) % ACTIVATIONS.length]!, cols + row),
        ),
      ),
    );
    const cases = once(() =>
      ROWS.filter((rows) => rows <= 37).flatMap((rows) =>
        WEIGHTS.filter((weights) => rows === 16 || weights === 'random').map((weights) => {
          const matrix = ternary(rows, cols, weights, rows * 50000 + cols);
          return { matrix, what: `${rows} rows, weights ${weights}` };
        }),
      ),
    );

    test.each(labs)('$name: integer sums are exact', (lab) => {
      for (const { matrix, what } of cases()) {
        const { load, multiply, write, read, rows } = open(lab, matrix, count);
        const blank = Array.from({ length: count }, () => new Float32Array(rows).fill(Number.NaN));
        const answers = new Map<string, Float32Array>();
        const answer = (codes: Int8Array): Float32Array => {
          const key = codes.join();
          if (!answers.has(key)) answers.set(key, expectedRows(matrix, codes));
          return answers.get(key)!;
        };
        for (const [i, codes] of some.entries()) {
          load(codes, [1, 1, 1, 1]);
          write(blank);
          multiply(0, rows, 1, 0);
          expect(bitDifference(read(), joined(codes.map(answer))), `${what}, case ${i}`).toBe('');
        }
        expect(lab.overruns()).toEqual([]);
      }
    });

    test.each(labs)('$name: rows in the middle, scales of their own, adding', (lab) => {
      const matrix = ternary(48, cols, 'random', cols);
      const { load, multiply, write, read, rows } = open(lab, matrix, count);
      const random = prng(cols);
      const scale = f(0.1 + random());
      const inverses = Array.from({ length: count }, () => f(0.001 + random()));
      const codes = some[1]!;
      load(codes, inverses);
      const answers = codes.map((row, i) => expectedRows(matrix, row).map((sum) => sum * f(scale * inverses[i]!)));
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
});
