// storeHead(), attentionBlock(), attentionCombine(): the oracle's bits, whatever the group and the number of blocks.
import { describe, expect, test } from 'vitest';
import { bitDifference, gaussian, joined, type Lab, once, openLabs, pad, prng } from '../e2e/kernel-lab';
import { BLOCK } from '../src/model/memory';
import { attend, toBf16 } from '../src/model/reference-kernels';

const f = Math.fround;
const labs = await openLabs();
const HEAD_DIMS = [8, 24, 40, 64, 104, 128];
const GROUPS = [1, 2, 3, 4, 5, 7, 8];
const POSITIONS = [1, 2, 3, 4, 5, 63, 64, 65, 255, 256, 257, 600];

/** bf16 as stored: groups of 8 elements, i32 lane i holding element i low and i + 4 high. */
function readBf16(lab: Lab, at: number, n: number): Float32Array {
  const words = lab.i32(at, n / 2);
  const bits = Int32Array.from({ length: n }, (_, i) => {
    const lane = words[(i >> 3) * 4 + (i & 3)]!;
    return i & 4 ? lane & 0xffff0000 : lane << 16;
  });
  return new Float32Array(bits.buffer);
}

/** The nearer of the two bf16 around x; of two equally near, the one with an even last bit. Plain arithmetic. */
function nearestBf16(x: number): number {
  const word = new Uint32Array(new Float32Array([x]).buffer)[0]!;
  const toFloat = (bits: number): number => new Float32Array(new Uint32Array([bits]).buffer)[0]!;
  const [low, high] = [toFloat(word & 0xffff0000), toFloat((word & 0xffff0000) + 0x10000)];
  if (!Number.isFinite(high)) return Math.abs(x) >= 2 ** 127 * (2 - 2 ** -8) ? high : low;
  const [down, up] = [Math.abs(x - low), Math.abs(high - x)];
  if (down !== up) return down < up ? low : high;
  return word & 0x10000 ? high : low;
}

interface Case {
  queries: Float32Array[];
  keys: Float32Array[];
  values: Float32Array[];
}

/** Random heads; keys and values are bf16, so that both caches hold the same. */
function example(group: number, headDim: number, n: number, spread = 1): Case {
  const random = prng(group * 1_000_000 + headDim * 1000 + n);
  const heads = (count: number, deviation: number): Float32Array[] =>
    Array.from({ length: count }, () => gaussian(headDim, random, deviation));
  const rounded = (rows: Float32Array[]): Float32Array[] => rows.map((row) => row.map(toBf16));
  return { queries: heads(group, spread), keys: rounded(heads(n, 1)), values: rounded(heads(n, 1)) };
}

/**
 * Puts keys and values into a cache; what comes back runs consecutive rows of grouped queries over it, as src/model/attend.ts
 * does. The last row sees all positions, each row before it one less.
 */
function cached(lab: Lab, { keys, values }: Case, bf16: number): (rows: Float32Array[][]) => Float32Array {
  const k = lab.kernels;
  const [n, headDim] = [keys.length, keys[0]!.length];
  const headBytes = headDim * (bf16 ? 2 : 4);
  lab.reset();
  const store = (heads: Float32Array[]): number => {
    const cache = lab.take(n * headBytes);
    const x = lab.put(joined(heads));
    for (let p = 0; p < n; p++) k.storeHead(x + p * headDim * 4, headDim, cache + p * headBytes, bf16);
    return cache;
  };
  const [ks, vs] = [store(keys), store(values)];
  const scale = f(1 / Math.sqrt(headDim));
  return (rows) => {
    const group = rows[0]!.length;
    const rowBytes = group * headDim * 4 + 32; // rows of q need not touch
    const q = lab.take(rows.length * rowBytes);
    for (const [r, queries] of rows.entries()) lab.write(q + r * rowBytes, joined(queries));
    const scratch = lab.take((rows.length * group * BLOCK + 4 * headDim) * 4);
    const stride = pad(group * 8, 16) + group * headDim * 4;
    const blocks = Math.ceil(n / BLOCK);
    const recordBytes = blocks * stride;
    const partials = lab.take(rows.length * recordBytes);
    const out = lab.take(rows.length * group * headDim * 4);
    const seen = (row: number): number => n - rows.length + row + 1;
    // the last block first: the order of the work must not matter
    for (let block = blocks - 1; block >= 0; block--) {
      const first = block * BLOCK;
      const at = first * headBytes;
      const from = Math.max(0, first + rows.length - n); // the first row that sees some of the block
      const count = Math.min(BLOCK, seen(from) - first);
      // biome-ignore format: as the kernel has them
      k.attentionBlock(
        q + from * rowBytes, rowBytes, rows.length - from, group, ks + at, vs + at, count, headDim, scale, bf16, scratch,
        partials + from * recordBytes + block * stride, recordBytes,
      );
    }
    for (const row of rows.keys()) {
      const to = out + row * group * headDim * 4;
      k.attentionCombine(partials + row * recordBytes, Math.ceil(seen(row) / BLOCK), stride, group, headDim, to);
    }
    expect(lab.overruns()).toEqual([]);
    return lab.f32(out, rows.length * group * headDim);
  };
}

