/** Generation: prefill the prompt, then sample, decode, and stop for the right reason. */
import { SternaError } from './errors';
import type { MemoryPlan } from './memory';
import type { Pool } from './pool';
import type { Chunk, GenerateResult } from './protocol';
import { type CompleteSettings, createSampler, logitsThatMatter } from './sampler';
import { append, logitsView, prefill, rowsOf, type Session } from './session';
import { createStopMatcher } from './stop';
import { createTextDecoder, type Tokenizer } from './tokenizer';

export interface GenerateContext {
  pool: Pool;
  memory: WebAssembly.Memory;
  session: Session;
  tokenizer: Tokenizer | undefined;
  /** Tokens that end a turn. */
  stopTokens: ReadonlySet<number>;
  /** True once the caller has asked to stop. */
  aborted: () => boolean;
  /** Lets messages in, between two passes. */
  yieldToMessages: () => Promise<void>;
}

/** The softmax terms of the sampler, computed by the kernel in shared memory. */
function samplerOf({ kernels, plan }: Pool, memory: WebAssembly.Memory, settings: CompleteSettings) {
  const { paddedVocab } = plan.head;
  const weights = new Float32Array(memory.buffer, plan.weights, plan.config.vocab);
  const expSum = (logits: Float32Array, max: number, inverseTemperature: number): number =>
    kernels.expSum(logits.byteOffset, paddedVocab, max, inverseTemperature, plan.weights);
  return createSampler(settings, plan.config.vocab, expSum, weights);
}

/**
 * Generates from a tokenised prompt, telling `emit` of every token.
 * The answer ends at an end-of-turn token or stop string (`stop`), at maxTokens or a full context (`length`), or when
 * the caller aborts (`abort`). End-of-turn tokens and stop strings are not part of the text.
 * @throws SternaError `bad-input` for an empty prompt or ids outside the vocabulary, `context-full` for a prompt longer
 * than the context
 */
export async function generate(
  context: GenerateContext,
  prompt: number[],
  settings: CompleteSettings,
  emit: (chunk: Chunk) => void,
): Promise<GenerateResult> {
  const { pool, memory, session, tokenizer, stopTokens, aborted, yieldToMessages } = context;
  checkIds(prompt, pool.plan);
  const start = performance.now();
  const sampler = samplerOf(pool, memory, settings);
  const best = logitsThatMatter(settings);
  for (const token of prompt) sampler.accept(token, true);
  const decoder = tokenizer && createTextDecoder(tokenizer);
  const stops = createStopMatcher(settings.stop);
  const room = Math.min(settings.maxTokens, pool.plan.contextLength - prompt.length);
  const tokens: number[] = [];
  let text = '';
  let finishReason: GenerateResult['finishReason'] = 'length';
  let firstTokenAt = 0;

  const between = async (): Promise<boolean> => {
    await yieldToMessages();
    return !aborted();
  };
  const { cached, complete } = await prefill(pool, session, prompt, between, best);
  const promptMs = performance.now() - start;
  if (!complete) finishReason = 'abort';
  while (complete && tokens.length < room) {
    if (aborted()) {
      finishReason = 'abort';
      break;
    }
    const token = sampler.sample(logitsView(memory, pool.plan, 0));
    firstTokenAt ||= performance.now();
    if (stopTokens.has(token) && !settings.ignoreEos) {
      finishReason = 'stop';
      break;
    }
    sampler.accept(token, false);
    const { text: piece, stopped } = stops.push(decoder?.push(token) ?? '');
    text += piece;
    tokens.push(token);
    emit({ text: piece, token, index: tokens.length - 1 });
    if (stopped) {
      finishReason = 'stop';
      break;
    }
    if (tokens.length === room) break;
    await yieldToMessages();
    if (!(await append(pool, session, rowsOf(session, [token]), 0, best))) {
      finishReason = 'abort';
      break;
    }
  }
  const end = performance.now();
  // a character or the beginning of a stop string may still be held back
  const last = stops.push(decoder?.end() ?? '').text + stops.end();
  if (last) {
    text += last;
    emit({ text: last, token: tokens.at(-1)!, index: tokens.length - 1 });
  }
  const decodeMs = firstTokenAt ? end - firstTokenAt : 0;
  const perSecond = (count: number, ms: number): number => (ms > 0 ? (count * 1000) / ms : 0);
  return {
    text,
    tokens,
    finishReason,
    seed: settings.seed,
    usage: { promptTokens: prompt.length, cachedTokens: cached, completionTokens: tokens.length },
    timings: {
      promptMs,
      firstTokenMs: firstTokenAt ? firstTokenAt - start : 0,
      decodeMs,
      promptTokensPerSecond: perSecond(prompt.length - cached, promptMs),
      decodeTokensPerSecond: perSecond(Math.max(0, tokens.length - 1), decodeMs),
    },
  };
}

/** @throws SternaError `bad-input` unless ids are tokens of the vocabulary, `context-full` if they are more than fit */
export function checkIds(ids: number[], plan: MemoryPlan): void {
  if (ids.length === 0) throw new SternaError('bad-input', 'no tokens', { got: 0, expected: 'at least 1' });
  if (ids.length > plan.contextLength) {
    throw new SternaError('context-full', 'tokens do not fit the context', {
      got: ids.length,
      expected: `at most ${plan.contextLength}`,
    });
  }
  checkTokens(ids, plan);
}

/** @throws SternaError `bad-input` unless all ids are tokens of the vocabulary */
export function checkTokens(ids: number[], { config }: MemoryPlan): void {
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocab);
  if (bad === undefined) return;
  throw new SternaError('bad-input', 'token id', { got: String(bad), expected: `0 to ${config.vocab - 1}` });
}
