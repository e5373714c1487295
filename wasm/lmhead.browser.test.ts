// Embedding and lm_head, bf16 and int8: the oracle's bits in every build, for odd vocabularies and row ranges.
import { describe, expect, test } from 'vitest';
import { bitDifference, difference, gaussian, joined, type Lab, once, openLabs, pad, prng } from '../e2e/kernel-lab';
import { lmHead, lmHeadInt8, quantiseEmbeddingRow, toBf16 } from '../src/model/reference-kernels';

const labs = await openLabs(16);
const HIDDEN = [8, 24, 64, 104, 640, 2560];
const VOCABS = [1, 3, 4, 5, 17, 33, 131];

/** Upper halves of float32. */
const halves = (x: Float32Array): Uint16Array => new Uint16Array(x.buffer).filter((_, i) => i % 2 === 1);

/** Rows of a checkpoint: normally distributed, bf16. */
function embedding(vocab: number, n: number, deviation = 0.05): Float32Array[] {
  const random = prng(vocab * 10_000 + n);
  return Array.from({ length: vocab }, () => gaussian(n, random, deviation).map(toBf16));
}

/** Odd vocabularies of one width, with what the oracle says of both heads: once for all builds. */
const logitCases = new Map(
  [20, ...HIDDEN].map((n) => [
    n,
    once(() =>
      VOCABS.map((vocab) => {
        const rows = embedding(vocab, n);
        const x = gaussian(n, prng(n));
        const int8 = lmHeadInt8(rows.map(quantiseEmbeddingRow), x);
        return { vocab, rows, x, bf16: lmHead(joined(rows), x), int8 };
      }),
    ),
  ]),
);

/** A table of zeros, as fresh memory is, with the rows packed into it. */
function bf16Table(lab: Lab, rows: Float32Array[], n: number): number {
  const table = lab.put(new Uint8Array(pad(rows.length, 4) * n * 2));
  for (const [r, row] of rows.entries()) lab.kernels.packBf16(lab.put(halves(row)), table, r, n);
  return table;
}

function int8Table(lab: Lab, rows: Float32Array[], n: number) {
  const [vocab, padded] = [pad(rows.length, 4), pad(n, 16)];
  const table = lab.put(new Uint8Array(vocab * padded));
  const [scales, sums] = [lab.put(new Float32Array(vocab)), lab.put(new Int32Array(vocab))];
  for (const [r, row] of rows.entries()) {
    lab.kernels.packInt8(lab.put(halves(row)), table, r, n, padded, scales, sums);
  }
  return { table, scales, sums, padded, vocab };
}

/** Logits of a range of rows, written to out. */
type Head = (begin: number, end: number, out: number) => void;

/** Runs a head over 1 to 7 threads' ranges, as src/model/forward.ts cuts them, and looks at what each has written. */
function checkRanges(lab: Lab, vocab: number, head: Head, right: Float32Array, what: string): void {
  const tiles = pad(vocab, 4) / 4;
  const out = lab.take(tiles * 16);
  const blank = new Float32Array(tiles * 4).fill(Number.NaN);
  for (let threads = 1; threads <= 7; threads++) {
    let covered = 0;
    for (let rank = 0; rank < threads; rank++) {
      const begin = Math.floor((tiles * rank) / threads) * 4;
      const end = Math.floor((tiles * (rank + 1)) / threads) * 4;
      covered += end - begin;
      lab.write(out, blank);
      head(begin, end, out); // an empty range too, as in forward.ts
      const got = lab.f32(out, tiles * 4);
      const wanted = blank.map((v, r) => (r < begin || r >= end ? v : r < vocab ? right[r]! : 0));
      expect(bitDifference(got, wanted), `${what}, thread ${rank} of ${threads}`).toBe('');
    }
    expect(covered).toBe(tiles * 4);
  }
  expect(lab.overruns()).toEqual([]);
}

function int8Head(lab: Lab, made: ReturnType<typeof int8Table>, x: Float32Array): Head {
  const { table, scales, sums, padded } = made;
  const [codes, row] = [lab.take(padded * 4), lab.take(4)];
  lab.kernels.quantiseHead(lab.put(x), x.length, padded, codes, row);
  return (begin, end, out) => lab.kernels.headInt8(table, codes, row, scales, sums, begin, end, padded, out);
}

