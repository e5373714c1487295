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
import { activationBytes, denseRowBytes } from '../src/model/memory';
import type { TernaryMatrix } from '../src/model/reference-kernels';

const TOKENS = 16;
/** 1 to 8 tokens are one vector, 9 to 16 two. */
const COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16];
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
  const rowBytes = {
    tiles: denseRowBytes({ paddedCols: cols, group: 0 }, 'dot32'),
    lanes: denseRowBytes({ paddedCols: cols, group: 0 }, 'lut8'),
  };
  const dense = { tiles: lab.take(rows * rowBytes.tiles), lanes: lab.take(rows * rowBytes.lanes) };
  const plane = activationBytes(cols);
  const positions = lab.take(2 * plane);
  const tables = lab.take(4 * 2 * 3904);
  const accumulators = lab.take(rows * 32);
  const sums = lab.take(rows * 64);
  const matrices = { tiles: packMatrix(lab, matrix, hf, 'tiles'), lanes: packMatrix(lab, matrix, hf, 'lanes') };
  let place = 0; // of the rows at work, among all rows of the matrix
  const prepare = (layout: Layout, begin: number, n: number): void => {
    place = dense[layout] + begin * 4;
    if (layout === 'lanes') k.denseFromLanes(matrices.lanes, begin, n, rows, cols, 1, place, rows);
    else k.denseFromTiles(matrices.tiles + (begin * cols) / 4, n, cols, 1, place, rows);
  };
  const multiply = (layout: Layout, tokens: number, n: number, scale: number, to: number, add: number): void => {
    const lanes = +(layout === 'lanes');
    const vectors = Math.ceil(tokens / 8);
    for (let v = 0; v < vectors; v++) {
      const some = Math.min(8, tokens - 8 * v);
      k.gemmActivations(codes + 8 * v * cols, cols, some, cols, lanes, 1, positions + v * plane);
    }
    k.gemm(place, rows, positions, plane, vectors, n, cols, lanes, tables, accumulators, sums);
    for (let v = 0; v < vectors; v++) {
      const [from, some] = [sums + v * 32, Math.min(8, tokens - 8 * v)];
      k.gemmStore(from, vectors * 32, records + v * 128, some, n, scale, to + v * 8 * rows * 4, rows * 4, add);
    }
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
  /** Sixteen rows of activations: every pattern, then random ones. */
  const tokens = Array.from({ length: TOKENS }, (_, t) =>
    activations(cols, ACTIVATIONS[t] ?? 'random', t * 999 + cols),
  );
  const cases = once(() =>
    ROWS.map((rows) => {
      const matrix = ternary(rows, cols, 'random', rows * 30000 + cols);
      return { matrix, hf: hfBytes(matrix), answers: tokens.map((codes) => expectedRows(matrix, codes)) };
    }),
  );

  test.each(labs)('$name: integer sums are exact, for 1 to 16 tokens', (lab) => {
    for (const { matrix, hf, answers } of cases()) {
      const { prepare, multiply, load, out, rows, sums } = gemms(lab, matrix, hf);
      load(tokens, ones);
      for (const layout of LAYOUTS) {
        prepare(layout, 0, rows);
        for (const n of COUNTS) {
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
