// gateRelu2(), gateSilu(): the oracle's bits, and the formulas in float64.
import { describe, expect, test } from 'vitest';
import { bitDifference, gaussian, openLabs, prng } from '../e2e/kernel-lab';
import { gate } from '../src/model/reference-kernels';

const labs = await openLabs();
const LENGTHS = [4, 8, 16, 20, 64, 100, 6912];
const EDGES = Float32Array.of(
  0,
  -0,
  1e-45,
  -1e-45,
  87,
  -87,
  87.2,
  -87.2,
  87.3,
  -87.3,
  87.4,
  -87.4,
  88,
  -88,
  89,
  -89,
  1e4,
  -1e4,
  3e38,
  -3e38,
);
const RELU2 = (g: number, u: number): number => Math.max(g, 0) ** 2 * u;
const SILU = (g: number, u: number): number => (g / (1 + Math.exp(-g))) * u;

describe.each(labs)('$name', (lab) => {
  function run(kind: 'relu2' | 'silu', g: Float32Array, u: Float32Array, inPlace: boolean): Float32Array {
    lab.reset();
    const [gates, ups] = [lab.put(g), lab.put(u)];
    const out = inPlace ? gates : lab.take(g.length * 4);
    lab.kernels[kind === 'relu2' ? 'gateRelu2' : 'gateSilu'](gates, ups, out, g.length);
    expect(lab.overruns()).toEqual([]);
    expect(bitDifference(lab.f32(ups, u.length), u), 'up').toBe('');
    return lab.f32(out, g.length);
  }

  test.each([
    ['relu2', RELU2],
    ['silu', SILU],
  ] as const)('%s', (kind, formula) => {
    for (const n of LENGTHS) {
      for (const deviation of [0.1, 3, 40]) {
        const random = prng(n);
        const [g, u] = [gaussian(n, random, deviation), gaussian(n, random)];
        const wanted = gate(kind, g, u);
        for (const inPlace of [false, true])
          expect(bitDifference(run(kind, g, u, inPlace), wanted), `n = ${n}, in place ${inPlace}`).toBe('');
        // e^-g stops at e^88, so beyond it only the absolute error is small
        const off = wanted.findIndex((y, i) => {
          const right = formula(g[i]!, u[i]!);
          return !(Math.abs(y - right) <= 1e-6 * Math.abs(right) + 1e-35);
        });
        expect(off, `n = ${n}, deviation ${deviation}: the first element away from float64`).toBe(-1);
      }
    }
  });

  test.each(['relu2', 'silu'] as const)('%s at the edges', (kind) => {
    const ones = new Float32Array(EDGES.length).fill(1);
    expect(bitDifference(run(kind, EDGES, ones, false), gate(kind, EDGES, ones))).toBe('');
  });
});
