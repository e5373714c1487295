// BitLinear with group scales: every GEMV and the GEMM give the bits of the oracle, hence of each other; quantisation by
// groups; rows of a ternary embedding.
import { describe, expect, test } from 'vitest';
import {
  ACTIVATIONS,
  activations,
  bitDifference,
  difference,
  gaussian,
  hfBytes,
  joined,
  type Lab,
  type Layout,
  once,
  openLabs,
  packMatrix,
  pad,
  prng,
  ternary,
  WEIGHTS,
} from '../e2e/kernel-lab';
import { activationBytes, denseRowBytes } from '../src/model/memory';
import { bitLinearGroups, type GroupedMatrix, type GroupedRow, quantiseGroups } from '../src/model/reference-kernels';

const TOKENS = 16;
const RECORD = 1024; // bytes from record to record: 128 groups
const f = Math.fround;
const labs = await openLabs(16);
const LAYOUTS: Layout[] = ['tiles', 'lanes'];

/** Columns and group; 1408 = 512 + 512 + 384 in lanes. */
const SHAPES = [
  [64, 64],
  [128, 64],
  [128, 128],
  [192, 64],
  [384, 64],
  [384, 128],
  [1280, 64],
  [1280, 128],
  [1408, 128],
  [2560, 64],
  [2560, 128],
  [6912, 64],
  [6912, 128],
] as const;
const ROWS = [16, 37, 48];

/** Scales of either sign, over many orders of magnitude, some of them 0. */
function scalesOf(n: number, random: () => number): Float32Array {
  return Float32Array.from({ length: n }, () =>
    random() < 0.05 ? 0 : (random() < 0.2 ? -1 : 1) * 2 ** (12 * random() - 8) * (1 + random()),
  );
}

function groupedMatrix(
  rows: number,
  cols: number,
  group: number,
  pattern: (typeof WEIGHTS)[number] = 'random',
): GroupedMatrix {
  const seed = rows * 40000 + cols + group;
  const scales = scalesOf((rows * cols) / group, prng(seed + 1));
  return { trits: ternary(rows, cols, pattern, seed).trits, rows, cols, group, scales };
}

/** Codes of a pattern with random scales; every fifth group of a random row is zero altogether. */
function groupedRow(
  cols: number,
  group: number,
  pattern: (typeof ACTIVATIONS)[number] = 'random',
  seed = 1,
): GroupedRow {
  const codes = activations(cols, pattern, seed);
  const inverses = scalesOf(cols / group, prng(seed + 2)).map(Math.abs);
  if (pattern === 'random') {
    for (let g = seed % 5; g < inverses.length; g += 5) {
      inverses[g] = 0;
      codes.fill(0, g * group, (g + 1) * group);
    }
  }
  return { codes, group, inverses };
}

/** f32 [padded rows / 16][groups][16]; 0 for padding rows. */
function inSixteens({ rows, cols, group, scales }: GroupedMatrix): Float32Array {
  const groups = cols / group;
  const out = new Float32Array(pad(rows, 16) * groups);
  for (let r = 0; r < rows; r++)
    for (let g = 0; g < groups; g++) out[(Math.floor(r / 16) * groups + g) * 16 + (r % 16)] = scales[r * groups + g]!;
  return out;
}

/** f32 a[groups], i32 sum[groups]. */
function groupRecord({ codes, group, inverses }: GroupedRow): Int32Array {
  const groups = inverses.length;
  const words = new Int32Array(2 * groups);
  new Float32Array(words.buffer).set(inverses);
  for (const [c, code] of codes.entries()) words[groups + Math.floor(c / group)]! += code;
  return words;
}

/** What the oracle gives, with the padding rows. */
function answer(matrix: GroupedMatrix, q: GroupedRow): Float32Array {
  const y = new Float32Array(pad(matrix.rows, 16));
  y.set(bitLinearGroups(matrix, q));
  return y;
}

