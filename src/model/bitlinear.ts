/**
 * BitLinear: quantise rows of activations, then multiply them with ternary matrices, whose rows are shared out.
 * Up to `plan.smallRows` rows every thread quantises all rows into its own scratch (no barrier) and takes the GEMV, row
 * by row (dot16: four at once); above that, rows are shared out, the codes lie in shared buffers, and the table GEMM takes
 * 16 rows at a time.
 * Both give the same integers, and the same float32 afterwards.
 */
import type { Machine } from './machine';
import {
  activationBytes,
  CODES_STRIDE,
  denseRowBytes,
  LANE_UNIT_ROWS,
  type Matrix,
  type MemoryPlan,
  pad,
  SEGMENT_ROWS,
} from './memory';
import type { Share } from './share';

/** Weights to a unit of GEMV work, 160 KB, some ten microseconds: a quarter of it costs a tenth of the rate. */
const UNIT_WEIGHTS = 655_360;
/** Rows rearranged at once. */
const REARRANGED_ROWS = 128;
/** A segment of a large pass has at least this many rows; its tables take as long to build as 280 of them. */
const LEAST_SEGMENT_ROWS = 512;
const UNITS_A_THREAD = 4;
/** Rows of activations to a unit of a large pass. */
const TOKENS = 16;
/** Rows of activations that dot16 takes at once. */
const ROWS_AT_ONCE = 4;

/** Quantised activations: where the codes and the records of row 0 lie, and how far apart rows are. */
export interface Quantised {
  codes: number;
  codesStride: number;
  records: number;
}

/** Where a pass of n rows keeps its quantised activations. */
export function quantisedRows({ plan, rank }: Machine, n: number): Quantised {
  const own = plan.perThread[rank]!;
  if (n <= plan.smallRows) return { codes: own.codes, codesStride: CODES_STRIDE, records: own.records };
  return { codes: plan.codes, codesStride: plan.codesStride, records: plan.records };
}

/**
 * Quantises one row of activations to its place.
 * @param x f32[width]; @param small for a small pass: with the second copy of the codes where the GEMV reads it
 */
export function quantiseRow(
  { kernels, plan }: Machine,
  x: number,
  width: number,
  q: Quantised,
  row: number,
  small: boolean,
): void {
  const [codes, record] = [q.codes + row * q.codesStride, q.records + row * plan.recordBytes];
  const { group } = plan.config;
  if (group) kernels.quantiseGroups(x, width, pad(width, group), group, codes, record);
  else kernels.quantise(x, width, pad(width, 64), codes, +(small && plan.kernel === 'dot32'), record);
}

/** Rows begin..begin + rows - 1 of a matrix, multiples of 16; `above`: rows of the matrices that lie above it. */
interface Piece {
  matrix: Matrix;
  begin: number;
  rows: number;
  above: number;
}

/** How many pieces of at most `most` rows several matrices fall into, one under the other. */
function countPieces(matrices: Matrix[], most: number): number {
  return matrices.reduce((sum, { paddedRows }) => sum + Math.ceil(paddedRows / most), 0);
}

function pieceOf(matrices: Matrix[], most: number, index: number): Piece {
  let above = 0;
  for (const matrix of matrices) {
    const { paddedRows } = matrix;
    const count = Math.ceil(paddedRows / most);
    if (index < count) return { matrix, begin: index * most, rows: Math.min(most, paddedRows - index * most), above };
    index -= count;
    above += paddedRows;
  }
  throw new RangeError('no such piece');
}

/**
 * Y = (T . q) * scale / c for all rows of several matrices with the same columns, one under the other, and n rows of
 * activations. All threads call it alike; the result is there after they have met. A large pass calls prepare() before,
 * and meets in between.
 * @param out f32[n, outStride elements]: written, or added to
 */
export function bitLinear(
  machine: Machine,
  share: Share,
  matrices: Matrix[],
  q: Quantised,
  n: number,
  out: number,
  outStride: number,
  add: boolean,
): void {
  if (n <= machine.plan.smallRows) gemvs(machine, share, matrices, q, n, out, outStride, add);
  else gemms(machine, share, matrices, q, n, out, outStride, add);
}

