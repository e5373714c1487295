/** The public types of a loaded model's calls: messages, options of an answer, tokens, results. */

/** One message of a conversation. */
export interface Message {
  /** `system`, `user`, `assistant` or `tool`, or another that the model's template names. */
  role: string;
  content: string;
  /** The calls of an assistant's message: their arguments as JSON text, as answers have them, or as an object. */
  tool_calls?: ToolCallInput[];
  /** Of a `tool` message: the call that it answers. */
  tool_call_id?: string;
  name?: string;
}

/** A function that the model may call, in OpenAI's shape. */
export interface Tool {
  type: 'function';
  function: {
    name: string;
    description?: string;
    /** JSON Schema of the arguments, an object. */
    parameters?: object;
  };
}

/** A call that the model wrote. */
export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments`: JSON text of an object. */
  function: { name: string; arguments: string };
}

export interface ToolCallInput {
  id?: string;
  type?: 'function';
  function: { name: string; arguments: string | object };
}

/** Whether a tool is called: as the model likes, never, always one of them, always this one. */
export type ToolChoice = 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } };

export interface GenerateOptions {
  /** Most tokens to generate, at least 1. Default: what is left of the context. */
  maxTokens?: number;
  /** 0 to 100; 0 = greedy. Default: the model's generation_config.json, else 0.8. */
  temperature?: number;
  /** Keep the k most likely tokens; 0 = off. */
  topK?: number;
  /** Keep the smallest set of tokens whose probability reaches p; 1 = off. */
  topP?: number;
  /** Keep tokens at least this likely, relative to the most likely; 0 = off. */
  minP?: number;
  /** 0.01 to 100: divide (or multiply, if negative) logits of tokens seen in prompt or answer; 1 = off. */
  repetitionPenalty?: number;
  /** -2 to 2: subtract this times the token's count in the answer; 0 = off. */
  frequencyPenalty?: number;
  /** -2 to 2: subtract this from tokens present in the answer; 0 = off. */
  presencePenalty?: number;
  /** -100 to 100 for token ids: added to their logits, before penalties and temperature. */
  logitBias?: Record<number, number>;
  /**
   * 0 to 20: give the log probability of each token, and the so many most likely tokens with theirs. Default: off. They are
   * the natural log softmax of the model's own logits, before `logitBias`, `logitsProcessor`, penalties and temperature: the
   * same bits on every machine.
   */
  logprobs?: number;
  /**
   * What the answer must be: JSON, a text that matches a pattern, or a text of a grammar. Each token is then chosen among those
   * that lead to such an answer, and where `maxTokens` or the context leave little room, among those that still let it be
   * completed: open strings and lists are closed, properties that are not required left out. So it ends as `stop`, whole, if
   * there is room for the shortest value (a token for each of its bytes is enough); whenever finishReason is `stop`, it parses
   * and validates. `length` and `abort` may end it anywhere; so may a text of `stop`, which then counts as `length`.
   * Tell the model in the prompt what to write: the format holds its form, not its sense. Default: any text.
   */
  responseFormat?: ResponseFormat;
  /** 0 to 2^53 - 1. Same seed, same text, on every machine. Default: random; see `GenerateResult.seed`. */
  seed?: number;
  /** Text that ends the answer; it is not part of the answer. */
  stop?: string | string[];
  /** Go on past the model's end-of-turn tokens (they are still not shown). Default false. */
  ignoreEos?: boolean;
  /**
   * Answers to write at once, at most `LoadOptions.sequences`. Default 1. The prompt is read once. Answer i is the one
   * that `seed + i` gives alone; each ends by itself.
   */
  n?: number;
  /**
   * Guess tokens that follow the same words earlier in prompt or answer, and check several in one pass: faster where a
   * text is repeated or edited, and the same tokens. Default `auto`: where measured times say that it pays. Answers
   * written together (`n` above 1) are not drafted.
   */
  draft?: 'auto' | boolean;
  /** Ends the answer with finishReason `abort`; what was generated so far is kept. */
  signal?: AbortSignal;
  /** Called before the first pass over the prompt and after each. What it throws is reported as an uncaught error. */
  onPrefill?: (progress: PrefillProgress) => void;
  /** Called with each chunk as it comes, also when nobody iterates. What it throws is reported as an uncaught error. */
  onToken?: (chunk: Chunk) => void;
  /** A function of the page that changes logits: see `LogitsProcessor`. It costs a message there and back for each token. */
  logitsProcessor?: LogitsProcessor;
}

/**
 * Called for every token, with the row of logits f32[vocab] after `logitBias`, before penalties and temperature. It may change
 * them; -Infinity forbids a token. The row is only valid until the function returns or its promise is settled: where memory
 * is shared, it may be the engine's own. What it throws, or what leaves nothing to choose from (NaN, Infinity, nothing but
 * -Infinity), ends the answer with `bad-input`; the error thrown is its `cause`. An abort does not wait for its promise.
 *
 * A `responseFormat`, and a call that `toolChoice` asks for, forbid what they forbid after it; where both leave nothing to
 * choose from, the answer ends with `bad-input` too. With `n`, the answers call it one after the other.
 */
export type LogitsProcessor = (logits: Float32Array, context: LogitsContext) => void | Promise<void>;

export interface LogitsContext {
  /** All tokens so far: those of the prompt, then those of the answer. */
  tokens: readonly number[];
  /** How many of them are the prompt's. */
  promptTokens: number;
  /** Which of the `n` answers, from 0. */
  answer: number;
}

/** Options of an answer to a conversation. */
export interface ChatOptions extends GenerateOptions {
  /**
   * Functions that the model may call. Its calls are read out of the answer: they are in `toolCalls`, and no longer in
   * `text`. The model's chat template must know tools: see `ModelInfo.toolFormat`.
   */
  tools?: Tool[];
  /** Default `auto`. `none` hides the tools from the model; `required` and a function leave it no other answer. */
  toolChoice?: ToolChoice;
  /**
   * Goes on with the last message, which must be the assistant's and have a text: an answer that was cut short, or the
   * beginning that the answer shall have. The answer's text is what follows it. The name is that of transformers
   * (`apply_chat_template`); the model reads what it would have before that text, and then the text. Not beside a
   * `responseFormat`, nor in a session. Default: false.
   */
  continueFinalMessage?: boolean;
}

/**
 * - `json_object`: any JSON object.
 * - `json_schema`: JSON that a schema (2020-12, or what draft 7 and OpenAPI write otherwise) allows, with `", "` and `": "` and no
 *   other white space. Objects have their properties in the schema's order, and others only where `additionalProperties` asks for
 *   them; numbers have at most 15 digits before and 6 behind the point. Known are type, enum, const, properties, required,
 *   additionalProperties, items, prefixItems, the minimum and maximum of numbers, lengths, items and properties, pattern, format
 *   (date, time, date-time, uuid, email, hostname, ipv4, uri), anyOf, oneOf (of schemas that cannot both fit), allOf, and `$ref`
 *   within the schema, recursive ones too. Other keywords reject with `unsupported` and are named, such as uniqueItems or not.
 * - `regex`: the whole answer matches a regular expression of ECMAScript, without look-around, back-references, word borders.
 * - `grammar`: rules in the notation of GBNF, `root` first of all: `root ::= "yes" | "no" [a-z ]{0,9}`.
 */
export type ResponseFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | { type: 'json_schema'; schema: object }
  | { type: 'regex'; pattern: string }
  | { type: 'grammar'; grammar: string };

/** `GenerateOptions` without what cannot be cloned. */
export type GenerateSettings = Omit<GenerateOptions, 'signal' | 'onPrefill' | 'onToken' | 'logitsProcessor'>;

/** How far the prompt has been read. */
export interface PrefillProgress {
  /** Prompt tokens whose keys and values are in the cache, also those that were there before. */
  done: number;
  total: number;
}

/** The natural log of a token's probability. */
export interface Logprob {
  token: number;
  logprob: number;
}

/** Of a token of an answer, with the most likely tokens in its place (`GenerateOptions.logprobs` of them), the likeliest first. */
export interface TokenLogprobs extends Logprob {
  topLogprobs: Logprob[];
}

/**
 * One generated token and the text it released (empty while a character or a stop string may still be open). Text that
 * is still held back when the answer ends comes in one more chunk, with the last token's index.
 */
export interface Chunk {
  text: string;
  token: number;
  /** The token's place in its answer. */
  index: number;
  /** Which of the `n` answers, from 0. */
  answer: number;
  /** Calls that are complete with this token: see `ChatOptions.tools`. */
  toolCalls?: ToolCall[];
  /** With `GenerateOptions.logprobs`: of the token, once; not with text that was held back. */
  logprob?: number;
  topLogprobs?: Logprob[];
}

export interface Answer {
  text: string;
  tokens: number[];
  /** With `GenerateOptions.logprobs`: of each of the tokens. */
  logprobs?: TokenLogprobs[];
  /** `length`: cut by `maxTokens` or the context; with a `responseFormat` also by a text of `stop`, before it was whole. */
  finishReason: 'stop' | 'length' | 'abort';
  /** What gives this answer again, alone. */
  seed: number;
  /** The calls of the answer, where there were tools to call: see `ChatOptions.tools`. */
  toolCalls?: ToolCall[];
}

/** The first answer, all answers, and what they took together. */
export interface GenerateResult extends Answer {
  /** All `n` answers; the first is the result itself. */
  answers: Answer[];
  usage: {
    promptTokens: number;
    /** Prompt tokens whose keys and values were already in the cache. */
    cachedTokens: number;
    /** Tokens of all answers. */
    completionTokens: number;
  };
  /** Tokens that were guessed, and how many of them were right: see `GenerateOptions.draft`. */
  draft: { drafted: number; accepted: number };
  timings: {
    /** Prefill of the uncached prompt tokens, ms. */
    promptMs: number;
    /** From the tokenised prompt to the first token, ms; 0 if there was none. */
    firstTokenMs: number;
    /** From the first token to the end of the last answer, ms. */
    decodeMs: number;
    promptTokensPerSecond: number;
    /** Of all answers together. */
    decodeTokensPerSecond: number;
  };
}

export interface TokenizeOptions {
  /** Put the model's BOS token in front. Default false. */
  bos?: boolean;
  /** Put the model's EOS token at the end. Default false. */
  eos?: boolean;
  /** Read special tokens in the text as such. Default false: they are ordinary text. */
  special?: boolean;
}

export interface PerplexityOptions {
  /** Tokens to a window. Default: the context length. */
  window?: number;
  /** Tokens from the start of one window to the next. Default: `window`. */
  stride?: number;
}

/** Sum of the negative log likelihoods of the scored tokens (nats), exp of their mean, and how many they are. */
export interface PerplexityResult {
  perplexity: number;
  nll: number;
  tokens: number;
}

/** What a plain read of all ternary weights takes, by the threads that decode, from where the weights lie. */
export interface Bandwidth {
  /** Bytes of the ternary weights. */
  bytes: number;
  /** One read of them all: no token can take less. */
  ms: number;
  bytesPerSecond: number;
}

export interface EmbedOptions {
  /** What becomes of the hidden states of a text: their mean, or the state of its last token. Default `mean`. */
  pooling?: 'mean' | 'last';
  /** Divide by the L2 norm, so that a dot product is the cosine of the angle. Default true. */
  normalize?: boolean;
  /** Rejects with `aborted`. */
  signal?: AbortSignal;
  /** Called after each pass: tokens that were read, and tokens of all texts. */
  onProgress?: (progress: PrefillProgress) => void;
}

export interface EmbedResult {
  /** A vector for each text, in order: float32 [hidden]. */
  embeddings: Float32Array[];
  /** Tokens of all texts together. */
  usage: { promptTokens: number };
}

export interface Encoded {
  text: string;
  ids: number[];
}
