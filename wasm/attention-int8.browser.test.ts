// storeKeyInt8(), storeValueInt8(), quantiseQuery(), attentionBlockInt8(): the oracle's bits, in every build.
import { describe, expect, test } from 'vitest';
import { bitDifference, difference, gaussian, joined, type Lab, once, openLabs, pad, prng } from '../e2e/kernel-lab';
import { BLOCK } from '../src/model/memory';
import { attend, attendInt8, int8Head } from '../src/model/reference-kernels';

const f = Math.fround;
const labs = await openLabs();
const HEAD_DIMS = [8, 24, 40, 64, 104, 128];
const GROUPS = [1, 2, 3, 4, 5, 7, 8];
const POSITIONS = [1, 2, 3, 4, 5, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257, 600];

interface Case {
  queries: Float32Array[];
  keys: Float32Array[];
  values: Float32Array[];
}

/** Random heads; keys and values of very different sizes, so that every scale matters. */
function example(queries: number, headDim: number, n: number, spread = 1): Case {
  const random = prng(queries * 1_000_000 + headDim * 1000 + n);
  const heads = (count: number, deviation: () => number): Float32Array[] =>
    Array.from({ length: count }, () => gaussian(headDim, random, deviation()));
  const anySize = (): number => 0.2 + 2 * random() ** 2;
  return { queries: heads(queries, () => spread), keys: heads(n, anySize), values: heads(n, anySize) };
}

/** Puts keys and values into a cache, whose pairs and scales begin as garbage. */
function store(lab: Lab, { keys, values }: Case) {
  const k = lab.kernels;
  const [n, headDim] = [keys.length, keys[0]!.length];
  const room = pad(n, 8);
  const cache = { keys: lab.take(room * headDim), values: lab.take(room * headDim) };
  const scales = { keys: lab.take(room * 4), values: lab.take(room * 4) };
  lab.write(scales.keys, new Float32Array(room).fill(Number.NaN));
  lab.write(scales.values, new Float32Array(room).fill(Number.NaN));
  const [key, value] = [lab.put(joined(keys)), lab.put(joined(values))];
  // the last first: the order of positions must not matter
  for (let p = n - 1; p >= 0; p--) {
    k.storeKeyInt8(key + p * headDim * 4, headDim, cache.keys + p * headDim, scales.keys + p * 4);
    const place = cache.values + (p - (p % 2)) * headDim + (p % 2);
    k.storeValueInt8(value + p * headDim * 4, headDim, place, scales.values + p * 4);
  }
  return { n, headDim, cache, scales };
}

/** As cached() of attention.browser.test.ts: rows of grouped queries, of which the last sees all positions. */
function cached(lab: Lab, made: Case): (rows: Float32Array[][]) => Float32Array {
  const k = lab.kernels;
  lab.reset();
  const { n, headDim, cache, scales } = store(lab, made);
  const scale = f(1 / Math.sqrt(headDim));
  return (rows) => {
    const group = rows[0]!.length;
    const headBytes = headDim * 4;
    const rowBytes = group * headBytes + 32;
    const q = lab.take(rows.length * rowBytes);
    for (const [r, queries] of rows.entries()) {
      lab.write(q + r * rowBytes, joined(queries));
      for (let h = 0; h < group; h++) k.quantiseQuery(q + r * rowBytes + h * headBytes, headDim);
    }
    const scratch = lab.take((rows.length * group * (BLOCK + 1) + 4 * headDim) * 4);
    const stride = pad(group * 8, 16) + group * headBytes;
    const blocks = Math.ceil(n / BLOCK);
    const recordBytes = blocks * stride;
    const partials = lab.take(rows.length * recordBytes);
    const out = lab.take(rows.length * group * headBytes);
    const seen = (row: number): number => n - rows.length + row + 1;
    for (let block = blocks - 1; block >= 0; block--) {
      const first = block * BLOCK;
      const from = Math.max(0, first + rows.length - n); // the first row that sees some of the block
      const count = Math.min(BLOCK, seen(from) - first);
      // biome-ignore format: as the kernel has them
      k.attentionBlockInt8(
        q + from * rowBytes, rowBytes, rows.length - from, group, cache.keys + first * headDim, scales.keys + first * 4,
        cache.values + first * headDim, scales.values + first * 4, count, headDim, scale, scratch,
        partials + from * recordBytes + block * stride, recordBytes,
      );
    }
    for (const row of rows.keys()) {
      const to = out + row * group * headBytes;
      k.attentionCombine(partials + row * recordBytes, Math.ceil(seen(row) / BLOCK), stride, group, headDim, to);
    }
    expect(lab.overruns()).toEqual([]);
    return lab.f32(out, rows.length * group * headDim);
  };
}

const attention = (lab: Lab, made: Case): Float32Array => cached(lab, made)([made.queries]);
function answer({ queries, keys, values }: Case): Float32Array {
  const [ks, vs] = [keys.map(int8Head), values.map(int8Head)];
  return joined(queries.map((query) => attendInt8(query, ks, vs)));
}

