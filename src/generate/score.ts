/** Teacher-forced scoring: the logits of a text, and its perplexity. */
import { SternaError } from '../errors';
import type { Pool } from '../model/pool';
import { checkIds, checkTokens } from './generate';
import { append, logitsView, rowsOf, type Session } from './session';

/** What scoring works on. `between` is called between passes; it throws when the caller has aborted. */
export interface ScoreContext {
  pool: Pool;
  memory: WebAssembly.Memory;
  session: Session;
  between: () => Promise<void>;
}

/** Runs `ids` from position 0 in passes whose every row has logits; `visit` gets the index of each pass's first row. */
async function forEachPass(
  { pool, session, between }: ScoreContext,
  ids: number[],
  visit: (first: number, count: number) => void,
) {
  session.tokens.length = 0;
  const step = Math.min(pool.plan.logitRows, pool.plan.maxRows);
  for (let first = 0; first < ids.length; first += step) {
    await between();
    const rows = rowsOf(session, ids.slice(first, first + step));
    if (!(await append(pool, session, rows, 0))) throw new SternaError('aborted', 'scoring was aborted');
    visit(first, rows.length);
  }
}

/**
 * The logits after each token of a text. f32[ids.length, vocab]
 * @throws SternaError `context-full` if the ids do not fit the context, `bad-input` if not the vocabulary, or the result 2 GB
 */
export async function evaluate(context: ScoreContext, ids: number[]): Promise<Float32Array<ArrayBuffer>> {
  const { pool, memory } = context;
  const { vocab } = pool.plan.config;
  checkIds(ids, pool.plan);
  if (ids.length * vocab * 4 > 2 ** 31) {
    throw new SternaError('bad-input', 'logits do not fit one array', {
      got: ids.length,
      expected: `at most ${Math.floor(2 ** 29 / vocab)} tokens`,
    });
  }
  const logits: Float32Array<ArrayBuffer> = new Float32Array(ids.length * vocab);
  await forEachPass(context, ids, (first, count) => {
    for (let i = 0; i < count; i++) logits.set(logitsView(memory, pool.plan, i), (first + i) * vocab);
  });
  return logits;
}

/**
 * Sum of the negative log likelihoods (nats) of every token after the first. A text longer than `window` is cut into
 * windows that begin `stride` tokens apart; each token is scored once, in the first window that reaches it, with at
 * least window - stride tokens before it (fewer in the first).
 * @throws SternaError `bad-input` for fewer than 2 ids, a window outside 1..contextLength, a stride outside 1..window
 */
export async function perplexity(
  context: ScoreContext,
  ids: number[],
  options: { window?: number; stride?: number } = {},
): Promise<{ perplexity: number; nll: number; tokens: number }> {
  const { pool } = context;
  const { plan, kernels } = pool;
  const window = options.window ?? plan.contextLength;
  const stride = options.stride ?? window;
  const check = (name: string, value: number, most: number): void => {
    if (!Number.isInteger(value) || value < 1 || value > most) {
      throw new SternaError('bad-input', name, { got: value, expected: `an integer from 1 to ${most}` });
    }
  };
  check('window', window, plan.contextLength);
  check('stride', stride, window);
  if (ids.length < 2)
    throw new SternaError('bad-input', 'tokens to score', { got: ids.length, expected: 'at least 2' });
  checkTokens(ids, plan);
  let nll = 0;
  let scored = 0; // targets 1..scored are done
  for (let begin = 0; scored < ids.length - 1; begin += stride) {
    const inputs = ids.slice(begin, Math.min(begin + window, ids.length - 1));
    await forEachPass(context, inputs, (first, count) => {
      for (let i = 0; i < count; i++) {
        const target = begin + first + i + 1;
        if (target <= scored) continue;
        nll += kernels.nll(plan.logits + i * plan.head.paddedVocab * 4, plan.head.paddedVocab, ids[target]!);
      }
    });
    scored = begin + inputs.length;
  }
  return { perplexity: kernels.exp(nll / (ids.length - 1)), nll, tokens: ids.length - 1 };
}
