// BitLinear for one row: the three GEMV kernels give the exact integers, in every build, for odd sizes and row ranges.
import { describe, expect, test } from 'vitest';
import {
  ACTIVATIONS,
  activations,
  bitDifference,
  COLS,
  expectedRows,
  hfBytes,
  type Lab,
  once,
  openLabs,
  packMatrix,
  pad,
  prng,
  ROWS,
  record,
  rowRange,
  ternary,
  WEIGHTS,
} from '../e2e/kernel-lab';
import type { TernaryMatrix } from '../src/model/reference-kernels';

const COPY = 16384; // between the two copies of the codes
const f = Math.fround;
const labs = await openLabs(24);

type Gemv = (begin: number, rows: number, scale: number, out: number, accumulate: number) => void;

/** A matrix in memory, and each kernel of the build over it. */
function gemvs(lab: Lab, matrix: TernaryMatrix, hf: Uint8Array) {
  const { kernels: k, build } = lab;
  const [rows, cols] = [pad(matrix.rows, 16), pad(matrix.cols, 64)];
  lab.reset();
  const codes = lab.take(COPY + cols);
  const records = lab.take(16);
  const out = lab.take(rows * 4);
  const tables = lab.take(cols * 16);
  const sums = lab.take(rows * 4);
  const lanes = packMatrix(lab, matrix, hf, 'lanes');
  const tiles = build.relaxed ? packMatrix(lab, matrix, hf, 'tiles') : 0;
  const tile = (begin: number): number => tiles + (begin * cols) / 4;
  const kernels: Record<string, Gemv> = {
    lut8: (begin, n, scale, to, add) => {
      k.lutTables(codes, cols, tables);
      k.gemvLut8(lanes, tables, records, begin, n, rows, cols, scale, sums, to, add);
    },
  };
  if (build.relaxed) {
    kernels.dot32 = (begin, n, scale, to, add) => k.gemvDot32(tile(begin), codes, records, n, cols, scale, to, add);
    kernels.dot16 = (begin, n, scale, to, add) => k.gemvDot16(tile(begin), codes, records, n, cols, scale, to, add);
  }
  const load = (q: Int8Array, inverse: number): void => {
    const padded = new Int8Array(cols);
    padded.set(q);
    lab.write(codes, padded);
    lab.write(codes + COPY, padded);
    lab.write(records, record(q, inverse));
  };
  return { kernels, load, out, rows };
}

describe.each(COLS)('%i columns', (cols) => {
  const cases = once(() =>
    ROWS.map((rows) => {
      const matrix = ternary(rows, cols, 'random', rows * 20000 + cols);
      return { matrix, hf: hfBytes(matrix) };
    }),
  );
  const answers = once(() =>
    cases().map(({ matrix }) =>
      ACTIVATIONS.map((pattern) => {
        const codes = activations(cols, pattern, cols);
        return { pattern, codes, y: expectedRows(matrix, codes) };
      }),
    ),
  );

  test.each(labs)('$name: integer sums are exact', (lab) => {
    for (const [index, { matrix, hf }] of cases().entries()) {
      const { kernels, load, out, rows } = gemvs(lab, matrix, hf);
      for (const { pattern, codes, y } of answers()[index]!) {
        load(codes, 1);
        for (const [name, gemv] of Object.entries(kernels)) {
          lab.write(out, new Float32Array(rows).fill(Number.NaN));
          gemv(0, rows, 1, out, 0);
          expect(bitDifference(lab.f32(out, rows), y), `${name}, ${matrix.rows} rows, ${pattern}`).toBe('');
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: 1 to 7 threads write their rows and no others', (lab) => {
    for (const [index, { matrix, hf }] of cases().entries()) {
      const { kernels, load, out, rows } = gemvs(lab, matrix, hf);
      const { codes, y } = answers()[index]![0]!;
      load(codes, 1);
      for (const [name, gemv] of Object.entries(kernels)) {
        for (let threads = 1; threads <= 7; threads++) {
          const whole = { at: 0, rows: matrix.rows, cols, paddedRows: rows, paddedCols: pad(cols, 64), scale: 1 };
          const blank = new Float32Array(rows).fill(Number.NaN);
          let covered = 0;
          for (let rank = 0; rank < threads; rank++) {
            const { begin, rows: n } = rowRange(whole, rank, threads);
            if (n === 0) continue;
            covered += n;
            lab.write(out, blank);
            gemv(begin, n, 1, out + begin * 4, 0);
            const wanted = blank.slice();
            wanted.set(y.subarray(begin, begin + n), begin);
            const what = `${name}, ${matrix.rows} rows, part ${rank} of ${threads}`;
            expect(bitDifference(lab.f32(out, rows), wanted), what).toBe('');
          }
          expect(covered).toBe(rows);
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: scales, and adds to what is there', (lab) => {
    const random = prng(cols);
    for (const [index, { matrix, hf }] of cases().entries()) {
      const { kernels, load, out, rows } = gemvs(lab, matrix, hf);
      const { codes, y: sums } = answers()[index]![0]!;
      const [scale, inverse] = [f(0.1 + random()), f(0.001 + random())];
      load(codes, inverse);
      const y = sums.map((sum) => sum * f(scale * inverse));
      const before = Float32Array.from({ length: rows }, () => 200 * random() - 100);
      const sum = before.map((v, i) => v + y[i]!);
      for (const [name, gemv] of Object.entries(kernels)) {
        lab.write(out, before);
        gemv(0, rows, scale, out, 0);
        expect(bitDifference(lab.f32(out, rows), y), `${name}, ${matrix.rows} rows, overwriting`).toBe('');
        lab.write(out, before);
        gemv(0, rows, scale, out, 1);
        expect(bitDifference(lab.f32(out, rows), sum), `${name}, ${matrix.rows} rows, adding`).toBe('');
      }
    }
  });

  test.each(labs)('$name: uniform weights', (lab) => {
    for (const weights of WEIGHTS.slice(1)) {
      const matrix = ternary(37, cols, weights, 0);
      const { kernels, load, out, rows } = gemvs(lab, matrix, hfBytes(matrix));
      for (const pattern of ACTIVATIONS) {
        const codes = activations(cols, pattern, cols);
        const sum = codes.reduce((total, code) => total + code, 0) * matrix.trits[0]!;
        const y = new Float32Array(rows).fill(sum + 0, 0, 37);
        load(codes, 1);
        for (const [name, gemv] of Object.entries(kernels)) {
          gemv(0, rows, 1, out, 0);
          expect(bitDifference(lab.f32(out, rows), y), `${name}, weights ${weights}, ${pattern}`).toBe('');
        }
      }
    }
  });
});
