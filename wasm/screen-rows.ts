// Bounds of screening for two or four rows of activations at once, as screenRows16() of screen.ts: the same bits.
import { GROUP, putGroup } from './screen';
import { MASK_0F, sumI32, widened } from './simd';

/** i16 sums t + those of 32 elements: half-bytes unpacked to two vectors. */
function dots(t: v128, p: usize, low: v128, high: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.add(
      t,
      i16x8.add(
        i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p), low),
        i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 16), high),
      ),
    );
  } else return unreachable();
}

/** Sums <code, b> of two rows of the plane, 16 bytes of a tile apart; H is u16 for two rows of activations, u64 for four. */
function twoRows<H>(w: usize, codes: usize, stride: usize, n: usize, out: usize, outStride: usize): void {
  const mf = v128.load(MASK_0F);
  let p = codes;
  const last = codes + n;
  let s00 = i32x4.splat(0),
    s01 = s00,
    s10 = s00,
    s11 = s00,
    s20 = s00,
    s21 = s00,
    s30 = s00,
    s31 = s00;
  do {
    const stop = p + 128; // as in screenRows16(): more do not fit i16
    let t00 = i32x4.splat(0),
      t01 = t00,
      t10 = t00,
      t11 = t00,
      t20 = t00,
      t21 = t00,
      t30 = t00,
      t31 = t00;
    do {
      const w0 = v128.load(w),
        w1 = v128.load(w, 16);
      const l0 = v128.and(w0, mf),
        h0 = v128.and(i16x8.shr_u(w0, 4), mf),
        l1 = v128.and(w1, mf),
        h1 = v128.and(i16x8.shr_u(w1, 4), mf);
      let q = p;
      t00 = dots(t00, q, l0, h0);
      t01 = dots(t01, q, l1, h1);
      q += stride;
      t10 = dots(t10, q, l0, h0);
      t11 = dots(t11, q, l1, h1);
      if (sizeof<H>() > 2) {
        q += stride;
        t20 = dots(t20, q, l0, h0);
        t21 = dots(t21, q, l1, h1);
        q += stride;
        t30 = dots(t30, q, l0, h0);
        t31 = dots(t31, q, l1, h1);
      }
      w += 64;
      p += 32;
    } while (p < stop);
    s00 = widened(s00, t00);
    s01 = widened(s01, t01);
    s10 = widened(s10, t10);
    s11 = widened(s11, t11);
    if (sizeof<H>() > 2) {
      s20 = widened(s20, t20);
      s21 = widened(s21, t21);
      s30 = widened(s30, t30);
      s31 = widened(s31, t31);
    }
  } while (p < last);
  putSums(out, s00, s01);
  putSums(out + outStride, s10, s11);
  if (sizeof<H>() > 2) {
    putSums(out + outStride * 2, s20, s21);
    putSums(out + outStride * 3, s30, s31);
  }
}

function putSums(out: usize, s0: v128, s1: v128): void {
  store<i32>(out, sumI32(s0));
  store<i32>(out, sumI32(s1), 4);
}

/**
 * Two or four rows of activations share the unpacking of the plane. Relaxed builds only.
 * @param count 2 or 4; @param stride bytes from the codes and the record of one row to those of the next
 * @param outStride bytes from the bounds of one to those of the next; @param groupsStride the same of the groups' records
 */
export function screenRows16Several(
  count: i32,
  plane: usize,
  factors: usize,
  codes: usize,
  record: usize,
  stride: i32,
  rowBegin: i32,
  rowEnd: i32,
  vocab: i32,
  n: i32,
  out: usize,
  outStride: i32,
  groups: usize,
  groupsStride: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    let w = plane + <usize>(rowBegin >> 2) * 2 * <usize>n;
    for (let begin = rowBegin; begin < rowEnd; begin += GROUP) {
      const end = min(begin + GROUP, rowEnd);
      for (let r = begin; r < end; r += 4) {
        for (let half: usize = 0; half < 2; half++) {
          const from = w + half * 32,
            to = out + ((<usize>r + half * 2) << 2);
          if (count == 2) twoRows<u16>(from, codes, stride, n, to, outStride);
          else twoRows<u64>(from, codes, stride, n, to, outStride);
        }
        w += (<usize>n) << 1;
      }
      const factorsAt = factors + ((<usize>begin) << 3);
      for (let i: usize = 0; i < <usize>count; i++) {
        putGroup(begin, end, vocab, factorsAt, record + i * stride, out + i * outStride, groups + i * groupsStride);
      }
    }
  } else unreachable();
}
