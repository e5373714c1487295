// Screening of the int8 lm_head (screen.ts): the plane of 4 bits an element, and what it is multiplied with.
//
// The bound. Row q (int8 codes) and activations a (14-bit codes) are rotated (rotate.ts): q' = Rq, a' = Ra, and <q, a> is
// <q', a'> / 2^22. Row: q' = s u + e, u = code - 7.5 with 4-bit codes, step 0.3352 deviations (Max 1960: the best of 16
// equal steps for a normal distribution), s = |q'|^2 / <q', u>, which makes e perpendicular to q', so that large logits
// are not shrunk (Gao and Long 2024, RaBitQ); |e| = |q'| tan(q', u), about 0.11 |q'|. Activations: a' = t b + r, b 8-bit
// codes, |r| about 0.01 |a'|. Then
//   <q', a'> = s t <u, b> + <e, a'> + s <u, r>.
// After a random rotation the last two are sums of n terms of random sign; their deviations are |e| |a'| / sqrt(n) and
// s |u| |r| / sqrt(n). 8 deviations of both together are the bound: a row is missed with probability 1e-15, where
// the whole vocabulary makes 1e-10 a token. With |e| = |q'| max(tan, 1/16), s |u| = |q'| / cos is at most 16.04 |e|,
// so that one number a row suffices: 8 |e| sqrt((|a'|^2 + 258 |r|^2) / n). A thousandth more covers all rounding in f32.
//
// Plane: tiles of four rows; for each 32 elements 16 bytes of each row; low half-bytes elements 0..15, high ones 16..31.
// Factors, for each four rows: f32[4] s * row scale / 2^23, f32[4] |e| * row scale / 2^22.
import { putSigned, ROTATION_GAIN, rotate } from './rotate';
import { sumI32 } from './simd';

const STEP: f64 = 0.3352;
export const DEVIATIONS: f64 = 8;
const LEAST_TANGENT: f64 = 0.0625;
const SPAN: f64 = 258; // (|q'| / cos / |e|)^2 at most: (1 + 16^2) and some
const ROUNDING: f64 = 1.001;

/**
 * One row of the int8 table (see lmhead.ts) into the plane.
 * @param padded bytes of a row of the table; @param n padded rounded up to 256; @param scales f32[] of the table
 * @param signs of rotationSigns(n); @param scratch f32[n]
 */
export function screenRow(
  table: usize,
  scales: usize,
  row: i32,
  padded: i32,
  n: i32,
  signs: usize,
  scratch: usize,
  plane: usize,
  factors: usize,
): void {
  const tile = <usize>(row >> 2),
    lane = <usize>(row & 3);
  const src = table + tile * 4 * <usize>padded + lane * 16;
  let squares = i32x4.splat(0);
  for (let i: usize = 0; i < <usize>padded; i += 8) {
    const x = v128.load8x8_s(src + (i >> 4) * 64 + (i & 8));
    squares = i32x4.add(squares, i32x4.dot_i16x8_s(x, x));
    putSigned(x, signs + (i << 1), scratch + (i << 2));
  }
  memory.fill(scratch + ((<usize>padded) << 2), 0, (<usize>(n - padded)) << 2);
  rotate(scratch, n, signs);
  const square = <f64>sumI32(squares) * <f64>ROTATION_GAIN, // |q'|^2
    step = STEP * Math.sqrt(square / <f64>n);
  const inverse = f32x4.splat(<f32>(square > 0 ? 1 / step : 0)),
    low = f32x4.splat(-8),
    high = f32x4.splat(7),
    half = f32x4.splat(0.5);
  let dots = f32x4.splat(0),
    norms = f32x4.splat(0);
  let dst = plane + tile * 2 * <usize>n + lane * 16;
  const end = scratch + ((<usize>n) << 2);
  for (let p = scratch; p < end; p += 64) {
    const x0 = v128.load(p),
      x1 = v128.load(p, 16),
      x2 = v128.load(p, 32),
      x3 = v128.load(p, 48);
    const c0 = f32x4.pmin(high, f32x4.pmax(low, f32x4.floor(f32x4.mul(x0, inverse)))),
      c1 = f32x4.pmin(high, f32x4.pmax(low, f32x4.floor(f32x4.mul(x1, inverse)))),
      c2 = f32x4.pmin(high, f32x4.pmax(low, f32x4.floor(f32x4.mul(x2, inverse)))),
      c3 = f32x4.pmin(high, f32x4.pmax(low, f32x4.floor(f32x4.mul(x3, inverse))));
    const u0 = f32x4.add(c0, half),
      u1 = f32x4.add(c1, half),
      u2 = f32x4.add(c2, half),
      u3 = f32x4.add(c3, half);
    dots = f32x4.add(
      dots,
      f32x4.add(f32x4.add(f32x4.mul(x0, u0), f32x4.mul(x1, u1)), f32x4.add(f32x4.mul(x2, u2), f32x4.mul(x3, u3))),
    );
    norms = f32x4.add(
      norms,
      f32x4.add(f32x4.add(f32x4.mul(u0, u0), f32x4.mul(u1, u1)), f32x4.add(f32x4.mul(u2, u2), f32x4.mul(u3, u3))),
    );
    const codes = i8x16.narrow_i16x8_s(
      i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(c0), i32x4.trunc_sat_f32x4_s(c1)),
      i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(c2), i32x4.trunc_sat_f32x4_s(c3)),
    );
    const bytes = i8x16.add(codes, i8x16.splat(8));
    if ((p - scratch) & 64) {
      v128.store(dst, v128.or(v128.load(dst), i16x8.shl(bytes, 4)));
      dst += 64;
    } else v128.store(dst, bytes);
  }
  const dot = sumF64(dots),
    norm = sumF64(norms);
  const tangent = Math.sqrt(max((square * norm) / (dot * dot) - 1, LEAST_TANGENT * LEAST_TANGENT));
  const scale = <f64>load<f32>(scales + ((<usize>row) << 2)) / <f64>ROTATION_GAIN;
  const at = factors + tile * 32 + lane * 4;
  store<f32>(at, square > 0 ? <f32>((scale * square) / dot / 2) : 0);
  store<f32>(at, square > 0 ? <f32>(scale * Math.sqrt(square) * tangent) : 0, 16);
}