const attention = (lab: Lab, made: Case, bf16: number): Float32Array => cached(lab, made, bf16)([made.queries]);
const answer = ({ queries, keys, values }: Case): Float32Array =>
  joined(queries.map((query) => attend(query, keys, values)));

describe('storeHead', () => {
  const edges = [0, -0, 1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8, 1 + 2 ** -8 + 2 ** -23, 1e-40, -1e-45, 3.39e38];
  const infinities = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

  test.each(labs)('$name: bf16 is the nearest, ties to even', (lab) => {
    const random = prng(1);
    const x = Float32Array.from([...edges, ...infinities, ...gaussian(4000, random), ...gaussian(180, random, 1e30)]);
    const wanted = x.map((v) => (Number.isFinite(v) ? nearestBf16(v) : v));
    for (const headDim of [8, 24, 128, x.length]) {
      lab.reset();
      const [at, cache] = [lab.put(x), lab.take(headDim * 2)];
      lab.kernels.storeHead(at, headDim, cache, 1);
      expect(bitDifference(readBf16(lab, cache, headDim), wanted.subarray(0, headDim))).toBe('');
      expect(lab.overruns()).toEqual([]);
    }
    expect(bitDifference(x.map(toBf16), wanted), 'the oracle').toBe('');
  });

  test.each(labs)('$name: f32 is copied', (lab) => {
    const x = gaussian(104, prng(2));
    lab.reset();
    const cache = lab.take(104 * 4);
    lab.kernels.storeHead(lab.put(x), 104, cache, 0);
    expect(bitDifference(lab.f32(cache, 104), x)).toBe('');
    expect(lab.overruns()).toEqual([]);
  });
});

describe.each(HEAD_DIMS)('attention, heads of %i', (headDim) => {
  // a group takes the first of eight queries, so that the oracle works once for all groups, builds and caches
  const most = Math.max(...GROUPS);
  const cases = once(() =>
    POSITIONS.map((n) => {
      const made = example(most, headDim, n, 2);
      return { made, n, right: answer(made) };
    }),
  );

  test.each(labs)('$name: groups of 1 to 8, 1 to 600 positions, both caches', (lab) => {
    for (const { made, n, right } of cases()) {
      for (const bf16 of [1, 0]) {
        const run = cached(lab, made, bf16);
        for (const group of GROUPS) {
          const what = `group of ${group}, ${n} positions, bf16 ${bf16}`;
          const wanted = right.subarray(0, group * headDim);
          expect(bitDifference(run([made.queries.slice(0, group)]), wanted), what).toBe('');
        }
      }
    }
  });
});

