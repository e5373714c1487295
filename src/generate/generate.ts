/** Generation: prefill the prompt once, then write one answer, or several side by side. */

import { SternaError } from '../errors';
import type { MemoryPlan } from '../model/memory';
import type { Pool } from '../model/pool';
import type { Chunk, GenerateResult } from '../protocol/generate-types';
import type { GenerateMessage } from '../protocol/protocol';
import type { Tokenizer } from '../text/tokenizer';
import { beginAnswer, type Writing } from './answer';
import { createDrafter, type Drafter, type PassCosts } from './draft';
import { createLogprobs } from './logprobs';
import { createSampler, logitsThatMatter, type Sampler, samplerRoom } from './sampler';
import { copySession, logitsView, prefill, rowsOf } from './session';
import type { CompleteSettings } from './settings';
import { type Slot, takeSlots } from './slots';
import type { StagesOf } from './stages';

export interface GenerateContext {
  pool: Pool;
  memory: WebAssembly.Memory;
  /** One for each sequence of the cache. */
  slots: Slot[];
  /** The session that asks; 0: none. */
  owner: number;
  /** Times of passes, measured here. */
  costs: PassCosts;
  tokenizer: Tokenizer | undefined;
  /** Tokens that end a turn. */
  stopTokens: ReadonlySet<number>;
  /** True once the caller has asked to stop. */
  aborted: () => boolean;
  /** Lets messages in, between two passes. */
  yieldToMessages: () => Promise<void>;
}

/** One sampler for each answer, seeded by turns. The kernel computes softmax terms, in shared memory. */
function samplersOf({ kernels, plan }: Pool, memory: WebAssembly.Memory, settings: CompleteSettings): Sampler[] {
  const { paddedVocab } = plan.head;
  const { vocab } = plan.config;
  const weights = new Float32Array(memory.buffer, plan.weights, vocab);
  const room = samplerRoom(settings, vocab);
  const expSum = (logits: Float32Array, max: number, inverseTemperature: number): number =>
    kernels.expSum(logits.byteOffset, paddedVocab, max, inverseTemperature, plan.weights);
  return Array.from({ length: settings.n }, (_, index) =>
    createSampler({ ...settings, seed: settings.seed + index }, vocab, expSum, weights, room),
  );
}

/**
 * Generates from a tokenised prompt: `settings.n` answers at once, answer i as one with seed + i alone. `tell` hears of
 * the prompt's progress and of every token. `stagesOf` makes what the logits of an answer go through.
 * @throws SternaError `bad-input` for an empty prompt, ids outside the vocabulary or more answers than sequences,
 * `context-full` for a prompt longer than the context
 */
