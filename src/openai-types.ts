/**
 * The types of `model.openai`, our own: what the types of the npm package `openai` (6.x) allow is taken, and what is given
 * fits its types, without installing it (openai-types.test.ts holds that). Field names and shapes: OpenAI's API reference,
 * chat completions. Fields that are only allowed to be refused, or that change nothing, are `unknown`.
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
export interface ChatCompletionStream extends AsyncIterable<ChatCompletionChunk> {
  /** `controller.abort()` ends the answer, and the iteration, without an error. */
  readonly controller: AbortController;
  /** Two streams of the same chunks, each at its own speed; leaving both aborts. */
  tee(): [ChatCompletionStream, ChatCompletionStream];
  /** The chunks as JSON, one a line, in UTF-8: what `Stream.fromReadableStream` of the package `openai` reads. */
  toReadableStream(): ReadableStream<Uint8Array>;
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
}