/** One row of a ternary matrix with group scales, as f32[paddedCols]. */
export function ternaryRow({ kernels: k, plan }: Machine, matrix: Matrix, row: number, out: number): void {
  const { at, paddedRows, paddedCols: cols, group, scales } = matrix;
  if (plan.kernel === 'lut8') k.embedLanes(at, row, paddedRows, cols, group, scales, out);
  else k.embedTiles(at, row, cols, group, scales, out);
}

/** Tiles of two rows, one after the other: where a row starts. */
const tileOf = ({ at, paddedCols }: Matrix, row: number): number => at + (row * paddedCols) / 4;

/** Group scales from a row on: groups of 16 rows lie one after the other. */
const scalesOf = ({ scales, paddedCols, group }: Matrix, row: number): number =>
  scales + row * (paddedCols / (group || 1)) * 4;

function gemvs(
  machine: Machine,
  share: Share,
  matrices: Matrix[],
  q: Quantised,
  n: number,
  out: number,
  outStride: number,
  add: boolean,
): void {
  const { plan, rank } = machine;
  const { paddedCols: cols } = matrices[0]!;
  const { tables } = plan.perThread[rank]!;
  const most = plan.kernel === 'lut8' ? LANE_UNIT_ROWS : pad(UNIT_WEIGHTS / cols, 16);
  if (plan.kernel === 'lut8') {
    for (let row = 0; row < n; row++)
      machine.kernels.lutTables(q.codes + row * q.codesStride, cols, tables + row * 16 * cols);
  }
  const atOnce = plan.kernel === 'dot16' && !plan.config.group ? ROWS_AT_ONCE : 1;
  share.each(countPieces(matrices, most), (unit) => {
    const piece = pieceOf(matrices, most, unit);
    for (let row = 0; row < n; row += atOnce) {
      const to = out + (piece.above + piece.begin + row * outStride) * 4;
      const count = Math.min(atOnce, n - row);
      if (count > 1) gemvRows(machine, piece, q, row, count, to, outStride * 4, add);
      else gemv(machine, piece, q, row, to, add);
    }
  });
}

function gemv(
  { kernels: k, plan, rank }: Machine,
  { matrix, begin, rows }: Piece,
  q: Quantised,
  row: number,
  to: number,
  add: boolean,
): void {
  const { at, paddedCols: cols, paddedRows, scale, group, scales } = matrix;
  const codes = q.codes + row * q.codesStride;
  const record = q.records + row * plan.recordBytes;
  if (plan.kernel === 'lut8') {
    const own = plan.perThread[rank]!;
    const [tables, { sums }] = [own.tables + row * 16 * cols, own];
    if (group) k.gemvLut8Grouped(at, tables, record, begin, rows, paddedRows, cols, group, scales, sums, to, +add);
    else k.gemvLut8(at, tables, record, begin, rows, paddedRows, cols, scale, sums, to, +add);
  } else if (group) {
    const kernel = plan.kernel === 'dot32' ? k.gemvDot32Grouped : k.gemvDot16Grouped;
    kernel(tileOf(matrix, begin), codes, record, rows, cols, group, scalesOf(matrix, begin), to, +add);
  } else {
    const kernel = plan.kernel === 'dot32' ? k.gemvDot32 : k.gemvDot16;
    kernel(tileOf(matrix, begin), codes, record, rows, cols, scale, to, +add);
  }
}

/** `count` rows of the activations from `row` on; outBytes from the results of one to those of the next. */
function gemvRows(
  { kernels: k, plan }: Machine,
  { matrix, begin, rows }: Piece,
  q: Quantised,
  row: number,
  count: number,
  to: number,
  outBytes: number,
  add: boolean,
): void {
  const codes = q.codes + row * q.codesStride;
  const record = q.records + row * plan.recordBytes;
  const { paddedCols: cols, scale } = matrix;
  const [tiles, stride, recordBytes] = [tileOf(matrix, begin), q.codesStride, plan.recordBytes];
  k.gemvDot16Rows(count, tiles, codes, stride, record, recordBytes, rows, cols, scale, to, outBytes, +add);
}