export async function generate(
  context: GenerateContext,
  prompt: number[],
  settings: CompleteSettings,
  tell: (message: GenerateMessage) => void,
  stagesOf: StagesOf = () => [],
): Promise<GenerateResult> {
  const { pool, memory, slots, owner, aborted, yieldToMessages } = context;
  const { plan } = pool;
  const { n } = settings;
  checkIds(prompt, plan);
  if (n > plan.sequences) {
    throw new SternaError('bad-input', `for ${n} answers at once, load the model with sequences: ${n}`, {
      got: n,
      expected: `n at most ${plan.sequences}`,
    });
  }
  const start = performance.now();
  const samplers = samplersOf(pool, memory, settings);
  for (const sampler of samplers) for (const token of prompt) sampler.accept(token, true);
  const chosen = takeSlots(memory, plan, slots, prompt, n, owner);
  const first = chosen[0]!;
  const room = Math.min(settings.maxTokens, plan.contextLength - prompt.length);
  const logprobs = settings.logprobs === undefined ? undefined : createLogprobs(pool.kernels, plan, settings.logprobs);
  const writingContext = { ...context, room, logprobs, emit: (chunk: Chunk) => tell({ chunk }) };
  const stages = chosen.map((_, i) => stagesOf(i, room));
  const writings = chosen.map((session, i) =>
    beginAnswer(writingContext, settings, session, samplers[i]!, i, stages[i]!),
  );
  const between = async (): Promise<boolean> => {
    await yieldToMessages();
    return !aborted();
  };
  const all = logprobs || stages.some((list) => list.length > 0);
  const best = all ? 0 : logitsThatMatter(settings);
  const onProgress = (done: number): void => tell({ prefill: { done, total: prompt.length } });

  const { cached, complete } = await prefill(pool, first, prompt, between, best, onProgress);
  const promptMs = performance.now() - start;
  let firstTokenAt = 0;
  let drafter: Drafter | undefined;
  if (complete && !aborted() && room > 0) {
    for (const other of chosen.slice(1)) copySession(memory, plan, first, other);
    const logits = logitsView(memory, plan, 0);
    const given = n > 1 ? logits.slice() : logits;
    for (const writing of writings) {
      if (writing !== writings[0]) logits.set(given); // a sampler may overwrite them
      const later = writing.take(logits);
      if (later) await later;
      firstTokenAt ||= performance.now();
    }
    if (n === 1 && settings.draft !== false) {
      const mostRows = Math.min(plan.maxRows, plan.logitRows);
      drafter = createDrafter(prompt, context.costs, settings.draft === true, mostRows);
    }
    await decode(context, writings, room, best, drafter);
  }
  for (const writing of writings) writing.end(complete && room === 0 ? 'length' : 'abort');
  const end = performance.now();

  const answers = writings.map((writing) => writing.answer());
  const completionTokens = answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const decoded = answers.reduce((sum, { tokens }) => sum + Math.max(0, tokens.length - 1), 0);
  const decodeMs = firstTokenAt ? end - firstTokenAt : 0;
  const perSecond = (count: number, ms: number): number => (ms > 0 ? (count * 1000) / ms : 0);
  return {
    ...answers[0]!,
    answers,
    usage: { promptTokens: prompt.length, cachedTokens: cached, completionTokens },
    draft: { drafted: drafter?.drafted ?? 0, accepted: drafter?.accepted ?? 0 },
    timings: {
      promptMs,
      firstTokenMs: firstTokenAt ? firstTokenAt - start : 0,
      decodeMs,
      promptTokensPerSecond: perSecond(prompt.length - cached, promptMs),
      decodeTokensPerSecond: perSecond(decoded, decodeMs),
    },
  };
}

/**
 * Writes all answers to their end, or until the caller aborts: in each pass, a row for the last token of every answer
 * that goes on, and rows for the tokens that are guessed to follow it. A guess is right if it is what its sampler,
 * asked in order, gives; the rows after a wrong one are as if they had never been.
 */
async function decode(
  { pool, memory, aborted, yieldToMessages }: GenerateContext,
  writings: Writing[],
  room: number,
  best: number,
  drafter: Drafter | undefined,
): Promise<void> {
  for (const token of writings[0]!.tokens) drafter?.push(token);
  for (;;) {
    const open = writings.filter((writing) => !writing.ended());
    if (open.length === 0) return;
    const before = performance.now();
    await yieldToMessages();
    const inputs = open.map(({ tokens }) => [tokens.at(-1)!, ...(drafter?.draft(room - tokens.length - 1) ?? [])]);
    const rows = inputs.flatMap((ids, i) => rowsOf(open[i]!.session, ids));
    if (!(await pool.run(rows, 0, best))) return;
    const ms = performance.now() - before;
    let row = 0;
    for (const [i, { session, tokens, take, ended }] of open.entries()) {
      const ids = inputs[i]!;
      const had = tokens.length;
      let right = 0;
      while (right < ids.length && !ended() && (right === 0 || ids[right] === tokens.at(-1))) {
        session.tokens.push(ids[right]!);
        if (aborted()) return;
        const later = take(logitsView(memory, pool.plan, row + right++));
        if (later) await later;
      }
      row += ids.length;
      drafter?.passed(ids.length, right, ms);
      for (const token of tokens.slice(had)) drafter?.push(token);
    }
  }
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
