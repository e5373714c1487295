// BitLinear with group scales for many rows of activations: the table of partial sums of gemm.ts, 8 or 16 tokens at a
// time, with the scales applied at the end of each group of columns. The arithmetic is the one of grouped.ts.
//
// A group of 64 or 128 columns is 4 or 8 whole blocks of the dense order with four columns a byte. Sums of a group stay
// below 128 * 127 = 16256, within i16.
import { buildTables, gemmBlock } from './gemm';

/** The activation scales of four tokens, one behind the other `stride` bytes. */
function fourScales(record: usize, stride: usize, first: i32, last: i32): v128 {
  let a = v128.load32_splat(record + stride * <usize>min(first, last));
  a = v128.load32_lane(record + stride * <usize>min(first + 1, last), a, 1);
  a = v128.load32_lane(record + stride * <usize>min(first + 2, last), a, 2);
  return v128.load32_lane(record + stride * <usize>min(first + 3, last), a, 3);
}

/**
 * The end of a group for 8 tokens: sums += f32(acc) * (w * a), and acc = 0.
 * @param acc i16[rows][step / 16][8]; @param scales of the first row and this group
 * @param scaleBytes from 16 rows to the next 16; @param a0, a1 activation scales of tokens 0..3, 4..7
 * @param sums f32[rows][sumStep / 32][8]
 */
function flushScaled(
  acc: usize,
  step: usize,
  rows: i32,
  scales: usize,
  scaleBytes: usize,
  a0: v128,
  a1: v128,
  sums: usize,
  sumStep: usize,
): void {
  const zero = i16x8.splat(0);
  for (let r = 0; r < rows; r += 16) {
    const end = scales + 64;
    let s = scales;
    do {
      const x = v128.load(acc),
        w = v128.load32_splat(s);
      const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)),
        high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x));
      v128.store(acc, zero);
      v128.store(sums, f32x4.add(v128.load(sums), f32x4.mul(low, f32x4.mul(w, a0))));
      v128.store(sums, f32x4.add(v128.load(sums, 16), f32x4.mul(high, f32x4.mul(w, a1))), 16);
      acc += step;
      sums += sumStep;
      s += 4;
    } while (s < end);
    scales += scaleBytes;
  }
}

/**
 * Products of 8 or 16 tokens with `rows` rows (multiple of 16).
 * @param dense the first row's place in u8[cols / 16][denseRows][4], four columns a byte
 * @param activations of gemmActivations(), four columns to a table; @param plane bytes from 8 tokens to the next 8
 * @param vectors 1: 8 tokens, 2: 16; @param record of quantiseGroups() for the first token
 * @param recordStride bytes from token to token; @param tokens up to 8 * vectors; sums of further ones mean nothing
 * @param cols multiple of group; @param scales f32[rows / 16][cols / group][16] of these rows
 * @param tables, acc scratch as in gemm(); @param sums result f32[rows][vectors][8]
 */
export function gemmGrouped(
  dense: usize,
  denseRows: i32,
  activations: usize,
  plane: i32,
  vectors: i32,
  record: usize,
  recordStride: i32,
  tokens: i32,
  rows: i32,
  cols: i32,
  group: i32,
  scales: usize,
  tables: usize,
  acc: usize,
  sums: usize,
): void {
  const groups = cols / group,
    blocks = group >> 4,
    scaleBytes = (<usize>groups) << 6;
  memory.fill(acc, 0, (<usize>(rows * vectors)) << 4);
  memory.fill(sums, 0, (<usize>(rows * vectors)) << 5);
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < blocks; i++) {
      buildTables(activations, <usize>plane, vectors, false, tables);
      gemmBlock(dense, tables, acc, rows, vectors);
      dense += (<usize>denseRows) << 2;
      activations += 256;
    }
    for (let v = 0; v < vectors; v++) {
      const a0 = fourScales(record, recordStride, v << 3, tokens - 1),
        a1 = fourScales(record, recordStride, (v << 3) + 4, tokens - 1);
      const from = acc + ((<usize>v) << 4),
        to = sums + ((<usize>v) << 5);
      flushScaled(from, (<usize>vectors) << 4, rows, scales, scaleBytes, a0, a1, to, (<usize>vectors) << 5);
    }
    record += 4;
    scales += 64;
  }
}

/**
 * Writes the sums of 8 tokens of gemmGrouped() a token to a row.
 * @param sums f32[rows][..][8]; @param sumStride bytes from row to row; @param outStride bytes from token to token
 */
export function gemmStoreGrouped(
  sums: usize,
  sumStride: i32,
  tokens: i32,
  rows: i32,
  out: usize,
  outStride: i32,
  accumulate: i32,
): void {
  const step = <usize>sumStride;
  for (let t: usize = 0; t < <usize>tokens; t++) {
    let src = sums + t * 4,
      dst = out + t * <usize>outStride;
    for (let r = 0; r < rows; r += 4) {
      let y = v128.load32_splat(src);
      y = v128.load32_lane(src + step, y, 1);
      y = v128.load32_lane(src + step * 2, y, 2);
      y = v128.load32_lane(src + step * 3, y, 3);
      v128.store(dst, accumulate ? f32x4.add(v128.load(dst), y) : y);
      src += step << 2;
      dst += 16;
    }
  }
}