describe.each([8, 40, 128])('rows together, heads of %i', (headDim) => {
  const [MOST_ROWS, MOST_HEADS] = [9, 5];
  // the end of the last row, around the edges of blocks and of what the kernels take at once
  const cases = once(() =>
    [9, 63, 64, 65, 72, 255, 256, 257, 260, 264, 265, 513, 520].map((n) => {
      const made = example(MOST_ROWS * MOST_HEADS, headDim, n, 2);
      const rows = Array.from({ length: MOST_ROWS }, (_, r) =>
        made.queries.slice(r * MOST_HEADS, (r + 1) * MOST_HEADS),
      );
      const right = rows.map((queries, r) => {
        const end = n - MOST_ROWS + r + 1;
        return queries.map((query) => attend(query, made.keys.slice(0, end), made.values.slice(0, end)));
      });
      return { made, n, rows, right };
    }),
  );

  test.each(labs)('$name: 1 to 9 rows, groups of 1 to 5, both caches', (lab) => {
    for (const { made, n, rows, right } of cases()) {
      for (const bf16 of [1, 0]) {
        const run = cached(lab, made, bf16);
        for (const count of [1, 2, 3, 4, 7, 8, 9]) {
          for (let group = 1; group <= MOST_HEADS; group++) {
            const last = <T>(all: T[][]): T[][] => all.slice(-count).map((heads) => heads.slice(0, group));
            const wanted = joined(last(right).flat());
            expect(
              bitDifference(run(last(rows)), wanted),
              `${count} rows of ${group}, ${n} positions, bf16 ${bf16}`,
            ).toBe('');
          }
        }
      }
    }
  });
});

describe.each(labs)('attention, $name', (lab) => {
  test('an f32 cache keeps what bf16 would round', () => {
    const random = prng(9);
    const heads = (count: number): Float32Array[] => Array.from({ length: count }, () => gaussian(24, random));
    const made = { queries: heads(5), keys: heads(300), values: heads(300) };
    expect(bitDifference(attention(lab, made, 0), answer(made))).toBe('');
    const rounded = {
      ...made,
      keys: made.keys.map((k) => k.map(toBf16)),
      values: made.values.map((v) => v.map(toBf16)),
    };
    expect(bitDifference(attention(lab, made, 1), answer(rounded))).toBe('');
  });

  test('scores far apart: one position takes all, in whichever block it lies', () => {
    for (const winner of [0, 255, 256, 599]) {
      const made = example(2, 24, 600);
      made.queries = made.queries.map(() => new Float32Array(24).fill(100));
      made.keys = made.keys.map((key, p) => key.fill(p === winner ? 10 : -10));
      const y = attention(lab, made, 1);
      expect(bitDifference(y, answer(made))).toBe('');
      expect(bitDifference(y.subarray(0, 24), made.values[winner]!)).toBe('');
    }
  });

  test('a key that is not a number spoils every output, wherever it lies', () => {
    for (const at of [0, 2, 255, 256, 299]) {
      const made = example(3, 24, 300);
      made.keys[at]![7] = Number.NaN;
      const y = attention(lab, made, 0);
      expect(bitDifference(y, answer(made))).toBe('');
      expect(y.every(Number.isNaN)).toBe(true);
    }
  });

  test('equal scores: the mean of the values', () => {
    const made = example(3, 24, 512);
    made.queries = made.queries.map((query) => query.fill(0));
    const y = attention(lab, made, 1);
    expect(bitDifference(y, answer(made))).toBe('');
    for (let j = 0; j < 24; j++) {
      const mean = made.values.reduce((sum, value) => sum + value[j]!, 0) / 512;
      expect(Math.abs(y[j]! - mean)).toBeLessThan(1e-6);
    }
  });

  test('agrees with softmax in float64', () => {
    const made = example(4, 64, 257, 3);
    const y = attention(lab, made, 1);
    made.queries.forEach((query, h) => {
      const scores = made.keys.map((key) => query.reduce((sum, v, j) => sum + v * key[j]!, 0) / 8);
      const most = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let j = 0; j < 64; j++) {
        const right = made.values.reduce((sum, value, p) => sum + weights[p]! * value[j]!, 0) / total;
        expect(Math.abs(y[h * 64 + j]! - right)).toBeLessThan(2e-5);
      }
    });
  });
});
