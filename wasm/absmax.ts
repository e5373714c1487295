// Absmax quantisation of activations to int8, one scale a row (BitNet b1.58; round half to even as in torch.round).
import { CODES_COPY } from './gemv';

/**
 * c = 127 / max(max|x|, 1e-5); code = round(x * c).
 * @param x f32[n]; @param n any; @param padded n rounded up to 64 (codes beyond n are 0)
 * @param codes i8[padded]; @param copy not 0: a second copy CODES_COPY bytes on, for dot32
 * @param row 16-byte record out: f32 c, f32 max|x| / 127, i32 sum of codes, 0
 */
export function quantise(x: usize, n: i32, padded: i32, codes: usize, copy: i32, row: usize): void {
  const whole = n & ~15;
  let m0 = f32x4.splat(0),
    m1 = f32x4.splat(0),
    m2 = f32x4.splat(0),
    m3 = f32x4.splat(0);
  let p = x;
  for (let i = 0; i < whole; i += 16) {
    m0 = f32x4.max(m0, f32x4.abs(v128.load(p)));
    m1 = f32x4.max(m1, f32x4.abs(v128.load(p, 16)));
    m2 = f32x4.max(m2, f32x4.abs(v128.load(p, 32)));
    m3 = f32x4.max(m3, f32x4.abs(v128.load(p, 48)));
    p += 64;
  }
  const m = f32x4.max(f32x4.max(m0, m1), f32x4.max(m2, m3));
  let most = max(
    max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  );
  for (let i = whole; i < n; i++) most = max(most, abs(load<f32>(x + ((<usize>i) << 2))));
  most = max(most, <f32>1e-5);
  const c = <f32>127 / most;
  store<f32>(row, c);
  store<f32>(row, most / <f32>127, 4);

  const scale = f32x4.splat(c);
  let sums = i32x4.splat(0);
  p = x;
  let q = codes;
  for (let i = 0; i < whole; i += 16) {
    const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p), scale)));
    const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 16), scale)));
    const d = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 32), scale)));
    const e = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 48), scale)));
    sums = i32x4.add(sums, i32x4.add(i32x4.add(a, b), i32x4.add(d, e)));
    v128.store(q, i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(d, e)));
    p += 64;
    q += 16;
  }
  let sum =
    i32x4.extract_lane(sums, 0) +
    i32x4.extract_lane(sums, 1) +
    i32x4.extract_lane(sums, 2) +
    i32x4.extract_lane(sums, 3);
  for (let i = whole; i < padded; i++) {
    const code = i < n ? <i32>nearest<f32>(load<f32>(x + ((<usize>i) << 2)) * c) : 0;
    store<i8>(codes + i, <i8>code);
    sum += code;
  }
  store<i32>(row, sum, 8);
  store<i32>(row, 0, 12);
  if (copy) memory.copy(codes + CODES_COPY, codes, padded);
}
