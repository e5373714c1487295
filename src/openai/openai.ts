/** `model.openai`: the calls of an OpenAI client, answered by the loaded model. */
import { callOptions } from '../api/call-options';
import type { Generation } from '../api/generation';
import type { Model } from '../api/model';
import { SternaError } from '../errors';
import type { Chunk, GenerateResult, Logprob, TokenLogprobs } from '../protocol/generate-types';
import type { TokenText } from '../protocol/protocol';
import { completionOf, createChunks } from './openai-chunks';
import { embeddingResponseOf, readEmbeddingRequest } from './openai-embeddings';
import { readRequest } from './openai-request';
import { createStream } from './openai-stream';
import { createTextChunks, readTextRequest, textCompletionOf } from './openai-text';
import type {
  ChatCompletionHead,
  ChatCompletionLogprobs,
  ChatCompletionParams,
  ChatCompletionRequestOptions,
  ChatCompletionTokenLogprob,
  CompletionStream,
  EmbeddingParams,
  OpenAIFace,
  TextCompletionParams,
} from './openai-types';

/** What of a model is needed. */
export interface Answering extends Pick<Model, 'info' | 'chat' | 'complete' | 'embed'> {
  tokenTexts: (ids: number[]) => Promise<TokenText[]>;
}

/** How an answer is given: as a whole, and in pieces. */
interface Shape<Whole, Piece> {
  stream: boolean;
  whole(result: GenerateResult): Promise<Whole>;
  begin(): Piece[];
  next(chunk: Chunk): Promise<Piece[]>;
  end(result: GenerateResult): Piece[];
}

type TextOf = (token: number) => TokenText;

