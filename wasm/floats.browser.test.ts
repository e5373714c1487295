// Float and quantised rows, against plain arithmetic in float64: rounding is decided here by distance, not by bits.
import { describe, expect, test } from 'vitest';
import { difference, gaussian, type Lab, openLabs, prng } from '../e2e/kernel-lab';

const labs = await openLabs();
const TYPE = { BF16: 0, F16: 1, F32: 2, Q8_0: 3, Q6_K: 4, Q4_0: 5, Q4_K: 6 } as const;
const SIZES = [1, 3, 4, 7, 8, 9, 15, 16, 17, 33, 100, 2560];

type Floats = Uint16Array | Float32Array;

const bytesOf = (data: Floats): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Data at an odd address, its end against the guard bytes. */
function putOdd(lab: Lab, data: Uint8Array): number {
  const at = lab.take(data.length + 3) + 3;
  lab.write(at, data);
  return at;
}

/** A binary float of 16 bits by the text of IEEE 754. */
function half(bits: number, exponentBits: number): number {
  const fractionBits = 15 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === 2 * bias + 1) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias));
}

const f16 = (bits: number): number => half(bits, 5);
const bf16 = (bits: number): number => half(bits, 8);

/** All bf16 that are not negative, in order; behind the largest the number that would follow it. */
const positives = Float64Array.from({ length: 0x7f81 }, (_, bits) => (bits === 0x7f80 ? 2 ** 128 : bf16(bits)));

/** Bits of the bf16 nearest to x, of two equally near the even one; -1 for NaN. */
function nearestBf16(x: number): number {
  if (Number.isNaN(x)) return -1;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.min(Math.abs(x), 2 ** 128);
  let [low, high] = [0, 0x7f80];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (positives[middle]! <= size) low = middle;
    else high = middle;
  }
  const [down, up] = [size - positives[low]!, positives[high]! - size];
  return sign + (down < up || (down === up && low % 2 === 0) ? low : high);
}

/** What rowToBf16 gives, NaN as -1. */
function row(lab: Lab, type: number, bytes: Uint8Array, n: number): Int32Array {
  lab.reset();
  const src = putOdd(lab, bytes);
  const out = lab.take(2 * n + 1) + 1;
  lab.kernels.rowToBf16(src, type, n, out);
  expect(lab.overruns()).toEqual([]);
  const bits = new Uint16Array(lab.u8(out, 2 * n).buffer);
  return Int32Array.from(bits, (b) => (Number.isNaN(bf16(b)) ? -1 : b));
}

const rounded = (values: ArrayLike<number>): Int32Array => Int32Array.from(values, nearestBf16);

/** f16 scales: ordinary ones of both signs, the smallest and largest subnormal, smallest normal, largest, zeros. */
const SCALES = [0x2e66, 0xae67, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x0000, 0x8000, 0x3c00, 0x1234, 0x9abd];

