// BitLinear with group scales for many rows of activations: the table of partial sums of gemm.ts, 8 tokens at a time,
// with the scales applied at the end of each group of columns. The arithmetic is the one of grouped.ts.
//
// A group of 64 or 128 columns is 2 or 4 blocks of 32 positions in the dense order of either layout. Sums of a group
// stay below 4 * 32 * 127 = 16256, within i16; the last block of a group goes to float32 straight from the registers.
import { lookup, buildTables, gemmBlock } from './gemm';

/** sums[8] += f32(x) * (w * a): one row, one group, 8 tokens. x: i16x8. */
function addRow(sums: usize, x: v128, scale: usize, a0: v128, a1: v128): void {
  const w = v128.load32_splat(scale);
  const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)),
    high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x));
  v128.store(sums, f32x4.add(v128.load(sums), f32x4.mul(low, f32x4.mul(w, a0))));
  v128.store(sums, f32x4.add(v128.load(sums, 16), f32x4.mul(high, f32x4.mul(w, a1))), 16);
}

/**
 * The last block of a group over all rows (multiple of 16).
 * @param acc i16[rows][8] of the other blocks; @param scales of the first row and this group
 * @param scaleBytes from 16 rows to the next 16; @param a0, a1 activation scales of tokens 0..3, 4..7
 */
function lastBlock(
  dense: usize,
  tables: usize,
  acc: usize,
  rows: i32,
  scales: usize,
  scaleBytes: usize,
  a0: v128,
  a1: v128,
  sums: usize,
): void {
  for (let r = 0; r < rows; r += 16) {
    const end = scales + 64;
    let s = scales;
    do {
      addRow(sums, i16x8.add(v128.load(acc), lookup(dense, tables)), s, a0, a1);
      addRow(sums + 32, i16x8.add(v128.load(acc, 16), lookup(dense + 8, tables)), s + 4, a0, a1);
      dense += 16;
      acc += 32;
      sums += 64;
      s += 8;
    } while (s < end);
    scales += scaleBytes;
  }
}

/** The activation scales of four tokens, one behind the other `stride` bytes. */
function fourScales(record: usize, stride: usize, first: i32, last: i32): v128 {
  let a = v128.load32_splat(record + stride * <usize>min(first, last));
  a = v128.load32_lane(record + stride * <usize>min(first + 1, last), a, 1);
  a = v128.load32_lane(record + stride * <usize>min(first + 2, last), a, 2);
  return v128.load32_lane(record + stride * <usize>min(first + 3, last), a, 3);
}

/**
 * Products of 8 tokens with `rows` rows (multiple of 16).
 * @param dense the first row's place in u8[cols / 32][denseRows][8]; @param activations i16[cols][8] of gemmActivations()
 * @param record of quantiseGroups() for the first token; @param recordStride bytes from token to token
 * @param tokens 1..8; sums of further ones mean nothing; @param cols multiple of group
 * @param scales f32[rows / 16][cols / group][16] of these rows
 * @param tables, acc scratch as in gemm8(); @param sums result f32[rows][8]
 */
export function gemm8Grouped(
  dense: usize,
  denseRows: i32,
  activations: usize,
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
    blocks = group >> 5,
    blockBytes = (<usize>denseRows) << 3,
    scaleBytes = (<usize>groups) << 6;
  memory.fill(sums, 0, (<usize>rows) << 5);
  for (let g = 0; g < groups; g++) {
    for (let i = 1; i < blocks; i++) {
      buildTables(activations, tables);
      gemmBlock(dense, tables, acc, rows, i == 1);
      dense += blockBytes;
      activations += 512;
    }
    buildTables(activations, tables);
    const a0 = fourScales(record, recordStride, 0, tokens - 1),
      a1 = fourScales(record, recordStride, 4, tokens - 1);
    lastBlock(dense, tables, acc, rows, scales, scaleBytes, a0, a1, sums);
    dense += blockBytes;
    activations += 512;
    record += 4;
    scales += 64;
  }
}

/** Writes the sums of gemm8Grouped() a token to a row. @param outStride bytes from token to token */
export function gemmStoreGrouped(
  sums: usize,
  tokens: i32,
  rows: i32,
  out: usize,
  outStride: i32,
  accumulate: i32,
): void {
  for (let t: usize = 0; t < <usize>tokens; t++) {
    let src = sums + t * 4,
      dst = out + t * <usize>outStride;
    for (let r = 0; r < rows; r += 4) {
      let y = v128.load32_splat(src);
      y = v128.load32_lane(src, y, 1, 32);
      y = v128.load32_lane(src, y, 2, 64);
      y = v128.load32_lane(src, y, 3, 96);
      v128.store(dst, accumulate ? f32x4.add(v128.load(dst), y) : y);
      src += 128;
      dst += 16;
    }
  }
}
