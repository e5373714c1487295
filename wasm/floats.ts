// Weights that are not ternary in the file: floats to ternary codes, and embedding rows of every type to bf16.
// Addresses need no alignment. A type is one of the numbers below.
import { MASK_0F } from './simd';

const BF16 = 0;
const F16 = 1;
const F32 = 2;
const Q8_0 = 3;
const Q6_K = 4;
// 5 is Q4_0
const Q4_K = 6;

/**
 * Ternary codes of float weights: clamp(roundEven(x * multiplier), -1, 1) + 1, the product rounded to f32 (absmean
 * quantisation: multiplier = 1 / mean|W|). NaN becomes code 1.
 * @param type BF16, F16 or F32; @param codes u8[n]
 */
export function codesFromFloats(src: usize, type: i32, n: i32, multiplier: f32, codes: usize): void {
  const by = f32x4.splat(multiplier),
    one = i8x16.splat(1),
    step = (<usize>4) << sizeShift(type);
  for (; n >= 16; n -= 16) {
    const a = ternary(floats(src, type), by),
      b = ternary(floats(src + step, type), by),
      c = ternary(floats(src + 2 * step, type), by),
      d = ternary(floats(src + 3 * step, type), by);
    const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    v128.store(codes, i8x16.add(signs, one));
    src += 4 * step;
    codes += 16;
  }
  for (; n > 0; n--) {
    const y = floatAt(src, type) * multiplier;
    store<u8>(codes, <u8>(1 + i32(y > 0.5) - i32(y < -0.5)));
    src += step >> 2;
    codes++;
  }
}

/** -1, 0 or +1 in each i32. A tie, half, rounds to the even 0. */
function ternary(x: v128, by: v128): v128 {
  const y = f32x4.mul(x, by);
  return i32x4.sub(f32x4.lt(y, f32x4.splat(-0.5)), f32x4.gt(y, f32x4.splat(0.5)));
}

/**
 * Sum of |x| in f64. Eight sums, of the elements i mod 8 = 0..7, joined as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)); the
 * last n mod 8 elements are added to that one by one.
 * @param type BF16, F16 or F32
 */
export function sumAbs(src: usize, type: i32, n: i32): f64 {
  const step = (<usize>4) << sizeShift(type);
  let s01 = f64x2.splat(0),
    s23 = s01,
    s45 = s01,
    s67 = s01;
  for (; n >= 8; n -= 8) {
    const a = f32x4.abs(floats(src, type)),
      b = f32x4.abs(floats(src + step, type));
    s01 = f64x2.add(s01, f64x2.promote_low_f32x4(a));
    s23 = f64x2.add(s23, f64x2.promote_low_f32x4(upperHalf(a)));
    s45 = f64x2.add(s45, f64x2.promote_low_f32x4(b));
    s67 = f64x2.add(s67, f64x2.promote_low_f32x4(upperHalf(b)));
    src += 2 * step;
  }
  let sum = sumF64(s01) + sumF64(s23) + (sumF64(s45) + sumF64(s67));
  for (; n > 0; n--) {
    sum += <f64>abs(floatAt(src, type));
    src += step >> 2;
  }
  return sum;
}

function upperHalf(x: v128): v128 {
  return i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
}

function sumF64(a: v128): f64 {
  return f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
}

/** 1 if one of n floats is an infinity or NaN (all bits of the exponent set); else 0. type: BF16, F16 or F32. */
export function badFloat(src: usize, type: i32, n: i32): i32 {
  const exponent = i32x4.splat(0x7f800000),
    step = (<usize>4) << sizeShift(type);
  let bad = i32x4.splat(0);
  for (; n >= 4; n -= 4) {
    bad = v128.or(bad, i32x4.eq(v128.and(floats(src, type), exponent), exponent));
    src += step;
  }
  if (v128.any_true(bad)) return 1;
  for (; n > 0; n--) {
    if ((reinterpret<u32>(floatAt(src, type)) & 0x7f800000) === 0x7f800000) return 1;
    src += step >> 2;
  }
  return 0;
}