describe.each(labs)('$name: rows to bf16', (lab) => {
  const everyHalf = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

  test('BF16 is copied', () => {
    for (const n of SIZES) {
      const part = everyHalf.slice(0x3f00, 0x3f00 + n);
      expect(difference(row(lab, TYPE.BF16, bytesOf(part), n), part), `${n} elements`).toBe('');
    }
  });

  test('every F16', () => {
    expect(difference(row(lab, TYPE.F16, bytesOf(everyHalf), 65536), rounded(Array.from(everyHalf, f16)))).toBe('');
    for (const n of SIZES) {
      const part = everyHalf.slice(0x83f0, 0x83f0 + n);
      expect(difference(row(lab, TYPE.F16, bytesOf(part), n), rounded(Array.from(part, f16))), `${n}`).toBe('');
    }
  });

  test('F32: ties, their neighbours, the largest, infinities and NaN', () => {
    const random = prng(9);
    const words = new Uint32Array(65536 + 8).map(() => random() * 2 ** 32);
    for (let i = 0; i < 30000; i += 3) {
      const tie = (words[i]! & 0xffff0000) | 0x8000;
      words.set([tie - 1, tie, tie + 1], i);
    }
    // the first two round to the largest and to infinity; NaNs with few and with all bits of the fraction
    const edge = [0x7f7f7fff, 0x7f7f8000, 0xffffffff, 0x7f800001, 0x7fffffff, 0xff800000, 1, 0x8000];
    words.set(edge, 65536);
    const values = new Float32Array(words.buffer);
    expect(difference(row(lab, TYPE.F32, bytesOf(values), values.length), rounded(values))).toBe('');
    for (const n of SIZES) {
      const part = values.slice(65544 - n);
      expect(difference(row(lab, TYPE.F32, bytesOf(part), n), rounded(part)), `${n} elements`).toBe('');
    }
  });

  test('Q8_0: every code under every scale', () => {
    for (const scale of SCALES) {
      for (const first of [0, 32, 192]) {
        const blocks = (256 - first) / 32;
        const bytes = new Uint8Array(34 * blocks);
        const values: number[] = [];
        for (let i = first; i < 256; i++) {
          const block = Math.floor((i - first) / 32);
          bytes.set([scale & 255, scale >> 8], 34 * block);
          bytes[34 * block + 2 + (i % 32)] = i - 128;
          values.push(f16(scale) * (i - 128));
        }
        expect(difference(row(lab, TYPE.Q8_0, bytes, values.length), rounded(values)), `scale ${scale}`).toBe('');
      }
    }
  });

  test('Q4_0: every code in every place, a scale of its own for each block', () => {
    const bytes = new Uint8Array(18 * 16 * SCALES.length);
    const values: number[] = [];
    for (let block = 0; block < 16 * SCALES.length; block++) {
      const scale = SCALES[block % SCALES.length]!;
      bytes.set([scale & 255, scale >> 8], 18 * block);
      for (let j = 0; j < 32; j++) {
        const code = (7 * j + block) % 16;
        bytes[18 * block + 2 + (j % 16)]! |= j < 16 ? code : code << 4;
        values.push(f16(scale) * (code - 8));
      }
    }
    expect(difference(row(lab, TYPE.Q4_0, bytes, values.length), rounded(values))).toBe('');
    expect(difference(row(lab, TYPE.Q4_0, bytes.subarray(0, 18), 32), rounded(values.slice(0, 32)))).toBe('');
  });

  test('Q6_K: every code in every place, every scale', () => {
    const blocks = 64;
    const bytes = new Uint8Array(210 * blocks);
    const values: number[] = [];
    for (let block = 0; block < blocks; block++) {
      const at = 210 * block;
      const d = SCALES[block % SCALES.length]!;
      const scales = Int8Array.from({ length: 16 }, (_, i) => ((block * 16 + i) * 5) % 256);
      bytes.set(new Uint8Array(scales.buffer), at + 192);
      bytes.set([d & 255, d >> 8], at + 208);
      for (let e = 0; e < 256; e++) {
        const code = (11 * e + block) % 64;
        const [part, quarter, l] = [Math.floor(e / 128), Math.floor((e % 128) / 32), e % 32];
        bytes[at + 64 * part + 32 * (quarter % 2) + l]! |= (code % 16) << (quarter < 2 ? 0 : 4);
        bytes[at + 128 + 32 * part + l]! |= (code >> 4) << (2 * quarter);
        values.push(Math.fround(Math.fround(f16(d) * scales[Math.floor(e / 16)]!) * (code - 32)));
      }
    }
    expect(difference(row(lab, TYPE.Q6_K, bytes, values.length), rounded(values))).toBe('');
    expect(difference(row(lab, TYPE.Q6_K, bytes.subarray(0, 210), 256), rounded(values.slice(0, 256)))).toBe('');
  });

  test('Q4_K: every code in every place, every scale and minimum', () => {
    const blocks = 64;
    const bytes = new Uint8Array(144 * blocks);
    const values: number[] = [];
    for (let block = 0; block < blocks; block++) {
      const at = 144 * block;
      const [d, dmin] = [SCALES[block % SCALES.length]!, SCALES[(block * 3 + 1) % SCALES.length]!];
      bytes.set([d & 255, d >> 8, dmin & 255, dmin >> 8], at);
      for (let run = 0; run < 8; run++) {
        const scale = (block * 8 + run * 21) % 64;
        const least = (block * 8 + run * 13 + 40) % 64;
        // the first four pairs are whole bytes of six bits; of the others, four bits are in byte 8 + run - 4
        if (run < 4) {
          bytes[at + 4 + run]! |= scale;
          bytes[at + 8 + run]! |= least;
        } else {
          bytes[at + 8 + run]! |= (scale % 16) + 16 * (least % 16);
          bytes[at + run]! |= 64 * Math.floor(scale / 16);
          bytes[at + 4 + run]! |= 64 * Math.floor(least / 16);
        }
        const [step, minimum] = [Math.fround(f16(d) * scale), Math.fround(f16(dmin) * least)];
        for (let l = 0; l < 32; l++) {
          const code = (5 * l + run + block) % 16;
          bytes[at + 16 + 32 * Math.floor(run / 2) + l]! |= code * (run % 2 ? 16 : 1);
          values.push(Math.fround(Math.fround(step * code) - minimum));
        }
      }
    }
    expect(difference(row(lab, TYPE.Q4_K, bytes, values.length), rounded(values))).toBe('');
    expect(difference(row(lab, TYPE.Q4_K, bytes.subarray(0, 144), 256), rounded(values.slice(0, 256)))).toBe('');
  });
});

