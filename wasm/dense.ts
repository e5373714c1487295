// The order of weights and activations for the table GEMM (gemm.ts): weights in base 3, made from the resident 2-bit ones
// for one pass, and activations in positions to match.
//
// Dense order: u8[blocks][rows][4]; byte j of block b is the index into table 4b + j. A vector of the resident weights
// holds 16 bytes of four codes f0..f3. Four such vectors take the codes of a fifth in: a byte is then
// 3 * (f0 + 3 f1 + 9 f2 + 27 f3) + f4, f4 being field q of the fifth vector for the q-th of the four. The one to four
// vectors that are left over stay f0 + 3 f1 + 9 f2 + 27 f3; so do all where groups of columns have scales of their own.
// Blocks of fives come first.
//   tiles: a vector is a chunk of 64 columns of one row, so 4 blocks; lanes: 4 columns of 16 rows, so a quarter block.
//
// Positions: i16[8] for 8 tokens, five (or four) to a table, digit f at f.
import { lutBlock } from './gemv';
import { MASK_03, MASK_0F } from './simd';

/** Blocks whose tables have five columns. @param lanes 0: tiles, 1: lanes; @param fives 0: there are none */
export function fiveBlocks(cols: i32, lanes: i32, fives: i32): i32 {
  return fives ? (lanes ? cols / 20 : (cols / 320) << 4) : 0;
}

/** Blocks whose tables have four columns. */
export function fourBlocks(cols: i32, lanes: i32, fives: i32): i32 {
  return fives ? (lanes ? +(cols % 20 > 0) : ((cols >> 6) % 5) << 2) : cols >> 4;
}

/** f0 + 3 f1 + 9 f2 + 27 f3 of each byte. m33, mf: 0x33 and 0x0f in each byte. */
function fourDigits(x: v128, m33: v128, mf: v128): v128 {
  const pairs = i8x16.sub(x, v128.and(i16x8.shr_u(x, 2), m33)); // f0 + 3 f1 and f2 + 3 f3, four bits each
  const high = v128.and(i16x8.shr_u(pairs, 4), mf);
  return i8x16.sub(i8x16.add(pairs, high), i16x8.shl(high, 3)); // less 7 times the upper pair: 9 instead of 16
}

/** 3 x + field q of y. m3: 3 in each byte. */
function fiveDigits(x: v128, y: v128, q: i32, m3: v128): v128 {
  return i8x16.add(i8x16.add(x, x), i8x16.add(x, v128.and(i16x8.shr_u(y, q << 1), m3)));
}

/** Four rows of 16 bytes to four blocks. */
function storeBlocks(dst: usize, blockBytes: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = i32x4.shuffle(a, b, 0, 4, 1, 5),
    ab1 = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const cd0 = i32x4.shuffle(c, d, 0, 4, 1, 5),
    cd1 = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(dst, i64x2.shuffle(ab0, cd0, 0, 2));
  v128.store(dst + blockBytes, i64x2.shuffle(ab0, cd0, 1, 3));
  dst += blockBytes << 1;
  v128.store(dst, i64x2.shuffle(ab1, cd1, 0, 2));
  v128.store(dst + blockBytes, i64x2.shuffle(ab1, cd1, 1, 3));
}

/**
 * Tiles to dense order. The reads jump from tile to tile: 128 rows at a time stay inside the L2 cache.
 * @param w first row; @param rows multiple of 4; @param dense the first row's place in u8[blocks][denseRows][4]
 */
export function denseFromTiles(w: usize, rows: i32, cols: i32, fives: i32, dense: usize, denseRows: i32): void {
  const m3 = v128.load(MASK_03),
    mf = v128.load(MASK_0F),
    m33 = v128.or(m3, i16x8.shl(m3, 4));
  const tile = <usize>(cols >> 1),
    blockBytes = (<usize>denseRows) << 2,
    end = w + tile;
  if (fives) {
    for (; w + 160 <= end; w += 160) {
      let src = w;
      for (let r: usize = 0; r < <usize>rows; r += 4) {
        const next = src + tile;
        const e0 = v128.load(src, 128),
          e1 = v128.load(src, 144),
          e2 = v128.load(next, 128),
          e3 = v128.load(next, 144);
        let dst = dense + (r << 2);
        for (let q = 0; q < 4; q++) {
          const p = src + ((<usize>q) << 5),
            p2 = p + tile;
          storeBlocks(
            dst,
            blockBytes,
            fiveDigits(fourDigits(v128.load(p), m33, mf), e0, q, m3),
            fiveDigits(fourDigits(v128.load(p, 16), m33, mf), e1, q, m3),
            fiveDigits(fourDigits(v128.load(p2), m33, mf), e2, q, m3),
            fiveDigits(fourDigits(v128.load(p2, 16), m33, mf), e3, q, m3),
          );
          dst += blockBytes << 2;
        }
        src = next + tile;
      }
      dense += blockBytes << 4;
    }
  }
  for (; w < end; w += 32) {
    let src = w;
    for (let r: usize = 0; r < <usize>rows; r += 4) {
      const next = src + tile;
      storeBlocks(
        dense + (r << 2),
        blockBytes,
        fourDigits(v128.load(src), m33, mf),
        fourDigits(v128.load(src, 16), m33, mf),
        fourDigits(v128.load(next), m33, mf),
        fourDigits(v128.load(next, 16), m33, mf),
      );
      src = next + tile;
    }
    dense += blockBytes << 2;
  }
}

