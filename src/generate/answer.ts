/** One answer as it is written: sampled, decoded, and ended for the right reason. */
import { SternaError } from '../errors';
import type { Answer, Chunk, TokenLogprobs } from '../protocol/generate-types';
import { createTextDecoder, type Tokenizer } from '../text/tokenizer';
import { applyStages, type LogitsStage } from './logits-stage';
import type { Logprobs } from './logprobs';
import type { Sampler } from './sampler';
import type { Session } from './session';
import type { CompleteSettings } from './settings';
import { createStopMatcher } from './stop';

export interface Writing {
  /** The timeline that its tokens are in. */
  session: Session;
  tokens: readonly number[];
  ended(): boolean;
  /**
   * Samples the next token from its logits, which may be overwritten. The answer may end with it, or before it. A promise
   * only where a stage gave one; the logits must then stay until it resolves.
   */
  take(logits: Float32Array): void | Promise<void>;
  /** Ends the answer, unless it has ended. */
  end(reason: Answer['finishReason']): void;
  /** The answer, when it has ended. */
  answer(): Answer;
}

export interface WritingContext {
  tokenizer: Tokenizer | undefined;
  /** Tokens that end a turn. */
  stopTokens: ReadonlySet<number>;
  /** Most tokens to write. */
  room: number;
  /** Where log probabilities are wanted. */
  logprobs?: Logprobs | undefined;
  emit: (chunk: Chunk) => void;
}

/**
 * Begins an answer. It ends by itself at an end-of-turn token or stop string (`stop`), or with its last room (`length`).
 * End-of-turn tokens and stop strings are not part of the text. Where a stage holds it to a format, it ends as `stop` only when
 * it is whole, at the latest when nothing may follow; a stop string that cuts it before ends it as `length`.
 * @param index which of several answers it is
 * @param stages what the logits go through before the sampler
 */
export function beginAnswer(
  { tokenizer, stopTokens, room, logprobs, emit }: WritingContext,
  settings: CompleteSettings,
  session: Session,
  sampler: Sampler,
  index: number,
  stages: readonly LogitsStage[],
): Writing {
  const decoder = tokenizer && createTextDecoder(tokenizer);
  const stops = createStopMatcher(settings.stop);
  const format = stages.find((stage) => stage.format)?.format;
  const tokens: number[] = [];
  const likely: TokenLogprobs[] = []; // with logprobs, of each token
  let text = '';
  let finishReason: Answer['finishReason'] | undefined;

  const show = (piece: string, of?: TokenLogprobs): void => {
    text += piece;
    emit({ text: piece, token: tokens.at(-1)!, index: tokens.length - 1, answer: index, ...of });
  };
  function end(reason: Answer['finishReason']): void {
    if (finishReason) return;
    finishReason = reason;
    // a character or the beginning of a stop string may still be held back
    const last = stops.push(decoder?.end() ?? '').text + stops.end();
    if (last) show(last);
  }
  function take(logits: Float32Array): void | Promise<void> {
    logprobs?.read(logits);
    const later = applyStages(stages, logits);
    if (!later) return choose(logits);
    return later.then(
      () => choose(logits),
      (error: unknown) => {
        if (!(error instanceof SternaError && error.code === 'aborted')) throw error;
        end('abort');
      },
    );
  }
  function choose(logits: Float32Array): void {
    const token = sampler.sample(logits);
    for (const stage of stages) stage.accept(token);
    if (stopTokens.has(token) && !settings.ignoreEos) {
      end('stop');
      return;
    }
    sampler.accept(token, false);
    tokens.push(token);
    const { text: piece, stopped } = stops.push(decoder?.push(token) ?? '');
    const of = logprobs?.of(token);
    if (of) likely.push(of);
    show(piece, of);
    if (stopped) end(format && !format.accepts(text) ? 'length' : 'stop');
    else if (format?.finished()) end('stop');
    else if (tokens.length === room) end(format?.complete() ? 'stop' : 'length');
  }
  return {
    session,
    tokens,
    ended: () => finishReason !== undefined,
    take,
    end,
    answer: () => {
      const answer: Answer = { text, tokens, finishReason: finishReason!, seed: settings.seed + index };
      return logprobs ? { ...answer, logprobs: likely } : answer;
    },
  };
}