describe.each(labs)('storing, $name', (lab) => {
  test.each(HEAD_DIMS)('codes and scales of heads of %i', (headDim) => {
    const made = example(1, headDim, 7);
    made.keys[1]!.fill(0);
    made.keys[2]!.fill(1e-31); // as good as nothing
    made.keys[3]!.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127]); // halves go to even
    made.values[4]!.fill(-3);
    lab.reset();
    const { cache, scales } = store(lab, made);
    const [keys, values] = [made.keys.map(int8Head), made.values.map(int8Head)];
    expect(
      difference(
        lab.i8(cache.keys, 7 * headDim),
        keys.flatMap(({ codes }) => codes),
      ),
    ).toBe('');
    const paired = lab.i8(cache.values, 8 * headDim);
    for (const [p, { codes }] of values.entries()) {
      const from = (p - (p % 2)) * headDim + (p % 2);
      expect(
        difference(
          codes.map((_, i) => paired[from + 2 * i]!),
          codes,
        ),
        `position ${p}`,
      ).toBe('');
    }
    expect(
      bitDifference(
        lab.f32(scales.keys, 7),
        Float32Array.from(keys, ({ scale }) => scale),
      ),
    ).toBe('');
    expect(
      bitDifference(
        lab.f32(scales.values, 7),
        Float32Array.from(values, ({ scale }) => scale),
      ),
    ).toBe('');
    expect(lab.overruns()).toEqual([]);
    expect(keys[3]!.codes.slice(0, 8)).toEqual([127, 0, 2, 2, -0, -2, -2, -127].map((v) => v + 0));
    expect([keys[1]!.scale, keys[2]!.scale]).toEqual([0, 0]);
  });
});

describe.each(HEAD_DIMS)('attention, heads of %i', (headDim) => {
  const most = Math.max(...GROUPS);
  const cases = once(() =>
    POSITIONS.map((n) => {
      const made = example(most, headDim, n, 2);
      return { made, n, right: answer(made) };
    }),
  );

  test.each(labs)('$name: groups of 1 to 8, 1 to 600 positions', (lab) => {
    for (const { made, n, right } of cases()) {
      const run = cached(lab, made);
      for (const group of GROUPS) {
        const wanted = right.subarray(0, group * headDim);
        expect(bitDifference(run([made.queries.slice(0, group)]), wanted), `group ${group}, ${n} positions`).toBe('');
      }
    }
  });
});

describe.each([8, 40, 128])('rows together, heads of %i', (headDim) => {
  const [MOST_ROWS, MOST_HEADS] = [9, 5];
  const cases = once(() =>
    [9, 63, 65, 72, 127, 129, 255, 256, 257, 260, 265, 520].map((n) => {
      const made = example(MOST_ROWS * MOST_HEADS, headDim, n, 2);
      const rows = Array.from({ length: MOST_ROWS }, (_, r) =>
        made.queries.slice(r * MOST_HEADS, (r + 1) * MOST_HEADS),
      );
      const [keys, values] = [made.keys.map(int8Head), made.values.map(int8Head)];
      const right = rows.map((queries, r) => {
        const end = n - MOST_ROWS + r + 1;
        return queries.map((query) => attendInt8(query, keys.slice(0, end), values.slice(0, end)));
      });
      return { made, n, rows, right };
    }),
  );

  test.each(labs)('$name: 1 to 9 rows, groups of 1 to 5', (lab) => {
    for (const { made, n, rows, right } of cases()) {
      const run = cached(lab, made);
      for (const count of [1, 2, 3, 4, 7, 8, 9]) {
        for (let group = 1; group <= MOST_HEADS; group++) {
          const last = <T>(all: T[][]): T[][] => all.slice(-count).map((heads) => heads.slice(0, group));
          const wanted = joined(last(right).flat());
          expect(bitDifference(run(last(rows)), wanted), `${count} rows of ${group}, ${n} positions`).toBe('');
        }
      }
    }
  });
});

describe.each(labs)('attention, $name', (lab) => {
  test('the largest sums there can be fit', () => {
    const made = example(4, 1024, 256);
    for (const head of [...made.queries, ...made.keys, ...made.values]) head.fill(1);
    for (const negative of [false, true]) {
      if (negative) for (const value of made.values) value.fill(-1);
      const y = attention(lab, made);
      expect(bitDifference(y, answer(made))).toBe('');
      for (const v of y) expect(Math.abs(v - (negative ? -1 : 1))).toBeLessThan(1e-4);
    }
  });

  test('values of nothing give nothing, keys of nothing the mean', () => {
    const made = example(3, 24, 300);
    for (const value of made.values) value.fill(0);
    const nothing = attention(lab, made);
    expect(bitDifference(nothing, answer(made))).toBe('');
    expect(nothing.every((v) => v === 0)).toBe(true);
    const even = example(3, 24, 300);
    for (const key of even.keys) key.fill(0);
    expect(bitDifference(attention(lab, even), answer(even))).toBe('');
  });

  test('what is not a number spoils every output', () => {
    for (const part of ['queries', 'keys', 'values'] as const) {
      const made = example(1, 24, 300);
      made[part].at(-1)![5] = Number.NaN;
      const y = attention(lab, made);
      expect(bitDifference(y, answer(made))).toBe('');
      expect(y.every(Number.isNaN), part).toBe(true);
    }
  });

  test('scores far apart: one position takes all, in whichever block it lies', () => {
    for (const winner of [0, 255, 256, 599]) {
      const made = example(2, 24, 600);
      made.queries = made.queries.map(() => new Float32Array(24).fill(100));
      made.keys = made.keys.map((key, p) => key.fill(p === winner ? 10 : -10));
      const y = attention(lab, made);
      expect(bitDifference(y, answer(made))).toBe('');
      const { codes, scale } = int8Head(made.values[winner]!);
      for (const [j, code] of codes.entries()) expect(Math.abs(y[j]! - code * scale)).toBeLessThan(1e-4);
    }
  });

  test('is close to attention over what was stored, in float32', () => {
    const made = example(4, 128, 257, 3);
    const y = attention(lab, made);
    const back = (heads: Float32Array[]): Float32Array[] =>
      heads.map(int8Head).map(({ codes, scale }) => Float32Array.from(codes, (code) => code * scale));
    const exact = joined(made.queries.map((query) => attend(query, back(made.keys), back(made.values))));
    for (const [i, v] of y.entries()) expect(Math.abs(v - exact[i]!)).toBeLessThan(2e-3);
  });
});