/** Where the lanes hold columns k..k+3 of the 16 rows from rowBegin. */
function lanesAt(w: usize, rowBegin: i32, matrixRows: i32, cols: i32, block: i32, k: i32): usize {
  const first = k - (k % block),
    width = min(block, cols - first);
  return (
    w + <usize>matrixRows * <usize>(first >> 2) + <usize>rowBegin * <usize>(width >> 2) + ((<usize>(k - first)) << 2)
  );
}

/** Bytes from 16 rows to the next 16 in the block of lanes that holds column k. */
function lanesStep(cols: i32, block: i32, k: i32): usize {
  return (<usize>min(block, cols - (k - (k % block)))) << 2;
}

/** Four vectors of 16 rows to 16 rows of 4 bytes. */
function storeLanes(dst: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = interleaveLow(a, b),
    ab1 = interleaveHigh(a, b),
    cd0 = interleaveLow(c, d),
    cd1 = interleaveHigh(c, d);
  v128.store(dst, i16x8.shuffle(ab0, cd0, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(dst, i16x8.shuffle(ab0, cd0, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  v128.store(dst, i16x8.shuffle(ab1, cd1, 0, 8, 1, 9, 2, 10, 3, 11), 32);
  v128.store(dst, i16x8.shuffle(ab1, cd1, 4, 12, 5, 13, 6, 14, 7, 15), 48);
}

/**
 * Lanes to dense order.
 * @param w the whole matrix; @param rowBegin, rows multiples of 16; @param matrixRows padded rows of the matrix
 * @param dense the first row's place in u8[blocks][denseRows][4]
 */
export function denseFromLanes(
  w: usize,
  rowBegin: i32,
  rows: i32,
  matrixRows: i32,
  cols: i32,
  fives: i32,
  dense: usize,
  denseRows: i32,
): void {
  const m3 = v128.load(MASK_03),
    mf = v128.load(MASK_0F),
    m33 = v128.or(m3, i16x8.shl(m3, 4));
  const block = lutBlock(cols),
    blockBytes = (<usize>denseRows) << 2,
    rowBytes = (<usize>rows) << 2;
  let k = 0;
  if (fives) {
    for (; k + 20 <= cols; k += 20) {
      let a = lanesAt(w, rowBegin, matrixRows, cols, block, k),
        b = lanesAt(w, rowBegin, matrixRows, cols, block, k + 4),
        c = lanesAt(w, rowBegin, matrixRows, cols, block, k + 8),
        d = lanesAt(w, rowBegin, matrixRows, cols, block, k + 12),
        e = lanesAt(w, rowBegin, matrixRows, cols, block, k + 16);
      const end = dense + rowBytes;
      for (let dst = dense; dst < end; dst += 64) {
        const y = v128.load(e);
        storeLanes(
          dst,
          fiveDigits(fourDigits(v128.load(a), m33, mf), y, 0, m3),
          fiveDigits(fourDigits(v128.load(b), m33, mf), y, 1, m3),
          fiveDigits(fourDigits(v128.load(c), m33, mf), y, 2, m3),
          fiveDigits(fourDigits(v128.load(d), m33, mf), y, 3, m3),
        );
        a += lanesStep(cols, block, k);
        b += lanesStep(cols, block, k + 4);
        c += lanesStep(cols, block, k + 8);
        d += lanesStep(cols, block, k + 12);
        e += lanesStep(cols, block, k + 16);
      }
      dense += blockBytes;
    }
  }
  for (; k < cols; k += 16) {
    // tables beyond the last column are all zeros: any index will do
    const k1 = min(k + 4, cols - 4),
      k2 = min(k + 8, cols - 4),
      k3 = min(k + 12, cols - 4);
    let a = lanesAt(w, rowBegin, matrixRows, cols, block, k),
      b = lanesAt(w, rowBegin, matrixRows, cols, block, k1),
      c = lanesAt(w, rowBegin, matrixRows, cols, block, k2),
      d = lanesAt(w, rowBegin, matrixRows, cols, block, k3);
    const end = dense + rowBytes;
    for (let dst = dense; dst < end; dst += 64) {
      storeLanes(
        dst,
        fourDigits(v128.load(a), m33, mf),
        fourDigits(v128.load(b), m33, mf),
        fourDigits(v128.load(c), m33, mf),
        fourDigits(v128.load(d), m33, mf),
      );
      a += lanesStep(cols, block, k);
      b += lanesStep(cols, block, k1);
      c += lanesStep(cols, block, k2);
      d += lanesStep(cols, block, k3);
    }
    dense += blockBytes;
  }
}

function interleaveLow(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function interleaveHigh(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Where columns k..k+3 (k multiple of 4) go: bytes from the first position. five: fiveBlocks() of the matrix. */
function placeOf(k: i32, lanes: i32, five: i32): i32 {
  if (lanes) {
    const vector = k >> 2,
      block = vector / 5,
      q = vector - block * 5;
    if (block >= five) return five * 320 + ((vector - five * 5) << 6);
    return block * 320 + (q < 4 ? q * 80 : 64);
  }
  const chunk = k >> 6,
    field = (k >> 4) & 3,
    i = k & 15;
  const whole = chunk / 5,
    q = chunk - whole * 5;
  if (whole << 4 >= five) return five * 320 + ((chunk - (five >> 4) * 5) << 10) + (i << 6) + (field << 4);
  return whole * 5120 + (q < 4 ? q * 1280 + (field << 4) : field * 1280 + 64) + i * 80;
}

/** Bytes from position to position whole columns k..k+3. */
function stepOf(k: i32, lanes: i32, five: i32): usize {
  if (lanes) return (k >> 2) % 5 == 4 && k < five * 20 ? 80 : 16;
  return k < five * 20 ? 80 : 64;
}

/** (column, 2 tokens) pairs of 8 columns, from the tokens 0, 1 | 2, 3 | 4, 5 | 6, 7 -> 8 columns of i16[8]. */
function storeColumns(out: usize, k: i32, lanes: i32, five: i32, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11),
    ab1 = i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  const cd0 = i16x8.shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11),
    cd1 = i16x8.shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  store4(out, k, lanes, five, i32x4.shuffle(ab0, cd0, 0, 4, 1, 5), i32x4.shuffle(ab0, cd0, 2, 6, 3, 7));
  store4(out, k + 4, lanes, five, i32x4.shuffle(ab1, cd1, 0, 4, 1, 5), i32x4.shuffle(ab1, cd1, 2, 6, 3, 7));
}

function store4(out: usize, k: i32, lanes: i32, five: i32, c01: v128, c23: v128): void {
  const dst = out + <usize>placeOf(k, lanes, five),
    step = stepOf(k, lanes, five);
  v128.store(dst, i16x8.extend_low_i8x16_s(c01));
  v128.store(dst + step, i16x8.extend_high_i8x16_s(c01));
  v128.store(dst + step * 2, i16x8.extend_low_i8x16_s(c23));
  v128.store(dst + step * 3, i16x8.extend_high_i8x16_s(c23));
}

/**
 * Codes of 8 tokens to positions. Tokens beyond `tokens` are taken as further copies of the last one and ignored by
 * gemmStore().
 * @param codes i8[tokens][stride]; @param out i16[positions][8]: as many as columns, in lanes up to 12 more
 */
export function gemmActivations(
  codes: usize,
  stride: i32,
  tokens: i32,
  cols: i32,
  lanes: i32,
  fives: i32,
  out: usize,
): void {
  const last = tokens - 1;
  const p0 = codes,
    p1 = codes + <usize>(stride * min(1, last)),
    p2 = codes + <usize>(stride * min(2, last)),
    p3 = codes + <usize>(stride * min(3, last));
  const p4 = codes + <usize>(stride * min(4, last)),
    p5 = codes + <usize>(stride * min(5, last)),
    p6 = codes + <usize>(stride * min(6, last)),
    p7 = codes + <usize>(stride * min(7, last));
  const five = fiveBlocks(cols, lanes, fives);
  // the last block of lanes may have tables without columns
  if (lanes && fives) memory.fill(out + <usize>(five * 320), 0, <usize>(fourBlocks(cols, lanes, fives) << 8));
  for (let k = 0; k < cols; k += 16) {
    const a = v128.load(p0 + <usize>k),
      b = v128.load(p1 + <usize>k),
      c = v128.load(p2 + <usize>k),
      d = v128.load(p3 + <usize>k);
    const e = v128.load(p4 + <usize>k),
      f = v128.load(p5 + <usize>k),
      g = v128.load(p6 + <usize>k),
      h = v128.load(p7 + <usize>k);
    storeColumns(
      out,
      k,
      lanes,
      five,
      interleaveLow(a, b),
      interleaveLow(c, d),
      interleaveLow(e, f),
      interleaveLow(g, h),
    );
    storeColumns(
      out,
      k + 8,
      lanes,
      five,
      interleaveHigh(a, b),
      interleaveHigh(c, d),
      interleaveHigh(e, f),
      interleaveHigh(g, h),
    );
  }
}