/**
 * One row of any type as bf16: f32 by ggml's formula (ggml-quants.c), rounded to nearest, ties to even.
 * Q8_0: per 32 an f16 d and 32 int8 q; d * q. Q4_0: per 32 an f16 d and 16 bytes, elements 0..15 in the low halves, the
 * others in the high ones; d * (q - 8). Q6_K: see putQ6K(), Q4_K: putQ4K().
 * @param n multiple of 256 for Q6_K and Q4_K, of 32 for Q8_0 and Q4_0; @param out u16[n]
 */
export function rowToBf16(src: usize, type: i32, n: i32, out: usize): void {
  if (type === BF16) memory.copy(out, src, (<usize>n) << 1);
  else if (type === F16 || type === F32) floatsToBf16(src, type, n, out);
  else if (type === Q6_K) {
    for (; n > 0; n -= 256) {
      putQ6K(src, out);
      src += 210;
      out += 512;
    }
  } else if (type === Q4_K) {
    for (; n > 0; n -= 256) {
      putQ4K(src, out);
      src += 144;
      out += 512;
    }
  } else {
    const mF = v128.load(MASK_0F),
      eight = i8x16.splat(8);
    for (; n > 0; n -= 32) {
      const scale = f16At(src),
        x = v128.load(src, 2);
      if (type === Q8_0) {
        putScaled(x, scale, 0, out);
        putScaled(v128.load(src, 18), scale, 0, out + 32);
        src += 34;
      } else {
        putScaled(i8x16.sub(v128.and(x, mF), eight), scale, 0, out);
        putScaled(i8x16.sub(v128.and(i16x8.shr_u(x, 4), mF), eight), scale, 0, out + 32);
        src += 18;
      }
      out += 64;
    }
  }
}

function floatsToBf16(src: usize, type: i32, n: i32, out: usize): void {
  const step = (<usize>4) << sizeShift(type);
  for (; n >= 8; n -= 8) {
    v128.store(out, roundBf16(floats(src, type), floats(src + step, type)));
    src += 2 * step;
    out += 16;
  }
  for (; n > 0; n--) {
    const x = f32x4.splat(floatAt(src, type));
    v128.store16_lane(out, roundBf16(x, x), 0);
    src += step >> 2;
    out += 2;
  }
}

/**
 * 256 elements of Q6_K: ql u8[128], qh u8[64], scales i8[16], f16 d. In each half of 128, for l = 0..31, the low four bits
 * of elements l, l + 32, l + 64, l + 96 are the low halves of ql[l] and ql[l + 32], then their high halves; the upper two
 * lie in qh[l], lowest first. (d * scale) * (q - 32), one scale to 16 elements in order.
 */
function putQ6K(src: usize, out: usize): void {
  const mF = v128.load(MASK_0F),
    m30 = i8x16.splat(0x30),
    offset = i8x16.splat(32);
  const d = f16At(src + 208);
  let scale = src + 192;
  for (let half: usize = 0; half < 2; half++) {
    for (let l: usize = 0; l < 32; l += 16) {
      const a = v128.load(src + half * 64 + l),
        b = v128.load(src + half * 64 + l, 32),
        h = v128.load(src + half * 32 + l, 128);
      const q0 = v128.or(v128.and(a, mF), v128.and(i16x8.shl(h, 4), m30)),
        q1 = v128.or(v128.and(b, mF), v128.and(i16x8.shl(h, 2), m30)),
        q2 = v128.or(v128.and(i16x8.shr_u(a, 4), mF), v128.and(h, m30)),
        q3 = v128.or(v128.and(i16x8.shr_u(b, 4), mF), v128.and(i16x8.shr_u(h, 2), m30));
      const to = out + half * 256 + 2 * l;
      putScaled(i8x16.sub(q0, offset), d * <f32>load<i8>(scale), 0, to);
      putScaled(i8x16.sub(q1, offset), d * <f32>load<i8>(scale, 2), 0, to + 64);
      putScaled(i8x16.sub(q2, offset), d * <f32>load<i8>(scale, 4), 0, to + 128);
      putScaled(i8x16.sub(q3, offset), d * <f32>load<i8>(scale, 6), 0, to + 192);
      scale++;
    }
    scale += 6;
  }
}

/**
 * 256 elements of Q4_K: f16 d, f16 dmin, 12 bytes with eight scales and eight mins of 6 bits, u8[128]. Of each 32 bytes the
 * low halves are 32 elements, the high halves the next 32; (d * scale) * q - dmin * min, one pair to 32 elements in order.
 * Scales and mins 0..3 are the low 6 bits of bytes 0..3 and 4..7; of 4..7, the low four bits are the halves of bytes 8..11
 * (min in the high one), the upper two the upper bits of bytes 0..3 and 4..7.
 */