describe.each(labs)('$name, bf16', (lab) => {
  test.each(HIDDEN)('rows of %i are stored as the layout says, and come back', (n) => {
    lab.reset();
    const rows = embedding(7, n);
    const table = bf16Table(lab, rows, n);
    const halfWords = new Uint16Array(lab.u8(table, 8 * n * 2).buffer);
    const out = lab.take(n * 4);
    for (const [r, row] of rows.entries()) {
      // for each 8 elements 16 bytes of each of four rows; lane i holds element i low, i + 4 high
      const read = row.map((_, i) => {
        const at = (r >> 2) * 4 * n + (i >> 3) * 32 + (r & 3) * 8 + (i & 3) * 2 + ((i >> 2) & 1);
        return new Float32Array(new Uint32Array([halfWords[at]! << 16]).buffer)[0]!;
      });
      expect(bitDifference(read, row), `table, row ${r}`).toBe('');
      lab.kernels.embedBf16(table, r, n, out);
      expect(bitDifference(lab.f32(out, n), row), `embedding, row ${r}`).toBe('');
    }
    expect(lab.overruns()).toEqual([]);
  });

  test.each(HIDDEN)('logits of width %i, 1 to 7 threads', (n) => {
    for (const { vocab, rows, x, bf16 } of logitCases.get(n)!()) {
      lab.reset();
      const table = bf16Table(lab, rows, n);
      const at = lab.put(x);
      const head: Head = (begin, end, out) => lab.kernels.headBf16(table, at, begin, end, n, out);
      checkRanges(lab, vocab, head, bf16, `vocabulary ${vocab}`);
    }
  });
});

