/** Our types against those of the npm package `openai`: params of theirs are taken, results of ours are theirs. */
import type OpenAI from 'openai';
import { expectTypeOf, it } from 'vitest';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionParams,
  ChatCompletionParamsNonStreaming,
  ChatCompletionParamsStreaming,
  ChatCompletionRequestOptions,
  EmbeddingParams,
  EmbeddingResponse,
  OpenAIFace,
  TextCompletion,
  TextCompletionChunk,
  TextCompletionParams,
} from './openai-types';

type Theirs = OpenAI.Chat.Completions.ChatCompletionCreateParams;
type Create = OpenAIFace['chat']['completions']['create'];

it('takes what the types of openai allow', () => {
  expectTypeOf<Theirs>().toExtend<ChatCompletionParams>();
  expectTypeOf<OpenAI.ChatCompletionCreateParamsNonStreaming>().toExtend<ChatCompletionParamsNonStreaming>();
  expectTypeOf<OpenAI.ChatCompletionCreateParamsStreaming>().toExtend<ChatCompletionParamsStreaming>();
  expectTypeOf<OpenAI.RequestOptions>().toExtend<ChatCompletionRequestOptions>();
  expectTypeOf<OpenAI.CompletionCreateParams>().toExtend<TextCompletionParams>();
  expectTypeOf<OpenAI.EmbeddingCreateParams>().toExtend<EmbeddingParams>();
  // every parameter of theirs is named in ours
  expectTypeOf<Exclude<keyof OpenAI.CompletionCreateParams, keyof TextCompletionParams>>().toBeNever();
  expectTypeOf<Exclude<keyof OpenAI.EmbeddingCreateParams, keyof EmbeddingParams>>().toBeNever();
  expectTypeOf<Exclude<keyof Theirs, keyof ChatCompletionParams>>().toBeNever();
});

it('gives what the types of openai describe', () => {
  expectTypeOf<ChatCompletion>().toExtend<OpenAI.Chat.ChatCompletion>();
  expectTypeOf<ChatCompletionChunk>().toExtend<OpenAI.Chat.ChatCompletionChunk>();
  expectTypeOf<TextCompletion>().toExtend<OpenAI.Completion>();
  expectTypeOf<EmbeddingResponse>().toExtend<OpenAI.CreateEmbeddingResponse>();
  // their types leave out that servers send null before the end
  type Ended = { choices: (TextCompletionChunk['choices'][number] & { finish_reason: 'stop' | 'length' })[] };
  expectTypeOf<Omit<TextCompletionChunk, 'usage'> & Ended>().toExtend<OpenAI.Completion>();
  // an answer goes back into the next request, of theirs and of ours
  type Message = ChatCompletion['choices'][number]['message'];
  expectTypeOf<Message>().toExtend<OpenAI.ChatCompletionMessageParam>();
  expectTypeOf<Message>().toExtend<ChatCompletionParams['messages'][number]>();
});

it('is called as a client of openai is', () => {
  type Complete = OpenAIFace['completions']['create'];
  type Embed = OpenAIFace['embeddings']['create'];
  expectTypeOf<Complete>().toExtend<
    (params: OpenAI.CompletionCreateParamsNonStreaming) => Promise<OpenAI.Completion>
  >();
  expectTypeOf<Embed>().toExtend<(params: OpenAI.EmbeddingCreateParams) => Promise<OpenAI.CreateEmbeddingResponse>>();
  type Params = OpenAI.ChatCompletionCreateParamsNonStreaming;
  expectTypeOf<Create>().toExtend<(params: Params) => Promise<OpenAI.ChatCompletion>>();
  const streams = (create: Create, params: OpenAI.ChatCompletionCreateParamsStreaming) => create(params);
  expectTypeOf<Awaited<ReturnType<typeof streams>>>().toExtend<
    AsyncIterable<OpenAI.ChatCompletionChunk> & { controller: AbortController }
  >();
});
