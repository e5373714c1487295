// RMSNorm in float32: out = gain * (x / sqrt(mean(x^2) + eps)). The gain is plain (no 1 + g).
import { sumF32 } from './simd';

/**
 * The sum of squares has one order: 16 partial sums of every 16th element, (0 + 1) + (2 + 3) of the vectors, then of the
 * lanes, then the elements beyond the last multiple of 16 one by one.
 * @param x f32[n]; @param gain f32[n]; @param out f32[n], may be x; @param n multiple of 4
 * @param count elements that the mean is over: n, or less where the rest of x is padding, which must be 0
 */
export function rmsNorm(x: usize, gain: usize, out: usize, n: i32, count: i32, eps: f32): void {
  const whole = n & ~15;
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let p = x;
  for (let i = 0; i < whole; i += 16) {
    const a = v128.load(p),
      b = v128.load(p, 16),
      c = v128.load(p, 32),
      d = v128.load(p, 48);
    s0 = f32x4.add(s0, f32x4.mul(a, a));
    s1 = f32x4.add(s1, f32x4.mul(b, b));
    s2 = f32x4.add(s2, f32x4.mul(c, c));
    s3 = f32x4.add(s3, f32x4.mul(d, d));
    p += 64;
  }
  let sum = sumF32(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (let i = whole; i < n; i++) {
    const v = load<f32>(x + ((<usize>i) << 2));
    sum += v * v;
  }
  const r = f32x4.splat(<f32>1 / sqrt<f32>(sum / <f32>count + eps));
  for (let i: usize = 0; i < (<usize>n) << 2; i += 16) {
    v128.store(out + i, f32x4.mul(v128.load(gain + i), f32x4.mul(v128.load(x + i), r)));
  }
}
