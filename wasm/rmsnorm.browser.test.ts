// rmsNorm(): the oracle's bits, and the formula itself in float64.
import { describe, expect, test } from 'vitest';
import { bitDifference, gaussian, openLabs, prng } from '../e2e/kernel-lab';
import { rmsNorm } from '../src/model/reference-kernels';

const labs = await openLabs();
const LENGTHS = [4, 8, 12, 16, 20, 28, 32, 36, 64, 100, 636, 640, 2560, 2564, 6912, 14336, 16384];

describe.each(labs)('$name', (lab) => {
  function run(x: Float32Array, gain: Float32Array, eps: number, inPlace: boolean, count = x.length): Float32Array {
    lab.reset();
    const at = lab.put(x);
    const out = inPlace ? at : lab.take(x.length * 4);
    lab.kernels.rmsNorm(at, lab.put(gain), out, x.length, count, eps);
    expect(lab.overruns()).toEqual([]);
    if (!inPlace) expect(bitDifference(lab.f32(at, x.length), x), 'the input').toBe('');
    return lab.f32(out, x.length);
  }

  test.each([1e-3, 1, 1e4, 1e-20])('deviation %f', (deviation) => {
    for (const n of LENGTHS) {
      const random = prng(n);
      const x = gaussian(n, random, deviation);
      const gain = gaussian(n, random);
      const wanted = rmsNorm(x, gain, 1e-5);
      for (const inPlace of [false, true]) {
        expect(bitDifference(run(x, gain, 1e-5, inPlace), wanted), `n = ${n}, in place ${inPlace}`).toBe('');
      }
      const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / n + 1e-5);
      const worst = wanted.reduce(
        (most, y, i) => Math.max(most, Math.abs(y - (gain[i]! * x[i]!) / root) / Math.abs(y || 1)),
        0,
      );
      expect(worst, `n = ${n}, against float64`).toBeLessThan(2e-6);
    }
  });

  test('padding does not count', () => {
    for (const [heads, half, paddedHalf] of [
      [1, 6, 8],
      [3, 50, 52],
      [32, 50, 52],
    ] as const) {
      const random = prng(heads);
      const n = 2 * heads * paddedHalf;
      const real = (i: number) => i % paddedHalf < half;
      const x = gaussian(n, random).map((v, i) => (real(i) ? v : 0));
      const gain = gaussian(n, random).map((v, i) => (real(i) ? v : 0));
      const count = 2 * heads * half;
      const y = run(x, gain, 1e-5, false, count);
      expect(bitDifference(y, rmsNorm(x, gain, 1e-5, count)), `${heads} heads of ${2 * half}`).toBe('');
      const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / count + 1e-5);
      for (const [i, v] of y.entries()) {
        if (real(i)) expect(Math.abs(v * root - gain[i]! * x[i]!)).toBeLessThan(2e-6 * Math.abs(gain[i]! * x[i]!));
        else expect(v).toBe(0);
      }
    }
  });

  test('zeros stay zeros, and eps counts', () => {
    const gain = new Float32Array(36).fill(2);
    expect(bitDifference(run(new Float32Array(36), gain, 1e-6, false), new Float32Array(36))).toBe('');
    const y = run(new Float32Array(36).fill(1), gain, 3, false);
    expect(bitDifference(y, new Float32Array(36).fill(1))).toBe(''); // 2 / sqrt(1 + 3)
  });
});
