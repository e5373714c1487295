/**
 * BitLinear on one thread: quantise rows of activations, then multiply them with this thread's rows of a ternary matrix.
 * Up to `plan.smallRows` rows every thread quantises all rows into its own scratch (no barrier) and takes the GEMV, row
 * by row; above that, rows are shared out, the codes lie in shared buffers, and the table GEMM takes 8 rows at a time.
 * Both give the same integers, and the same float32 afterwards.
 */
import type { Machine } from './machine';
import { CODES_STRIDE, type Matrix, pad } from './memory';

/** Quantised activations: where the codes and the records of row 0 lie, and how far apart rows are. */
export interface Quantised {
  codes: number;
  codesStride: number;
  records: number;
}

/** This thread's rows of a matrix: whole groups of 16. */
export function rowRange(
  { paddedRows }: Pick<Matrix, 'paddedRows'>,
  rank: number,
  threads: number,
): { begin: number; rows: number } {
  const groups = paddedRows / 16;
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
 * Quantises one row of activations to its place.
 * @param x f32[width]; @param copy also write the second copy of the codes, which the GEMV reads
 */
export function quantiseRow(
  { kernels, plan }: Machine,
  x: number,
  width: number,
  q: Quantised,
  row: number,
  copy: boolean,
): void {
  const [codes, record] = [q.codes + row * q.codesStride, q.records + row * plan.recordBytes];
  const { group } = plan.config;
  if (group) kernels.quantiseGroups(x, width, pad(width, group), group, codes, +copy, record);
  else kernels.quantise(x, width, pad(width, 64), codes, +copy, record);
}

/** This thread's part of a matrix: rows begin..begin + rows - 1, multiples of 16. */
interface Part {
  matrix: Matrix;
  begin: number;
  rows: number;
}

/**
 * y = (T . q) * scale / c for this thread's rows of T and all n rows of activations.
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
  const part: Part = { matrix, ...rowRange(matrix, rank, plan.threads) };
  if (part.rows === 0) return;
  const small = n <= plan.smallRows;
  if (!small) rearrange(machine, part);
  for (let row = 0; row < n; row += small ? 1 : 8) {
    const to = out + (part.begin + row * outStride) * 4;
    if (small) gemv(machine, part, q, row, to, add);
    else gemm(machine, part, q, row, Math.min(8, n - row), to, outStride * 4, add);
  }
}

/**
 * This thread's part of one row of logits by a ternary lm_head: quantises x for itself, and takes the GEMV.
 * @param x f32[width]; @param out f32[rows of the matrix]
 */
export function ternaryLogits(machine: Machine, matrix: Matrix, x: number, width: number, out: number): void {
  const { plan, rank } = machine;
  const part: Part = { matrix, ...rowRange(matrix, rank, plan.threads) };
  if (part.rows === 0) return;
  const { codes, records } = plan.perThread[rank]!;
  const q: Quantised = { codes, codesStride: CODES_STRIDE, records };
  quantiseRow(machine, x, width, q, 0, true);
  gemv(machine, part, q, 0, out + part.begin * 4, false);
}

/** One row of a ternary matrix with group scales, as f32[paddedCols]. */
export function ternaryRow({ kernels: k, plan }: Machine, matrix: Matrix, row: number, out: number): void {
  const { at, paddedRows, paddedCols: cols, group, scales } = matrix;
  if (plan.kernel === 'lut8') k.embedLanes(at, row, paddedRows, cols, group, scales, out);
  else k.embedTiles(at, row, cols, group, scales, out);
}

/** Tiles of two rows, one after the other: where this thread's first row starts. */
const firstTile = ({ matrix, begin }: Part): number => matrix.at + (begin * matrix.paddedCols) / 4;

/** Group scales of this thread's rows: groups of 16 rows lie one after the other. */
const firstScale = ({ matrix, begin }: Part): number =>
  matrix.scales + begin * (matrix.paddedCols / (matrix.group || 1)) * 4;

function gemv(
  { kernels: k, plan, rank }: Machine,
  part: Part,
  q: Quantised,
  row: number,
  to: number,
  add: boolean,
): void {
  const { tables, sums } = plan.perThread[rank]!;
  const { at, paddedCols: cols, paddedRows, scale, group, scales } = part.matrix;
  const { begin, rows } = part;
  const codes = q.codes + row * q.codesStride;
  const record = q.records + row * plan.recordBytes;
  if (plan.kernel === 'lut8') {
    k.lutTables(codes, cols, tables);
    if (group) k.gemvLut8Grouped(at, tables, record, begin, rows, paddedRows, cols, group, scales, sums, to, +add);
    else k.gemvLut8(at, tables, record, begin, rows, paddedRows, cols, scale, sums, to, +add);
  } else if (group) {
    const kernel = plan.kernel === 'dot32' ? k.gemvDot32Grouped : k.gemvDot16Grouped;
    kernel(firstTile(part), codes, record, rows, cols, group, firstScale(part), to, +add);
  } else {
    const kernel = plan.kernel === 'dot32' ? k.gemvDot32 : k.gemvDot16;
    kernel(firstTile(part), codes, record, rows, cols, scale, to, +add);
  }
}

/** Puts this thread's rows in the dense order of the GEMM, once for all activations. */
function rearrange({ kernels: k, plan, rank }: Machine, part: Part): void {
  const { dense } = plan.perThread[rank]!;
  const { at, paddedCols: cols, paddedRows } = part.matrix;
  if (plan.kernel === 'lut8') k.denseFromLanes(at, part.begin, part.rows, paddedRows, cols, dense);
  else k.denseFromTiles(firstTile(part), part.rows, cols, dense);
}

/** Up to 8 rows of activations against the rearranged weights. */
function gemm(
  { kernels: k, plan, rank }: Machine,
  part: Part,
  q: Quantised,
  row: number,
  count: number,
  to: number,
  outBytes: number,
  add: boolean,
): void {
  const { dense, tables, activations, accumulators, sums } = plan.perThread[rank]!;
  const { matrix, rows } = part;
  const { paddedCols: cols, group } = matrix;
  const record = q.records + row * plan.recordBytes;
  const lanes = +(plan.kernel === 'lut8');
  k.gemmActivations(q.codes + row * q.codesStride, q.codesStride, count, cols, lanes, activations);
  if (group) {
    const [stride, scales] = [plan.recordBytes, firstScale(part)];
    k.gemm8Grouped(dense, activations, record, stride, count, rows, cols, group, scales, tables, accumulators, sums);
    k.gemmStoreGrouped(sums, count, rows, to, outBytes, +add);
  } else {
    k.gemm8(dense, activations, rows, cols, tables, accumulators, sums);
    k.gemmStore(sums, record, count, rows, matrix.scale, to, outBytes, +add);
  }
}
