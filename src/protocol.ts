/**
 * Every type that crosses a thread, and the public types of the API.
 * Page <-> engine worker: comlink calls of `EngineApi` (control only); tokens come back over a MessagePort.
 * Engine worker (thread 0) <-> kernel workers (threads 1..n-1): one `PoolStart` message, then shared memory only.
 */

import type { AssetUrls } from './assets';
import type { ModelConfig } from './config';
import type { ErrorRecord } from './errors';
import type { CacheKind, KernelName, MemoryPlan } from './memory';

/** A repository of the Hugging Face Hub. */
export interface HubSource {
  /** `owner/name` */
  repo: string;
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** The weight file, where a repository holds several: a path ending in `.gguf` or `.safetensors` (of a split one: any part). */
  file?: string;
  /** Access token, for gated and private repositories. It is sent to the hub only, and never stored. */
  token?: string;
  /** Default `https://huggingface.co`. */
  hubUrl?: string;
}

/**
 * Where a model comes from: a repository of the Hugging Face Hub (`owner/name` for short), a folder on a web server or
 * one `.gguf` or `.safetensors` file there, or the files themselves.
 */
export type Source = string | HubSource | { url: string | URL } | File | File[] | FileList;

/** What is being done; `waiting`: another tab is downloading the same model; `cache`: reading the stored weights. */
export type Phase = 'config' | 'tokenizer' | 'waiting' | 'weights' | 'cache' | 'warmup' | 'ready';

/**
 * Loading progress. `loaded` and `total` are bytes of all weight files (stored bytes in `cache`) from phase `weights` or
 * `cache` on; before, `total` is 0. `file` is empty in `warmup` and `ready`.
 */
export interface Progress {
  phase: Phase;
  file: string;
  loaded: number;
  total: number;
  /** Bytes a second over the last seconds; 0 where it is not known. */
  rate: number;
  /** Why the download is waiting to try again, while it does. */
  retry?: string;
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
  /** Sequences to plan the KV cache for, 1 to 64: the most answers at once (`GenerateOptions.n`). Default 1. */
  sequences?: number;
  /**
   * KV cache precision. Default bf16; f32 for comparison with a float32 reference; int8 (a scale to each position and head)
   * halves the bytes and the time of attention, at a small cost in precision.
   */
  kvCache?: CacheKind;
  /** Embedding and lm_head. `bf16` is exact; `int8` halves the bytes. Default `auto`: bf16 up to 64 MB, else int8. */
  lmHead?: 'auto' | 'bf16' | 'int8';
  /**
   * Screen an int8 lm_head: a 4-bit copy of its rows (half their bytes more) tells which of them can be among the best,
   * and only those are computed. For greedy decoding and top-k up to 64 without penalties; the tokens are the same.
   * Default `auto`: for 32768 tokens and more, where memory allows.
   */
  screening?: 'auto' | boolean;
  /** Keep the packed model in the browser's storage, and start from there. Default true; picked files are never kept. */
  cache?: boolean;
  /**
   * Byte order of GGUF I2_S weights, which nothing in the file tells. Default `auto`: the order in which a short text is
   * more likely; x86 where there is no tokenizer.
   */
  i2sOrder?: 'auto' | 'x86' | 'arm';
  /**
   * Where the workers and kernels of the package (its folder `dist/assets`) are: the URL of a folder, or URLs by file name.
   * Default: beside the library, where bundlers find and move them.
   */
  assets?: AssetUrls;
}

/** What a source holds and what it would cost, found out before anything large is downloaded. */
export interface Inspection {
  name: string;
  /** A digest of what the source says of the files that the model is read from (no commit); empty for picked files. */
  version: string;
  config: ModelConfig;
  /** How the weights are written: `packed safetensors`, `float safetensors, quantised here`, or `GGUF I2_S` and the like. */
  format: string;
  parameters: number;
  /** Bytes of all files that a load reads. */
  totalBytes: number;
  /** Bytes of them that are still to be downloaded. */
  downloadBytes: number;
  /** Bytes that the packed model takes in the browser's storage. */
  storedBytes: number;
  /** Bytes of WebAssembly memory with the given options. */
  memoryBytes: number;
  cached: 'no' | 'partly' | 'complete';
  hasTokenizer: boolean;
  /** Empty where everything fits; else what does not, in words. */
  obstacles: string[];
}

/** A model in the browser's storage. */
export interface CachedModel {
  id: string;
  name: string;
  /** What to give to `load()`. */
  source: HubSource | { url: string };
  version: string;
  /** Bytes it takes now, and when it is complete. */
  bytes: number;
  expectedBytes: number;
  /** false: a download that a load resumes. */
  complete: boolean;
  /** A newer version of the same model is there too: this one can be deleted. */
  outdated: boolean;
  savedAt: Date;
  usedAt: Date;
}

