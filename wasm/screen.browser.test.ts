// Screening of the int8 lm_head: the rotation, the plane and the bounds as an oracle in plain TypeScript has them, in
// every build; and that no row is lost that is among the best k.
import { describe, expect, test } from 'vitest';
import { headForms } from '../bench/screening-heads';
import { bitDifference, difference, gaussian, openLabs, prng } from '../e2e/kernel-lab';
import { lostAmongBest, openHead } from '../e2e/screening-lab';
import { createSampler } from '../src/generate/sampler';
import { quantiseEmbeddingRow, toBf16 } from '../src/model/reference-kernels';

const labs = await openLabs(16);
const f = Math.fround;
const GAIN = 2 ** 22; // of a dot product, by the rotation
const WIDTHS = [16, 64, 256, 272, 640, 1536, 2560];

/** Signs as wasm/rotate.ts has them: the finaliser of MurmurHash3. */
function signOf(index: number): number {
  let h = Math.imul(index + 1, 0x9e3779b1) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
  return (h ^ (h >>> 16)) & 1 ? -1 : 1;
}

/** The Hadamard transform of some elements of x, level by level, in float32. */
function hadamard(x: Float32Array, indices: number[]): void {
  for (let step = 1; step < indices.length; step *= 2) {
    for (const [i, at] of indices.entries()) {
      if (i & step) continue;
      const [a, b] = [x[at]!, x[indices[i + step]!]!];
      x[at] = a + b;
      x[indices[i + step]!] = a - b;
    }
  }
}

/** The rotation of n (a multiple of 256) numbers, as the head of wasm/rotate.ts describes it. */
function rotated(codes: ArrayLike<number>, n: number): Float32Array {
  const x = Float32Array.from({ length: n }, (_, i) => (codes[i] ?? 0) * signOf(i));
  const to = (count: number, index: (i: number) => number): number[] =>
    Array.from({ length: count }, (_, i) => index(i));
  const nearBlocks = (): void => {
    for (let block = 0; block < n; block += 256)
      for (let lane = 0; lane < 4; lane++)
        hadamard(
          x,
          to(64, (i) => block + 4 * i + lane),
        );
  };
  const mixLanes = (round: number): void => {
    for (let i = 0; i < n; i++) x[i]! *= signOf(round * n + i);
    for (let at = 0; at < n; at += 16) {
      for (let v = 0; v < 4; v++)
        hadamard(
          x,
          to(4, (i) => at + 4 * v + i),
        );
      const old = x.slice(at, at + 16);
      for (let v = 0; v < 4; v++) for (let lane = 0; lane < 4; lane++) x[at + 4 * v + lane] = old[4 * lane + v]!;
    }
  };
  nearBlocks();
  mixLanes(1);
  for (let first = 0; first < n / 64; first += 4)
    for (let lane = 0; lane < 4; lane++)
      hadamard(
        x,
        to(64, (i) => first + (i * n) / 64 + lane),
      );
  mixLanes(2);
  nearBlocks();
  return x;
}

interface Row {
  codes: Int8Array;
  scale: number;
}

/** Four-bit codes of a row, and its factors. */
function planeRow({ codes, scale }: Row, n: number) {
  const x = rotated(codes, n);
  const square = codes.reduce((sum, c) => sum + c * c, 0) * GAIN;
  const inverse = f(square > 0 ? 1 / (0.3352 * Math.sqrt(square / n)) : 0);
  const nibbles = Uint8Array.from(x, (v) => Math.min(7, Math.max(-8, Math.floor(f(f(v) * inverse)))) + 8);
  const u = Array.from(nibbles, (c) => c - 7.5);
  const dot = u.reduce((sum, v, i) => sum + v * x[i]!, 0);
  const norm = u.reduce((sum, v) => sum + v * v, 0);
  const tangent = Math.sqrt(Math.max((square * norm) / dot ** 2 - 1, 1 / 256));
  return {
    nibbles,
    factor: square > 0 ? (scale * square) / dot / (2 * GAIN) : 0,
    error: square > 0 ? (scale * Math.sqrt(square) * tangent) / GAIN : 0,
  };
}