/** Where the dense order of a matrix has a row in its first block; `above`: rows of the matrices before it. */
const denseAt = (plan: MemoryPlan, matrix: Matrix, above: number, row: number): number =>
  plan.dense + above * denseRowBytes(matrix, plan.kernel) + row * 4;

/** Before a large pass of matrices: puts their rows in the dense order of the GEMM, once for all activations. */
export function prepare({ kernels: k, plan }: Machine, share: Share, matrices: Matrix[]): void {
  share.each(countPieces(matrices, REARRANGED_ROWS), (unit) => {
    const { matrix, begin, rows, above } = pieceOf(matrices, REARRANGED_ROWS, unit);
    const { at, paddedCols: cols, paddedRows } = matrix;
    const dense = denseAt(plan, matrix, above, begin);
    const fives = +!matrix.group;
    if (plan.kernel === 'lut8') k.denseFromLanes(at, begin, rows, paddedRows, cols, fives, dense, paddedRows);
    else k.denseFromTiles(tileOf(matrix, begin), rows, cols, fives, dense, paddedRows);
  });
}

/** Units: 16 rows of activations against a segment of the matrices. */
function gemms(
  machine: Machine,
  share: Share,
  matrices: Matrix[],
  q: Quantised,
  n: number,
  out: number,
  outStride: number,
  add: boolean,
): void {
  const { plan } = machine;
  const groups = Math.ceil(n / TOKENS);
  // tables are built anew for each segment: as few as keep all threads busy to the end
  const allRows = matrices.reduce((sum, { paddedRows }) => sum + paddedRows, 0);
  const wanted = plan.threads === 1 ? 1 : Math.ceil((UNITS_A_THREAD * plan.threads) / groups);
  const most = Math.min(SEGMENT_ROWS, Math.max(LEAST_SEGMENT_ROWS, pad(allRows / wanted, 16)));
  const segments = countPieces(matrices, most);
  share.each(groups * segments, (unit) => {
    const row = Math.floor(unit / segments) * TOKENS;
    const piece = pieceOf(matrices, most, unit % segments);
    const to = out + (piece.above + piece.begin + row * outStride) * 4;
    gemm(machine, piece, q, row, Math.min(TOKENS, n - row), to, outStride * 4, add);
  });
}

/** Up to 16 rows of activations against a piece of the rearranged weights. */
function gemm(
  { kernels: k, plan, rank }: Machine,
  { matrix, begin, rows, above }: Piece,
  q: Quantised,
  row: number,
  count: number,
  to: number,
  outBytes: number,
  add: boolean,
): void {
  const { tables, activations, accumulators, sums } = plan.perThread[rank]!;
  const { paddedCols: cols, paddedRows, group } = matrix;
  const dense = denseAt(plan, matrix, above, begin);
  const lanes = +(plan.kernel === 'lut8');
  const plane = activationBytes(cols);
  const vectors = Math.ceil(count / 8);
  for (let v = 0; v < vectors; v++) {
    const codes = q.codes + (row + 8 * v) * q.codesStride;
    const tokens = Math.min(8, count - 8 * v);
    k.gemmActivations(codes, q.codesStride, tokens, cols, lanes, +!group, activations + v * plane);
  }
  const record = q.records + row * plan.recordBytes;
  if (group) {
    const [stride, scales] = [plan.recordBytes, scalesOf(matrix, begin)];
    k.gemmGrouped(
      dense,
      paddedRows,
      activations,
      plane,
      vectors,
      record,
      stride,
      count,
      rows,
      cols,
      group,
      scales,
      tables,
      accumulators,
      sums,
    );
  } else {
    k.gemm(dense, paddedRows, activations, plane, vectors, rows, cols, lanes, tables, accumulators, sums);
  }
  for (let v = 0; v < vectors; v++) {
    const [from, sumStride, tokens] = [sums + v * 32, vectors * 32, Math.min(8, count - 8 * v)];
    const [records, at] = [record + v * 8 * plan.recordBytes, to + v * 8 * outBytes];
    if (group) k.gemmStoreGrouped(from, sumStride, tokens, rows, at, outBytes, +add);
    else k.gemmStore(from, sumStride, records, tokens, rows, matrix.scale, at, outBytes, +add);
  }
}
