// BitLinear for two to four rows of activations at once, as gemvDot16() of gemv.ts: the same bits.
import { put } from './gemv';
import { MASK_03, sumI32, widened } from './simd';

/** Four dot products of 64 columns, codes unpacked to 0..2, added to s. */
function dots(s: v128, p: usize, w0: v128, w1: v128, w2: v128, w3: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.add(
      s,
      i16x8.add(
        i16x8.add(
          i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p), w0),
          i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 16), w1),
        ),
        i16x8.add(
          i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 32), w2),
          i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 48), w3),
        ),
      ),
    );
  } else return unreachable();
}

/** Writes the two results of one row of activations. */
function putTwo(out: usize, s0: v128, s1: v128, row: usize, weightScale: f32, accumulate: i32): void {
  const scale = weightScale * load<f32>(row, 4),
    sum = load<i32>(row, 8);
  put(out, sumI32(s0) - sum, scale, accumulate);
  put(out + 4, sumI32(s1) - sum, scale, accumulate);
}

/** Two, three or four rows of activations: H is u16, u32 or u64. */
function some<H>(
  w: usize,
  codes: usize,
  stride: usize,
  row: usize,
  rowStride: usize,
  rows: i32,
  cols: i32,
  weightScale: f32,
  out: usize,
  outStride: usize,
  accumulate: i32,
): void {
  const m3 = v128.load(MASK_03);
  for (let r = 0; r < rows; r += 2) {
    let p = codes;
    let left = cols >> 6;
    let s00 = i32x4.splat(0),
      s01 = s00,
      s10 = s00,
      s11 = s00,
      s20 = s00,
      s21 = s00,
      s30 = s00,
      s31 = s00;
    do {
      let n = min(left, 16);
      left -= n;
      let a00 = i32x4.splat(0),
        a01 = a00,
        a10 = a00,
        a11 = a00,
        a20 = a00,
        a21 = a00,
        a30 = a00,
        a31 = a00;
      do {
        const w0 = v128.load(w),
          w1 = v128.load(w, 16);
        const e0 = v128.and(w0, m3),
          f0 = v128.and(i16x8.shr_u(w0, 2), m3),
          g0 = v128.and(i16x8.shr_u(w0, 4), m3),
          h0 = v128.and(i16x8.shr_u(w0, 6), m3);
        const e1 = v128.and(w1, m3),
          f1 = v128.and(i16x8.shr_u(w1, 2), m3),
          g1 = v128.and(i16x8.shr_u(w1, 4), m3),
          h1 = v128.and(i16x8.shr_u(w1, 6), m3);
        let q = p;
        a00 = dots(a00, q, e0, f0, g0, h0);
        a01 = dots(a01, q, e1, f1, g1, h1);
        q += stride;
        a10 = dots(a10, q, e0, f0, g0, h0);
        a11 = dots(a11, q, e1, f1, g1, h1);
        if (sizeof<H>() > 2) {
          q += stride;
          a20 = dots(a20, q, e0, f0, g0, h0);
          a21 = dots(a21, q, e1, f1, g1, h1);
        }
        if (sizeof<H>() > 4) {
          q += stride;
          a30 = dots(a30, q, e0, f0, g0, h0);
          a31 = dots(a31, q, e1, f1, g1, h1);
        }
        w += 32;
        p += 64;
      } while (--n);
      s00 = widened(s00, a00);
      s01 = widened(s01, a01);
      s10 = widened(s10, a10);
      s11 = widened(s11, a11);
      if (sizeof<H>() > 2) {
        s20 = widened(s20, a20);
        s21 = widened(s21, a21);
      }
      if (sizeof<H>() > 4) {
        s30 = widened(s30, a30);
        s31 = widened(s31, a31);
      }
    } while (left);
    putTwo(out, s00, s01, row, weightScale, accumulate);
    putTwo(out + outStride, s10, s11, row + rowStride, weightScale, accumulate);
    if (sizeof<H>() > 2) putTwo(out + outStride * 2, s20, s21, row + rowStride * 2, weightScale, accumulate);
    if (sizeof<H>() > 4) putTwo(out + outStride * 3, s30, s31, row + rowStride * 3, weightScale, accumulate);
    out += 8;
  }
}

/**
 * dot16 for two to four rows of activations, which share the unpacking of the weights: four take two thirds of the time
 * that they take one after the other. Codes are shifted to 0..2, so that one accumulator does for all fields: a lane gains
 * at most 4 * 2 * 127 * 2 = 2032 a chunk, 16 chunks fit an i16.
 * @param count rows of activations, 2, 3 or 4
 * @param stride bytes from the codes of one row to those of the next; @param rowStride the same of the records
 * @param outStride bytes from the results of one row to those of the next
 */
export function gemvDot16Rows(
  count: i32,
  w: usize,
  codes: usize,
  stride: i32,
  row: usize,
  rowStride: i32,
  rows: i32,
  cols: i32,
  weightScale: f32,
  out: usize,
  outStride: i32,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (count == 2) some<u16>(w, codes, stride, row, rowStride, rows, cols, weightScale, out, outStride, accumulate);
    else if (count == 3)
      some<u32>(w, codes, stride, row, rowStride, rows, cols, weightScale, out, outStride, accumulate);
    else some<u64>(w, codes, stride, row, rowStride, rows, cols, weightScale, out, outStride, accumulate);
  } else unreachable();
}
