/** `model.openai`: the calls of an OpenAI client, answered by the loaded model. */
import { callOptions } from './call-options';
import { SternaError } from './errors';
import type { ChatOptions, Logprob, Message, TokenLogprobs } from './generate-types';
import type { Generation } from './generation';
import type { ModelInfo } from './load-types';
import { completionOf, createChunks } from './openai-chunks';
import { type ChatRequest, readRequest } from './openai-request';
import { createStream } from './openai-stream';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionHead,
  ChatCompletionLogprobs,
  ChatCompletionParams,
  ChatCompletionRequestOptions,
  ChatCompletionStream,
  ChatCompletionTokenLogprob,
  OpenAIFace,
} from './openai-types';
import type { TokenText } from './protocol';

/** What of a model is needed. */
export interface Answering {
  info: ModelInfo;
  chat: (messages: Message[], options: ChatOptions) => Generation;
  tokenTexts: (ids: number[]) => Promise<TokenText[]>;
}

type Scores = ChatCompletionLogprobs['content'];

const newId = (): string =>
  `chatcmpl-${[...crypto.getRandomValues(new Uint8Array(15))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

const aborted = (): SternaError => new SternaError('aborted', 'the request was aborted');

/** Gives tokens with their log probabilities in OpenAI's shape; the text of a token is asked for once. */
function createScoring(tokenTexts: Answering['tokenTexts']) {
  const texts = new Map<number, TokenText>();
  return async (tokens: readonly TokenLogprobs[]): Promise<Scores> => {
    const ids = new Set(tokens.flatMap(({ token, topLogprobs }) => [token, ...topLogprobs.map((top) => top.token)]));
    const missing = [...ids].filter((id) => !texts.has(id));
    if (missing.length > 0) for (const [i, text] of (await tokenTexts(missing)).entries()) texts.set(missing[i]!, text);
    const score = ({ token, logprob }: Logprob): ChatCompletionTokenLogprob => ({ ...texts.get(token)!, logprob });
    return tokens.map((own) => ({ ...score(own), top_logprobs: own.topLogprobs.map(score) }));
  };
}

export function createOpenAI({ info, chat, tokenTexts }: Answering): OpenAIFace {
  const scoresOf = createScoring(tokenTexts);
  const { name: model, version, kvCache, lmHead } = info;

  async function whole(
    head: ChatCompletionHead,
    { logprobs, mostCalls }: ChatRequest,
    generation: Generation,
  ): Promise<ChatCompletion> {
    const result = await generation.result;
    if (result.answers.some(({ finishReason }) => finishReason === 'abort')) throw aborted();
    const scores = logprobs ? await Promise.all(result.answers.map((answer) => scoresOf(answer.logprobs ?? []))) : [];
    return completionOf(head, result, scores, mostCalls);
  }

  function stream(
    head: ChatCompletionHead,
    { options, includeUsage, mostCalls }: ChatRequest,
    generation: Generation,
    controller: AbortController,
  ): ChatCompletionStream {
    async function* iterate(): AsyncGenerator<ChatCompletionChunk> {
      const chunks = createChunks(head, options.n ?? 1, includeUsage, mostCalls);
      let ended = false;
      try {
        yield* chunks.begin();
        for await (const chunk of generation) {
          const { token, logprob, topLogprobs = [] } = chunk;
          const scores = logprob === undefined ? undefined : await scoresOf([{ token, logprob, topLogprobs }]);
          yield* chunks.next(chunk, scores);
        }
        const result = await generation.result;
        const whole = result.answers.every(({ finishReason }) => finishReason !== 'abort');
        if (whole) yield* chunks.end(result);
        ended = true;
      } finally {
        if (!ended) controller.abort();
      }
    }
    return createStream(controller, iterate);
  }

  /** Settles when the last request in line is answered. */
  let last: Promise<unknown> = Promise.resolve();

  /** Starts an answer when those before it are written, as a server with one place does. @throws SternaError `aborted` */
  function inLine(signal: AbortSignal, start: () => Generation): Promise<Generation> {
    const started = last.then(() => {
      if (signal.aborted) throw aborted();
      return start();
    });
    last = started.then(({ result }) => result).catch(() => {});
    const leaving = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(aborted()), { once: true });
    });
    return Promise.race([started, leaving]);
  }

  async function create(
    params: ChatCompletionParams,
    requestOptions?: ChatCompletionRequestOptions,
  ): Promise<ChatCompletion | ChatCompletionStream> {
    const request = readRequest(params);
    const { signal } = callOptions({ signal: requestOptions?.signal ?? undefined });
    if (signal?.aborted) throw aborted();
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    signal?.addEventListener('abort', abort);
    const head: ChatCompletionHead = {
      id: newId(),
      created: Math.floor(Date.now() / 1000),
      model,
      system_fingerprint: `fp_${version.slice(0, 12) || 'files'}_${kvCache}_${lmHead}`,
    };
    let begins = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begins = resolve;
    });
    const options: ChatOptions = { ...request.options, signal: controller.signal, onPrefill: () => begins() };
    const done = (): void => signal?.removeEventListener('abort', abort);
    const starting = inLine(controller.signal, () => chat(request.messages, options));
    starting.then(({ result }) => result).then(done, done);
    const generation = await starting;
    if (!request.stream) return whole(head, request, generation);
    // what is wrong with the request is told here, as a server does, and not by the stream
    await Promise.race([begun, generation.result]);
    if (controller.signal.aborted) throw aborted();
    return stream(head, request, generation, controller);
  }
  return { chat: { completions: { create: create as OpenAIFace['chat']['completions']['create'] } } };
}
