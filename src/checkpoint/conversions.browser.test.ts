/** The embedded model, converted to every format, through the public API: as good in each as in its own. */
import { beforeAll, expect, test } from 'vitest';
import { packedWeights } from '../../bench/packed-weights';
import { checkpointFiles, type WriteOptions } from '../../bench/synthesize';
import { filesOf } from '../../e2e/checkpoints';
import { fetchModel, fixtures, getJson, tinyStories } from '../../e2e/reading';
import { load } from '../api/model';
import type { LoadOptions, Source } from '../protocol/load-types';

const { config, generation, weights: bytes } = await fetchModel(tinyStories);
const weights = packedWeights(config as Record<string, unknown>, generation as Record<string, unknown>, bytes);
const { stories } = await getJson<{ stories: { ids: number[] }[] }>(`${fixtures}stories.json`);
const exact: LoadOptions = { kvCache: 'f32', lmHead: 'bf16', contextLength: 256, cache: false };

async function perplexityOf(source: Source, options: LoadOptions): Promise<number> {
  const model = await load(source, { ...exact, ...options });
  const sum = { nll: 0, tokens: 0 };
  for (const { ids } of stories.slice(0, 6)) {
    const { nll, tokens } = await model.perplexity(ids);
    sum.nll += nll;
    sum.tokens += tokens;
  }
  await model.dispose();
  expect(sum.tokens).toBe(950);
  return Math.exp(sum.nll / sum.tokens);
}

let right: number;
beforeAll(async () => {
  right = await perplexityOf({ url: tinyStories }, {});
  console.log(`packed: perplexity ${right.toFixed(5)}`);
});

// the float types hold the bf16 embedding exactly, but for F16 (which rounds its smallest numbers) and the last two
const conversions: (WriteOptions & { load?: LoadOptions })[] = [
  { format: 'divide', parts: 2 },
  { format: 'master', floats: 'F32' },
  { format: 'master', floats: 'F16', parts: 3 },
  { format: 'i2_s', floats: 'BF16', load: { i2sOrder: 'x86' } },
  { format: 'i2_s-arm', load: { i2sOrder: 'arm' } },
  { format: 'tq1_0' },
  { format: 'tq2_0', parts: 2 },
  { format: 'q2_0-128' },
  { format: 'q2_0-64' },
  { format: 'i2_s', floats: 'Q8_0', load: { i2sOrder: 'x86', lmHead: 'int8' } },
  { format: 'tq2_0', floats: 'Q6_K', load: { lmHead: 'int8', kvCache: 'bf16' } },
];

test.each(conversions)('%j', async ({ load: options = {}, ...written }) => {
  const files = Object.entries(filesOf(checkpointFiles(weights, written))).map(
    ([path, file]) => new File([file], path),
  );
  const got = await perplexityOf(files, options);
  console.log(
    `${written.format} ${written.floats ?? ''}: perplexity ${got.toFixed(5)} (${((got / right - 1) * 100).toFixed(3)} %)`,
  );
  expect(Math.abs(got / right - 1)).toBeLessThan(0.005);
});
