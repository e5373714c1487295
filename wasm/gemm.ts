// BitLinear for many rows of activations: the table of partial sums ("four Russians"), on baseline SIMD128 faster than the
// peak of the dot product.
//
// Tokens go in groups of 8 or 16 (the lanes of one or two i16x8). For 5 columns there are 243 possible sums of
// +-activation; they are written to a table, and each byte of weights in base 3 then costs one load and one add for 8
// tokens and 5 columns. Weights are first rearranged to dense order (dense.ts), so that they stream sequentially.
//
// A block is four tables, 31 KB for 16 tokens: as much as a 32 KB L1 cache takes; the sums of all rows pass by it.
import { fiveBlocks, fourBlocks } from './dense';

const TABLE: usize = 3904; // bytes of one table for 8 tokens: 243 entries of i16[8], in whole cache lines
const BLOCKS_PER_FLUSH: i32 = 12; // 12 blocks * 4 bytes * 5 columns * 127 = 30480 < 32768

/** The 81 sums of trit * activation over four positions, added to s, a step apart; the first position is the fastest. */
function spread(v0: v128, v1: v128, v2: v128, v3: v128, s: v128, t: usize, step: usize): void {
  const twice = step << 1,
    row = step + twice;
  let s3 = i16x8.sub(s, i16x8.add(i16x8.add(v0, v1), i16x8.add(v2, v3)));
  for (let c3 = 0; c3 < 3; c3++) {
    let s2 = s3;
    for (let c2 = 0; c2 < 3; c2++) {
      let s1 = s2;
      for (let c1 = 0; c1 < 3; c1++) {
        const x = i16x8.add(s1, v0);
        v128.store(t, s1);
        v128.store(t + step, x);
        v128.store(t + twice, i16x8.add(x, v0));
        s1 = i16x8.add(s1, v1);
        t += row;
      }
      s2 = i16x8.add(s2, v2);
    }
    s3 = i16x8.add(s3, v3);
  }
}

/**
 * The four tables of one block: all sums of trit * activation over the columns of a byte.
 * @param a positions of the block (dense.ts); @param plane bytes from 8 tokens to the next 8; @param vectors 1 or 2
 * @param five whether a byte has five columns, or four
 */
export function buildTables(a: usize, plane: usize, vectors: i32, five: bool, tables: usize): void {
  const entry = (<usize>vectors) << 4,
    zero = i16x8.splat(0);
  for (let j: usize = 0; j < 4; j++) {
    for (let v: usize = 0; v < <usize>vectors; v++) {
      const p = a + v * plane,
        t = tables + (v << 4);
      const v0 = v128.load(p),
        v1 = v128.load(p, 16),
        v2 = v128.load(p, 32),
        v3 = v128.load(p, 48);
      if (five) {
        const v4 = v128.load(p, 64);
        spread(v0, v1, v2, v3, i16x8.neg(v4), t, entry * 3);
        spread(v0, v1, v2, v3, zero, t + entry, entry * 3);
        spread(v0, v1, v2, v3, v4, t + entry * 2, entry * 3);
      } else spread(v0, v1, v2, v3, zero, t, entry);
    }
    a += five ? 80 : 64;
    tables += TABLE * <usize>vectors;
  }
}

/** x and the four table entries that the bytes at w select, added up: one row, 8 tokens. */
function row8(w: usize, t: usize, x: v128): v128 {
  return i16x8.add(
    i16x8.add(
      i16x8.add(
        i16x8.add(x, v128.load(t + ((<usize>load<u8>(w)) << 4))),
        v128.load(t + ((<usize>load<u8>(w, 1)) << 4), TABLE),
      ),
      v128.load(t + ((<usize>load<u8>(w, 2)) << 4), TABLE * 2),
    ),
    v128.load(t + ((<usize>load<u8>(w, 3)) << 4), TABLE * 3),
  );
}

/** The same for 16 tokens, in place. acc: i16[16]. */
function row16(w: usize, t: usize, acc: usize): void {
  const a = t + ((<usize>load<u8>(w)) << 5),
    b = t + ((<usize>load<u8>(w, 1)) << 5),
    c = t + ((<usize>load<u8>(w, 2)) << 5),
    d = t + ((<usize>load<u8>(w, 3)) << 5);
  const x = i16x8.add(i16x8.add(v128.load(acc), v128.load(a)), v128.load(b, TABLE * 2));
  const y = i16x8.add(i16x8.add(v128.load(acc, 16), v128.load(a, 16)), v128.load(b, TABLE * 2 + 16));
  v128.store(acc, i16x8.add(i16x8.add(x, v128.load(c, TABLE * 4)), v128.load(d, TABLE * 6)));
  v128.store(acc, i16x8.add(i16x8.add(y, v128.load(c, TABLE * 4 + 16)), v128.load(d, TABLE * 6 + 16)), 16);
}

