/**
 * The types of `model.openai`, our own: what the types of the npm package `openai` (6.x) allow is taken, and what is given
 * fits its types, without installing it (openai-types.test.ts holds that). Field names and shapes: OpenAI's API reference,
 * chat completions, completions, embeddings. Fields that are only allowed to be refused, or that change nothing, are `unknown`.
 */

export interface ChatCompletionContentPart {
  /** `text`, or `refusal` of an assistant; all others are refused. */
  type: string;
  text?: string;
  refusal?: string;
}

export interface ChatCompletionMessageParam {
  /** `developer` is read as `system`; `function` is refused. */
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | 'function';
  /** The texts of several parts are joined as they are. */
  content?: string | readonly ChatCompletionContentPart[] | null;
  name?: string;
  tool_calls?: readonly {
    id?: string;
    type?: string;
    function?: { name: string; arguments: string };
  }[];
  tool_call_id?: string;
  refusal?: string | null;
  audio?: unknown;
  function_call?: unknown;
}

export interface ChatCompletionTool {
  type: string;
  function?: {
    name: string;
    description?: string;
    /** JSON Schema, an object. */
    parameters?: object;
    /** Arguments that the schema allows, and no others: only with a `tool_choice` that asks for a call. */
    strict?: boolean | null;
  };
}

export type ChatCompletionToolChoice = 'none' | 'auto' | 'required' | { type: string; function?: { name: string } };

export type ChatCompletionResponseFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | {
      type: 'json_schema';
      json_schema: { name: string; schema?: object; description?: string; strict?: boolean | null };
    }
  | { type: 'regex'; pattern: string }
  | { type: 'grammar'; grammar: string };

/** A request, but for `stream`. */
export interface ChatCompletionSettings {
  messages: readonly ChatCompletionMessageParam[];
  /** Not looked at: the model is the one that is loaded, and answers say which. */
  model?: string;
  /** 0 to 100. Default: the model's own. */
  temperature?: number | null;
  top_p?: number | null;
  /** Beyond OpenAI's: see `GenerateOptions.topK`, `minP`, `repetitionPenalty`. */
  top_k?: number | null;
  min_p?: number | null;
  repetition_penalty?: number | null;
  /** As vLLM's: see `ChatOptions.continueFinalMessage`. */
  continue_final_message?: boolean | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  logit_bias?: Record<string, number> | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  stop?: string | readonly string[] | null;
  seed?: number | null;
  /** At most the `sequences` of `load`. */
  n?: number | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  response_format?: ChatCompletionResponseFormat;
  tools?: readonly ChatCompletionTool[];
  tool_choice?: ChatCompletionToolChoice;
  parallel_tool_calls?: boolean;
  stream_options?: { include_usage?: boolean; include_obfuscation?: boolean } | null;

  // change nothing here
  metadata?: unknown;
  prediction?: unknown;
  prompt_cache_key?: unknown;
  prompt_cache_options?: unknown;
  prompt_cache_retention?: unknown;
  safety_identifier?: unknown;
  service_tier?: unknown;
  store?: unknown;
  user?: unknown;

  // refused
  audio?: unknown;
  function_call?: unknown;
  functions?: unknown;
  modalities?: unknown;
  moderation?: unknown;
  reasoning_effort?: unknown;
  verbosity?: unknown;
  web_search_options?: unknown;
}

export interface ChatCompletionParamsNonStreaming extends ChatCompletionSettings {
  stream?: false | null;
}
export interface ChatCompletionParamsStreaming extends ChatCompletionSettings {
  stream: true;
}
export interface ChatCompletionParams extends ChatCompletionSettings {
  stream?: boolean | null;
}

export interface ChatCompletionTokenLogprob {
  token: string;
  /** UTF-8, perhaps half a character; null for a special token. */
  bytes: number[] | null;
  logprob: number;
}