function sumF64(x: v128): f64 {
  return (
    <f64>f32x4.extract_lane(x, 0) +
    <f64>f32x4.extract_lane(x, 1) +
    (<f64>f32x4.extract_lane(x, 2) + <f64>f32x4.extract_lane(x, 3))
  );
}

/**
 * The activations for screenRows16() and screenRows32(), from the codes of quantiseHead().
 * @param a i16[padded]; @param scale f32 of quantiseHead(); @param scratch f32[n]
 * @param codes out: i8[n], then (baseline build) i16[n]: for each 32 elements those that the four half-bytes of a 16-bit
 * word hold: even ones of the first 16, even ones of the second, odd ones of the first, odd ones of the second
 * @param record out: f32 factor of 2 <code, b> - 15 sum(b), f32 factor of |e|, i32 15 sum(b)
 */
export function screenActivations(
  a: usize,
  scale: usize,
  padded: i32,
  n: i32,
  signs: usize,
  scratch: usize,
  codes: usize,
  record: usize,
): void {
  for (let i: usize = 0; i < <usize>padded; i += 8) {
    putSigned(v128.load(a + (i << 1)), signs + (i << 1), scratch + (i << 2));
  }
  memory.fill(scratch + ((<usize>padded) << 2), 0, (<usize>(n - padded)) << 2);
  rotate(scratch, n, signs);
  let most: f32 = 0;
  for (let i = 0; i < n; i++) most = max(most, abs(load<f32>(scratch + ((<usize>i) << 2))));
  const inverse: f64 = most > 0 ? <f64>127 / <f64>most : 0,
    t = <f64>most / <f64>127;
  let sum = 0,
    square: f64 = 0,
    rest: f64 = 0;
  for (let i = 0; i < n; i++) {
    const x = <f64>load<f32>(scratch + ((<usize>i) << 2)),
      b = nearest<f64>(x * inverse),
      r = x - t * b;
    store<i8>(codes + i, <i8>(<i32>b));
    sum += <i32>b;
    square += x * x;
    rest += r * r;
  }
  if (!ASC_FEATURE_RELAXED_SIMD) {
    for (let i = 0; i < n; i += 32) {
      const b = v128.load(codes + i),
        c = v128.load(codes + i, 16),
        dst = codes + n + ((<usize>i) << 1);
      v128.store(dst, i16x8.shr_s(i16x8.shl(b, 8), 8));
      v128.store(dst, i16x8.shr_s(i16x8.shl(c, 8), 8), 16);
      v128.store(dst, i16x8.shr_s(b, 8), 32);
      v128.store(dst, i16x8.shr_s(c, 8), 48);
    }
  }
  const unit = <f64>load<f32>(scale);
  store<f32>(record, <f32>(unit * t));
  store<f32>(record, <f32>(unit * ROUNDING * DEVIATIONS * Math.sqrt((square + SPAN * rest) / <f64>n)), 4);
  store<i32>(record, 15 * sum, 8);
}