function activationsOf(a: ArrayLike<number>, scale: number, n: number) {
  const x = rotated(a, n);
  const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const roundEven = (v: number): number => {
    const r = Math.round(v);
    return r - v === 0.5 && r % 2 !== 0 ? r - 1 : r;
  };
  const codes = Int8Array.from(x, (v) => (most > 0 ? roundEven(v * (127 / most)) : 0));
  const square = x.reduce((sum, v) => sum + v * v, 0);
  const rest = x.reduce((sum, v, i) => sum + (v - (most / 127) * codes[i]!) ** 2, 0);
  const sum = codes.reduce((s, c) => s + c, 0);
  return { codes, sum, factor: (scale * most) / 127, error: scale * 1.001 * 8 * Math.sqrt((square + 258 * rest) / n) };
}

const bf16Rows = (count: number, width: number, seed: number, deviation = 0.05): Float32Array[] => {
  const random = prng(seed);
  return Array.from({ length: count }, () => gaussian(width, random, deviation).map(toBf16));
};

test.each([256, 512, 768, 2560])(
  'the oracle rotates %i numbers: dot products stay, and one element goes everywhere',
  (n) => {
    const random = prng(n);
    const [a, b] = [gaussian(n, random), gaussian(n, random)];
    const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    const [ra, rb] = [rotated(a, n), rotated(b, n)];
    expect(dot(ra, rb) / GAIN).toBeCloseTo(dot(a, b), 2);
    expect(dot(ra, ra) / GAIN).toBeCloseTo(dot(a, a), 1);
    for (const at of [0, 77, n - 1]) {
      const one = new Float32Array(n);
      one[at] = 1;
      const most = rotated(one, n).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      expect(most).toBeLessThan(6 * Math.sqrt(GAIN / n)); // deviations
    }
  },
);

