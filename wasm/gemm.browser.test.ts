// BitLinear for many rows: the table of partial sums gives the integers and the float32 of the GEMV, from both layouts.
import { describe, expect, test } from 'vitest';
import {
  ACTIVATIONS,
  activations,
  bitDifference,
  COLS,
  difference,
  expectedRows,
  hfBytes,
  joined,
  type Lab,
  type Layout,
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
import type { TernaryMatrix } from '../src/reference';

const TOKENS = 8;
const f = Math.fround;
const labs = await openLabs(24);

/** A matrix in memory, and the four steps of the GEMM over a range of its rows. */
function gemms(lab: Lab, matrix: TernaryMatrix, hf: Uint8Array) {
  const k = lab.kernels;
  const [rows, cols] = [pad(matrix.rows, 16), pad(matrix.cols, 64)];
  lab.reset();
  const codes = lab.take(TOKENS * cols);
  const records = lab.take(TOKENS * 16);
  const out = lab.take(TOKENS * rows * 4);
  const dense = lab.take((rows * cols) / 4);
  const positions = lab.take(cols * 16);
  const tables = lab.take(8 * 2816);
  const accumulators = lab.take(rows * 16);
  const sums = lab.take(rows * 32);
  const matrices = { tiles: packMatrix(lab, matrix, hf, 'tiles'), lanes: packMatrix(lab, matrix, hf, 'lanes') };
  let place = dense; // of the rows at work, among all rows of the matrix
  const prepare = (layout: Layout, begin: number, n: number): void => {
    place = dense + begin * 8;
    if (layout === 'lanes') k.denseFromLanes(matrices.lanes, begin, n, rows, cols, place, rows);
    else k.denseFromTiles(matrices.tiles + (begin * cols) / 4, n, cols, place, rows);
  };
  const multiply = (layout: Layout, tokens: number, n: number, scale: number, to: number, add: number): void => {
    k.gemmActivations(codes, cols, tokens, cols, +(layout === 'lanes'), positions);
    k.gemm8(place, rows, positions, n, cols, tables, accumulators, sums);
    k.gemmStore(sums, records, tokens, n, scale, to, rows * 4, add);
  };
  const load = (q: Int8Array[], inverses: number[]): void => {
    const padded = new Int8Array(TOKENS * cols);
    for (const [t, row] of q.entries()) {
      padded.set(row, t * cols);
      lab.write(records + t * 16, record(row, inverses[t]!));
    }
    lab.write(codes, padded);
  };
  return { prepare, multiply, load, out, rows, sums };
}

const LAYOUTS: Layout[] = ['tiles', 'lanes'];
const ones = Array<number>(TOKENS).fill(1);

describe.each(COLS)('%i columns', (cols) => {
  /** Eight rows of activations: every pattern, then random ones. */
  const tokens = Array.from({ length: TOKENS }, (_, t) =>
    activations(cols, ACTIVATIONS[t] ?? 'random', t * 999 + cols),
  );
  const cases = once(() =>
    ROWS.map((rows) => {
      const matrix = ternary(rows, cols, 'random', rows * 30000 + cols);
      return { matrix, hf: hfBytes(matrix), answers: tokens.map((codes) => expectedRows(matrix, codes)) };
    }),
  );

  test.each(labs)('$name: integer sums are exact, for 1 to 8 tokens', (lab) => {
    for (const { matrix, hf, answers } of cases()) {
      const { prepare, multiply, load, out, rows, sums } = gemms(lab, matrix, hf);
      load(tokens, ones);
      for (const layout of LAYOUTS) {
        prepare(layout, 0, rows);
        for (let n = 1; n <= TOKENS; n++) {
          const what = `${layout}, ${matrix.rows} rows, ${n} tokens`;
          const blank = Array.from({ length: TOKENS }, () => new Float32Array(rows).fill(Number.NaN));
          lab.write(out, joined(blank));
          multiply(layout, n, rows, 1, out, 0);
          const wanted = joined(blank.map((row, t) => (t < n ? answers[t]! : row)));
          expect(bitDifference(lab.f32(out, TOKENS * rows), wanted), what).toBe('');
        }
        const integers = Array.from({ length: rows * TOKENS }, (_, i) => answers[i % TOKENS]![Math.floor(i / TOKENS)]!);
        expect(difference(lab.i32(sums, rows * TOKENS), integers), `${layout}, sums`).toBe('');
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: 1 to 7 threads write their rows and no others', (lab) => {
    for (const { matrix, hf, answers } of cases()) {
      const { prepare, multiply, load, out, rows } = gemms(lab, matrix, hf);
      const whole = { at: 0, rows: matrix.rows, cols, paddedRows: rows, paddedCols: pad(cols, 64), scale: 1 };
      load(tokens, ones);
      for (const layout of LAYOUTS) {
        for (let threads = 2; threads <= 7; threads++) {
          for (let rank = 0; rank < threads; rank++) {
            const { begin, rows: n } = rowRange(whole, rank, threads);
            if (n === 0) continue;
            const wanted = Array.from({ length: TOKENS }, () => new Float32Array(rows).fill(Number.NaN));
            lab.write(out, joined(wanted));
            prepare(layout, begin, n);
            multiply(layout, TOKENS, n, 1, out + begin * 4, 0);
            for (const [t, row] of wanted.entries()) row.set(answers[t]!.subarray(begin, begin + n), begin);
            const what = `${layout}, ${matrix.rows} rows, part ${rank} of ${threads}`;
            expect(bitDifference(lab.f32(out, TOKENS * rows), joined(wanted)), what).toBe('');
          }
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: scales each token by its record, and adds to what is there', (lab) => {
    const random = prng(cols);
    for (const { matrix, hf, answers } of cases()) {
      const { prepare, multiply, load, out, rows } = gemms(lab, matrix, hf);
      const scale = f(0.1 + random());
      const inverses = tokens.map(() => f(0.001 + random()));
      load(tokens, inverses);
      const y = joined(answers.map((sums, t) => sums.map((sum) => sum * f(scale * inverses[t]!))));
      const before = Float32Array.from(y, () => 200 * random() - 100);
      for (const layout of LAYOUTS) {
        prepare(layout, 0, rows);
        lab.write(out, before);
        multiply(layout, TOKENS, rows, scale, out, 0);
        expect(bitDifference(lab.f32(out, y.length), y), `${layout}, ${matrix.rows} rows, overwriting`).toBe('');
        lab.write(out, before);
        multiply(layout, TOKENS, rows, scale, out, 1);
        const sum = before.map((v, i) => v + y[i]!);
        expect(bitDifference(lab.f32(out, y.length), sum), `${layout}, ${matrix.rows} rows, adding`).toBe('');
      }
    }
  });

  test.each(labs)('$name: uniform weights', (lab) => {
    for (const weights of WEIGHTS.slice(1)) {
      const matrix = ternary(37, cols, weights, 0);
      const { prepare, multiply, load, out, rows } = gemms(lab, matrix, hfBytes(matrix));
      load(tokens, ones);
      const y = joined(
        tokens.map((codes) => {
          const sum = codes.reduce((total, code) => total + code, 0) * matrix.trits[0]!;
          return new Float32Array(rows).fill(sum + 0, 0, 37);
        }),
      );
      for (const layout of LAYOUTS) {
        prepare(layout, 0, rows);
        multiply(layout, TOKENS, rows, 1, out, 0);
        expect(bitDifference(lab.f32(out, y.length), y), `${layout}, weights ${weights}`).toBe('');
      }
    }
  });
});
