/** Embeddings: the hidden states of a text after the final norm, pooled to one vector. No logits are computed. */
import { SternaError } from '../errors';
import { checkTokens } from '../generate/generate';
import type { ScoreContext } from '../generate/score';
import { append, rowsOf } from '../generate/session';
import type { MemoryPlan } from '../model/memory';
import type { EmbedOptions, PrefillProgress } from '../protocol/generate-types';

/** Most texts in one call, as OpenAI's API has it. */
const MOST_TEXTS = 2048;

export type EmbedSettings = Required<Pick<EmbedOptions, 'pooling' | 'normalize'>>;

/** @throws SternaError `bad-input` for an option that does not exist, or a value that it cannot have */
export function checkEmbedSettings({ pooling = 'mean', normalize = true, ...rest }: EmbedOptions): EmbedSettings {
  const refuse = (what: string, got: unknown, expected: string) =>
    new SternaError('bad-input', what, { got: String(got), expected });
  const [unknown] = Object.keys(rest);
  if (unknown) throw refuse('unknown option', unknown, 'pooling, normalize, signal, onProgress');
  if (pooling !== 'mean' && pooling !== 'last') throw refuse('pooling', pooling, 'mean or last');
  if (typeof normalize !== 'boolean') throw refuse('normalize', normalize, 'true or false');
  return { pooling, normalize };
}

/**
 * Refuses, before anything is computed, what cannot be embedded.
 * @throws SternaError `bad-input` for no text, too many, one without tokens or with ids outside the vocabulary,
 * `context-full` for one that is longer than the context
 */
function checkTexts(texts: number[][], plan: MemoryPlan): void {
  if (texts.length === 0 || texts.length > MOST_TEXTS) {
    throw new SternaError('bad-input', 'texts', { got: texts.length, expected: `1 to ${MOST_TEXTS}` });
  }
  for (const [index, { length }] of texts.entries()) {
    if (length === 0)
      throw new SternaError('bad-input', `text ${index} has no tokens`, { got: 0, expected: 'at least 1' });
    if (length <= plan.contextLength) continue;
    const expected = `at most ${plan.contextLength} tokens`;
    throw new SternaError('context-full', `text ${index} does not fit the context`, { got: length, expected });
  }
  for (const ids of texts) checkTokens(ids, plan);
}

/**
 * The embedding of one text. f32[hidden]. Sums are float64, over the positions in order, and rounded to float32 at the
 * end, so that they depend on nothing but the hidden states.
 * @param onRows told how many tokens each pass has read
 * @throws SternaError `aborted`
 */
export async function embed(
  { pool, memory, session, between }: ScoreContext,
  ids: number[],
  { pooling, normalize }: EmbedSettings,
  onRows: (count: number) => void = () => {},
): Promise<Float32Array<ArrayBuffer>> {
  const { plan, kernels } = pool;
  const { hidden, rmsNormEps } = plan.config;
  const { normed } = plan.perThread[0]!;
  const state = new Float32Array(memory.buffer, normed, hidden);
  const sum = new Float64Array(hidden);
  session.tokens.length = 0;
  for (let first = 0; first < ids.length; first += plan.maxRows) {
    await between();
    const rows = rowsOf(session, ids.slice(first, first + plan.maxRows));
    if (!(await append(pool, session, rows, rows.length))) throw new SternaError('aborted', 'embedding was aborted');
    for (let row = 0; row < rows.length; row++) {
      if (pooling === 'last' && first + row < ids.length - 1) continue;
      kernels.rmsNorm(plan.hidden + row * plan.hiddenStride * 4, plan.finalNorm, normed, hidden, hidden, rmsNormEps);
      for (let i = 0; i < hidden; i++) sum[i]! += state[i]!;
    }
    onRows(rows.length);
  }
  const count = pooling === 'mean' ? ids.length : 1;
  for (let i = 0; i < hidden; i++) sum[i]! /= count;
  if (!normalize) return Float32Array.from(sum);
  const square = sum.reduce((total, v) => total + v * v, 0);
  const length = square > 0 ? kernels.sqrt(square) : 1;
  return Float32Array.from(sum, (v) => v / length);
}

/**
 * The embeddings of several texts, one after the other. f32[texts, hidden]
 * @throws SternaError as checkTexts() and embed()
 */
export async function embedAll(
  context: ScoreContext,
  texts: number[][],
  settings: EmbedSettings,
  onProgress: (progress: PrefillProgress) => void,
): Promise<{ vectors: Float32Array<ArrayBuffer>; promptTokens: number }> {
  const { plan } = context.pool;
  checkTexts(texts, plan);
  const { hidden } = plan.config;
  const total = texts.reduce((sum, { length }) => sum + length, 0);
  const vectors = new Float32Array(texts.length * hidden);
  let done = 0;
  const onRows = (count: number): void => {
    done += count;
    onProgress({ done, total });
  };
  for (const [index, ids] of texts.entries()) vectors.set(await embed(context, ids, settings, onRows), index * hidden);
  return { vectors, promptTokens: total };
}