function putQ4K(src: usize, out: usize): void {
  const mF = v128.load(MASK_0F);
  const d = f16At(src),
    dmin = f16At(src + 2);
  for (let run: usize = 0; run < 8; run++) {
    const pair = src + 4 + (run & 3);
    const a = <i32>load<u8>(pair),
      b = <i32>load<u8>(pair, 4),
      c = <i32>load<u8>(pair, 8);
    const scale = d * <f32>(run < 4 ? a & 63 : (c & 15) | ((a >> 6) << 4)),
      least = dmin * <f32>(run < 4 ? b & 63 : (c >> 4) | ((b >> 6) << 4));
    for (let l: usize = 0; l < 32; l += 16) {
      const x = v128.load(src + 16 + (run >> 1) * 32 + l);
      putScaled(v128.and(run & 1 ? i16x8.shr_u(x, 4) : x, mF), scale, least, out + run * 64 + 2 * l);
    }
  }
}

/** Sixteen int8 times a scale, less a number, as bf16. */
function putScaled(q: v128, scale: f32, least: f32, out: usize): void {
  const low = i16x8.extend_low_i8x16_s(q),
    high = i16x8.extend_high_i8x16_s(q);
  const a = scaled(i32x4.extend_low_i16x8_s(low), scale, least),
    b = scaled(i32x4.extend_high_i16x8_s(low), scale, least),
    c = scaled(i32x4.extend_low_i16x8_s(high), scale, least),
    d = scaled(i32x4.extend_high_i16x8_s(high), scale, least);
  v128.store(out, roundBf16(a, b));
  v128.store(out, roundBf16(c, d), 16);
}

function scaled(q: v128, scale: f32, least: f32): v128 {
  return f32x4.sub(f32x4.mul(f32x4.convert_i32x4_s(q), f32x4.splat(scale)), f32x4.splat(least));
}

/** Eight f32 to bf16, to nearest, ties to even. NaN stays NaN: rounding could carry it over into a zero. */
function roundBf16(a: v128, b: v128): v128 {
  return i16x8.narrow_i32x4_u(roundFour(a), roundFour(b));
}

function roundFour(x: v128): v128 {
  const upper = i32x4.shr_u(x, 16);
  const odd = v128.and(upper, i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(x, i32x4.add(odd, i32x4.splat(0x7fff))), 16);
  return v128.bitselect(rounded, v128.or(upper, i32x4.splat(0x40)), f32x4.eq(x, x));
}

/** Four floats of a type as f32. */
function floats(src: usize, type: i32): v128 {
  if (type === F32) return v128.load(src);
  const x = v128.load16x4_s(src);
  return type === BF16 ? i32x4.shl(x, 16) : widen(x);
}

/** Four f16, sign-extended to i32, as f32. */
function widen(x: v128): v128 {
  // sign, exponent and fraction in the places of an f32; 2^112 makes up for the exponent's other bias, also of subnormals
  const y = f32x4.mul(v128.and(i32x4.shl(x, 13), i32x4.splat(0x8fffffff)), f32x4.splat(reinterpret<f32>(0x77800000)));
  const infinite = f32x4.ge(f32x4.abs(y), f32x4.splat(65536));
  return v128.or(y, v128.and(infinite, i32x4.splat(0x7f800000)));
}

/** The f16 at an address as f32. */
export function f16At(src: usize): f32 {
  return f32x4.extract_lane(widen(i32x4.splat(load<i16>(src))), 0);
}

function floatAt(src: usize, type: i32): f32 {
  if (type === F32) return load<f32>(src);
  return type === BF16 ? reinterpret<f32>((<u32>load<u16>(src)) << 16) : f16At(src);
}

/** log2 of the bytes of one float. */
function sizeShift(type: i32): i32 {
  return type === F32 ? 2 : 1;
}

/** n halves to f32, `stride` bytes apart. Exact. */
export function floatsFromHalfs(src: usize, n: i32, out: usize, stride: i32): void {
  for (let i: usize = 0; i < <usize>n; i++) store<f32>(out + i * <usize>stride, f16At(src + (i << 1)));
}
