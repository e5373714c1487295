// BitLinear for many rows of activations: the table of partial sums ("four Russians"), 1.5 times as fast as the peak of
// the dot product, on baseline SIMD128.
//
// Tokens go in groups of 8 (the lanes of an i16x8). For 4 columns there are 81 possible sums of +-activation; they are
// written to a table indexed by the weight byte itself, and each weight byte then costs one load and one add for 8 tokens.
// Weights are first rearranged to dense order, [block of 8 bytes][row][8 bytes], so that both stream sequentially.
//
// Position order: the four columns of byte j of block b are positions 4 * (8b + j) + field.
//   tiles: column = 64 * (b / 2) + 16 * field + 8 * (b % 2) + j;   lanes: column = position
import { lutBlock } from './gemv';

const TABLE: usize = 2816; // bytes of one table: slots 0..170 of i16[8] (81 used); 44 cache lines, so that the tables do not share cache sets
const BLOCKS_PER_FLUSH: i32 = 7; // 7 blocks * 8 bytes * 4 columns * 127 = 28448 < 32768

/** Tiles to dense order. w: first row; rows multiple of 16; dense: the first row's place in u8[cols / 32][denseRows][8]. */
export function denseFromTiles(w: usize, rows: i32, cols: i32, dense: usize, denseRows: i32): void {
  const chunks = <usize>(cols >> 6),
    blockBytes = (<usize>denseRows) << 3;
  // 128 rows at a time keep the reads, which jump from tile to tile, inside the L2 cache
  for (let r0 = 0; r0 < rows; r0 += 128) {
    const r1 = min(r0 + 128, rows);
    for (let c: usize = 0; c < chunks; c++) {
      let src = w + (<usize>(r0 >> 1) * chunks + c) * 32;
      let dst = dense + c * 2 * blockBytes + ((<usize>r0) << 3);
      for (let r = r0; r < r1; r += 2) {
        const a = v128.load(src),
          b = v128.load(src, 16);
        v128.store(dst, i64x2.shuffle(a, b, 0, 2));
        v128.store(dst + blockBytes, i64x2.shuffle(a, b, 1, 3));
        src += chunks * 32;
        dst += 16;
      }
    }
  }
}

/** Lanes to dense order. w: the whole matrix; rowBegin, rows multiples of 16; matrixRows: padded rows of the matrix. */
export function denseFromLanes(
  w: usize,
  rowBegin: i32,
  rows: i32,
  matrixRows: i32,
  cols: i32,
  dense: usize,
  denseRows: i32,
): void {
  const block = lutBlock(cols),
    blockBytes = (<usize>denseRows) << 3;
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k);
    let src = w + <usize>matrixRows * <usize>(k >> 2) + <usize>rowBegin * <usize>(width >> 2);
    for (let r: usize = 0; r < <usize>rows; r += 16) {
      let dst = dense + <usize>(k >> 5) * blockBytes + (r << 3);
      for (let j = 0; j < width; j += 32) {
        // 8 vectors of 16 rows -> 16 rows of 8 bytes
        const a0 = v128.load(src),
          a1 = v128.load(src, 16),
          a2 = v128.load(src, 32),
          a3 = v128.load(src, 48);
        const a4 = v128.load(src, 64),
          a5 = v128.load(src, 80),
          a6 = v128.load(src, 96),
          a7 = v128.load(src, 112);
        storeRows(dst, interleaveLow(a0, a1), interleaveLow(a2, a3), interleaveLow(a4, a5), interleaveLow(a6, a7));
        storeRows(
          dst + 64,
          interleaveHigh(a0, a1),
          interleaveHigh(a2, a3),
          interleaveHigh(a4, a5),
          interleaveHigh(a6, a7),
        );
        src += 128;
        dst += blockBytes;
      }
    }
  }
}

function interleaveLow(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function interleaveHigh(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Four vectors of (row, 2 bytes) pairs for 8 rows -> 8 rows of 8 bytes. */
function storeRows(dst: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11),
    ab1 = i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  const cd0 = i16x8.shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11),
    cd1 = i16x8.shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  v128.store(dst, i32x4.shuffle(ab0, cd0, 0, 4, 1, 5));
  v128.store(dst, i32x4.shuffle(ab0, cd0, 2, 6, 3, 7), 16);
  v128.store(dst, i32x4.shuffle(ab1, cd1, 0, 4, 1, 5), 32);
  v128.store(dst, i32x4.shuffle(ab1, cd1, 2, 6, 3, 7), 48);
}

/**
 * Codes of 8 tokens to position order. codes: i8[tokens][stride]; out: i16[cols][8]. Tokens beyond `tokens` are taken
 * as a second copy of the last one and ignored by gemmStore().
 * @param lanes 0: tiles, 1: lanes
 */
