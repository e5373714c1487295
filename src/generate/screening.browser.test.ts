/** Screening of the lm_head in the forward pass: the best logits are those of the full pass; and the option for it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, type Shape } from '../../bench/synthesize';
import { bitDifference, inPasses, openMachine, rowsOf, someTokens } from '../../e2e/machine';
import { syntheticModel, tinyStories } from '../../e2e/reading';
import { openRemote } from '../../e2e/remote';
import { lostAmongBest } from '../../e2e/screening-lab';
import { load, type Model } from '../api/model';
import { checkOptions, screeningOf } from '../engine/options';
import type { SternaError } from '../errors';
import type { GenerateSettings } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';

const shapes: [string, Shape][] = [
  ['2501 rows of 96', { hidden: 96, ffn: 60, layers: 1, heads: 3, kvHeads: 1, vocab: 2501, seed: 1 }],
  ['3000 rows of 320', { hidden: 320, ffn: 64, layers: 1, heads: 5, kvHeads: 5, vocab: 3000, seed: 2 }],
];

describe.each(shapes)('%s', (_, shape) => {
  const { vocab } = shape;
  const files = syntheticModel(packedCheckpoint(shape));
  const rows = [...rowsOf(someTokens(20, vocab)), ...rowsOf(someTokens(9, vocab, 5), 1)];
  const options = { lmHead: 'int8', contextLength: 20, sequences: 2, maxRows: 29, screening: true } as const;
  const sizes = [1, 4, 11, 2];
  let full: Float32Array<ArrayBuffer>;

  beforeAll(async () => {
    const machine = await openMachine(files, { ...options, kernel: 'lut8', screening: false });
    full = await machine.logits(inPasses(rows, sizes));
  });

  /** What is lost, of all rows; and how many logits there are. */
  function check(got: Float32Array<ArrayBuffer>, best: number): { lost: string; finite: number } {
    const part = (x: Float32Array, row: number): Float32Array => x.subarray(row * vocab, (row + 1) * vocab);
    const lost = rows.map((_row, i) => lostAmongBest(part(got, i), part(full, i), best)).find((one) => one !== '');
    return { lost: lost ?? '', finite: got.filter(Number.isFinite).length };
  }

  test.each(
    (['dot32', 'dot16', 'lut8'] as const).flatMap((kernel) => [1, 2, 3].map((threads) => ({ kernel, threads }))),
  )('$kernel, $threads threads', async ({ kernel, threads }) => {
    const host = await openRemote(files, { ...options, kernel, threads });
    for (const best of [1, 3, 64]) {
      const { lost, finite } = check(await host.logits(inPasses(rows, sizes), best), best);
      expect(lost, `best ${best}`).toBe('');
      expect(finite).toBeLessThan(full.length * (best === 64 ? 0.9 : 0.5));
    }
    for (const best of [0, 65, 2 ** 20]) {
      expect(bitDifference(await host.logits(inPasses(rows, sizes), best), full, vocab), `best ${best}`).toBe('');
    }
  });

  test.each([
    { shared: true, relaxed: false },
    { shared: false, relaxed: false },
    { shared: false, relaxed: true },
  ])('other builds: shared $shared, relaxed $relaxed', async (build) => {
    const machine = await openMachine(files, { ...options, ...build, kernel: 'lut8' });
    machine.poison();
    const { lost, finite } = check(await machine.logits(inPasses(rows, sizes), 5), 5);
    expect(lost).toBe('');
    expect(finite).toBeLessThan(full.length / 2);
  });

  test('without the plane every logit is there', async () => {
    const machine = await openMachine(files, { ...options, kernel: 'dot16', screening: false });
    expect(bitDifference(await machine.logits(inPasses(rows, sizes), 1), full, vocab)).toBe('');
  });
});

test('fewer groups than logits asked for: the full pass', async () => {
  const shape: Shape = { hidden: 64, ffn: 60, layers: 1, heads: 2, kvHeads: 1, vocab: 100, seed: 3 };
  const files = syntheticModel(packedCheckpoint(shape));
  const machine = await openMachine(files, { kernel: 'dot16', lmHead: 'int8', screening: true });
  const passes = inPasses(rowsOf(someTokens(5, 100)), [1]);
  const full = await machine.logits(passes);
  expect(bitDifference(await machine.logits(passes, 5), full, 100)).toBe('');
  expect((await machine.logits(passes, 4)).every((logit, i) => logit === full[i] || logit === -Infinity)).toBe(true);
});

describe('the embedded model', () => {
  const open = (options: LoadOptions): Promise<Model> => load({ url: tinyStories }, { lmHead: 'int8', ...options });
  let [plain, screened]: (Model | undefined)[] = [];

  beforeAll(async () => {
    [plain, screened] = [await open({}), await open({ screening: true })];
  });
  afterAll(async () => {
    await plain?.dispose();
    await screened?.dispose();
  });

  test('says whether it is screened, and why', async () => {
    expect(plain!.info).toMatchObject({ screening: false, screeningReason: 'the lm_head has only 4096 rows' });
    expect(screened!.info).toMatchObject({ screening: true, screeningReason: 'as asked' });
    // 4 bits for each of 4096 * 256 elements, and what goes with them
    const more = screened!.info.bytes.memory - plain!.info.bytes.memory;
    expect(more).toBeGreaterThanOrEqual(2 ** 19); // some of it was there as room to load
    expect(more).toBeLessThan(2 ** 19 + 2 ** 17);
    const refused = await open({ screening: true, lmHead: 'bf16' }).catch((error: SternaError) => error);
    expect(refused).toMatchObject({ code: 'bad-input', got: 'an lm_head that is bf16' });
  });

  test.each([
    { temperature: 0 },
    { temperature: 0.9, topK: 40 },
    { temperature: 1.5, topK: 64, topP: 0.9, minP: 0.02 },
    { temperature: 0.7, topK: 5, repetitionPenalty: 1.2 },
    { temperature: 0.8 },
  ] as GenerateSettings[])('the same tokens: %j', async (settings) => {
    for (let seed = 0; seed < 3; seed++) {
      const say = async (model: Model): Promise<number[]> =>
        (await model.complete('Once upon a time', { ...settings, seed, maxTokens: 150, ignoreEos: true }).result)
          .tokens;
      expect(await say(screened!)).toEqual(await say(plain!));
    }
  });
});

describe('screeningOf', () => {
  const large = { vocab: 128_256, hidden: 2560, ternaryEmbedding: false } as Parameters<typeof screeningOf>[1];
  const of = (options: LoadOptions, config = large) => screeningOf(checkOptions(options), config);

  test('is automatic for large int8 heads', () => {
    expect(of({})).toEqual({ screening: true, screeningReason: 'the lm_head has 128256 int8 rows' });
    expect(of({ screening: false })).toEqual({ screening: false, screeningReason: 'as asked' });
    expect(of({ lmHead: 'bf16' })).toEqual({ screening: false, screeningReason: 'the lm_head is bf16' });
    expect(of({}, { ...large, ternaryEmbedding: true }).screeningReason).toBe('the lm_head is ternary');
    expect(of({}, { ...large, vocab: 32_767 })).toMatchObject({ screening: false });
    expect(of({ screening: true }, { ...large, vocab: 50, hidden: 2 ** 21 })).toMatchObject({ screening: true });
  });

  test('refuses what cannot be', () => {
    expect(() => of({ screening: true, lmHead: 'bf16' })).toThrow(/screening/);
    expect(() => of({ screening: true }, { ...large, ternaryEmbedding: true })).toThrow(/screening/);
    expect(() => of({ screening: 'yes' as never })).toThrow(/screening/);
  });
});