type Gemv = (begin: number, rows: number, out: number, accumulate: number) => void;

/** A matrix in memory in both layouts, and every kernel of the build over it. */
function openMatrix(lab: Lab, matrix: GroupedMatrix) {
  const { kernels: k, build } = lab;
  const { cols, group } = matrix;
  const rows = pad(matrix.rows, 16);
  const groups = cols / group;
  lab.reset();
  const codes = lab.take(TOKENS * cols);
  const records = lab.take(TOKENS * RECORD);
  const scales = lab.put(inSixteens(matrix));
  const out = lab.take(TOKENS * rows * 4);
  const lutTables = lab.take(cols * 16);
  const lutSums = lab.take(rows * 4);
  const dense = lab.take(rows * denseRowBytes({ paddedCols: cols, group: group === 64 ? 64 : 128 }, 'dot32'));
  const plane = activationBytes(cols);
  const positions = lab.take(2 * plane);
  const tables = lab.take(4 * 2 * 3904);
  const accumulators = lab.take(rows * 32);
  const sums = lab.take(rows * 64);
  const plain = { trits: matrix.trits, rows: matrix.rows, cols, scale: 1 };
  const hf = hfBytes(plain);
  const at = { tiles: packMatrix(lab, plain, hf, 'tiles'), lanes: packMatrix(lab, plain, hf, 'lanes') };
  const tile = (begin: number): number => at.tiles + (begin * cols) / 4;
  const scale = (begin: number): number => scales + begin * groups * 4;
  const gemvs: Record<string, Gemv> = {
    lut8: (begin, n, to, add) => {
      k.lutTables(codes, cols, lutTables);
      k.gemvLut8Grouped(at.lanes, lutTables, records, begin, n, rows, cols, group, scales, lutSums, to, add);
    },
  };
  if (build.relaxed) {
    gemvs.dot32 = (begin, n, to, add) =>
      k.gemvDot32Grouped(tile(begin), codes, records, n, cols, group, scale(begin), to, add);
    gemvs.dot16 = (begin, n, to, add) =>
      k.gemvDot16Grouped(tile(begin), codes, records, n, cols, group, scale(begin), to, add);
  }
  const gemm = (layout: Layout, tokens: number, begin: number, n: number, to: number, add: number): void => {
    const place = dense + begin * 4; // among all rows of the matrix
    const lanes = +(layout === 'lanes');
    if (lanes) k.denseFromLanes(at.lanes, begin, n, rows, cols, 0, place, rows);
    else k.denseFromTiles(tile(begin), n, cols, 0, place, rows);
    const vectors = Math.ceil(tokens / 8);
    for (let v = 0; v < vectors; v++) {
      const some = Math.min(8, tokens - 8 * v);
      k.gemmActivations(codes + 8 * v * cols, cols, some, cols, lanes, 0, positions + v * plane);
    }
    k.gemmGrouped(
      place,
      rows,
      positions,
      plane,
      vectors,
      records,
      RECORD,
      tokens,
      n,
      cols,
      group,
      scale(begin),
      tables,
      accumulators,
      sums,
    );
    for (let v = 0; v < vectors; v++) {
      const some = Math.min(8, tokens - 8 * v);
      k.gemmStoreGrouped(sums + v * 32, vectors * 32, some, n, to + v * 8 * rows * 4, rows * 4, add);
    }
  };
  const load = (q: GroupedRow[]): void => {
    for (const [t, row] of q.entries()) {
      lab.write(codes + t * cols, row.codes);
      lab.write(records + t * RECORD, groupRecord(row));
    }
  };
  return { gemvs, gemm, load, at, scales, codes, records, out, rows };
}

const blank = (n: number): Float32Array => new Float32Array(n).fill(Number.NaN);