/** The browser's storage for this page, in bytes. */
export interface StorageFacts {
  /** Taken by Sterna's models. */
  models: number;
  /** Taken by the whole origin. */
  used: number;
  /** What the browser allows the origin; an estimate. */
  quota: number;
  free: number;
  /** Whether the browser has promised not to evict it. */
  persisted: boolean;
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
  /** Called before the first pass over the prompt and after each. */
  onPrefill?: (progress: PrefillProgress) => void;
}

/** `GenerateOptions` without what cannot be cloned. */
export type GenerateSettings = Omit<GenerateOptions, 'signal' | 'onPrefill'>;

/** How far the prompt has been read. */
export interface PrefillProgress {
  /** Prompt tokens whose keys and values are in the cache, also those that were there before. */
  done: number;
  total: number;
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
}

export interface Answer {
  text: string;
  tokens: number[];
  finishReason: 'stop' | 'length' | 'abort';
  /** What gives this answer again, alone. */
  seed: number;
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

/** Where the time of a load went, in ms. Packing, hashing and storing go on while the network or the disk works. */
export interface LoadTimes {
  /** Listing, configuration, headers, tokenizer. */
  describe: number;
  /** Waiting for bytes of the weights. */
  network: number;
  /** Decoding and packing them. */
  pack: number;
  /** sha256 of the files. */
  hash: number;
  /** Waiting until records are written. */
  store: number;
  /** Waiting for stored records, checked. */
  read: number;
  /** Choosing the kernel, starting the threads, warming up. */
  start: number;
}

/** What runs, and why. */
export interface ModelInfo {
  name: string;
  /** As in `Inspection`: a digest, empty for picked files. */
  version: string;
  /** How the weights are written, as in `Inspection`. */
  format: string;
  /** Whether the weights came from the browser's storage, and whether they are there now. */
  cached: { before: boolean; now: boolean };
  /** Why there is no tokenizer, where there is none. */
  noTokenizer: string | undefined;
  /** Byte order that I2_S weights were read in; undefined for other formats. */
  i2sOrder: 'x86' | 'arm' | undefined;
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
  /** Sequences that the KV cache has room for. */
  sequences: number;
  kvCache: CacheKind;
  lmHead: 'bf16' | 'int8' | 'ternary';
  /** Whether the lm_head is screened where greedy decoding or top-k allow it, and why (not). */
  screening: boolean;
  screeningReason: string;
  /** Bytes: weight files, ternary weights in memory, whole WebAssembly memory. */
  bytes: { file: number; ternary: number; memory: number };
  parameters: number;
  hasTokenizer: boolean;
  loadMs: number;
  loadTimes: LoadTimes;
  /** The model's own sampling defaults (generation_config.json). */
  defaults: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>;
}

/** A comlink reply: errors travel as records, since cloning an Error loses its fields. */
export type Reply<T> = { value: T } | { error: ErrorRecord };

/** Where a model comes from, as it can be posted. */
export type SourceRecord = HubSource | { url: string | URL } | File[];

export interface LoadRequest {
  source: SourceRecord;
  options: Omit<LoadOptions, 'onProgress' | 'signal' | 'assets'>;
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

/** What a plain read of all ternary weights takes, by the threads that decode, from where the weights lie. */
export interface Bandwidth {
  /** Bytes of the ternary weights. */
  bytes: number;
  /** One read of them all: no token can take less. */
  ms: number;
  bytesPerSecond: number;
}

export interface Encoded {
  text: string;
  ids: number[];
}

/** What comes over the port of an answer. */
export type GenerateMessage = { chunk: Chunk } | { prefill: PrefillProgress };

/** The engine worker's calls. `id` names a request that can be aborted. */
export interface EngineApi {
  inspect(id: number, request: LoadRequest): Promise<Reply<Inspection>>;
  load(id: number, request: LoadRequest, onProgress: (progress: Progress) => void): Promise<Reply<Loaded>>;
  tokenize(text: string, options: TokenizeOptions): Promise<Reply<number[]>>;
  detokenize(ids: number[]): Promise<Reply<string>>;
  applyChatTemplate(messages: Message[], addGenerationPrompt: boolean): Promise<Reply<Encoded>>;
  /** Tells of prompt and tokens over `port`; the reply says in how many messages. */
  generate(
    id: number,
    prompt: Prompt,
    settings: GenerateSettings,
    port: MessagePort,
  ): Promise<Reply<{ result: GenerateResult; messages: number }>>;
  evaluate(id: number, ids: number[]): Promise<Reply<Float32Array<ArrayBuffer>>>;
  perplexity(id: number, input: number[] | string, options: PerplexityOptions): Promise<Reply<PerplexityResult>>;
  measureBandwidth(id: number): Promise<Reply<Bandwidth>>;
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

/** The page's first message to the engine worker: where the kernel binaries are. */
export interface LocateRequest {
  kernels: Record<`${'shared' | 'single'}-${'relaxed' | 'baseline'}.wasm`, string>;
}
