// expSum(), nll(), and through them expPs: the oracle's bits, and float64.
import { describe, expect, test } from 'vitest';
import { bitDifference, gaussian, openLabs, prng, ulps32 } from '../e2e/kernel-lab';
import { expF32 } from '../src/model/reference-kernels';

const f = Math.fround;
const labs = await openLabs();
const LENGTHS = [4, 8, 12, 100, 1000, 32000, 128256];

describe.each(labs)('$name', (lab) => {
  /** The terms and the sum. */
  function run(x: Float32Array, most: number, scale: number, keep: boolean): { sum: number; terms: Float32Array } {
    lab.reset();
    const at = lab.put(x);
    const out = keep ? lab.take(x.length * 4) : 0;
    const sum = lab.kernels.expSum(at, x.length, most, scale, out);
    expect(lab.overruns()).toEqual([]);
    return { sum, terms: lab.f32(out, keep ? x.length : 0) };
  }

  test.each([1, 0.5, 1 / 0.7, 10])('expSum, scale %f', (scale) => {
    for (const n of LENGTHS) {
      const x = gaussian(n, prng(n), 4);
      const most = x.reduce((m, v) => Math.max(m, v));
      const wanted = x.map((v) => expF32(f(f(v - most) * f(scale))));
      const { sum, terms } = run(x, most, scale, true);
      expect(bitDifference(terms, wanted), `terms, n = ${n}`).toBe('');
      const lanes = [0, 0, 0, 0];
      for (const [i, e] of wanted.entries()) lanes[i & 3]! += e;
      expect(sum, `n = ${n}: float64, in the order of pairs of lanes`).toBe(
        lanes[0]! + lanes[2]! + (lanes[1]! + lanes[3]!),
      );
      expect(run(x, most, scale, false).sum).toBe(sum);
      const right = x.reduce((total, v) => total + Math.exp((v - most) * scale), 0);
      expect(Math.abs(sum / right - 1), `n = ${n}, against Math.exp`).toBeLessThan(1e-6);
    }
  });

  test('expPs over its whole range: the oracle, and at most 2 ulps from Math.exp', () => {
    const x = Float32Array.from({ length: 200_000 }, (_, i) => -87.3 + (i / 200_000) * (88 + 87.3));
    const { terms } = run(x, 0, 1, true);
    expect(bitDifference(terms, x.map(expF32))).toBe('');
    let worst = 0;
    for (const [i, e] of terms.entries()) worst = Math.max(worst, ulps32(e, f(Math.exp(x[i]!))));
    expect(worst).toBeLessThanOrEqual(2);
  });

  test('expPs at the edges', () => {
    const inf = Number.POSITIVE_INFINITY;
    const x = Float32Array.of(
      0,
      -0,
      1e-45,
      -1e-45,
      0.34657,
      -0.34657,
      0.3466,
      -0.3466,
      -87.29999,
      -87.3,
      -87.30001,
      -200,
      -inf,
      88,
      88.1,
      1000,
    );
    const { terms } = run(x, 0, 1, true);
    expect(bitDifference(terms, x.map(expF32))).toBe('');
    expect([...terms.subarray(0, 4)]).toEqual([1, 1, 1, 1]);
    expect([...terms.subarray(10, 13)]).toEqual([0, 0, 0]);
    expect([...terms.subarray(14)]).toEqual([terms[13], terms[13]]);
  });

  test('nll of every kind of target, against float64', () => {
    for (const n of LENGTHS) {
      for (const deviation of [0.01, 3, 30]) {
        lab.reset();
        const x = gaussian(n, prng(n + 1), deviation);
        const most = x.reduce((m, v) => Math.max(m, v));
        const at = lab.put(x);
        const total = Math.log(x.reduce((sum, v) => sum + Math.exp(v - most), 0)) + most;
        for (const target of [0, 1, n >> 1, n - 1, x.indexOf(most)]) {
          const right = total - x[target]!;
          const got = lab.kernels.nll(at, n, target);
          expect(Math.abs(got - right), `n = ${n}, target ${target}`).toBeLessThanOrEqual(1e-6 * Math.max(right, 1));
        }
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('nll ignores a padded vocabulary and finds the maximum anywhere', () => {
    for (let place = 0; place < 16; place++) {
      lab.reset();
      const x = new Float32Array(16).fill(Number.NEGATIVE_INFINITY);
      x[place] = 5000;
      expect(lab.kernels.nll(lab.put(x), 16, place)).toBe(0);
    }
    lab.reset();
    const even = Float32Array.of(-3, -3, -3, Number.NEGATIVE_INFINITY);
    expect(lab.kernels.nll(lab.put(even), 4, 1)).toBeCloseTo(Math.log(3), 12);
  });
});