/** One block over all rows (multiple of 4). acc: i16[rows][vectors][8]. */
export function gemmBlock(w: usize, tables: usize, acc: usize, rows: i32, vectors: i32): void {
  const end = acc + ((<usize>(rows * vectors)) << 4);
  if (vectors == 1) {
    do {
      v128.store(acc, row8(w, tables, v128.load(acc)));
      v128.store(acc, row8(w + 4, tables, v128.load(acc, 16)), 16);
      v128.store(acc, row8(w + 8, tables, v128.load(acc, 32)), 32);
      v128.store(acc, row8(w + 12, tables, v128.load(acc, 48)), 48);
      w += 16;
      acc += 64;
    } while (acc < end);
  } else {
    do {
      row16(w, tables, acc);
      row16(w + 4, tables, acc + 32);
      row16(w + 8, tables, acc + 64);
      row16(w + 12, tables, acc + 96);
      w += 16;
      acc += 128;
    } while (acc < end);
  }
}

/** Adds i16[n][8] to i32[n][8], and zeroes them. */
function flush(acc: usize, sums: usize, n: i32): void {
  const end = acc + ((<usize>n) << 4),
    zero = i16x8.splat(0);
  do {
    const x = v128.load(acc);
    v128.store(acc, zero);
    v128.store(sums, i32x4.add(v128.load(sums), i32x4.extend_low_i16x8_s(x)));
    v128.store(sums, i32x4.add(v128.load(sums, 16), i32x4.extend_high_i16x8_s(x)), 16);
    acc += 16;
    sums += 32;
  } while (acc < end);
}

/**
 * Integer sums of 8 or 16 tokens against `rows` rows (multiple of 16).
 * @param dense the first row's place in u8[blocks][denseRows][4]
 * @param activations of gemmActivations(); @param plane bytes from the first 8 tokens to the second 8
 * @param vectors 1: 8 tokens, 2: 16; @param tables scratch, 4 * TABLE * vectors bytes
 * @param acc scratch i16[rows][vectors][8]; @param sums result i32[rows][vectors][8]
 */
export function gemm(
  dense: usize,
  denseRows: i32,
  activations: usize,
  plane: i32,
  vectors: i32,
  rows: i32,
  cols: i32,
  lanes: i32,
  tables: usize,
  acc: usize,
  sums: usize,
): void {
  const five = fiveBlocks(cols, lanes, 1),
    blocks = five + fourBlocks(cols, lanes, 1);
  memory.fill(acc, 0, (<usize>(rows * vectors)) << 4);
  memory.fill(sums, 0, (<usize>(rows * vectors)) << 5);
  let sinceFlush = 0;
  for (let b = 0; b < blocks; b++) {
    buildTables(activations, <usize>plane, vectors, b < five, tables);
    gemmBlock(dense, tables, acc, rows, vectors);
    dense += (<usize>denseRows) << 2;
    activations += b < five ? 320 : 256;
    if (++sinceFlush == BLOCKS_PER_FLUSH || b == blocks - 1) {
      flush(acc, sums, rows * vectors);
      sinceFlush = 0;
    }
  }
}

/**
 * Scales the sums of 8 tokens and writes them a token to a row, in the arithmetic of the GEMV: f32(sum) * (weightScale / c).
 * @param sums i32[rows][..][8]; @param sumStride bytes from row to row
 * @param rowRecords 16-byte records of quantise(), one a token; @param outStride bytes from token to token
 */
export function gemmStore(
  sums: usize,
  sumStride: i32,
  rowRecords: usize,
  tokens: i32,
  rows: i32,
  weightScale: f32,
  out: usize,
  outStride: i32,
  accumulate: i32,
): void {
  const step = <usize>sumStride;
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const scale = f32x4.splat(weightScale * load<f32>(rowRecords + t * 16, 4));
    let src = sums + t * 4;
    let dst = out + t * <usize>outStride;
    for (let r = 0; r < rows; r += 4) {
      let x = v128.load32_splat(src);
      x = v128.load32_lane(src + step, x, 1);
      x = v128.load32_lane(src + step * 2, x, 2);
      x = v128.load32_lane(src + step * 3, x, 3);
      const y = f32x4.mul(f32x4.convert_i32x4_s(x), scale);
      v128.store(dst, accumulate ? f32x4.add(v128.load(dst), y) : y);
      src += step << 2;
      dst += 16;
    }
  }
}
