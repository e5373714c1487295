/**
 * What int8 activations cost: perplexity of the embedded model with its activations as they are and rounded in each of
 * the ways of the engine, in a network of float64. Figures: docs/model.md.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expectedConfig, referenceOf } from '../e2e/checkpoints';
import { plainNll, type Rounding } from '../e2e/plain-network';
import { packedWeights } from './packed-weights';
import { checkpointFiles } from './synthesize';

const root = new URL('../', import.meta.url);
const folder = 'demo/public/models/tiny-stories-ternary';
const json = (path: string) => JSON.parse(readFileSync(new URL(path, root), 'utf8'));

/** More of them by hand: STORIES=24 */
const count = Number(process.env.STORIES ?? 1);

test('perplexity with float activations and with int8 ones', { timeout: 1_800_000 }, () => {
  const bytes = new Uint8Array(readFileSync(new URL(`${folder}/model.safetensors`, root)));
  const weights = packedWeights(json(`${folder}/config.json`), json(`${folder}/generation_config.json`), bytes);
  const config = expectedConfig(weights.model, 0, 'multiply');
  const model = referenceOf(checkpointFiles(weights, { format: 'multiply' }), weights.model, config, 'multiply');
  const stories = (json('e2e/fixtures/stories.json').stories as { ids: number[]; nll_sum: number }[]).slice(0, count);
  const targets = stories.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  const perplexityOf = (nll: number): number => Math.exp(nll / targets);
  const transformers = perplexityOf(stories.reduce((sum, { nll_sum }) => sum + nll_sum, 0));
  const got = new Map<Rounding, number>();
  for (const rounding of ['none', 'row', 128, 64] as const) {
    got.set(rounding, perplexityOf(stories.reduce((sum, { ids }) => sum + plainNll(model, rounding, ids), 0)));
  }
  const shown = [...got].map(([rounding, perplexity]) => `${rounding} ${perplexity.toFixed(5)}`);
  console.log(`${targets} tokens, transformers ${transformers.toFixed(5)}: ${shown.join(', ')}`);
  expect(Math.abs(got.get('row')! / transformers - 1)).toBeLessThan(0.002);
  for (const perplexity of got.values()) expect(Math.abs(perplexity / got.get('none')! - 1)).toBeLessThan(0.01);
});
