// Every ternary file format to codes and back. Codes are u8, one weight a byte: 0, 1, 2 = -1, 0, +1. A row of any format
// becomes codes first, and from codes the tiles or lanes of a kernel (wasm/pack.ts) and the row that is stored offline,
// so that one checkpoint gives the same matrix from whatever file.
//
// The stored form is base 3: 80 columns in 16 bytes, byte m of a group holding columns m, m + 16, m + 32, m + 48, m + 64,
// so that a group unpacks to five whole vectors. A byte is a signed fraction of five balanced ternary digits, the first
// column's the greatest: with V = 81 t0 + 27 t1 + 9 t2 + 3 t3 + t4 (t = -1, 0, +1; V = -121..121) it is
// round(V * 256 / 243). Its first digit is its sign where it is above 42 or below -42, else 0, and three times the byte,
// overflow dropped, brings the next digit there. Five digits stay exact: a byte is off by less than 0.5 < 128 / 243.
//
// Addresses need no alignment; input and output must not overlap unless a function says they may.
// I2_S and TQ formats: ggml (ggml-quants.c) and microsoft/BitNet; see the layout at each function.
import { f16At } from './floats';
import { lutBlock } from './gemv';
import { MASK_03, MASK_0C, MASK_0F } from './simd';

/** 1 if one of u8[n] is above 2, hence no code; else 0. */
export function badCode(codes: usize, n: i32): i32 {
  const end = codes + <usize>n;
  let most = i8x16.splat(0);
  for (; codes + 16 <= end; codes += 16) most = i8x16.max_u(most, v128.load(codes));
  if (v128.any_true(i8x16.gt_u(most, i8x16.splat(2)))) return 1;
  for (; codes < end; codes++) if (load<u8>(codes) > 2) return 1;
  return 0;
}

/**
 * One row of HF's packed form (see wasm/pack.ts): the code of each column is two bits of its byte.
 * @param src u8[n], n multiple of 4; @param field 0..3: which row of the byte
 */
export function codesFromPacked(src: usize, field: i32, n: i32, codes: usize): void {
  const m3 = v128.load(MASK_03),
    shift = field << 1;
  const end = src + <usize>n;
  for (; src + 16 <= end; src += 16) {
    v128.store(codes, v128.and(i16x8.shr_u(v128.load(src), shift), m3));
    codes += 16;
  }
  for (; src < end; src += 4) {
    store<u32>(codes, (load<u32>(src) >> shift) & 0x03030303);
    codes += 4;
  }
}

/**
 * I2_S as x86 writes it: 128 elements in 32 bytes, element j in byte j mod 32, the first quarter in the highest bits.
 * @param src u8[n / 4], n multiple of 128
 */
export function codesFromI2S(src: usize, n: i32, codes: usize): void {
  const m3 = v128.load(MASK_03);
  const end = codes + <usize>n;
  while (codes < end) {
    const a = v128.load(src),
      b = v128.load(src, 16);
    v128.store(codes, v128.and(i16x8.shr_u(a, 6), m3));
    v128.store(codes, v128.and(i16x8.shr_u(b, 6), m3), 16);
    v128.store(codes, v128.and(i16x8.shr_u(a, 4), m3), 32);
    v128.store(codes, v128.and(i16x8.shr_u(b, 4), m3), 48);
    v128.store(codes, v128.and(i16x8.shr_u(a, 2), m3), 64);
    v128.store(codes, v128.and(i16x8.shr_u(b, 2), m3), 80);
    v128.store(codes, v128.and(a, m3), 96);
    v128.store(codes, v128.and(b, m3), 112);
    src += 32;
    codes += 128;
  }
}

/**
 * I2_S of an ARM machine has 64 elements in 16 bytes. Codes that were read in the x86 order come out in the order that
 * the ARM order means; with `inverse`, back. n multiple of 128; out may be codes.
 */
export function reorderI2S(codes: usize, n: i32, out: usize, inverse: i32): void {
  const end = codes + <usize>n;
  // per 128 codes eight vectors: x86 has the quarters of both byte halves in turn, ARM those of one half, then the other
  for (; codes < end; codes += 128) {
    const v0 = v128.load(codes),
      v1 = v128.load(codes, 16),
      v2 = v128.load(codes, 32),
      v3 = v128.load(codes, 48),
      v4 = v128.load(codes, 64),
      v5 = v128.load(codes, 80),
      v6 = v128.load(codes, 96),
      v7 = v128.load(codes, 112);
    v128.store(out, v0);
    v128.store(out, inverse ? v4 : v2, 16);
    v128.store(out, inverse ? v1 : v4, 32);
    v128.store(out, inverse ? v5 : v6, 48);
    v128.store(out, inverse ? v2 : v1, 64);
    v128.store(out, inverse ? v6 : v3, 80);
    v128.store(out, inverse ? v3 : v5, 96);
    v128.store(out, v7, 112);
    out += 128;
  }
}

