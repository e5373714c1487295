/**
 * BitLinear on one thread: quantise rows of activations, then multiply them with this thread's rows of a ternary matrix.
 * Up to `plan.smallRows` rows every thread quantises all rows into its own scratch (no barrier) and takes the GEMV, row
 * by row; above that, rows are shared out, the codes lie in shared buffers, and the table GEMM takes 8 rows at a time.
 * Both give the same integers, and the same float32 afterwards.
 */
import type { Machine } from './machine';
import { CODES_STRIDE, type Matrix } from './memory';

/** Quantised activations: where the codes and the records of row 0 lie, and how far apart rows are. */
export interface Quantised {
  codes: number;
  codesStride: number;
  records: number;
}

/** This thread's rows of a matrix: whole groups of 16. */
export function rowRange(matrix: Matrix, rank: number, threads: number): { begin: number; rows: number } {
  const groups = matrix.paddedRows / 16;
  const begin = Math.floor((groups * rank) / threads) * 16;
  return { begin, rows: Math.floor((groups * (rank + 1)) / threads) * 16 - begin };
}

/** Where a pass of n rows keeps its quantised activations. */
export function quantisedRows({ plan, rank }: Machine, n: number): Quantised {
  const own = plan.perThread[rank]!;
  if (n <= plan.smallRows) return { codes: own.codes, codesStride: CODES_STRIDE, records: own.records };
  return { codes: plan.codes, codesStride: plan.codesStride, records: plan.records };
}

/**
 * y = (T . q) * scale / c for this thread's rows of T and all n rows of activations.
 * @param cols padded columns are matrix.paddedCols; codes beyond cols are 0
 * @param out f32[n, outStride elements]: written, or added to
 */
export function bitLinear(
  machine: Machine,
  matrix: Matrix,
  q: Quantised,
  n: number,
  out: number,
  outStride: number,
  add: boolean,
): void {
  const { plan, rank } = machine;
  const { begin, rows } = rowRange(matrix, rank, plan.threads);
  if (rows === 0) return;
  if (n <= plan.smallRows) gemvRows(machine, matrix, begin, rows, q, n, out + begin * 4, outStride * 4, add);
  else gemmRows(machine, matrix, begin, rows, q, n, out + begin * 4, outStride * 4, add);
}

/** Tiles of two rows, one after the other: where row `begin` (even) starts. */
const tileAt = ({ at, paddedCols }: Matrix, begin: number): number => at + (begin * paddedCols) / 4;

function gemvRows(
  { kernels: k, plan, rank }: Machine,
  matrix: Matrix,
  begin: number,
  rows: number,
  q: Quantised,
  n: number,
  out: number,
  outBytes: number,
  add: boolean,
): void {
  const { tables, sums } = plan.perThread[rank]!;
  const { paddedCols: cols, paddedRows, scale } = matrix;
  for (let row = 0; row < n; row++) {
    const codes = q.codes + row * q.codesStride;
    const record = q.records + row * 16;
    const to = out + row * outBytes;
    if (plan.kernel === 'dot32') k.gemvDot32(tileAt(matrix, begin), codes, record, rows, cols, scale, to, +add);
    else if (plan.kernel === 'dot16') k.gemvDot16(tileAt(matrix, begin), codes, record, rows, cols, scale, to, +add);
    else {
      k.lutTables(codes, cols, tables);
      k.gemvLut8(matrix.at, tables, record, begin, rows, paddedRows, cols, scale, sums, to, +add);
    }
  }
}

function gemmRows(
  { kernels: k, plan, rank }: Machine,
  matrix: Matrix,
  begin: number,
  rows: number,
  q: Quantised,
  n: number,
  out: number,
  outBytes: number,
  add: boolean,
): void {
  const { dense, tables, activations, accumulators, sums } = plan.perThread[rank]!;
  const { paddedCols: cols, paddedRows, scale } = matrix;
  const lanes = plan.kernel === 'lut8';
  if (lanes) k.denseFromLanes(matrix.at, begin, rows, paddedRows, cols, dense);
  else k.denseFromTiles(tileAt(matrix, begin), rows, cols, dense);
  for (let row = 0; row < n; row += 8) {
    const tokens = Math.min(8, n - row);
    k.gemmActivations(q.codes + row * q.codesStride, q.codesStride, tokens, cols, +lanes, activations);
    k.gemm8(dense, activations, rows, cols, tables, accumulators, sums);
    k.gemmStore(sums, q.records + row * 16, tokens, rows, scale, out + row * outBytes, outBytes, +add);
  }
}
