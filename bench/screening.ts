/**
 * In the page of bench/screening.mjs: the best logits found by screening against the full pass, step by step, and how many
 * rows were computed for them.
 */
import { BUILDS, openLab, prng } from '../e2e/kernel-lab';
import { openMachine } from '../e2e/machine';
import { fetchModel, tinyStories } from '../e2e/reading';
import { lostAmongBest, openHead } from '../e2e/screening-lab';
import { createSampler } from '../src/generate/sampler';
import { logitsView } from '../src/generate/session';
import { headForms } from './screening-heads';

/** Numbers of best logits, by turns. */
const BEST = [1, 1, 2, 8, 40, 64];

export interface Trial {
  what: string;
  steps: number;
  /** Steps whose best logits, hence tokens, are not those of the full pass. */
  wrong: number;
  /** Rows computed for the best one, and for the best 40: mean and most. */
  forOne: { mean: number; most: number };
  forForty: { mean: number; most: number };
}

function createCount() {
  const counts: number[] = [];
  return {
    add: (count: number) => counts.push(count),
    sum: () => ({
      mean: Math.round(counts.reduce((sum, count) => sum + count, 0) / Math.max(1, counts.length)),
      most: counts.reduce((a, b) => Math.max(a, b), 0),
    }),
  };
}

/** Steps over one head of a form, from a seed. */
export async function tryForm(
  index: number,
  vocab: number,
  width: number,
  steps: number,
  seed: number,
): Promise<Trial> {
  const { name, rows: rowsOf, state } = headForms[index]!;
  const lab = await openLab(BUILDS[0], Math.ceil((vocab * width * 1.7) / 2 ** 20) + 4);
  const random = prng(seed);
  const rows = rowsOf(vocab, width, random);
  const head = openHead(lab, rows);
  const [one, forty] = [createCount(), createCount()];
  let wrong = 0;
  for (let step = 0; step < steps; step++) {
    head.give(state(rows, random));
    const full = head.full();
    head.bounds(0);
    const best = BEST[step % BEST.length]!;
    const computed = head.pick(head.threshold(best));
    if (best === 1) one.add(computed);
    if (best === 40) forty.add(computed);
    const lost = lostAmongBest(head.logits(), full, best);
    if (lost === '') continue;
    wrong++;
    console.error(`${name}, step ${step}, best ${best}: ${lost}`);
  }
  return { what: `${name}, ${vocab} x ${width}`, steps, wrong, forOne: one.sum(), forForty: forty.sum() };
}

/** Steps of the embedded model, each token drawn from the best 40: real rows, real hidden states. */
export async function tryEmbedded(steps: number, seed: number): Promise<Trial> {
  const length = 256;
  const files = await fetchModel(tinyStories);
  const options = { kernel: 'dot16', lmHead: 'int8', contextLength: length, screening: true } as const;
  const { pool, plan, memory } = await openMachine(files, { ...options, shared: false });
  const { vocab } = plan.config;
  const settings = { temperature: 1, topK: 40, topP: 1, minP: 0, seed };
  const penalties = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 };
  const weights = new Float32Array(memory.buffer, plan.weights, vocab);
  const expSum = (logits: Float32Array, max: number, inverse: number): number =>
    pool.kernels.expSum(logits.byteOffset, plan.head.paddedVocab, max, inverse, plan.weights);
  const sampler = createSampler({ ...settings, ...penalties }, vocab, expSum, weights);
  const [one, forty] = [createCount(), createCount()];
  let [wrong, token] = [0, plan.config.bos ?? 0];
  for (let step = 0; step < steps; step++) {
    const rows = [{ sequence: 0, position: step % length, token }];
    const best = BEST[step % BEST.length]!;
    await pool.run(rows, 0, best);
    const screened = logitsView(memory, plan, 0).slice();
    await pool.run(rows, 0);
    const full = logitsView(memory, plan, 0);
    const computed = screened.reduce((count, logit) => count + +(logit !== -Infinity), 0);
    if (best === 1) one.add(computed);
    if (best === 40) forty.add(computed);
    const lost = lostAmongBest(screened, full, best);
    if (lost !== '') {
      wrong++;
      console.error(`embedded model, step ${step}, best ${best}: ${lost}`);
    }
    token = (step + 1) % length === 0 ? (plan.config.bos ?? 0) : sampler.sample(full);
  }
  const what = `the embedded model, ${vocab} x ${plan.config.hidden}`;
  return { what, steps, wrong, forOne: one.sum(), forForty: forty.sum() };
}
