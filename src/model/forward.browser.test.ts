/** The whole forward pass in WASM against src/model/reference.ts, bit by bit: shapes, kernels, threads, precisions, batching. */
import { beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, type Shape, shapeOdd } from '../../bench/synthesize';
import { bitDifference, inPasses, openMachine, rowsOf, someTokens } from '../../e2e/machine';
import { answer, type Precision } from '../../e2e/plant';
import { fetchModel, type ModelFiles, referenceModel, syntheticModel, tinyStories } from '../../e2e/reading';
import { openRemote } from '../../e2e/remote';
import type { Row } from './pool';

const exact: Precision = { kvCache: 'f32', lmHead: 'bf16' };
const small: Precision = { kvCache: 'bf16', lmHead: 'int8' };
const mixed: Precision = { kvCache: 'bf16', lmHead: 'bf16' };
const int8Cache: Precision = { kvCache: 'int8', lmHead: 'bf16' };
const kernels = ['dot32', 'dot16', 'lut8'] as const;
const kernelsAndThreads = kernels.flatMap((kernel) => [1, 2, 3].map((threads) => ({ kernel, threads })));

/** How a prompt may be cut: everything at once, one by one, and around the sizes at which kernels change. */
const cuts = [[64], [1], [4, 5, 8, 9, 3, 2, 1, 16, 7], [3, 1, 6, 2, 11]];

interface Case {
  name: string;
  shape: Shape;
  precision: Precision;
}

// groups (query heads to a key/value head) 1 to 6, head widths 8 to 128, rows and columns that fit no tile
const cases: Case[] = [
  { name: 'odd, group 3, head 24, exact', shape: shapeOdd, precision: exact },
  {
    name: 'group 1, head 8, SiLU, small',
    shape: { hidden: 40, ffn: 12, layers: 3, heads: 5, kvHeads: 5, vocab: 5, gate: 'silu', seed: 2 },
    precision: small,
  },
  {
    name: 'group 4, head 40, divide',
    shape: { hidden: 320, ffn: 92, layers: 2, heads: 8, kvHeads: 2, vocab: 66, scaleSense: 'divide', seed: 3 },
    precision: mixed,
  },
  {
    name: 'group 2, head 24, SiLU, int8 head',
    shape: { hidden: 96, ffn: 420, layers: 2, heads: 4, kvHeads: 2, vocab: 131, gate: 'silu', seed: 4 },
    precision: { kvCache: 'f32', lmHead: 'int8' },
  },
  {
    name: 'group 4, head 40, int8 cache',
    shape: { hidden: 320, ffn: 92, layers: 2, heads: 8, kvHeads: 2, vocab: 66, seed: 9 },
    precision: int8Cache,
  },
  {
    name: 'group 1, head 24, SiLU, int8 cache',
    shape: { hidden: 72, ffn: 40, layers: 3, heads: 3, kvHeads: 3, vocab: 31, gate: 'silu', seed: 10 },
    precision: int8Cache,
  },
  {
    name: 'group 6, head 8, ffn 4',
    shape: { hidden: 48, ffn: 4, layers: 2, heads: 6, kvHeads: 1, vocab: 4, seed: 5 },
    precision: small,
  },
  {
    name: 'group 5, head 128, one layer',
    shape: { hidden: 640, ffn: 1084, layers: 1, heads: 5, kvHeads: 1, vocab: 50, seed: 6 },
    precision: small,
  },
];

