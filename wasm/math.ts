// sqrt, exp, log, sin, cos, pow of our own: the same bits in every browser, which Math does not promise.
// Only additions, multiplications, divisions and roundings of IEEE 754 are used, in a fixed order.
// The f64 functions are right to about 1e-15 relative (sin and cos: absolute, close to their zeros; pow: times y ln x),
// expPs to about 2 units in the last place of f32.

/** IEEE 754's, rounded to nearest; ECMAScript lets Math.sqrt be an approximation. */
export function sqrt(x: f64): f64 {
  return Math.sqrt(x);
}

const LN2_HIGH: f64 = 6.9314718036912381649e-1; // upper 32 bits of ln 2: n * LN2_HIGH is exact
const LN2_LOW: f64 = 1.90821492927058770002e-10;
const LOG2_E: f64 = 1.442695040888963387;

function twoTo(n: i32): f64 {
  return reinterpret<f64>((<u64>(n + 1023)) << 52); // -1022 <= n <= 1023
}

/** e^x: x = n ln 2 + r, |r| <= 0.347, Taylor to r^13. */
export function exp(x: f64): f64 {
  if (x != x) return x;
  if (x > 709.78271289338397) return Infinity;
  if (x < -745.13321910194122) return 0;
  const n = nearest(x * LOG2_E);
  const r = x - n * LN2_HIGH - n * LN2_LOW;
  let y: f64 = 1.0 / 6227020800;
  y = y * r + 1.0 / 479001600;
  y = y * r + 1.0 / 39916800;
  y = y * r + 1.0 / 3628800;
  y = y * r + 1.0 / 362880;
  y = y * r + 1.0 / 40320;
  y = y * r + 1.0 / 5040;
  y = y * r + 1.0 / 720;
  y = y * r + 1.0 / 120;
  y = y * r + 1.0 / 24;
  y = y * r + 1.0 / 6;
  y = y * r + 0.5;
  y = y * r + 1;
  y = y * r + 1;
  const half = <i32>n >> 1; // in two steps: 2^n alone may overflow or be subnormal
  return y * twoTo(half) * twoTo(<i32>n - half);
}

/** Natural logarithm: x = m 2^e, sqrt(1/2) <= m < sqrt(2); log m = 2 artanh(s), s = (m - 1) / (m + 1), to s^23. */
export function log(x: f64): f64 {
  if (x != x || x < 0) return NaN;
  if (x == 0) return -Infinity;
  if (x == Infinity) return x;
  let e = 0;
  if (x < 2.2250738585072014e-308) {
    x *= 18014398509481984; // 2^54
    e = -54;
  }
  const bits = reinterpret<u64>(x);
  e += <i32>(bits >> 52) - 1023;
  let m = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e++;
  }
  const s = (m - 1) / (m + 1),
    z = s * s;
  let y: f64 = 1.0 / 23;
  y = y * z + 1.0 / 21;
  y = y * z + 1.0 / 19;
  y = y * z + 1.0 / 17;
  y = y * z + 1.0 / 15;
  y = y * z + 1.0 / 13;
  y = y * z + 1.0 / 11;
  y = y * z + 1.0 / 9;
  y = y * z + 1.0 / 7;
  y = y * z + 1.0 / 5;
  y = y * z + 1.0 / 3;
  y = y * z + 1;
  return <f64>e * LN2_HIGH + (2 * s * y + <f64>e * LN2_LOW);
}

/** x^y for x > 0. */
export function pow(x: f64, y: f64): f64 {
  return exp(y * log(x));
}

/** sin(r), |r| <= pi / 4, Taylor to r^17. */
function sinSmall(r: f64): f64 {
  const z = r * r;
  let y: f64 = 1.0 / 355687428096000;
  y = y * z - 1.0 / 1307674368000;
  y = y * z + 1.0 / 6227020800;
  y = y * z - 1.0 / 39916800;
  y = y * z + 1.0 / 362880;
  y = y * z - 1.0 / 5040;
  y = y * z + 1.0 / 120;
  y = y * z - 1.0 / 6;
  return r + r * z * y;
}

/** cos(r), |r| <= pi / 4, Taylor to r^18. */
function cosSmall(r: f64): f64 {
  const z = r * r;
  let y: f64 = -1.0 / 6402373705728000;
  y = y * z + 1.0 / 20922789888000;
  y = y * z - 1.0 / 87178291200;
  y = y * z + 1.0 / 479001600;
  y = y * z - 1.0 / 3628800;
  y = y * z + 1.0 / 40320;
  y = y * z - 1.0 / 720;
  y = y * z + 1.0 / 24;
  y = y * z - 0.5;
  return 1 + z * y;
}

const TWO_OVER_PI: f64 = 0.63661977236758134308;
const PI_2_HIGH: f64 = 1.57079632673412561417; // upper 33 bits of pi / 2
const PI_2_LOW: f64 = 6.07710050650619224932e-11;

/** sin(x + quarter * pi / 2), |x| up to about 1e6. */
function sinQuarter(x: f64, quarter: i32): f64 {
  const n = nearest(x * TWO_OVER_PI);
  const r = x - n * PI_2_HIGH - n * PI_2_LOW;
  const q = (<i32>n + quarter) & 3;
  const y = q & 1 ? cosSmall(r) : sinSmall(r);
  return q & 2 ? -y : y;
}

/** Sine, for |x| up to about 1e6. */
export function sin(x: f64): f64 {
  return sinQuarter(x, 0);
}

/** Cosine, for |x| up to about 1e6. */
export function cos(x: f64): f64 {
  return sinQuarter(x, 1);
}

/**
 * e^x of four f32, Taylor to r^7; 0 below -87.3, at most e^88. Adding 1.5 * 2^23 rounds to an integer, which then lies in
 * the lowest bits.
 */
export function expPs(x: v128): v128 {
  const low = f32x4.splat(-87.3),
    magic = f32x4.splat(12582912);
  const keep = f32x4.ge(x, low);
  const c = f32x4.pmin(f32x4.pmax(x, low), f32x4.splat(88));
  const t = f32x4.add(f32x4.mul(c, f32x4.splat(1.44269504)), magic);
  const n = f32x4.sub(t, magic);
  const r = f32x4.sub(f32x4.sub(c, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.1219444e-4)));
  let y = f32x4.splat(1.0 / 5040);
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.0 / 720));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.0 / 120));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.0 / 24));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.0 / 6));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(0.5));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1));
  y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(t, i32x4.splat(127)), 23);
  return v128.and(f32x4.mul(y, power), keep);
}