/**
 * TQ2_0: per 256 elements 64 bytes, then the f16 scale. Element j of each half of 128 is in byte j mod 32 of 32, the
 * first quarter in the lowest bits.
 * @param src u8[66 * n / 256], n multiple of 256; @param scales f32[n / 256]
 */
export function codesFromTQ2(src: usize, n: i32, codes: usize, scales: usize): void {
  const m3 = v128.load(MASK_03);
  const end = codes + <usize>n;
  while (codes < end) {
    for (let half = 0; half < 2; half++) {
      const a = v128.load(src),
        b = v128.load(src, 16);
      v128.store(codes, v128.and(a, m3));
      v128.store(codes, v128.and(b, m3), 16);
      v128.store(codes, v128.and(i16x8.shr_u(a, 2), m3), 32);
      v128.store(codes, v128.and(i16x8.shr_u(b, 2), m3), 48);
      v128.store(codes, v128.and(i16x8.shr_u(a, 4), m3), 64);
      v128.store(codes, v128.and(i16x8.shr_u(b, 4), m3), 80);
      v128.store(codes, v128.and(i16x8.shr_u(a, 6), m3), 96);
      v128.store(codes, v128.and(i16x8.shr_u(b, 6), m3), 112);
      src += 32;
      codes += 128;
    }
    store<f32>(scales, f16At(src));
    src += 2;
    scales += 4;
  }
}

/**
 * TQ1_0: per 256 elements 52 bytes of base 3, then the f16 scale. Byte m of the first 32 holds elements m + 32 d, byte m
 * of the next 16 elements 160 + m + 16 d (d = 0..4), byte m of the last 4 elements 240 + m + 4 d (d = 0..3). A byte is
 * ceil(v * 256 / 243), the first element's digit the greatest; less 128 it has its digits where the stored form has them.
 * @param src u8[54 * n / 256], n multiple of 256; @param scales f32[n / 256]
 */
export function codesFromTQ1(src: usize, n: i32, codes: usize, scales: usize): void {
  const offset = i8x16.splat(-128),
    top = digitTop(),
    bottom = v128.not(top);
  const end = codes + <usize>n;
  while (codes < end) {
    let a = v128.xor(v128.load(src), offset),
      b = v128.xor(v128.load(src, 16), offset),
      c = v128.xor(v128.load(src, 32), offset),
      d = v128.xor(v128.load32_zero(src, 48), offset);
    for (let digit: usize = 0; digit < 5; digit++) {
      v128.store(codes + (digit << 5), firstDigit(a, top, bottom));
      v128.store(codes + (digit << 5) + 16, firstDigit(b, top, bottom));
      v128.store(codes + (digit << 4) + 160, firstDigit(c, top, bottom));
      if (digit < 4) v128.store32_lane(codes + (digit << 2) + 240, firstDigit(d, top, bottom), 0);
      a = thrice(a);
      b = thrice(b);
      c = thrice(c);
      d = thrice(d);
    }
    store<f32>(scales, f16At(src + 52));
    src += 54;
    scales += 4;
    codes += 256;
  }
}

/**
 * Q2_0: per group the f16 scale, then element j in byte j / 4, bits 2 * (j mod 4). A 3, which ggml reads as +2, comes out
 * as 3.
 * @param group 64 or 128; @param src u8[(2 + group / 4) * n / group], n multiple of group; @param scales f32[n / group]
 */
