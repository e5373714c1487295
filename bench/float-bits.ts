/** Half-precision numbers as bits; all conversions round to nearest, ties to even. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The 16 bits of the nearest bfloat16. Finite numbers only. */
export function bf16Bits(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** The nearest bfloat16 number. */
export function bf16Number(value: number): number {
  bits[0] = bf16Bits(value) << 16;
  return float[0]!;
}

/** The 16 bits of the nearest IEEE half; beyond 65504 infinity. */
export function f16Bits(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 23) & 255) - 127;
  if (exponent > 15) return sign | 0x7c00;
  // the significand with its leading 1, as a multiple of the half's last place
  const drop = exponent < -14 ? -1 - exponent : 13;
  if (drop > 24) return sign;
  const significand = (word & 0x7fffff) | 0x800000;
  const half = 1 << (drop - 1);
  const rounded = (significand + half - 1 + ((significand >>> drop) & 1)) >>> drop;
  // a carry out of the significand raises the exponent by itself; subnormals have exponent 0
  return sign | (exponent < -14 ? rounded : ((exponent + 14) << 10) + rounded);
}

/** The number of 16 bits of an IEEE half. */
export function f16Number(half: number): number {
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return (half & 0x8000 ? -1 : 1) * (exponent === 31 ? (fraction ? Number.NaN : Number.POSITIVE_INFINITY) : size);
}
