// BitLinear for two rows of activations at once, as gemvDot16() of gemv.ts: the same bits.
import { put } from './gemv';
import { MASK_03, sumI32 } from './simd';

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

/**
 * dot16 for two rows of activations, which share the unpacking of the weights: 1.3 times as fast as one after the other.
 * Codes are shifted to 0..2, so that one accumulator does for all fields: a lane gains at most 4 * 2 * 127 * 2 = 2032 a
 * chunk, 16 chunks fit an i16.
 * @param stride bytes from the codes of the first row to those of the second; @param rowStride the same of the records
 * @param outStride bytes from the result of the first row to that of the second
 */
export function gemvDot16Pair(
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
    const m3 = v128.load(MASK_03);
    const scale0 = weightScale * load<f32>(row, 4),
      sum0 = load<i32>(row, 8),
      scale1 = weightScale * load<f32>(row + <usize>rowStride, 4),
      sum1 = load<i32>(row + <usize>rowStride, 8);
    for (let r = 0; r < rows; r += 2) {
      let p = codes;
      let left = cols >> 6;
      let s00 = i32x4.splat(0),
        s01 = i32x4.splat(0),
        s10 = i32x4.splat(0),
        s11 = i32x4.splat(0);
      do {
        let n = min(left, 16);
        left -= n;
        let a00 = i32x4.splat(0),
          a01 = i32x4.splat(0),
          a10 = i32x4.splat(0),
          a11 = i32x4.splat(0);
        do {
          const w0 = v128.load(w),
            w1 = v128.load(w, 16),
            q = p + <usize>stride;
          const e0 = v128.and(w0, m3),
            f0 = v128.and(i16x8.shr_u(w0, 2), m3),
            g0 = v128.and(i16x8.shr_u(w0, 4), m3),
            h0 = v128.and(i16x8.shr_u(w0, 6), m3);
          const e1 = v128.and(w1, m3),
            f1 = v128.and(i16x8.shr_u(w1, 2), m3),
            g1 = v128.and(i16x8.shr_u(w1, 4), m3),
            h1 = v128.and(i16x8.shr_u(w1, 6), m3);
          a00 = dots(a00, p, e0, f0, g0, h0);
          a01 = dots(a01, p, e1, f1, g1, h1);
          a10 = dots(a10, q, e0, f0, g0, h0);
          a11 = dots(a11, q, e1, f1, g1, h1);
          w += 32;
          p += 64;
        } while (--n);
        s00 = i32x4.add(s00, i32x4.extadd_pairwise_i16x8_s(a00));
        s01 = i32x4.add(s01, i32x4.extadd_pairwise_i16x8_s(a01));
        s10 = i32x4.add(s10, i32x4.extadd_pairwise_i16x8_s(a10));
        s11 = i32x4.add(s11, i32x4.extadd_pairwise_i16x8_s(a11));
      } while (left);
      put(out, sumI32(s00) - sum0, scale0, accumulate);
      put(out + 4, sumI32(s01) - sum0, scale0, accumulate);
      put(out + <usize>outStride, sumI32(s10) - sum1, scale1, accumulate);
      put(out + <usize>outStride + 4, sumI32(s11) - sum1, scale1, accumulate);
      out += 8;
    }
  } else unreachable();
}