describe.each(labs)('$name, int8', (lab) => {
  test.each([4, 12, 20, ...HIDDEN])('rows of %i are quantised, stored as the layout says, and come back', (n) => {
    lab.reset();
    const rows = [...embedding(6, n), new Float32Array(n)];
    const { table, scales, sums, padded, vocab } = int8Table(lab, rows, n);
    const bytes = lab.i8(table, vocab * padded);
    const out = lab.take(n * 4);
    for (const [r, row] of rows.entries()) {
      const { codes, scale } = quantiseEmbeddingRow(row);
      // for each 16 elements 16 bytes of each of four rows; padding 0
      const at = (i: number): number => (r >> 2) * 4 * padded + (i >> 4) * 64 + (r & 3) * 16 + (i & 15);
      const read = Int8Array.from({ length: padded }, (_, i) => bytes[at(i)]!);
      const wanted = new Int8Array(padded);
      wanted.set(codes);
      expect(difference(read, wanted), `codes, row ${r}`).toBe('');
      expect(lab.f32(scales, vocab)[r], `scale, row ${r}`).toBe(scale);
      expect(lab.i32(sums, vocab)[r], `sum, row ${r}`).toBe(codes.reduce((sum, code) => sum + code, 0));
      lab.kernels.embedInt8(table, r, n, padded, scales, out);
      const floats = Float32Array.from(codes, (code) => code * scale);
      expect(bitDifference(lab.f32(out, n), floats), `embedding, row ${r}`).toBe('');
    }
    expect(lab.overruns()).toEqual([]);
  });

  test.each([4, 12, 20, ...HIDDEN])('activations of width %i have 14 bits in two halves', (n) => {
    for (const deviation of [1, 1e-20, 1e20, 0]) {
      lab.reset();
      const x = gaussian(n, prng(n), deviation);
      const padded = pad(n, 16);
      const [codes, row] = [lab.take(padded * 4), lab.take(4)];
      lab.kernels.quantiseHead(lab.put(x), n, padded, codes, row);
      const [high, low] = [lab.u8(codes, padded), lab.u8(codes + padded, padded)];
      const a = lab.i16(codes + 2 * padded, padded);
      const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      expect(lab.f32(row, 1)[0]).toBe(Math.fround(most / 8128));
      const exact = (i: number): number => (i < n && most > 0 ? (x[i]! * 8128) / most : 0);
      expect(
        a.findIndex((code, i) => !(Math.abs(code - exact(i)) <= 0.501)),
        'codes not rounded',
      ).toBe(-1);
      expect(
        a.findIndex((code, i) => code !== 128 * (high[i]! - 64) + low[i]!),
        'halves that differ',
      ).toBe(-1);
      expect(Math.max(...high, ...low), '7 bits').toBeLessThan(128);
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each([20, ...HIDDEN])('logits of width %i, 1 to 7 threads', (n) => {
    for (const { vocab, rows, x, int8 } of logitCases.get(n)!()) {
      lab.reset();
      const head = int8Head(lab, int8Table(lab, rows, n), x);
      checkRanges(lab, vocab, head, int8, `vocabulary ${vocab}`);
    }
  });

  test.each([2, 3, 4])('%i rows of activations at once: the logits of each alone', (count) => {
    for (const n of [4, 20, ...HIDDEN, 8192]) {
      const vocab = n > 2560 ? 4 : 17;
      lab.reset();
      // the largest sums too: rows and activations of one sign
      const rows = embedding(vocab, n).map((row, r) => (r === 1 ? row.fill(-1) : r === 2 ? row.fill(1) : row));
      const made = int8Table(lab, rows, n);
      const [bytes, outBytes] = [made.padded * 4 + 16, made.vocab * 4 + 48];
      const codes = lab.take(count * bytes);
      const xs = Array.from({ length: count }, (_, i) =>
        i === 1 ? new Float32Array(n).fill(3) : gaussian(n, prng(i)),
      );
      for (const [i, x] of xs.entries()) {
        const at = codes + i * bytes;
        lab.kernels.quantiseHead(lab.put(x), n, made.padded, at, at + made.padded * 4);
      }
      const out = lab.take(count * outBytes);
      const alone = lab.take(made.vocab * 4);
      const { table, scales, sums, padded } = made;
      for (const [begin, end] of [
        [0, made.vocab],
        [made.vocab - 4, made.vocab],
      ] as const) {
        lab.write(out, new Float32Array((count * outBytes) / 4).fill(Number.NaN));
        const record = codes + padded * 4;
        lab.kernels.headInt8Rows(count, table, codes, record, bytes, scales, begin, end, padded, out, outBytes);
        for (let i = 0; i < count; i++) {
          lab.write(alone, new Float32Array(made.vocab).fill(Number.NaN));
          lab.kernels.headInt8(table, codes + i * bytes, record + i * bytes, scales, sums, begin, end, padded, alone);
          const got = lab.f32(out + i * outBytes, outBytes / 4);
          const wanted = new Float32Array(outBytes / 4).fill(Number.NaN);
          wanted.set(lab.f32(alone, made.vocab));
          expect(bitDifference(got, wanted), `width ${n}, from ${begin}, row ${i}`).toBe('');
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test('rows and activations with nothing above 1e-30 are zeros', () => {
    for (const tiny of [0, 1e-45, 1e-38, 3e-37, 9e-31]) {
      lab.reset();
      const row = new Float32Array(16).fill(tiny, 2, 9);
      const { table, scales, sums } = int8Table(lab, [row.map(toBf16)], 16);
      expect(lab.i8(table, 16).every((code) => code === 0)).toBe(true);
      expect([lab.f32(scales, 1)[0], lab.i32(sums, 1)[0]]).toEqual([0, 0]);
      const [codes, record] = [lab.take(64), lab.take(4)];
      lab.kernels.quantiseHead(lab.put(row), 16, 16, codes, record);
      expect(lab.i16(codes + 32, 16).every((code) => code === 0)).toBe(true);
      expect(lab.f32(record, 1)[0]).toBe(0);
    }
    const { table, scales } = int8Table(lab, [new Float32Array(16).fill(toBf16(1.1e-30))], 16);
    expect(lab.i8(table, 16).every((code) => code === 127)).toBe(true);
    expect(lab.f32(scales, 1)[0]).toBeGreaterThan(0);
  });

  test.each([64, 2560, 4096, 4112, 8192, 16384])('the largest sums of width %i are exact', (n) => {
    lab.reset();
    const alternating = Float32Array.from({ length: n }, (_, i) => (i & 1 ? 127 : -127));
    const rows = [
      new Float32Array(n).fill(127),
      new Float32Array(n).fill(-127),
      alternating,
      gaussian(n, prng(n)).map(toBf16),
    ];
    const made = int8Table(lab, rows, n);
    for (const x of [new Float32Array(n).fill(8128), new Float32Array(n).fill(-8128), alternating.map((v) => v * 64)]) {
      const right = lmHeadInt8(rows.map(quantiseEmbeddingRow), x);
      checkRanges(lab, 4, int8Head(lab, made, x), right, `first activation ${x[0]}`);
    }
  });
});

describe('int8 against bf16', () => {
  const [n, vocab] = [2560, 128];
  const example = once(() => {
    const rows = embedding(vocab, n);
    const x = gaussian(n, prng(1));
    return { rows, x, exact: rows.map((row) => row.reduce((sum, w, i) => sum + w * x[i]!, 0)) };
  });
  const relative = (got: Float32Array): number => {
    const squares = (v: ArrayLike<number>): number => Array.from(v).reduce((sum, y) => sum + y * y, 0);
    const { exact } = example();
    return Math.sqrt(squares(exact.map((y, r) => got[r]! - y)) / squares(exact));
  };

  // Normal rows of 2560: 127 steps reach to 3.5 deviations, and a rounding error is uniform within half a step, which
  // makes 3.5 / 127 / sqrt(12) = 0.8 % of a deviation.
  test.each(labs)('$name: the relative L2 error of the logits is below 1 %', (lab) => {
    lab.reset();
    const { rows, x } = example();
    const out = lab.take(vocab * 4);
    int8Head(lab, int8Table(lab, rows, n), x)(0, vocab, out);
    const error = relative(lab.f32(out, vocab));
    expect(error).toBeLessThan(0.01);
    expect(error).toBeGreaterThan(0.001); // the measure itself works
    lab.kernels.headBf16(bf16Table(lab, rows, n), lab.put(x), 0, vocab, n, out);
    expect(relative(lab.f32(out, vocab))).toBeLessThan(1e-6);
  });
});