export function gemmActivations(codes: usize, stride: i32, tokens: i32, cols: i32, lanes: i32, out: usize): void {
  const last = tokens - 1;
  const p0 = codes,
    p1 = codes + <usize>(stride * min(1, last)),
    p2 = codes + <usize>(stride * min(2, last));
  const p3 = codes + <usize>(stride * min(3, last)),
    p4 = codes + <usize>(stride * min(4, last));
  const p5 = codes + <usize>(stride * min(5, last)),
    p6 = codes + <usize>(stride * min(6, last));
  const p7 = codes + <usize>(stride * min(7, last));
  for (let k: usize = 0; k < <usize>cols; k += 16) {
    // 16 columns; consecutive columns are 4 positions apart in tiles, 1 in lanes
    const first = lanes ? k : (k & ~63) + ((k >> 4) & 3);
    const step: usize = lanes ? 16 : 64;
    let dst = out + first * 16;
    const a = v128.load(p0 + k),
      b = v128.load(p1 + k),
      c = v128.load(p2 + k),
      d = v128.load(p3 + k);
    const e = v128.load(p4 + k),
      f = v128.load(p5 + k),
      g = v128.load(p6 + k),
      h = v128.load(p7 + k);
    storeColumns(dst, step, interleaveLow(a, b), interleaveLow(c, d), interleaveLow(e, f), interleaveLow(g, h));
    dst += step * 8;
    storeColumns(dst, step, interleaveHigh(a, b), interleaveHigh(c, d), interleaveHigh(e, f), interleaveHigh(g, h));
  }
}

/** Four vectors of (column, 2 tokens) pairs for 8 columns -> 8 columns of i16[8]. */
function storeColumns(dst: usize, step: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11),
    ab1 = i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  const cd0 = i16x8.shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11),
    cd1 = i16x8.shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  const c01 = i32x4.shuffle(ab0, cd0, 0, 4, 1, 5),
    c23 = i32x4.shuffle(ab0, cd0, 2, 6, 3, 7);
  const c45 = i32x4.shuffle(ab1, cd1, 0, 4, 1, 5),
    c67 = i32x4.shuffle(ab1, cd1, 2, 6, 3, 7);
  v128.store(dst, i16x8.extend_low_i8x16_s(c01));
  v128.store(dst + step, i16x8.extend_high_i8x16_s(c01));
  v128.store(dst + step * 2, i16x8.extend_low_i8x16_s(c23));
  v128.store(dst + step * 3, i16x8.extend_high_i8x16_s(c23));
  v128.store(dst + step * 4, i16x8.extend_low_i8x16_s(c45));
  v128.store(dst + step * 5, i16x8.extend_high_i8x16_s(c45));
  v128.store(dst + step * 6, i16x8.extend_low_i8x16_s(c67));
  v128.store(dst + step * 7, i16x8.extend_high_i8x16_s(c67));
}

/** The 8 tables of one block: all sums of trit * activation over 4 positions. a: i16[32][8]. */
export function buildTables(a: usize, tables: usize): void {
  for (let j = 0; j < 8; j++) {
    const v0 = v128.load(a),
      v1 = v128.load(a, 16),
      v2 = v128.load(a, 32),
      v3 = v128.load(a, 48);
    let s3 = i16x8.neg(i16x8.add(i16x8.add(v0, v1), i16x8.add(v2, v3))); // all trits -1
    let t3 = tables;
    for (let c3 = 0; c3 < 3; c3++) {
      let s2 = s3,
        t = t3;
      for (let c2 = 0; c2 < 3; c2++) {
        let s = s2;
        v128.store(t, s);
        let x = i16x8.add(s, v0);
        v128.store(t, x, 16);
        v128.store(t, i16x8.add(x, v0), 32);
        s = i16x8.add(s, v1);
        v128.store(t, s, 64);
        x = i16x8.add(s, v0);
        v128.store(t, x, 80);
        v128.store(t, i16x8.add(x, v0), 96);
        s = i16x8.add(s, v1);
        v128.store(t, s, 128);
        x = i16x8.add(s, v0);
        v128.store(t, x, 144);
        v128.store(t, i16x8.add(x, v0), 160);
        s2 = i16x8.add(s2, v2);
        t += 256;
      }
      s3 = i16x8.add(s3, v3);
      t3 += 1024;
    }
    a += 64;
    tables += TABLE;
  }
}

