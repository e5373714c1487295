// ropeTables(), rope(): the rounding of HF transformers, and the oracle's bits.
import { describe, expect, test } from 'vitest';
import { bitDifference, gaussian, type Lab, openLabs, prng, ulps32 } from '../e2e/kernel-lab';
import { rope, ropeTurns, type Turns, toBf16 } from '../src/model/reference-kernels';

const f = Math.fround;
const labs = await openLabs();
const HEAD_DIMS = [8, 24, 64, 80, 96, 104, 128];
const THETAS = [10_000, 500_000, 1_000_000];
const POSITIONS = [0, 1, 2, 3, 10, 100, 255, 256, 1000, 2047, 4095, 8191, 32767, 131071];

const turnsOf = (headDim: number, ropeTheta: number): Turns => ropeTurns({ headDim, ropeTheta });

function tables(lab: Lab, position: number, headDim: number, { frequencies, multiplier }: Turns) {
  const cosines = lab.take(headDim * 2);
  const sines = lab.take(headDim * 2);
  lab.kernels.ropeTables(position, headDim, lab.put(frequencies), multiplier, cosines, sines);
  return { cosines, sines };
}

describe.each(labs)('$name', (lab) => {
  test.each(THETAS)(
    'tables for theta %i: float32 exponent, frequency and angle, then cos and sin within 1 ulp',
    (theta) => {
      for (const headDim of HEAD_DIMS) {
        for (const position of POSITIONS) {
          lab.reset();
          const { cosines, sines } = tables(lab, position, headDim, turnsOf(headDim, theta));
          const [c, s] = [lab.f32(cosines, headDim / 2), lab.f32(sines, headDim / 2)];
          for (let i = 0; i < headDim / 2; i++) {
            const angle = f(position * f(1 / f(theta ** f((2 * i) / headDim))));
            const what = `head ${headDim}, position ${position}, pair ${i}`;
            expect(ulps32(c[i]!, f(Math.cos(angle))), `cos, ${what}`).toBeLessThanOrEqual(1);
            expect(ulps32(s[i]!, f(Math.sin(angle))), `sin, ${what}`).toBeLessThanOrEqual(1);
          }
          expect(lab.overruns()).toEqual([]);
        }
      }
    },
  );

  test('with plain frequencies and no multiplier: the bits of one rounding after the other', () => {
    const { kernels } = lab;
    for (const headDim of HEAD_DIMS) {
      for (const position of POSITIONS) {
        lab.reset();
        const { cosines, sines } = tables(lab, position, headDim, turnsOf(headDim, 500_000));
        const angles = Float32Array.from(
          { length: headDim / 2 },
          (_, i) => position * f(1 / f(kernels.pow(500_000, f((2 * i) / headDim)))),
        );
        expect(bitDifference(lab.f32(cosines, headDim / 2), angles.map(kernels.cos))).toBe('');
        expect(bitDifference(lab.f32(sines, headDim / 2), angles.map(kernels.sin))).toBe('');
      }
    }
  });

  test.each([2, 12, 20, 100])('the tables of a head of %i are padded to whole vectors', (headDim) => {
    const [half, padded] = [headDim / 2, Math.ceil(headDim / 8) * 4];
    for (const position of POSITIONS) {
      lab.reset();
      const [cosines, sines] = [lab.take(padded * 4), lab.take(padded * 4)];
      const turns = turnsOf(headDim, 10_000);
      lab.kernels.ropeTables(position, headDim, lab.put(turns.frequencies), 1, cosines, sines);
      const [c, s] = [lab.f32(cosines, padded), lab.f32(sines, padded)];
      const x = gaussian(headDim, prng(headDim + position));
      const wanted = rope(x, position, turns);
      const at = lab.take(padded * 8);
      const head = new Float32Array(2 * padded);
      head.set(x.subarray(0, half));
      head.set(x.subarray(half), padded);
      lab.write(at, head);
      lab.kernels.rope(at, 2 * padded, cosines, sines, at);
      const got = lab.f32(at, 2 * padded);
      expect([...c.subarray(half), ...s.subarray(half)]).toEqual([
        ...Array(padded - half).fill(1),
        ...Array(padded - half).fill(0),
      ]);
      const turned = Float32Array.of(...got.subarray(0, half), ...got.subarray(padded, padded + half));
      expect(bitDifference(turned, wanted), `position ${position}`).toBe('');
      expect([...got.subarray(half, padded), ...got.subarray(padded + half)].every((v) => v === 0)).toBe(true);
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(HEAD_DIMS.flatMap((headDim) => [1, f(1.138629436)].map((multiplier) => [headDim, multiplier] as const)))(
    'a head of %i turns as the oracle says, times %d',
    (headDim, multiplier) => {
      for (const position of POSITIONS) {
        lab.reset();
        const x = gaussian(headDim, prng(headDim + position));
        const turns = { ...turnsOf(headDim, 500_000), multiplier };
        const { cosines, sines } = tables(lab, position, headDim, turns);
        const at = lab.put(x);
        const out = lab.take(headDim * 4);
        const wanted = rope(x, position, turns);
        lab.kernels.rope(at, headDim, cosines, sines, out);
        expect(bitDifference(lab.f32(out, headDim), wanted), `position ${position}`).toBe('');
        expect(bitDifference(lab.f32(at, headDim), x), 'the input').toBe('');
        lab.kernels.rope(at, headDim, cosines, sines, at);
        expect(bitDifference(lab.f32(at, headDim), wanted), `position ${position}, in place`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    },
  );

  test.each(HEAD_DIMS)('a key of %i is turned and stored', (headDim) => {
    lab.reset();
    const x = gaussian(headDim, prng(headDim));
    const turns = turnsOf(headDim, 10_000);
    const wanted = rope(x, 77, turns);
    const { cosines, sines } = tables(lab, 77, headDim, turns);
    const cache = lab.take(headDim * 4);
    const turned = lab.take(headDim * 4);
    lab.kernels.rope(lab.put(x), headDim, cosines, sines, turned);
    lab.kernels.storeHead(turned, headDim, cache, 0);
    expect(bitDifference(lab.f32(cache, headDim), wanted)).toBe('');
    const half = lab.take(headDim * 2);
    lab.kernels.storeHead(turned, headDim, half, 1);
    const words = lab.i32(half, headDim / 2);
    // groups of 8: lane i holds element i in its low half, i + 4 in its high half
    const stored = Int32Array.from(wanted, (_, i) => {
      const lane = words[(i >> 3) * 4 + (i & 3)]!;
      return i & 4 ? lane & 0xffff0000 : lane << 16;
    });
    expect(bitDifference(new Float32Array(stored.buffer), wanted.map(toBf16))).toBe('');
    expect(lab.overruns()).toEqual([]);
  });
});
