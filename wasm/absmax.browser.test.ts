// quantise(): codes, multiplier, inverse and sum of the oracle, to the bit.
import { describe, expect, test } from 'vitest';
import { bitDifference, difference, gaussian, openLabs, pad, prng } from '../e2e/kernel-lab';
import { quantise } from '../src/model/reference-kernels';

const COPY = 16384;
const f = Math.fround;
const labs = await openLabs();
const LENGTHS = [1, 2, 3, 4, 5, 15, 16, 17, 31, 63, 64, 65, 100, 127, 640, 1153, 2560, 2561, 6912, 16383, 16384];

/** Rows of n numbers, by what is special about them. */
const INPUTS: Record<string, (n: number) => Float32Array> = {
  random: (n) => gaussian(n, prng(n)),
  'one outlier': (n) => gaussian(n, prng(n + 1)).fill(-50, n - 1),
  zeros: (n) => new Float32Array(n),
  'minus zeros': (n) => new Float32Array(n).fill(-0),
  'below the floor': (n) => gaussian(n, prng(n), 1e-7),
  subnormal: (n) => gaussian(n, prng(n), 1e-40),
  huge: (n) => gaussian(n, prng(n), 5e36).fill(3.4e38, 0, 1),
  equal: (n) => new Float32Array(n).fill(-0.3),
  // the largest is 127, so c = 1 and every half stays exactly a half
  halves: (n) => Float32Array.from({ length: n }, (_, i) => (i === n - 1 ? 127 : (i % 253) - 126.5)),
  // one step of float32 to either side of a half
  'beside halves': (n) =>
    Float32Array.from({ length: n }, (_, i) =>
      i === n - 1 ? 127 : ((i % 253) - 126.5) * (i & 256 ? 1 + 2 ** -23 : 1 - 2 ** -24),
    ),
};

describe.each(labs)('$name', (lab) => {
  /** Runs the kernel into poisoned memory. */
  function run(x: Float32Array, copy: number) {
    lab.reset();
    const padded = pad(x.length, 64);
    const at = lab.put(x);
    const codes = lab.take(2 * COPY);
    const row = lab.take(16);
    lab.kernels.quantise(at, x.length, padded, codes, copy, row);
    expect(lab.overruns()).toEqual([]);
    return { codes: lab.i8(codes, 2 * COPY), floats: lab.f32(row, 2), words: lab.i32(row + 8, 2), padded };
  }

  test.each(Object.keys(INPUTS))('%s', (kind) => {
    for (const n of LENGTHS) {
      const x = INPUTS[kind]!(n);
      const { codes, floats, words, padded } = run(x, 1);
      const wanted = quantise(x);
      const row = new Int8Array(padded);
      row.set(wanted.codes);
      expect(difference(codes.subarray(0, padded), row), `codes, n = ${n}`).toBe('');
      expect(difference(codes.subarray(COPY, COPY + padded), row), `second copy, n = ${n}`).toBe('');
      expect(bitDifference(floats, Float32Array.of(wanted.multiplier, wanted.inverse)), `scales, n = ${n}`).toBe('');
      expect([...words], `sum, n = ${n}`).toEqual([row.reduce((sum, code) => sum + code, 0), 0]);
    }
  });

  test('the floor of absmax is 1e-5', () => {
    const { codes, floats } = run(Float32Array.of(1e-5, -5e-6, 0, 4e-7), 0);
    expect(floats[0]).toBe(f(127 / f(1e-5)));
    expect([...codes.subarray(0, 4)]).toEqual([127, -64, 0, 5]);
    expect(run(new Float32Array(4), 0).floats[1]).toBe(f(f(1e-5) / 127));
  });

  test('a half goes to the even code, in the vectors and in the tail', () => {
    const halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 125.5, -126.5];
    const even = [0, 2, 2, 0, -2, -2, 126, -126];
    const { codes } = run(Float32Array.from([127, ...halves, ...new Array(11).fill(0), ...halves]), 0);
    expect([...codes.subarray(1, 9)]).toEqual(even);
    expect([...codes.subarray(20, 28)]).toEqual(even);
  });

  test('writes one copy when one is asked for', () => {
    const { codes, padded } = run(gaussian(100, prng(5)), 0);
    expect(codes.subarray(padded).every((byte) => byte === (0xa5 << 24) >> 24)).toBe(true);
  });
});