/** The 8 table entries that the 8 bytes at w select, added up. */
export function lookup(w: usize, t: usize): v128 {
  return i16x8.add(
    i16x8.add(
      i16x8.add(
        i16x8.add(
          i16x8.add(
            i16x8.add(
              i16x8.add(
                v128.load(t + ((<usize>load<u8>(w)) << 4)),
                v128.load(t + ((<usize>load<u8>(w, 1)) << 4), TABLE),
              ),
              v128.load(t + ((<usize>load<u8>(w, 2)) << 4), TABLE * 2),
            ),
            v128.load(t + ((<usize>load<u8>(w, 3)) << 4), TABLE * 3),
          ),
          v128.load(t + ((<usize>load<u8>(w, 4)) << 4), TABLE * 4),
        ),
        v128.load(t + ((<usize>load<u8>(w, 5)) << 4), TABLE * 5),
      ),
      v128.load(t + ((<usize>load<u8>(w, 6)) << 4), TABLE * 6),
    ),
    v128.load(t + ((<usize>load<u8>(w, 7)) << 4), TABLE * 7),
  );
}

/** One block over all rows (multiple of 4). acc: i16[rows][8]. */
export function gemmBlock(w: usize, tables: usize, acc: usize, rows: i32, first: bool): void {
  const end = acc + ((<usize>rows) << 4);
  if (first) {
    do {
      v128.store(acc, lookup(w, tables));
      v128.store(acc, lookup(w + 8, tables), 16);
      v128.store(acc, lookup(w + 16, tables), 32);
      v128.store(acc, lookup(w + 24, tables), 48);
      w += 32;
      acc += 64;
    } while (acc < end);
  } else {
    do {
      v128.store(acc, i16x8.add(v128.load(acc), lookup(w, tables)));
      v128.store(acc, i16x8.add(v128.load(acc, 16), lookup(w + 8, tables)), 16);
      v128.store(acc, i16x8.add(v128.load(acc, 32), lookup(w + 16, tables)), 32);
      v128.store(acc, i16x8.add(v128.load(acc, 48), lookup(w + 24, tables)), 48);
      w += 32;
      acc += 64;
    } while (acc < end);
  }
}

/** Adds the i16 sums to the i32 ones (or starts them). n: number of i16[8]. */
function flush(acc: usize, sums: usize, n: i32, first: bool): void {
  const end = acc + ((<usize>n) << 4);
  do {
    const x = v128.load(acc);
    let low = i32x4.extend_low_i16x8_s(x),
      high = i32x4.extend_high_i16x8_s(x);
    if (!first) {
      low = i32x4.add(low, v128.load(sums));
      high = i32x4.add(high, v128.load(sums, 16));
    }
    v128.store(sums, low);
    v128.store(sums, high, 16);
    acc += 16;
    sums += 32;
  } while (acc < end);
}

/**
 * Integer sums of 8 tokens against `rows` rows (multiple of 16).
 * @param dense the first row's place in u8[cols / 32][denseRows][8]; @param activations i16[cols][8] of gemmActivations()
 * @param tables scratch, 8 * TABLE bytes; @param acc scratch i16[rows][8]; @param sums result i32[rows][8]
 */
export function gemm8(
  dense: usize,
  denseRows: i32,
  activations: usize,
  rows: i32,
  cols: i32,
  tables: usize,
  acc: usize,
  sums: usize,
): void {
  const blocks = cols >> 5,
    blockBytes = (<usize>denseRows) << 3;
  let flushed = false;
  for (let b = 0; b < blocks; b += BLOCKS_PER_FLUSH) {
    const n = min(BLOCKS_PER_FLUSH, blocks - b);
    for (let i = 0; i < n; i++) {
      buildTables(activations, tables);
      gemmBlock(dense, tables, acc, rows, i == 0);
      dense += blockBytes;
      activations += 512;
    }
    flush(acc, sums, rows, !flushed);
    flushed = true;
  }
}

/**
 * Scales the sums and writes them a token to a row, in the arithmetic of the GEMV: f32(sum) * (weightScale / c).
 * @param rowRecords 16-byte records of quantise(), one a token; @param outStride bytes from token to token
 */
export function gemmStore(
  sums: usize,
  rowRecords: usize,
  tokens: i32,
  rows: i32,
  weightScale: f32,
  out: usize,
  outStride: i32,
  accumulate: i32,
): void {
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const scale = f32x4.splat(weightScale * load<f32>(rowRecords + t * 16, 4));
    let src = sums + t * 4;
    let dst = out + t * <usize>outStride;
    for (let r = 0; r < rows; r += 4) {
      const x = i32x4.replace_lane(
        i32x4.replace_lane(
          i32x4.replace_lane(i32x4.splat(load<i32>(src)), 1, load<i32>(src, 32)),
          2,
          load<i32>(src, 64),
        ),
        3,
        load<i32>(src, 96),
      );
      const y = f32x4.mul(f32x4.convert_i32x4_s(x), scale);
      v128.store(dst, accumulate ? f32x4.add(v128.load(dst), y) : y);
      src += 128;
      dst += 16;
    }
  }
}