export function codesFromQ2(src: usize, n: i32, group: i32, codes: usize, scales: usize): void {
  const m3 = v128.load(MASK_03);
  const end = codes + <usize>n;
  while (codes < end) {
    store<f32>(scales, f16At(src));
    scales += 4;
    src += 2;
    for (let i = 0; i < group; i += 64) {
      const x = v128.load(src);
      const f0 = v128.and(x, m3),
        f1 = v128.and(i16x8.shr_u(x, 2), m3),
        f2 = v128.and(i16x8.shr_u(x, 4), m3),
        f3 = v128.and(i16x8.shr_u(x, 6), m3);
      const l01 = i8x16.shuffle(f0, f1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        h01 = i8x16.shuffle(f0, f1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
        l23 = i8x16.shuffle(f2, f3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        h23 = i8x16.shuffle(f2, f3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(codes, i8x16.shuffle(l01, l23, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
      v128.store(codes, i8x16.shuffle(l01, l23, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31), 16);
      v128.store(codes, i8x16.shuffle(h01, h23, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23), 32);
      v128.store(codes, i8x16.shuffle(h01, h23, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31), 48);
      src += 16;
      codes += 64;
    }
  }
}

/** Codes u8[n] to the stored form, u8[16 * ceil(n / 80)]; columns beyond n count as code 1. */
export function base3Pack(codes: usize, n: i32, out: usize): void {
  const half = i8x16.splat(121),
    share = i16x8.splat(1753);
  for (; n >= 80; n -= 80) {
    let x = i8x16.add(thrice(v128.load(codes)), v128.load(codes, 16));
    x = i8x16.add(thrice(x), v128.load(codes, 32));
    x = i8x16.add(thrice(x), v128.load(codes, 48));
    x = i8x16.add(thrice(x), v128.load(codes, 64));
    x = i8x16.sub(x, half);
    // V * 256 / 243 = V + V * 13 / 243, and 13 / 243 = 1753 / 2^15 as near as rounding needs for these V
    const low = i16x8.q15mulr_sat_s(i16x8.extend_low_i8x16_s(x), share),
      high = i16x8.q15mulr_sat_s(i16x8.extend_high_i8x16_s(x), share);
    v128.store(out, i8x16.add(x, i8x16.narrow_i16x8_s(low, high)));
    codes += 80;
    out += 16;
  }
  if (n === 0) return;
  for (let m = 0; m < 16; m++) {
    let x = 0;
    for (let column = m; column < 80; column += 16) x = x * 3 + (column < n ? <i32>load<u8>(codes + column) : 1);
    x -= 121;
    store<i8>(out + m, <i8>(x + ((x * 1753 + 16384) >> 15)));
  }
}

/** The stored form back to codes. Writes whole groups: u8[80 * ceil(n / 80)]. */
export function base3Unpack(src: usize, n: i32, codes: usize): void {
  const top = digitTop(),
    bottom = v128.not(top);
  for (; n > 0; n -= 80) {
    const x0 = v128.load(src);
    const x1 = thrice(x0),
      x2 = thrice(x1),
      x3 = thrice(x2),
      x4 = thrice(x3);
    v128.store(codes, firstDigit(x0, top, bottom));
    v128.store(codes, firstDigit(x1, top, bottom), 16);
    v128.store(codes, firstDigit(x2, top, bottom), 32);
    v128.store(codes, firstDigit(x3, top, bottom), 48);
    v128.store(codes, firstDigit(x4, top, bottom), 64);
    src += 16;
    codes += 80;
  }
}

/** 42 in each byte, from loaded masks (wasm/simd.ts says why). Its complement is -43. */
function digitTop(): v128 {
  const x = v128.load(MASK_0F);
  return i8x16.add(i8x16.add(x, x), v128.load(MASK_0C));
}

/** Code of the first digit of each byte: one more for each bound that it is above. */
function firstDigit(x: v128, top: v128, bottom: v128): v128 {
  return i8x16.neg(i8x16.add(i8x16.gt_s(x, bottom), i8x16.gt_s(x, top)));
}

function thrice(x: v128): v128 {
  return i8x16.add(x, i8x16.add(x, x));
}

/** One row of the tiles (wasm/gemv.ts) as codes: undoes packTiles() of field 0. cols: padded columns. */
export function unpackTiles(matrix: usize, row: i32, cols: i32, codes: usize): void {
  const m3 = v128.load(MASK_03);
  let src = matrix + <usize>(row >> 1) * <usize>(cols >> 1) + ((<usize>(row & 1)) << 4);
  const end = codes + <usize>cols;
  while (codes < end) {
    const x = v128.load(src);
    v128.store(codes, v128.and(x, m3));
    v128.store(codes, v128.and(i16x8.shr_u(x, 2), m3), 16);
    v128.store(codes, v128.and(i16x8.shr_u(x, 4), m3), 32);
    v128.store(codes, v128.and(i16x8.shr_u(x, 6), m3), 48);
    src += 32;
    codes += 64;
  }
}

/** One row of the lanes as codes: undoes packLanes() of field 0. matrixRows, cols: padded. */
export function unpackLanes(matrix: usize, row: i32, matrixRows: i32, cols: i32, codes: usize): void {
  const block = lutBlock(cols);
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k);
    let src =
      matrix + <usize>matrixRows * <usize>(k >> 2) + <usize>(row & ~15) * <usize>(width >> 2) + <usize>(row & 15);
    for (let j = 0; j < width; j += 4) {
      const x = <u32>load<u8>(src);
      store<u32>(codes, (x | (x << 6) | (x << 12) | (x << 18)) & 0x03030303);
      src += 16;
      codes += 4;
    }
  }
}