const newId = (kind: string): string =>
  `${kind}-${[...crypto.getRandomValues(new Uint8Array(15))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

const aborted = (): SternaError => new SternaError('aborted', 'the request was aborted');

/** The texts of tokens with log probabilities, and of the alternatives; each is asked for once. */
function createTexts(tokenTexts: Answering['tokenTexts']) {
  const texts = new Map<number, TokenText>();
  return async (tokens: readonly TokenLogprobs[]): Promise<TextOf> => {
    const ids = new Set(tokens.flatMap(({ token, topLogprobs }) => [token, ...topLogprobs.map((top) => top.token)]));
    const missing = [...ids].filter((id) => !texts.has(id));
    if (missing.length > 0) for (const [i, text] of (await tokenTexts(missing)).entries()) texts.set(missing[i]!, text);
    return (token) => texts.get(token)!;
  };
}

/** The token of a chunk with its log probability, where there is one. */
const scoreOf = ({ token, logprob, topLogprobs = [] }: Chunk): TokenLogprobs[] =>
  logprob === undefined ? [] : [{ token, logprob, topLogprobs }];

export function createOpenAI({ info, chat, complete, embed, tokenTexts }: Answering): OpenAIFace {
  const textsOf = createTexts(tokenTexts);
  const { name: model, version, kvCache, lmHead } = info;
  const headOf = (kind: string): ChatCompletionHead => ({
    id: newId(kind),
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: `fp_${version.slice(0, 12) || 'files'}_${kvCache}_${lmHead}`,
  });

  async function scoresOf(tokens: readonly TokenLogprobs[]): Promise<ChatCompletionLogprobs['content']> {
    const textOf = await textsOf(tokens);
    const score = ({ token, logprob }: Logprob): ChatCompletionTokenLogprob => ({ ...textOf(token), logprob });
    return tokens.map((own) => ({ ...score(own), top_logprobs: own.topLogprobs.map(score) }));
  }

  /** Settles when the last request in line is answered. */
  let last: Promise<unknown> = Promise.resolve();

  /** Starts a request when those before it are answered, as a server with one place does. @throws SternaError `aborted` */
  function inLine<T extends { result: Promise<unknown> }>(signal: AbortSignal, start: () => T): Promise<T> {
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

  /** A controller of the request's own, which the caller's signal aborts too until the request is `done`. */
  function controllerOf(options: ChatCompletionRequestOptions | undefined) {
    const { signal } = callOptions({ signal: options?.signal ?? undefined });
    if (signal?.aborted) throw aborted();
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    signal?.addEventListener('abort', abort);
    return { controller, done: () => signal?.removeEventListener('abort', abort) };
  }

  async function answer<Whole, Piece>(
    requestOptions: ChatCompletionRequestOptions | undefined,
    shape: Shape<Whole, Piece>,
    start: (options: { signal: AbortSignal; onPrefill: () => void }) => Generation,
  ): Promise<Whole | CompletionStream<Piece>> {
    const { controller, done } = controllerOf(requestOptions);
    const { signal } = controller;
    let begins = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begins = resolve;
    });
    const starting = inLine(signal, () => start({ signal, onPrefill: () => begins() }));
    starting.then(({ result }) => result).then(done, done);
    const generation = await starting;
    const isWhole = ({ answers }: GenerateResult) => answers.every(({ finishReason }) => finishReason !== 'abort');
    if (!shape.stream) {
      const result = await generation.result;
      if (!isWhole(result)) throw aborted();
      return shape.whole(result);
    }
    // what is wrong with the request is told here, as a server does, and not by the stream
    await Promise.race([begun, generation.result]);
    if (signal.aborted) throw aborted();
    async function* iterate(): AsyncGenerator<Piece> {
      let ended = false;
      try {
        yield* shape.begin();
        for await (const chunk of generation) yield* await shape.next(chunk);
        const result = await generation.result;
        if (isWhole(result)) yield* shape.end(result);
        ended = true;
      } finally {
        if (!ended) controller.abort();
      }
    }
    return createStream(controller, iterate);
  }

  async function createChat(params: ChatCompletionParams, requestOptions?: ChatCompletionRequestOptions) {
    const { messages, options, stream, includeUsage, logprobs, mostCalls } = readRequest(params);
    const head = headOf('chatcmpl');
    const chunks = createChunks(head, options.n ?? 1, includeUsage, mostCalls);
    const shape = {
      ...chunks,
      stream,
      async whole(result: GenerateResult) {
        const scores = logprobs ? result.answers.map((each) => scoresOf(each.logprobs ?? [])) : [];
        return completionOf(head, result, await Promise.all(scores), mostCalls);
      },
      async next(chunk: Chunk) {
        return chunks.next(chunk, chunk.logprob === undefined ? undefined : await scoresOf(scoreOf(chunk)));
      },
    };
    return answer(requestOptions, shape, (how) => chat(messages, { ...options, ...how }));
  }

  async function createText(params: TextCompletionParams, requestOptions?: ChatCompletionRequestOptions) {
    const { prompt, options, stream, includeUsage } = readTextRequest(params);
    const head = headOf('cmpl');
    const chunks = createTextChunks(head, options.n ?? 1, includeUsage);
    const scored = options.logprobs !== undefined;
    const shape = {
      ...chunks,
      stream,
      begin: () => [],
      async whole(result: GenerateResult) {
        const tokens = result.answers.flatMap(({ logprobs = [] }) => logprobs);
        return textCompletionOf(head, result, scored ? await textsOf(tokens) : undefined);
      },
      async next(chunk: Chunk) {
        return chunks.next(chunk, scored ? await textsOf(scoreOf(chunk)) : undefined);
      },
    };
    return answer(requestOptions, shape, (how) => complete(prompt, { ...options, ...how }));
  }

  async function createEmbeddings(params: EmbeddingParams, requestOptions?: ChatCompletionRequestOptions) {
    const { input, base64 } = readEmbeddingRequest(params, info.config.hidden);
    const { controller, done } = controllerOf(requestOptions);
    try {
      const { result } = await inLine(controller.signal, () => ({
        result: embed(input, { signal: controller.signal }),
      }));
      return embeddingResponseOf(model, await result, base64);
    } finally {
      done();
    }
  }

  return {
    chat: { completions: { create: createChat as OpenAIFace['chat']['completions']['create'] } },
    completions: { create: createText as OpenAIFace['completions']['create'] },
    embeddings: { create: createEmbeddings as OpenAIFace['embeddings']['create'] },
  };
}
