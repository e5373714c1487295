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

/** s + a + b + c + d */
function add4(s: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  return i16x8.add(i16x8.add(i16x8.add(i16x8.add(s, a), b), c), d);
}

/** One block over all rows (multiple of 2) for 8 tokens: adds the table entries that the bytes select. acc: i16[rows][8]. */
function lookup8(w: usize, t: usize, acc: usize, rows: i32): void {
  const end = acc + ((<usize>rows) << 4);
  do {
    const a = t + ((<usize>load<u8>(w)) << 4),
      b = t + ((<usize>load<u8>(w, 1)) << 4),
      c = t + ((<usize>load<u8>(w, 2)) << 4),
      d = t + ((<usize>load<u8>(w, 3)) << 4);
    const e = t + ((<usize>load<u8>(w, 4)) << 4),
      f = t + ((<usize>load<u8>(w, 5)) << 4),
      g = t + ((<usize>load<u8>(w, 6)) << 4),
      h = t + ((<usize>load<u8>(w, 7)) << 4);
    v128.store(
      acc,
      add4(v128.load(acc), v128.load(a), v128.load(b, TABLE), v128.load(c, TABLE * 2), v128.load(d, TABLE * 3)),
    );
    v128.store(
      acc,
      add4(v128.load(acc, 16), v128.load(e), v128.load(f, TABLE), v128.load(g, TABLE * 2), v128.load(h, TABLE * 3)),
      16,
    );
    w += 8;
    acc += 32;
  } while (acc < end);
}

const WIDE: usize = TABLE * 2;

/** One block over all rows (multiple of 2) for 16 tokens. acc: i16[rows][16]. */
function lookup16(w: usize, t: usize, acc: usize, rows: i32): void {
  const end = acc + ((<usize>rows) << 5);
  do {
    const a = t + ((<usize>load<u8>(w)) << 5),
      b = t + ((<usize>load<u8>(w, 1)) << 5),
      c = t + ((<usize>load<u8>(w, 2)) << 5),
      d = t + ((<usize>load<u8>(w, 3)) << 5);
    const e = t + ((<usize>load<u8>(w, 4)) << 5),
      f = t + ((<usize>load<u8>(w, 5)) << 5),
      g = t + ((<usize>load<u8>(w, 6)) << 5),
      h = t + ((<usize>load<u8>(w, 7)) << 5);
    v128.store(
      acc,
      add4(v128.load(acc), v128.load(a), v128.load(b, WIDE), v128.load(c, WIDE * 2), v128.load(d, WIDE * 3)),
    );
    v128.store(
      acc,
      add4(
        v128.load(acc, 16),
        v128.load(a, 16),
        v128.load(b, WIDE + 16),
        v128.load(c, WIDE * 2 + 16),
        v128.load(d, WIDE * 3 + 16),
      ),
      16,
    );
    v128.store(
      acc,
      add4(v128.load(acc, 32), v128.load(e), v128.load(f, WIDE), v128.load(g, WIDE * 2), v128.load(h, WIDE * 3)),
      32,
    );
    v128.store(
      acc,
      add4(
        v128.load(acc, 48),
        v128.load(e, 16),
        v128.load(f, WIDE + 16),
        v128.load(g, WIDE * 2 + 16),
        v128.load(h, WIDE * 3 + 16),
      ),
      48,
    );
    w += 8;
    acc += 64;
  } while (acc < end);
}

/** One block over all rows (multiple of 2). acc: i16[rows][vectors][8]. */
export function gemmBlock(w: usize, tables: usize, acc: usize, rows: i32, vectors: i32): void {
  if (vectors == 1) lookup8(w, tables, acc, rows);
  else lookup16(w, tables, acc, rows);
}

/** Adds i16[rows][vectors][8] to i32[vectors][rows][8], and zeroes them. */
function flush(acc: usize, sums: usize, rows: i32, vectors: i32): void {
  const step = (<usize>vectors) << 4,
    zero = i16x8.splat(0);
  for (let v: usize = 0; v < <usize>vectors; v++) {
    const end = sums + ((<usize>rows) << 5);
    let src = acc + (v << 4);
    do {
      const x = v128.load(src);
      v128.store(src, zero);
      v128.store(sums, i32x4.add(v128.load(sums), i32x4.extend_low_i16x8_s(x)));
      v128.store(sums, i32x4.add(v128.load(sums, 16), i32x4.extend_high_i16x8_s(x)), 16);
      src += step;
      sums += 32;
    } while (sums < end);
  }
}

/**
 * Integer sums of 8 or 16 tokens against `rows` rows (multiple of 16).
 * @param dense the first row's place in u8[blocks][denseRows][4]
 * @param activations of gemmActivations(); @param plane bytes from the first 8 tokens to the second 8
 * @param vectors 1: 8 tokens, 2: 16; @param tables scratch, 4 * TABLE * vectors bytes
 * @param acc scratch i16[rows][vectors][8]; @param sums result i32[vectors][rows][8]
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
      flush(acc, sums, rows, vectors);
      sinceFlush = 0;
    }
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