/** Numbers that both 16-bit types hold exactly or not, stored as a type; and what was stored. */
function stored(type: 'BF16' | 'F16' | 'F32', values: Float32Array): { bytes: Uint8Array; values: Float32Array } {
  if (type === 'F32') return { bytes: bytesOf(values), values };
  const read = type === 'BF16' ? bf16 : f16;
  const bits = Uint16Array.from(values, (x) => {
    if (type === 'BF16') return nearestBf16(x);
    // f16 by search among all of the sign; only that it is near matters here
    let [low, high] = [0, 0x7bff];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (f16(middle) <= Math.abs(x)) low = middle;
      else high = middle - 1;
    }
    return low + (x < 0 ? 0x8000 : 0);
  });
  return { bytes: bytesOf(bits), values: Float32Array.from(bits, read) };
}

/** Ternary code by the words of the spec: round half to even, clamp, add one. */
function codeOf(x: number, multiplier: number): number {
  const y = Math.fround(x * Math.fround(multiplier));
  const floor = Math.floor(y);
  const even = floor % 2 === 0 ? floor : floor + 1;
  const round = y - floor === 0.5 ? even : Math.round(y);
  return Math.max(-1, Math.min(1, round)) + 1;
}

describe.each(labs)('$name: floats', (lab) => {
  test.each(['BF16', 'F16', 'F32'] as const)('%s to codes', (type) => {
    for (const n of SIZES) {
      for (const multiplier of [1, 0.5, 0.8371, 37.25, 1e-3]) {
        lab.reset();
        const { bytes, values } = stored(type, gaussian(n, prng(n), 0.7 / multiplier));
        const src = putOdd(lab, bytes);
        const out = lab.take(n + 1) + 1;
        lab.kernels.codesFromFloats(src, TYPE[type], n, multiplier, out);
        const expected = Array.from(values, (x) => codeOf(x, multiplier));
        expect(difference(lab.u8(out, n), expected), `${n} elements by ${multiplier}`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('ties go to the even code, what is not finite to a code all the same', () => {
    const up = 0.5 + 2 ** -24;
    const down = 0.5 - 2 ** -25;
    const cases: [x: number, code: number][] = [
      [0.5, 1],
      [-0.5, 1],
      [up, 2],
      [-up, 0],
      [down, 1],
      [-down, 1],
      [1.5, 2],
      [-1.5, 0],
      [2.5, 2],
      [-2.5, 0],
      [0, 1],
      [-0, 1],
      [3e38, 2],
      [-3e38, 0],
      [Number.POSITIVE_INFINITY, 2],
      [Number.NEGATIVE_INFINITY, 0],
      [Number.NaN, 1],
    ];
    for (let n = 1; n <= 33; n++) {
      lab.reset();
      const some = Array.from({ length: n }, (_, i) => cases[(i + n) % cases.length]!);
      const src = lab.put(Float32Array.from(some, ([x]) => x * 2));
      const out = lab.take(n);
      lab.kernels.codesFromFloats(src, TYPE.F32, n, 0.5, out);
      expect(
        difference(
          lab.u8(out, n),
          some.map(([, code]) => code),
        ),
      ).toBe('');
    }
  });

  test.each(['BF16', 'F16', 'F32'] as const)('sum of |%s| in its one order', (type) => {
    for (const n of [0, ...SIZES]) {
      lab.reset();
      const random = prng(n + 1);
      const spread = type === 'F16' ? 30 : 80;
      const wide = gaussian(n, random).map((x) => x * 2 ** (spread * (random() - 0.5)));
      const { bytes, values } = stored(type, wide);
      const src = putOdd(lab, bytes);
      const whole = n - (n % 8);
      const [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map((first) => {
        let sum = 0;
        for (let i = first; i < whole; i += 8) sum += Math.abs(values[i]!);
        return sum;
      }) as [number, number, number, number, number, number, number, number];
      let expected = a + b + (c + d) + (e + f + (g + h));
      for (let i = whole; i < n; i++) expected += Math.abs(values[i]!);
      expect(lab.kernels.sumAbs(src, TYPE[type], n), `${n} elements`).toBe(expected);
    }
  });

  test('every 16-bit float that is infinite or NaN is found, and no other', () => {
    lab.reset();
    const at = lab.take(10);
    for (const [type, read] of [
      [TYPE.BF16, bf16],
      [TYPE.F16, f16],
    ] as const) {
      const wrong: number[] = [];
      for (let bits = 0; bits < 65536; bits++) {
        // among four at once, and behind them
        for (const place of [bits & 3, 4]) {
          lab.write(at, new Uint16Array(5).fill(bits, place, place + 1));
          if (lab.kernels.badFloat(at, type, 5) !== (Number.isFinite(read(bits)) ? 0 : 1)) wrong.push(bits);
        }
      }
      expect(wrong).toEqual([]);
    }
  });

  test('a single infinity is found anywhere, and only inside', () => {
    for (const [type, largest, infinity] of [
      [TYPE.BF16, Uint16Array.of(0x7f7f), Uint16Array.of(0xff80)],
      [TYPE.F16, Uint16Array.of(0x7bff), Uint16Array.of(0xfc00)],
      [TYPE.F32, Float32Array.of(3.4028234663852886e38), Float32Array.of(Number.NEGATIVE_INFINITY)],
    ] as const) {
      lab.reset();
      const n = 19;
      const size = largest.byteLength;
      const bytes = new Uint8Array(n * size).map((_, i) => bytesOf(largest)[i % size]!);
      const at = putOdd(lab, bytes);
      for (let i = 0; i <= n; i++) expect(lab.kernels.badFloat(at, type, i)).toBe(0);
      for (let i = 0; i < n; i++) {
        lab.write(at + i * size, infinity);
        expect(lab.kernels.badFloat(at, type, n), `element ${i}`).toBe(1);
        expect(lab.kernels.badFloat(at, type, i + 1), `element ${i}, the last`).toBe(1);
        expect(lab.kernels.badFloat(at, type, i), `behind ${i}`).toBe(0);
        lab.write(at + i * size, largest);
      }
    }
  });
});