describe('the oracle, on numbers worked out by hand', () => {
  const ones = (cols: number): Int8Array => new Int8Array(cols).fill(1);

  test('quantises each group by its own maximum', () => {
    const x = new Float32Array(130);
    x.set([127, 0.5, 1.5, -2.5]);
    x.set([-2, 1, 0.5], 64);
    x.set([1e-31, -9e-31], 128);
    const { codes, inverses } = quantiseGroups(x, 64);
    expect([...codes.subarray(0, 5)]).toEqual([127, 0, 2, -2, 0]);
    expect([...codes.subarray(64, 68)]).toEqual([-127, 64, 32, 0]);
    expect([...codes.subarray(128)]).toEqual([0, 0]);
    expect([...inverses]).toEqual([1, f(2 / 127), 0]);
  });

  test('adds up in the order of the groups, rounding after every step', () => {
    // 1 + 2 ** 24 is 2 ** 24 in float32, so the 1 is lost in this order and in no other
    const big = 2 ** 18; // 64 ones times 2 ** 18 = 2 ** 24
    const scales = Float32Array.of(1 / 64, big, -big);
    const matrix = { trits: ones(192), rows: 1, cols: 192, group: 64, scales };
    const q = { codes: ones(192), group: 64, inverses: Float32Array.of(1, 1, 1) };
    expect([...bitLinearGroups(matrix, q)]).toEqual([0]);
    expect([...bitLinearGroups({ ...matrix, scales: scales.slice().reverse() }, q)]).toEqual([1]);
  });

  test('multiplies the two scales first', () => {
    const [w, a] = [f(0.1), f(0.3)];
    const matrix = { trits: ones(64), rows: 1, cols: 64, group: 64, scales: Float32Array.of(w) };
    const codes = new Int8Array(64).fill(1, 0, 13);
    expect(f(13 * f(w * a))).not.toBe(f(f(13 * w) * a));
    expect([...bitLinearGroups(matrix, { codes, group: 64, inverses: Float32Array.of(a) })]).toEqual([
      f(13 * f(w * a)),
    ]);
  });
});