describe.each(labs.filter(({ build }) => build.relaxed))('$name', (lab) => {
  test.each(WIDTHS)('bounds of width %i for two and four rows at once are those one by one', (width) => {
    for (const vocab of [1, 32, 37, 101]) {
      const head = openHead(lab, bf16Rows(vocab, width, vocab));
      const { n, plane, factors, paddedVocab, count: groupCount } = head;
      const states = [gaussian(width, prng(vocab)), gaussian(width, prng(7), 1e-4), new Float32Array(width)];
      states.push(Float32Array.from({ length: width }, (_, i) => (i & 1 ? 1 : -1)));
      const [stride, outStride, groupsStride] = [n + 32, paddedVocab * 4 + 48, groupCount * 16 + 64];
      const inputs = lab.take(4 * stride);
      const [out, groups] = [lab.take(4 * outStride), lab.take(4 * groupsStride)];
      const right = states.map((x, i) => {
        head.give(x);
        lab.write(inputs + i * stride, lab.i8(head.codes, n));
        lab.write(inputs + i * stride + n, lab.u8(head.screenRecord, 16));
        const bounds = head.bounds(0);
        return { bounds, records: lab.u8(head.groups, groupCount * 16) };
      });
      for (const count of [2, 4]) {
        for (let first = 0; first + count <= 4; first++) {
          const at = inputs + first * stride;
          lab.write(out, new Float32Array(outStride).fill(Number.NaN));
          for (const [begin, end] of [
            [0, Math.min(32, paddedVocab)],
            [32, paddedVocab],
          ] as const) {
            const of = [plane, factors, at, at + n, stride, begin, end, vocab, n] as const;
            if (begin < end) lab.kernels.screenRows16Several(count, ...of, out, outStride, groups, groupsStride);
          }
          for (let i = 0; i < count; i++) {
            const { bounds, records } = right[first + i]!;
            expect(bitDifference(lab.f32(out + i * outStride, paddedVocab), bounds), `${vocab} rows, ${i}`).toBe('');
            expect(lab.u8(groups + i * groupsStride, groupCount * 16)).toEqual(records);
          }
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });
});

describe.each(labs)('$name', (lab) => {
  test.each(WIDTHS)('plane and factors of rows of %i', (width) => {
    const spike = new Float32Array(width);
    spike[width - 1] = 3;
    const rows = [...bf16Rows(4, width, width), spike, new Float32Array(width).fill(-0.5), new Float32Array(width)];
    const head = openHead(lab, rows);
    const { n } = head;
    const bytes = lab.u8(head.plane, (head.paddedVocab * n) / 2);
    const factors = lab.f32(head.factors, head.paddedVocab * 2);
    for (const [r, row] of rows.entries()) {
      const right = planeRow(quantiseEmbeddingRow(row), n);
      // tiles of four rows; for each 32 elements 16 bytes a row, the first 16 in the low half-bytes
      const nibble = (i: number): number => {
        const byte = bytes[(r >> 2) * 2 * n + (i >> 5) * 64 + (r & 3) * 16 + (i & 15)]!;
        return i & 16 ? byte >> 4 : byte & 15;
      };
      expect(
        difference(
          Uint8Array.from({ length: n }, (_, i) => nibble(i)),
          right.nibbles,
        ),
        `row ${r}`,
      ).toBe('');
      const at = (r >> 2) * 8 + (r & 3);
      expect(Math.abs(factors[at]! - right.factor)).toBeLessThanOrEqual(1e-5 * right.factor);
      expect(Math.abs(factors[at + 4]! - right.error)).toBeLessThanOrEqual(1e-3 * right.error);
    }
    expect([...factors.slice(-4)].filter((v) => v !== 0).length, 'rows of zeros have no factors').toBe(
      head.vocab % 4 ? 2 : 0,
    );
    expect(lab.overruns()).toEqual([]);
  });

  test.each(WIDTHS)('activations of width %i', (width) => {
    const head = openHead(lab, bf16Rows(1, width, 1));
    const spike = new Float32Array(width);
    spike[0] = 100;
    for (const x of [gaussian(width, prng(width)), spike, gaussian(width, prng(5), 1e-20), new Float32Array(width)]) {
      head.give(x);
      const a = lab.i16(head.input + 2 * head.padded, head.padded);
      const right = activationsOf(a, lab.f32(head.record, 1)[0]!, head.n);
      const codes = lab.i8(head.codes, head.n);
      expect(difference(codes, right.codes)).toBe('');
      const [factor, error] = lab.f32(head.screenRecord, 2);
      expect(factor).toBe(f(right.factor));
      expect(Math.abs(error! - right.error)).toBeLessThanOrEqual(1e-6 * right.error);
      expect(lab.i32(head.screenRecord + 8, 1)[0]).toBe(15 * right.sum);
      if (lab.build.relaxed) continue;
      const words = lab.i16(head.codes + head.n, head.n);
      const order = (i: number): number => (i & ~31) + 2 * (i & 7) + [0, 16, 1, 17][(i >> 3) & 3]!;
      expect(
        difference(
          words,
          words.map((_, i) => right.codes[order(i)]!),
        ),
      ).toBe('');
    }
    expect(lab.overruns()).toEqual([]);
  });

  test.each(WIDTHS)('bounds of width %i are exact sums, scaled: every variant, 1 to 3 threads', (width) => {
    for (const vocab of [1, 31, 32, 33, 64, 101]) {
      const head = openHead(lab, bf16Rows(vocab, width, vocab));
      const { n, paddedVocab, count } = head;
      const alternating = Float32Array.from({ length: width }, (_, i) => (i & 1 ? 1 : -1));
      for (const x of [gaussian(width, prng(vocab)), alternating]) {
        head.give(x);
        const bytes = lab.u8(head.plane, (paddedVocab * n) / 2);
        const factors = lab.f32(head.factors, paddedVocab * 2);
        const codes = lab.i8(head.codes, n);
        const [factor, error] = lab.f32(head.screenRecord, 2);
        const minus = lab.i32(head.screenRecord + 8, 1)[0]!;
        const keys = new Float32Array(paddedVocab).fill(-Infinity);
        const right = Float32Array.from({ length: paddedVocab }, (_, r) => {
          if (r >= vocab) return -Infinity;
          let sum = 0;
          for (let i = 0; i < n; i++) {
            const byte = bytes[(r >> 2) * 2 * n + (i >> 5) * 64 + (r & 3) * 16 + (i & 15)]!;
            sum += codes[i]! * (i & 16 ? byte >> 4 : byte & 15);
          }
          const at = (r >> 2) * 8 + (r & 3);
          const [estimate, bound] = [f(f(2 * sum - minus) * f(factors[at]! * factor!)), f(factors[at + 4]! * error!)];
          keys[r] = estimate - f(bound / 4);
          return f(estimate + bound);
        });
        for (const variant of head.variants.keys()) {
          for (const threads of [1, 2, 3]) {
            expect(bitDifference(head.bounds(variant, threads), right), `${vocab} rows`).toBe('');
            const records = lab.f32(head.groups, count * 4);
            const rows = lab.i32(head.groups, count * 4);
            for (let g = 0; g < count; g++) {
              const most = Math.max(...right.slice(g * 32, g * 32 + 32));
              const group = keys.slice(g * 32, g * 32 + 32);
              const key = Math.max(...group);
              const got = [...records.slice(4 * g, 4 * g + 2), ...rows.slice(4 * g + 2, 4 * g + 4)];
              expect(got).toEqual([most, key, g * 32 + group.indexOf(key), 0]);
            }
          }
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test('the largest sums fit: every code 15 or 0 against activations of 127', () => {
    const head = openHead(lab, bf16Rows(32, 16384, 3).slice(0, 4));
    const bytes = (4 * 16384) / 2;
    const factors = Float32Array.of(1, 1, 1, 1, 0, 0, 0, 0);
    for (const [byte, code] of [
      [0xff, 127],
      [0xff, -127],
      [0x0f, 127],
      [0xf0, -127],
      [0, 127],
    ] as const) {
      lab.write(head.plane, new Uint8Array(bytes).fill(byte));
      lab.write(head.factors, factors);
      lab.write(head.codes, new Int8Array(16384).fill(code));
      if (!lab.build.relaxed) lab.write(head.codes + 16384, new Int16Array(16384).fill(code));
      lab.write(head.screenRecord, Float32Array.of(1, 1, 0));
      const right = f(2 * code * ((byte & 15) + (byte >> 4)) * 8192);
      for (const variant of head.variants.keys())
        expect([...head.bounds(variant)], `${byte}, ${code}`).toEqual([right, right, right, right]);
      if (!lab.build.relaxed) continue;
      const [out, groups] = [lab.take(4 * 16), lab.take(4 * 16)];
      const of = [head.plane, head.factors, head.codes, head.screenRecord, 0, 0, 4, 4, 16384] as const;
      lab.kernels.screenRows16Several(4, ...of, out, 16, groups, 16);
      expect([...lab.f32(out, 16)], `four rows: ${byte}, ${code}`).toEqual(Array(16).fill(right));
    }
  });

  test('the threshold is the least exact logit of the rows that the best k groups name', () => {
    const head = openHead(lab, bf16Rows(1000, 64, 8));
    head.give(gaussian(64, prng(2)));
    const exact = head.full();
    head.bounds(0);
    const keys = lab.f32(head.groups, head.count * 4).filter((_, i) => i % 4 === 1);
    const rows = lab.i32(head.groups, head.count * 4).filter((_, i) => i % 4 === 2);
    const order = [...keys.keys()].sort((a, b) => keys[b]! - keys[a]! || a - b);
    for (const best of [1, 2, 7, head.count]) {
      const least = Math.min(...order.slice(0, best).map((g) => exact[rows[g]!]!));
      expect(head.threshold(best, 0.5)).toBe(f(least - 0.5));
    }
    // of equal ones the first, whatever their number
    lab.write(head.groups, new Float32Array(lab.f32(head.groups, head.count * 4).map((v, i) => (i % 4 === 1 ? 1 : v))));
    for (const best of [1, 3, 20]) {
      const least = Math.min(...Array.from({ length: best }, (_, g) => exact[rows[g]!]!));
      expect(head.threshold(best, 0)).toBe(least);
    }
    expect(lab.overruns()).toEqual([]);
  });

  test('rows that can reach the threshold get the logits of the full pass, and others none', () => {
    const head = openHead(lab, bf16Rows(997, 64, 9));
    head.give(gaussian(64, prng(3)));
    const exact = head.full();
    const bounds = head.bounds(0);
    const sorted = [...bounds.slice(0, head.vocab)].sort((a, b) => b - a);
    for (const threshold of [-Infinity, sorted[500]!, sorted[20]!, sorted[0]!, sorted[0]! + 1, Number.NaN]) {
      expect(bitDifference(head.bounds(0), bounds)).toBe('');
      const picked = head.pick(threshold);
      const logits = head.logits();
      let computed = 0;
      for (let tile = 0; tile < head.paddedVocab; tile += 4) {
        const wanted = [0, 1, 2, 3].some((i) => !(bounds[tile + i]! < threshold));
        if (wanted) computed += 4;
        const right = exact.slice(tile, tile + 4).map((v) => (wanted ? v : -Infinity));
        expect(bitDifference(logits.slice(tile, tile + 4), right)).toBe('');
      }
      expect(picked).toBe(computed);
    }
    expect(head.pick(Infinity)).toBe(0);
  });

  test.each([Number.NaN, Infinity, -Infinity])('an activation of %d makes no logit finite', (bad) => {
    const head = openHead(lab, bf16Rows(100, 64, 4));
    head.give(gaussian(64, prng(3)).fill(bad, 7, 8));
    const full = head.full();
    head.bounds(0);
    head.pick(head.threshold(2));
    expect(bitDifference(head.logits(), full)).toBe('');
    expect(full.some(Number.isFinite)).toBe(false);
  });
});

describe.each(headForms)('$name', ({ rows: rowsOf, state }) => {
  const [vocab, width] = [2100, 320];
  const penalties = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 };

  /** Softmax terms as the sampler's kernel has them, in plain TypeScript. */
  function expSum(logits: Float32Array, max: number, inverse: number, out: Float32Array): number {
    let sum = 0;
    for (let i = 0; i < logits.length; i++) {
      out[i] = Math.exp(f(f(logits[i]! - max) * f(inverse)));
      sum += out[i]!;
    }
    return sum;
  }

  test.each(labs.slice(0, 2))('$name: the best logits are those of the full pass, and so are the tokens', (lab) => {
    const random = prng(1);
    const rows = rowsOf(vocab, width, random);
    const head = openHead(lab, rows);
    let computed = 0;
    const steps = 24;
    for (let step = 0; step < steps; step++) {
      head.give(state(rows, random));
      const full = head.full();
      const bounds = head.bounds(step % head.variants.length);
      // the theory says 1e-15; a bound that a tenth of this few rows break would be no bound
      expect(full.findIndex((logit, id) => !(logit <= bounds[id]!))).toBe(-1);
      const best = [1, 2, 40, 64][step % 4]!;
      computed += head.pick(head.threshold(best));
      const screened = head.logits();
      expect(lostAmongBest(screened, full, best), `step ${step}, best ${best}`).toBe('');
      for (const temperature of [0.7, 100]) {
        const settings = { ...penalties, temperature, topK: best, topP: 0.95, minP: 0.01, seed: step };
        const tokens = [full.slice(), screened.slice()].map((l) => createSampler(settings, vocab, expSum).sample(l));
        expect(tokens[1], `step ${step}, temperature ${temperature}`).toBe(tokens[0]);
      }
    }
    expect(computed).toBeGreaterThanOrEqual(4 * steps);
    expect(lab.overruns()).toEqual([]);
  });
});

test('a logit that is missing or wrong is seen', () => {
  const full = Float32Array.of(3, 1, 4, 1, 5);
  expect(lostAmongBest(Float32Array.of(3, -Infinity, 4, -Infinity, 5), full, 3)).toBe('');
  expect(lostAmongBest(Float32Array.of(3, -Infinity, -Infinity, -Infinity, 5), full, 2)).toMatch(/2 logits are/);
  expect(lostAmongBest(Float32Array.of(-Infinity, -Infinity, 4.5, 1, 5), full, 1)).toMatch(/logit 2 is 4.5/);
  expect(lostAmongBest(Float32Array.of(-Infinity, 1, -Infinity, -Infinity, 5), full, 3)).toMatch(/2 logits instead/);
  expect(lostAmongBest(Float32Array.of(3, 1, 4, -Infinity, 5), full, 4)).toMatch(/should be 5/);
});