describe.each(cases)('$name', ({ shape, precision }) => {
  const files = syntheticModel(packedCheckpoint(shape));
  const { vocab } = shape;
  const sequences = [someTokens(40, vocab), someTokens(33, vocab, 99)];
  /** Rows of both sequences in turn, positions in order. */
  const both: Row[] = rowsOf(sequences[0]!)
    .flatMap((row, i) => [row, rowsOf(sequences[1]!, 1)[i]])
    .filter((row) => row !== undefined);
  let right: Float32Array<ArrayBuffer>[] = [];
  const rightOf = (rows: Row[]): Float32Array<ArrayBuffer> => {
    const out = new Float32Array(rows.length * vocab);
    for (const [i, { sequence, position }] of rows.entries())
      out.set(right[sequence]!.subarray(position * vocab, (position + 1) * vocab), i * vocab);
    return out;
  };
  const options = { ...precision, contextLength: 45, sequences: 2, maxRows: 40 };

  beforeAll(() => {
    const model = referenceModel(files);
    right = sequences.map((tokens) => answer(model, precision, tokens));
    expect(right.every((logits) => logits.every(Number.isFinite))).toBe(true);
    expect(new Set(right[0]).size).toBeGreaterThan(vocab); // no dead model
  });

  test.each(kernelsAndThreads)('$kernel, $threads threads', async ({ kernel, threads }) => {
    const host = await openRemote(files, { ...options, kernel, threads });
    for (const cut of cuts) {
      const rows = rowsOf(sequences[0]!);
      const got = await host.logits(
        inPasses(
          rows,
          cut.map((size) => Math.min(size, 40)),
        ),
      );
      expect(bitDifference(got, rightOf(rows), vocab), `passes of ${cut}`).toBe('');
    }
    for (const sizes of [[2], [40], [4, 5, 1, 12, 3]]) {
      const got = await host.logits(inPasses(both, sizes));
      expect(bitDifference(got, rightOf(both), vocab), `two sequences, passes of ${sizes}`).toBe('');
    }
  });

  test.each([
    { kernel: 'lut8', shared: true, relaxed: false },
    { kernel: 'lut8', shared: false, relaxed: false },
    { kernel: 'lut8', shared: false, relaxed: true },
    { kernel: 'dot32', shared: false, relaxed: true },
    { kernel: 'dot16', shared: false, relaxed: true },
  ] as const)('other builds: $kernel, shared $shared, relaxed $relaxed', async (build) => {
    const machine = await openMachine(files, { ...options, ...build });
    machine.poison();
    const got = await machine.logits(inPasses(both, [1, 40, 3]));
    expect(bitDifference(got, rightOf(both), vocab)).toBe('');
  });

  test.each([1, 3, 4, 5])('a plan for at most %i rows', async (maxRows) => {
    for (const kernel of kernels) {
      const machine = await openMachine(files, { ...options, kernel, maxRows });
      machine.poison();
      const got = await machine.logits(inPasses(both, [maxRows]));
      expect(bitDifference(got, rightOf(both), vocab), kernel).toBe('');
    }
  });
});

describe.each([
  ['bf16 cache, relu2', { ...shapeOdd, seed: 7 }, small],
  ['f32 cache, SiLU', { ...shapeOdd, gate: 'silu', seed: 8 }, exact],
  ['int8 cache', { ...shapeOdd, seed: 11 }, int8Cache],
] as [string, Shape, Precision][])('contexts over three attention blocks, %s', (_, shape, precision) => {
  const files = syntheticModel(packedCheckpoint(shape));
  const tokens = someTokens(520, shape.vocab);
  const rows = rowsOf(tokens);
  let right: Float32Array<ArrayBuffer>;
  beforeAll(() => {
    right = answer(referenceModel(files), precision, tokens);
  });

  test.each(kernelsAndThreads)('$kernel, $threads threads', async ({ kernel, threads }) => {
    const options = { ...precision, kernel, threads, contextLength: 520, maxRows: 260 };
    const host = await openRemote(files, options);
    for (const cut of [[260], [250, 1, 2, 4, 1, 3, 1, 5, 240], [1, 1, 127, 3]]) {
      const got = await host.logits(inPasses(rows, cut));
      expect(bitDifference(got, right, shape.vocab), `passes of ${cut}`).toBe('');
    }
  });
});

describe('the embedded model', () => {
  const tokens = [0, ...someTokens(39, 4096)];
  let files: ModelFiles;
  let right: Map<Precision, Float32Array<ArrayBuffer>>;
  beforeAll(async () => {
    files = await fetchModel(tinyStories);
    const model = referenceModel(files);
    right = new Map([exact, small, int8Cache].map((precision) => [precision, answer(model, precision, tokens)]));
  });

  test.each(kernelsAndThreads)('$kernel, $threads threads', async ({ kernel, threads }) => {
    for (const [precision, logits] of right) {
      const host = await openRemote(files, { ...precision, kernel, threads });
      for (const cut of [[40], [1], [7, 1, 12]]) {
        const got = await host.logits(inPasses(rowsOf(tokens), cut));
        expect(bitDifference(got, logits, 4096), `${JSON.stringify(precision)}, passes of ${cut}`).toBe('');
      }
    }
  });
});