export interface ChatCompletionLogprobs {
  content: (ChatCompletionTokenLogprob & { top_logprobs: ChatCompletionTokenLogprob[] })[];
  refusal: null;
}

export interface ChatCompletionToolCall {
  id: string;
  type: 'function';
  /** `arguments`: JSON text of an object. */
  function: { name: string; arguments: string };
}

export type ChatCompletionFinishReason = 'stop' | 'length' | 'tool_calls';

export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** What a completion and all its chunks have in common. */
export interface ChatCompletionHead {
  id: string;
  /** Seconds since 1970. */
  created: number;
  /** The loaded model's name. */
  model: string;
  /** The same for answers that the same seed gives again. */
  system_fingerprint: string;
}

export interface ChatCompletion extends ChatCompletionHead {
  object: 'chat.completion';
  choices: {
    index: number;
    message: { role: 'assistant'; content: string | null; refusal: null; tool_calls?: ChatCompletionToolCall[] };
    logprobs: ChatCompletionLogprobs | null;
    finish_reason: ChatCompletionFinishReason;
  }[];
  usage: CompletionUsage;
}

export interface ChatCompletionDelta {
  role?: 'assistant';
  content?: string;
  refusal?: null;
  tool_calls?: {
    index: number;
    id?: string;
    type?: 'function';
    function: { name?: string; arguments: string };
  }[];
}

export interface ChatCompletionChunk extends ChatCompletionHead {
  object: 'chat.completion.chunk';
  /** Empty in the last chunk with `include_usage`. */
  choices: {
    index: number;
    delta: ChatCompletionDelta;
    logprobs: ChatCompletionLogprobs | null;
    finish_reason: ChatCompletionFinishReason | null;
  }[];
  /** With `include_usage`: null, but in the last chunk. */
  usage?: CompletionUsage | null;
}

/** An answer as it comes, to be read once: by a loop, `tee()` or `toReadableStream()`. Leaving the loop early aborts. */
export interface CompletionStream<Chunk> extends AsyncIterable<Chunk> {
  /** `controller.abort()` ends the answer, and the iteration, without an error. */
  readonly controller: AbortController;
  /** Two streams of the same chunks, each at its own speed; leaving both aborts. */
  tee(): [CompletionStream<Chunk>, CompletionStream<Chunk>];
  /** The chunks as JSON, one a line, in UTF-8: what `Stream.fromReadableStream` of the package `openai` reads. */
  toReadableStream(): ReadableStream<Uint8Array>;
}

export type ChatCompletionStream = CompletionStream<ChatCompletionChunk>;

/** A request for the text that follows a prompt, but for `stream`. */
export interface TextCompletionSettings
  extends Pick<
    ChatCompletionSettings,
    | 'model'
    | 'temperature'
    | 'top_p'
    | 'top_k'
    | 'min_p'
    | 'repetition_penalty'
    | 'frequency_penalty'
    | 'presence_penalty'
    | 'logit_bias'
    | 'max_tokens'
    | 'stop'
    | 'seed'
    | 'n'
    | 'stream_options'
    | 'user'
  > {
  /** A text (BOS is put in front where the model's tokenizer does so) or token ids, or an array of one of them. */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[] | null;
  /** 0 to 20: log probabilities of the tokens, and of as many others. */
  logprobs?: number | null;
  /** Only `n`. */
  best_of?: number | null;
  /** Only false. */
  echo?: boolean | null;
  /** Refused. */
  suffix?: string | null;
}

export interface TextCompletionParamsNonStreaming extends TextCompletionSettings {
  stream?: false | null;
}
export interface TextCompletionParamsStreaming extends TextCompletionSettings {
  stream: true;
}
export interface TextCompletionParams extends TextCompletionSettings {
  stream?: boolean | null;
}

/** Of each token, in order. */
export interface TextCompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  /** By the text of the token. */
  top_logprobs: Record<string, number>[];
  /** Where its text begins in that of the answer. */
  text_offset: number[];
}

