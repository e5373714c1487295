/** Text completions in OpenAI's shape: the request, the answers as one object, and as the chunks of a stream. */
import { SternaError } from '../errors';
import type { Chunk, GenerateOptions, GenerateResult, TokenLogprobs } from '../protocol/generate-types';
import type { TokenText } from '../protocol/protocol';
import { usageOf } from './openai-chunks';
import { bad, givenIn, settingsIn, streamingIn, unsupported } from './openai-request';
import type { ChatCompletionHead, TextCompletion, TextCompletionChunk, TextCompletionLogprobs } from './openai-types';

export interface TextRequest {
  prompt: string | number[];
  options: GenerateOptions;
  stream: boolean;
  includeUsage: boolean;
}

const KNOWN = {
  what: 'completions',
  read: ['prompt', 'stream', 'stream_options', 'max_tokens', 'logprobs', 'best_of'],
  idle: ['model', 'user'],
  refused: { echo: false, suffix: undefined },
};

/** One prompt, alone or in an array. */
function promptOf(given: unknown): string | number[] {
  if (typeof given === 'string') return given;
  if (!Array.isArray(given) || given.length === 0) return bad('prompt', 'a text, or token ids', given);
  if (typeof given[0] === 'number') return given; // checked by the engine
  if (given.length > 1) return unsupported('several prompts', 'one', given.length);
  return typeof given[0] === 'string' || Array.isArray(given[0])
    ? given[0]
    : bad('prompt[0]', 'a text, or token ids', given[0]);
}

/** Reads a request. @throws SternaError `bad-input`, `unsupported`; both name the parameter */
export function readTextRequest(params: unknown): TextRequest {
  const given = givenIn(params, KNOWN);
  const { max_tokens: maxTokens, logprobs, n = 1, best_of: best = n } = given;
  if (best !== n) unsupported('best_of other than n', String(n), best);
  const options = settingsIn(given);
  if (maxTokens !== undefined) options.maxTokens = maxTokens;
  if (logprobs !== undefined) {
    if (typeof logprobs !== 'number')
      throw new SternaError('bad-input', 'bad logprobs', { got: typeof logprobs, expected: 'a number' });
    options.logprobs = logprobs;
  }
  return { prompt: promptOf(given.prompt), options: options as GenerateOptions, ...streamingIn(given) };
}

type TextOf = (token: number) => TokenText;

/** @param offset where the text of the first token begins in the answer */
function logprobsOf(tokens: readonly TokenLogprobs[], textOf: TextOf, offset: number): TextCompletionLogprobs {
  let at = offset;
  const texts = tokens.map(({ token }) => textOf(token).token);
  return {
    tokens: texts,
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ topLogprobs }) =>
      Object.fromEntries(topLogprobs.map(({ token, logprob }) => [textOf(token).token, logprob])),
    ),
    text_offset: texts.map((text) => {
      const begin = at;
      at += text.length;
      return begin;
    }),
  };
}

const finishOf = (reason: string): 'stop' | 'length' => (reason === 'length' ? 'length' : 'stop');

/** The answers as one object. @param textOf where log probabilities were asked for */
export function textCompletionOf(head: ChatCompletionHead, result: GenerateResult, textOf?: TextOf): TextCompletion {
  const choices = result.answers.map(({ text, finishReason, logprobs = [] }, index) => ({
    index,
    text,
    logprobs: textOf ? logprobsOf(logprobs, textOf, 0) : null,
    finish_reason: finishOf(finishReason),
  }));
  return { ...head, object: 'text_completion', choices, usage: usageOf(result) };
}

/** The chunks of a stream of `n` answers. */
export function createTextChunks(head: ChatCompletionHead, n: number, includeUsage: boolean) {
  const offsets: number[] = Array(n).fill(0);
  const frame = (
    choices: TextCompletionChunk['choices'],
    usage: TextCompletionChunk['usage'] = null,
  ): TextCompletionChunk => ({
    ...head,
    object: 'text_completion',
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  return {
    next({ answer: index, text, token, logprob, topLogprobs = [] }: Chunk, textOf?: TextOf): TextCompletionChunk[] {
      const scores =
        textOf && logprob !== undefined ? logprobsOf([{ token, logprob, topLogprobs }], textOf, offsets[index]!) : null;
      if (!text && !scores) return [];
      offsets[index]! += scores ? scores.tokens[0]!.length : 0;
      return [frame([{ index, text, logprobs: scores, finish_reason: null }])];
    },
    end(result: GenerateResult): TextCompletionChunk[] {
      const ends = result.answers.map(({ finishReason }, index) =>
        frame([{ index, text: '', logprobs: null, finish_reason: finishOf(finishReason) }]),
      );
      return includeUsage ? [...ends, frame([], usageOf(result))] : ends;
    },
  };
}
