// The int8 lm_head (lmhead.ts) for two to four rows of activations at once: the bits of headInt8(). For CPUs without an
// 8-bit dot product, where two half products of 7 bits cost more than one of 16 bits whose rows are widened once for all.

/** An exact sum, times the scales of both rows. i32 lanes are added up in f64, which they may not fit together. */
function put(out: usize, s: v128, rowScale: f32, scale: f32): void {
  const sum =
    <f64>i32x4.extract_lane(s, 0) +
    <f64>i32x4.extract_lane(s, 1) +
    <f64>i32x4.extract_lane(s, 2) +
    <f64>i32x4.extract_lane(s, 3);
  store<f32>(out, <f32>(sum * (<f64>rowScale * <f64>scale)));
}

/** s + the products of 8 elements. */
function plus(s: v128, w: v128, a: usize): v128 {
  return i32x4.add(s, i32x4.dot_i16x8_s(w, v128.load(a)));
}

/** Two, three or four rows of activations: H is u16, u32 or u64. Two rows of the table at a time. */
function some<H>(
  table: usize,
  codes: usize,
  record: usize,
  stride: usize,
  scales: usize,
  rowBegin: i32,
  rowEnd: i32,
  padded: i32,
  out: usize,
  outStride: usize,
): void {
  const begin = codes + ((<usize>padded) << 1),
    end = begin + ((<usize>padded) << 1);
  for (let r = rowBegin; r < rowEnd; r += 2) {
    let s00 = i32x4.splat(0),
      s01 = s00,
      s10 = s00,
      s11 = s00,
      s20 = s00,
      s21 = s00,
      s30 = s00,
      s31 = s00;
    let w = table + <usize>(r >> 2) * 4 * <usize>padded + ((<usize>(r & 2)) << 4);
    for (let p = begin; p < end; p += 32) {
      const w0 = v128.load8x8_s(w),
        w1 = v128.load8x8_s(w, 16),
        x0 = v128.load8x8_s(w, 8),
        x1 = v128.load8x8_s(w, 24);
      let q = p;
      s00 = plus(plus(s00, w0, q), x0, q + 16);
      s01 = plus(plus(s01, w1, q), x1, q + 16);
      q += stride;
      s10 = plus(plus(s10, w0, q), x0, q + 16);
      s11 = plus(plus(s11, w1, q), x1, q + 16);
      if (sizeof<H>() > 2) {
        q += stride;
        s20 = plus(plus(s20, w0, q), x0, q + 16);
        s21 = plus(plus(s21, w1, q), x1, q + 16);
      }
      if (sizeof<H>() > 4) {
        q += stride;
        s30 = plus(plus(s30, w0, q), x0, q + 16);
        s31 = plus(plus(s31, w1, q), x1, q + 16);
      }
      w += 64;
    }
    const at = (<usize>r) << 2,
      scale0 = load<f32>(scales + at),
      scale1 = load<f32>(scales + at, 4);
    let to = out + at,
      own = record;
    put(to, s00, scale0, load<f32>(own));
    put(to + 4, s01, scale1, load<f32>(own));
    to += outStride;
    own += stride;
    put(to, s10, scale0, load<f32>(own));
    put(to + 4, s11, scale1, load<f32>(own));
    if (sizeof<H>() > 2) {
      to += outStride;
      own += stride;
      put(to, s20, scale0, load<f32>(own));
      put(to + 4, s21, scale1, load<f32>(own));
    }
    if (sizeof<H>() > 4) {
      to += outStride;
      own += stride;
      put(to, s30, scale0, load<f32>(own));
      put(to + 4, s31, scale1, load<f32>(own));
    }
  }
}

/**
 * Logits of rows rowBegin..rowEnd (multiples of 4) from the int8 table, for the codes of quantiseHead() of several rows.
 * @param count rows of activations, 2, 3 or 4; @param stride bytes from the codes and the record of one to those of the next
 * @param padded at most 8192: a lane of the sums takes padded / 4 products of at most 127 * 8128
 * @param out f32[], by row of the table; @param outStride bytes from one row of logits to the next
 */
export function headInt8Rows(
  count: i32,
  table: usize,
  codes: usize,
  record: usize,
  stride: i32,
  scales: usize,
  rowBegin: i32,
  rowEnd: i32,
  padded: i32,
  out: usize,
  outStride: i32,
): void {
  if (count == 2) some<u16>(table, codes, record, stride, scales, rowBegin, rowEnd, padded, out, outStride);
  else if (count == 3) some<u32>(table, codes, record, stride, scales, rowBegin, rowEnd, padded, out, outStride);
  else some<u64>(table, codes, record, stride, scales, rowBegin, rowEnd, padded, out, outStride);
}