describe.each(SHAPES)('%i columns in groups of %i', (cols, group) => {
  const rowsOf = once(() => ACTIVATIONS.map((pattern, i) => groupedRow(cols, group, pattern, cols + i)));
  const tokens = once(() => [
    ...rowsOf(),
    ...Array.from({ length: 11 }, (_, i) => groupedRow(cols, group, 'random', cols * 9 + i)),
  ]);
  const cases = once(() =>
    ROWS.flatMap((rows) =>
      WEIGHTS.filter((weights) => rows === 16 || weights === 'random').map((weights) => {
        const matrix = groupedMatrix(rows, cols, group, weights);
        return { matrix, what: `${rows} rows, weights ${weights}`, answers: tokens().map((q) => answer(matrix, q)) };
      }),
    ),
  );
  const large = once(() => {
    const matrix = groupedMatrix(80, cols, group);
    return { matrix, answers: tokens().map((q) => answer(matrix, q)) };
  });

  test.each(labs)('$name: every GEMV gives the bits of the oracle', (lab) => {
    for (const { matrix, what, answers } of cases()) {
      const { gemvs, load, out, rows } = openMatrix(lab, matrix);
      expect(Object.keys(gemvs)).toEqual(lab.build.relaxed ? ['lut8', 'dot32', 'dot16'] : ['lut8']);
      const before = gaussian(rows, prng(cols), 100);
      for (const [t, q] of tokens().entries()) {
        const y = answers[t]!;
        const added = before.map((v, i) => v + y[i]!);
        load([q]);
        for (const [name, gemv] of Object.entries(gemvs)) {
          lab.write(out, blank(rows));
          gemv(0, rows, out, 0);
          expect(bitDifference(lab.f32(out, rows), y), `${name}, ${what}, row ${t}`).toBe('');
          lab.write(out, before);
          gemv(0, rows, out, 1);
          expect(bitDifference(lab.f32(out, rows), added), `${name}, ${what}, row ${t}, adding`).toBe('');
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: the GEMM gives them for 1 to 16 tokens', (lab) => {
    for (const { matrix, what, answers } of cases()) {
      const { gemm, load, out, rows } = openMatrix(lab, matrix);
      const before = gaussian(TOKENS * rows, prng(cols), 100);
      load(tokens());
      for (const layout of LAYOUTS) {
        for (const n of [1, 2, 3, 5, 8, 9, 11, 16]) {
          lab.write(out, blank(TOKENS * rows));
          gemm(layout, n, 0, rows, out, 0);
          const wanted = joined(answers.map((y, t) => (t < n ? y : blank(rows))));
          expect(bitDifference(lab.f32(out, TOKENS * rows), wanted), `${layout}, ${what}, ${n} tokens`).toBe('');
          lab.write(out, before);
          gemm(layout, n, 0, rows, out, 1);
          const added = before.map((v, i) => (i < n * rows ? v + wanted[i]! : v));
          expect(bitDifference(lab.f32(out, TOKENS * rows), added), `${layout}, ${what}, ${n}, adding`).toBe('');
        }
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each(labs)('$name: rows in the middle of a matrix, and no others', (lab) => {
    const { matrix, answers } = large();
    const { gemvs, gemm, load, out, rows } = openMatrix(lab, matrix);
    load(tokens());
    for (const [begin, n] of [
      [0, 16],
      [16, 16],
      [16, 48],
      [48, 32],
      [64, 16],
    ] as const) {
      const part = answers.map((y) => {
        const row = blank(rows);
        row.set(y.subarray(begin, begin + n), begin);
        return row;
      });
      for (const [name, gemv] of Object.entries(gemvs)) {
        lab.write(out, blank(rows));
        gemv(begin, n, out + begin * 4, 0);
        expect(bitDifference(lab.f32(out, rows), part[0]!), `${name}, ${n} rows from ${begin}`).toBe('');
      }
      for (const layout of LAYOUTS) {
        lab.write(out, blank(TOKENS * rows));
        gemm(layout, TOKENS, begin, n, out + begin * 4, 0);
        const wanted = joined(part);
        expect(bitDifference(lab.f32(out, wanted.length), wanted), `${layout}, ${n} rows from ${begin}`).toBe('');
      }
    }
    expect(lab.overruns()).toEqual([]);
  });

  test.each(labs)('$name: from float32 to float32, GEMV and GEMM agree', (lab) => {
    const { matrix } = large();
    const { gemvs, gemm, codes, records, out, rows } = openMatrix(lab, matrix);
    const x = Array.from({ length: TOKENS }, (_, t) => gaussian(cols, prng(cols * 7 + t), 10 ** ((t % 9) - 4)));
    const at = x.map((row) => lab.put(row));
    const quantised = (t: number, slot: number): void =>
      lab.kernels.quantiseGroups(at[t]!, cols, cols, group, codes + slot * cols, records + slot * RECORD);
    const expected = x.map((row) => answer(matrix, quantiseGroups(row, group)));
    for (let t = 0; t < TOKENS; t++) {
      quantised(t, 0);
      for (const [name, gemv] of Object.entries(gemvs)) {
        lab.write(out, blank(rows));
        gemv(0, rows, out, 0);
        expect(bitDifference(lab.f32(out, rows), expected[t]!), `${name}, token ${t}`).toBe('');
      }
    }
    for (let t = 0; t < TOKENS; t++) quantised(t, t);
    for (const layout of LAYOUTS) {
      lab.write(out, blank(TOKENS * rows));
      gemm(layout, TOKENS, 0, rows, out, 0);
      expect(bitDifference(lab.f32(out, TOKENS * rows), joined(expected)), layout).toBe('');
    }
    expect(lab.overruns()).toEqual([]);
  });

  test.each(labs)('$name: a row of a ternary embedding is trit * scale, from both layouts', (lab) => {
    const { matrix } = large();
    const { at, scales, rows } = openMatrix(lab, matrix);
    const to = lab.take(cols * 4);
    for (const row of [0, 1, 15, 16, 37, 79]) {
      const wanted = Float32Array.from(
        matrix.trits.subarray(row * cols, (row + 1) * cols),
        (trit, c) => trit * matrix.scales[(row * cols + c - (c % group)) / group]!,
      );
      lab.kernels.embedTiles(at.tiles, row, cols, group, scales, to);
      expect(bitDifference(lab.f32(to, cols), wanted), `tiles, row ${row}`).toBe('');
      lab.write(to, blank(cols));
      lab.kernels.embedLanes(at.lanes, row, rows, cols, group, scales, to);
      expect(bitDifference(lab.f32(to, cols), wanted), `lanes, row ${row}`).toBe('');
    }
    expect(lab.overruns()).toEqual([]);
  });
});

describe.each(labs)('$name: quantisation by groups', (lab) => {
  /** Rows of n numbers, by what is special about them. */
  const INPUTS: Record<string, (n: number) => Float32Array> = {
    random: (n) => gaussian(n, prng(n)),
    'groups of very different size': (n) =>
      gaussian(n, prng(n)).map((v, i) => v * 10 ** ((Math.floor(i / 64) % 9) - 4)),
    'zero groups': (n) => gaussian(n, prng(n)).map((v, i) => (Math.floor(i / 128) % 2 ? v : 0)),
    'minus zeros': (n) => new Float32Array(n).fill(-0),
    'just below 1e-30': (n) => new Float32Array(n).fill(f(1e-30) * (1 - 2 ** -23)),
    'just 1e-30': (n) => new Float32Array(n).fill(f(-1e-30)),
    subnormal: (n) => gaussian(n, prng(n), 1e-40),
    huge: (n) => gaussian(n, prng(n), 5e36).fill(3.4e38, 0, 1),
    // the largest of each group is 127, so c = 1 and every half stays exactly a half
    halves: (n) => Float32Array.from({ length: n }, (_, i) => (i % 64 === 63 ? 127 : (i % 253) - 126.5)),
  };
  const LENGTHS = [1, 3, 4, 15, 16, 17, 63, 64, 65, 100, 127, 128, 130, 192, 640, 1153, 2560, 6912, 16384];

  test.each([64, 128])('groups of %i: codes, scales and sums of the oracle', (group) => {
    for (const n of LENGTHS) {
      for (const [kind, make] of Object.entries(INPUTS)) {
        lab.reset();
        const padded = pad(n, group);
        const groups = padded / group;
        const x = make(n);
        const at = lab.put(x);
        const codes = lab.take(padded);
        const record = lab.take(groups * 8);
        lab.kernels.quantiseGroups(at, n, padded, group, codes, record);
        const { codes: wanted, inverses } = quantiseGroups(x, group);
        const row = new Int8Array(padded);
        row.set(wanted);
        const what = `${kind}, n = ${n}`;
        expect(difference(lab.i8(codes, padded), row), `codes, ${what}`).toBe('');
        expect(bitDifference(lab.f32(record, groups), inverses), `scales, ${what}`).toBe('');
        const sums = groupRecord({ codes: row, group, inverses }).subarray(groups);
        expect(difference(lab.i32(record + groups * 4, groups), sums), `sums, ${what}`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('groups beyond the row are zero', () => {
    lab.reset();
    const at = lab.put(Float32Array.of(3));
    const codes = lab.take(256);
    const record = lab.take(4 * 8);
    lab.kernels.quantiseGroups(at, 1, 256, 64, codes, record);
    expect([...lab.i8(codes, 256)]).toEqual([127, ...Array(255).fill(0)]);
    expect([...lab.f32(record, 4)]).toEqual([f(3 / 127), 0, 0, 0]);
    expect([...lab.i32(record + 16, 4)]).toEqual([127, 0, 0, 0]);
    expect(lab.overruns()).toEqual([]);
  });
});
