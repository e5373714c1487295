/**
 * Every type that crosses a thread, and the public types of the API.
 * Page <-> engine worker: comlink calls of `EngineApi` (control only); tokens come back over a MessagePort.
 * Engine worker (thread 0) <-> kernel workers (threads 1..n-1): one `PoolStart` message, then shared memory only.
 */

import type { ModelConfig } from './config';
import type { ErrorRecord } from './errors';
import type { KernelName, MemoryPlan } from './memory';

/** Where a model comes from: a folder on a web server, or the files themselves. */
export type Source = { url: string | URL } | File[] | FileList;

export type Phase = 'config' | 'tokenizer' | 'weights' | 'warmup' | 'ready';

/**
 * Loading progress. `loaded` and `total` are bytes of the weight file from phase `weights` on; before, `total` is 0.
 * `file` is empty in `warmup` and `ready`.
 */
export interface Progress {
  phase: Phase;
  file: string;
  loaded: number;
  total: number;
}

export interface LoadOptions {
  /** Called as bytes arrive. */
  onProgress?: (progress: Progress) => void;
  /** Aborts the load; the promise then rejects with code `aborted` and everything is freed. */
  signal?: AbortSignal;
  /**
   * Threads to compute with, 1 to 64. Default: the cores the browser reports, at most 8, fewer for a model of less than
   * 40 million weights each. Without isolation: 1.
   */
  threads?: number;
  /** BitLinear kernel. Default `auto`: known-answer test, then a micro-benchmark. */
  kernel?: 'auto' | KernelName;
  /** Tokens of context to plan the KV cache for. Default: the model's maximum, at most 4096. */
  contextLength?: number;
  /** KV cache precision. Default bf16; f32 for comparison with a float32 reference. */
  kvCache?: 'bf16' | 'f32';
  /** Embedding and lm_head. `bf16` is exact; `int8` halves the bytes. Default `auto`: bf16 up to 64 MB, else int8. */
  lmHead?: 'auto' | 'bf16' | 'int8';
}

export interface Message {
  role: string; // system | user | assistant, as the model's template knows them
  content: string;
}

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
  /** 0 to 2^53 - 1. Same seed, same text, on every machine. Default: random; see `GenerateResult.seed`. */
  seed?: number;
  /** Text that ends the answer; it is not part of the answer. */
  stop?: string | string[];
  /** Go on past the model's end-of-turn tokens (they are still not shown). Default false. */
  ignoreEos?: boolean;
  /** Ends the answer with finishReason `abort`; what was generated so far is kept. */
  signal?: AbortSignal;
}

/** `GenerateOptions` without what cannot be cloned. */
export type GenerateSettings = Omit<GenerateOptions, 'signal'>;

/**
 * One generated token and the text it released (empty while a character or a stop string may still be open). Text that
 * is still held back when the answer ends comes in one more chunk, with the last token's index.
 */
export interface Chunk {
  text: string;
  token: number;
  index: number;
}

export interface GenerateResult {
  text: string;
  tokens: number[];
  finishReason: 'stop' | 'length' | 'abort';
  seed: number;
  usage: {
    promptTokens: number;
    /** Prompt tokens whose keys and values were already in the cache. */
    cachedTokens: number;
    completionTokens: number;
  };
  timings: {
    /** Prefill of the uncached prompt tokens, ms. */
    promptMs: number;
    /** From the tokenised prompt to the first token, ms; 0 if there was none. */
    firstTokenMs: number;
    /** From the first token to the end of the answer, ms. */
    decodeMs: number;
    promptTokensPerSecond: number;
    decodeTokensPerSecond: number;
  };
}

/** What runs, and why. */
export interface ModelInfo {
  name: string;
  config: ModelConfig;
  kernel: KernelName;
  /** Why this kernel: forced, or the measured times of the candidates. */
  kernelReason: string;
  /** Weights per nanosecond (GMAC/s) of each candidate in the micro-benchmark; 0 = failed its known-answer test. */
  kernelRates: Partial<Record<KernelName, number>>;
  relaxedSimd: boolean;
  threads: number;
  /** Why this many threads. */
  threadsReason: string;
  crossOriginIsolated: boolean;
  contextLength: number;
  kvCache: 'bf16' | 'f32';
  lmHead: 'bf16' | 'int8';
  /** Bytes: downloaded weight file, ternary weights in memory, whole WebAssembly memory. */
  bytes: { file: number; ternary: number; memory: number };
  parameters: number;
  hasTokenizer: boolean;
  loadMs: number;
  /** The model's own sampling defaults (generation_config.json). */
  defaults: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>;
}

/** A comlink reply: errors travel as records, since cloning an Error loses its fields. */
export type Reply<T> = { value: T } | { error: ErrorRecord };

/** A repository on the Hugging Face hub. */
export interface HubSource {
  /** `owner/name`. */
  repo: string;
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** The weight file in the repository, where it holds several. */
  file?: string;
  /** Access token (`hf_...`) for a gated or private repository. It is sent to the hub only. */
  token?: string;
  /** Another hub. Default https://huggingface.co */
  hubUrl?: string;
}

/** Where a model comes from, as it can be posted: a repository, a folder or weight file on a web server, or files. */
export type SourceRecord = HubSource | { url: string | URL } | File[];

export interface LoadRequest {
  source: SourceRecord;
  options: Omit<LoadOptions, 'onProgress' | 'signal'>;
}

export interface Loaded {
  info: ModelInfo;
  /** The memory, where it is shared: the page writes the abort word. */
  memory: WebAssembly.Memory | undefined;
}

/** What a prompt may be: a conversation, a text that begins the answer's text, or token ids as they are. */
export type Prompt = { messages: Message[] } | { text: string } | { ids: number[] };

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

export interface Encoded {
  text: string;
  ids: number[];
}

/** The engine worker's calls. `id` names a request that can be aborted. */
export interface EngineApi {
  load(id: number, request: LoadRequest, onProgress: (progress: Progress) => void): Promise<Reply<Loaded>>;
  tokenize(text: string, options: TokenizeOptions): Promise<Reply<number[]>>;
  detokenize(ids: number[]): Promise<Reply<string>>;
  applyChatTemplate(messages: Message[], addGenerationPrompt: boolean): Promise<Reply<Encoded>>;
  /** Sends a `Chunk` over `port` for each token. */
  generate(
    id: number,
    prompt: Prompt,
    settings: GenerateSettings,
    port: MessagePort,
  ): Promise<Reply<{ result: GenerateResult; chunks: number }>>;
  evaluate(id: number, ids: number[]): Promise<Reply<Float32Array<ArrayBuffer>>>;
  perplexity(id: number, input: number[] | string, options: PerplexityOptions): Promise<Reply<PerplexityResult>>;
  abort(id: number): Promise<void>;
}

/** Sent once to each kernel worker. */
export interface PoolStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  rank: number;
  plan: MemoryPlan;
}

/** What a kernel worker says: once `ready`, and later a failure if there is one. */
export type KernelWorkerMessage = { ready: true } | { error: ErrorRecord };

/**
 * Beside comlink, between engine worker and page: the engine asks for a kernel worker, the page starts it and passes on
 * what it says. Plain worker messages, since Firefox lets no shared memory through a MessagePort.
 */
export interface SpawnRequest {
  spawn: PoolStart;
}
export interface SpawnReply {
  rank: number;
  message: KernelWorkerMessage;
}
