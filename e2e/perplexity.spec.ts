/** How well the model predicts text, in the browser, against what transformers measured in float32. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import type { Page } from '@playwright/test';
import { expect, loadModel, test } from './lab';

const read = (file: string): string => readFileSync(new URL(`fixtures/${file}`, import.meta.url), 'utf8');
const heldOut = fileURLToPath(new URL('../../shared/corpus/tinystories-heldout.json.gz', import.meta.url));

interface Score {
  nll: number;
  tokens: number;
}

/** One window to a text: BOS, its tokens, EOS, at most 513 of them, of which every one but the first is a target. */
function score(lab: Page, texts: string[]): Promise<Score[]> {
  return lab.evaluate(async (all) => {
    const scores: Score[] = [];
    for (const text of all) {
      const ids = await window.model!.tokenize(text, { bos: true, eos: true });
      const { nll, tokens } = await window.model!.perplexity(ids.slice(0, 513));
      scores.push({ nll, tokens });
    }
    return scores;
  }, texts);
}

const total = (scores: Score[]): Score => ({
  nll: scores.reduce((sum, { nll }) => sum + nll, 0),
  tokens: scores.reduce((sum, { tokens }) => sum + tokens, 0),
});

for (const kvCache of ['bf16', 'int8'] as const)
  test(`24 stories that the model wrote, ${kvCache} cache @firefox`, async ({ lab }) => {
    const { stories, targets } = JSON.parse(read('stories.json')) as { stories: { text: string }[]; targets: number };
    await loadModel(lab, undefined, { kvCache });
    const scores = await score(
      lab,
      stories.map(({ text }) => text),
    );
    const { nll, tokens } = total(scores);
    const perplexity = Math.exp(nll / tokens);
    console.log(`24 stories, ${kvCache} cache: perplexity ${perplexity.toFixed(4)}, transformers 2.7233`);
    expect(tokens).toBe(targets);
    expect(Math.abs(perplexity / 2.7233 - 1)).toBeLessThan(0.005);
  });

test('619 stories that it never saw', async ({ lab }) => {
  test.skip(!existsSync(heldOut), `the held-out stories are not here (${heldOut})`);
  test.setTimeout(300_000);
  const stories = JSON.parse(gunzipSync(readFileSync(heldOut)).toString()) as string[];
  const golden = JSON.parse(read('tiny-stories-golden.json')).heldout as {
    windows: number;
    target_tokens: number;
    first_32_windows_tokens_and_nll_sum: [number, number][];
  };
  expect(stories).toHaveLength(golden.windows);
  await loadModel(lab);
  const start = performance.now();
  const scores = await score(lab, stories);
  const seconds = (performance.now() - start) / 1000;
  const { nll, tokens } = total(scores);
  const perplexity = Math.exp(nll / tokens);
  let worst = 0;
  for (const [i, [count, sum]] of golden.first_32_windows_tokens_and_nll_sum.entries()) {
    expect(scores[i]?.tokens, `tokens of story ${i}`).toBe(count);
    worst = Math.max(worst, Math.abs(scores[i]!.nll / sum - 1));
  }
  console.log(
    `619 stories: perplexity ${perplexity.toFixed(4)}, transformers 7.7317; ${tokens} tokens in ${seconds.toFixed(0)} s; ` +
      `of the first 32 none is more than ${(100 * worst).toFixed(2)} % off`,
  );
  expect(tokens).toBe(golden.target_tokens);
  expect(Math.abs(perplexity / 7.7317 - 1)).toBeLessThan(0.005);
  expect(worst).toBeLessThan(0.02);
});
