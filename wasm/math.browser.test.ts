// sqrt, exp, log, sin, cos, pow against Math. Bounds are in units in the last place of float64, those of Math itself included.
import { describe, expect, test } from 'vitest';
import { openLabs, prng, ulps } from '../e2e/kernel-lab';

const labs = await openLabs(1);
const { POSITIVE_INFINITY: INF, NaN: NAN, MAX_VALUE: MAX, MIN_VALUE: TINY } = Number;
const SAMPLES = 20_000;

type Unary = 'sqrt' | 'exp' | 'log' | 'sin' | 'cos';
/** How an input is drawn: i counts, u is random in [0, 1). */
type Draw = (i: number, u: number) => number;

const RANGES: [Unary, string, number, Draw][] = [
  ['sqrt', 'of every size', 0, (_, u) => 2 ** (-1074 + 2098 * u)],
  ['exp', 'where e^x is normal', 2, (_, u) => -708 + u * 1417],
  ['exp', 'where e^x is subnormal', 2, (_, u) => -745.13 + u * 37],
  ['exp', 'near 0', 2, (i, u) => (u - 0.5) * 2 ** -(i % 60)],
  ['log', 'of every size', 3, (_, u) => 2 ** (-1022 + 2046 * u)],
  ['log', 'subnormal', 3, (_, u) => TINY * Math.ceil(u * 2 ** (52 * u))],
  ['log', 'near 1', 4, (i, u) => 1 + (u - 0.5) * 2 ** -(i % 50)],
  ['sin', 'of angles as RoPE has them: float32, up to 131072', 2, (_, u) => Math.fround((u - 0.5) * 262144)],
  ['cos', 'of angles as RoPE has them: float32, up to 131072', 2, (_, u) => Math.fround((u - 0.5) * 262144)],
  ['sin', 'up to 1e6', 4, (_, u) => (u - 0.5) * 2e6],
  ['cos', 'up to 1e6', 4, (_, u) => (u - 0.5) * 2e6],
  ['sin', 'near 0', 2, (i, u) => (u - 0.5) * 2 ** -(i % 100)],
  ['cos', 'near 0', 2, (i, u) => (u - 0.5) * 2 ** -(i % 100)],
];

const EDGES: [Unary, number, number][] = [
  ['sqrt', 2, Math.SQRT2],
  ['sqrt', -0, -0],
  ['sqrt', -1, NAN],
  ['sqrt', INF, INF],
  ['exp', 0, 1],
  ['exp', -0, 1],
  ['exp', TINY, 1],
  ['exp', -1e-310, 1],
  ['exp', INF, INF],
  ['exp', -INF, 0],
  ['exp', NAN, NAN],
  ['exp', 709.8, INF],
  ['exp', MAX, INF],
  ['exp', -745.2, 0],
  ['exp', -MAX, 0],
  ['exp', -745.13, TINY],
  ['log', 1, 0],
  ['log', 0, -INF],
  ['log', -0, -INF],
  ['log', -1, NAN],
  ['log', -TINY, NAN],
  ['log', INF, INF],
  ['log', -INF, NAN],
  ['log', NAN, NAN],
  ['sin', 0, 0],
  ['sin', TINY, TINY],
  ['sin', NAN, NAN],
  ['sin', INF, NAN],
  ['cos', 0, 1],
  ['cos', -0, 1],
  ['cos', NAN, NAN],
  ['cos', -INF, NAN],
];

describe.each(labs)('$name', ({ kernels }) => {
  test.each(RANGES)('%s, %s: within %i ulps', (name, _range, bound, draw) => {
    const random = prng(1);
    let [worst, at] = [0, 0];
    for (let i = 0; i < SAMPLES; i++) {
      const x = draw(i, random());
      const error = ulps(kernels[name](x), Math[name](x));
      if (!(error <= worst)) [worst, at] = [error, x];
    }
    expect(worst, `at ${at}`).toBeLessThanOrEqual(bound);
  });

  test.each(EDGES)('%s(%d) = %d', (name, x, y) => {
    expect(kernels[name](x)).toBe(y);
  });

  test.each([MAX, TINY, 2 ** -1022, 2, 10, Math.SQRT2, 1 - 2 ** -53])('log(%d)', (x) => {
    expect(ulps(kernels.log(x), Math.log(x))).toBeLessThanOrEqual(2);
  });

  test.each(['sin', 'cos'] as const)('%s beside the multiples of pi / 2: an absolute error below 6e-21', (name) => {
    // so near a zero the two-part reduction leaves no relative error to speak of
    let worst = 0;
    for (let n = 0; n < 600_000; n += 7) {
      const x = (n * Math.PI) / 2;
      const right = Math[name](x);
      worst = Math.max(worst, Math.abs(kernels[name](x) - right) - 2 ** -51 * Math.abs(right));
    }
    expect(worst).toBeLessThan(6e-21);
  });

  test('pow: the relative error grows with the exponent of e', () => {
    const random = prng(2);
    let [worst, at] = [0, ''];
    for (let i = 0; i < SAMPLES; i++) {
      const x = Math.exp((random() - 0.5) * 60);
      const y = (random() - 0.5) * 20;
      const error = Math.abs(kernels.pow(x, y) / x ** y - 1) / (2 ** -53 * (6 + 3 * Math.abs(y * Math.log(x))));
      if (!(error <= worst)) [worst, at] = [error, `${x} ** ${y}`];
    }
    expect(worst, at).toBeLessThanOrEqual(1);
  });

  test('pow in float32 is right for every exponent RoPE asks for', () => {
    for (const theta of [10_000, 500_000, 1_000_000, 5_000_000]) {
      for (const headDim of [8, 24, 64, 80, 96, 104, 128]) {
        for (let i = 0; i < headDim / 2; i++) {
          const exponent = Math.fround((2 * i) / headDim);
          const what = `${theta} ** ${exponent}`;
          expect(Math.fround(kernels.pow(theta, exponent)), what).toBe(Math.fround(theta ** exponent));
        }
      }
    }
  });

  test.each([
    [1, 5, 1],
    [7, 0, 1],
    [7, -0, 1],
    [2, 1100, INF],
    [2, -1100, 0],
    [INF, 2, INF],
    [INF, -1, 0],
    [0, 3, 0],
    [0, -3, INF],
    [2, INF, INF],
    [2, -INF, 0],
    [NAN, 1, NAN],
    [2, NAN, NAN],
  ])('pow(%d, %d) = %d', (x, y, z) => {
    expect(kernels.pow(x, y)).toBe(z);
  });
});