export interface TextCompletionChoice<Finish> {
  index: number;
  text: string;
  logprobs: TextCompletionLogprobs | null;
  finish_reason: Finish;
}

export interface TextCompletion extends ChatCompletionHead {
  object: 'text_completion';
  choices: TextCompletionChoice<'stop' | 'length'>[];
  usage: CompletionUsage;
}

export interface TextCompletionChunk extends ChatCompletionHead {
  object: 'text_completion';
  /** Empty in the last chunk with `include_usage`. The last chunk of each answer says how it ended. */
  choices: TextCompletionChoice<'stop' | 'length' | null>[];
  /** With `include_usage`: null, but in the last chunk. */
  usage?: CompletionUsage | null;
}

export interface EmbeddingParams {
  /** As `Model.embed` takes it. */
  input: string | string[] | number[] | number[][];
  /** Not looked at. */
  model?: string;
  /** Default `float`: an array of numbers. `base64`: of float32, little-endian. */
  encoding_format?: 'float' | 'base64';
  /** Only the width of the model's hidden state. */
  dimensions?: number;
  user?: unknown;
}

/** @typeParam Vector number[], or a string with `base64` */
export interface EmbeddingResponse<Vector = number[]> {
  object: 'list';
  data: { object: 'embedding'; index: number; embedding: Vector }[];
  model: string;
  usage: { prompt_tokens: number; total_tokens: number };
}

export interface ChatCompletionRequestOptions {
  signal?: AbortSignal | null;
}

/** The loaded model behind the calls of an OpenAI client. */
export interface OpenAIFace {
  readonly chat: {
    readonly completions: {
      /**
       * Answers a conversation, as OpenAI's `chat.completions.create` does; with `stream`, chunk by chunk. Requests wait
       * for those before them; a call of the model's own methods that is under way makes them fail with `busy`.
       * @throws SternaError `bad-input` for a parameter that is wrong or not known, `unsupported` for one that would change
       * the answer and cannot, `aborted` by the signal, and as `Model.chat`
       */
      create(params: ChatCompletionParamsNonStreaming, options?: ChatCompletionRequestOptions): Promise<ChatCompletion>;
      create(
        params: ChatCompletionParamsStreaming,
        options?: ChatCompletionRequestOptions,
      ): Promise<ChatCompletionStream>;
      create(
        params: ChatCompletionParams,
        options?: ChatCompletionRequestOptions,
      ): Promise<ChatCompletion | ChatCompletionStream>;
    };
  };
  readonly completions: {
    /**
     * Continues a text, as OpenAI's `completions.create` does. Without `max_tokens` it goes on to the end of the context.
     * @throws SternaError as `chat.completions.create`; `unsupported` for several prompts, `echo`, `suffix` and `best_of`
     */
    create(params: TextCompletionParamsNonStreaming, options?: ChatCompletionRequestOptions): Promise<TextCompletion>;
    create(
      params: TextCompletionParamsStreaming,
      options?: ChatCompletionRequestOptions,
    ): Promise<CompletionStream<TextCompletionChunk>>;
    create(
      params: TextCompletionParams,
      options?: ChatCompletionRequestOptions,
    ): Promise<TextCompletion | CompletionStream<TextCompletionChunk>>;
  };
  readonly embeddings: {
    /**
     * Embeds texts, as OpenAI's `embeddings.create` does: see `Model.embed`, with its defaults.
     * @throws SternaError `bad-input`, `unsupported` for other `dimensions`, `aborted`, and as `Model.embed`
     */
    create(
      params: EmbeddingParams & { encoding_format: 'base64' },
      options?: ChatCompletionRequestOptions,
    ): Promise<EmbeddingResponse<string>>;
    create(params: EmbeddingParams, options?: ChatCompletionRequestOptions): Promise<EmbeddingResponse>;
  };
}
