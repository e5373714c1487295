/**
 * Every type that crosses a thread, but for the public ones of load-types.ts and generate-types.ts.
 * Page <-> engine worker: comlink calls of `EngineApi` (control only); tokens come back over a MessagePort.
 * Engine worker (thread 0) <-> kernel workers (threads 1..n-1): one `PoolStart` message, then shared memory only.
 */

import type { ErrorRecord } from '../errors';
import type { MemoryPlan } from '../model/memory';
import type {
  Bandwidth,
  Chunk,
  EmbedOptions,
  Encoded,
  GenerateResult,
  GenerateSettings,
  Message,
  PerplexityOptions,
  PerplexityResult,
  PrefillProgress,
  TokenizeOptions,
  Tool,
} from './generate-types';
import type { HubSource, Inspection, LoadOptions, ModelInfo, Progress } from './load-types';
import type { RestoreProgress, SessionCall, SessionState } from './session-types';

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

/** What a chat template is given. */
export interface Conversation {
  messages: Message[];
  tools?: Tool[];
  /** See ChatOptions. */
  continueFinalMessage?: boolean;
}

/** What a prompt may be: a conversation, a text that begins the answer's text, or token ids as they are. */
export type Prompt = Conversation | { text: string } | { ids: number[] } | SessionCall;

/** A token by itself: its text, and its UTF-8 bytes, perhaps half a character; null for a special token. */
export interface TokenText {
  token: string;
  bytes: number[] | null;
}

/** What comes over the port of an answer. */
export type GenerateMessage = { chunk: Chunk } | { prefill: PrefillProgress } | { row: LogitsRow };

/** A row of logits for the page's `logitsProcessor`, which replies over the same port. */
export interface LogitsRow {
  answer: number;
  promptTokens: number;
  /** Tokens since the last row of this answer; those of the prompt with the first. */
  added: number[];
  /** Where it lies in shared memory, or a copy. f32[vocab] */
  logits: { at: number; length: number } | Float32Array;
}
/** The row has been changed where it lies, or comes back. `aborted` ends the answer. */
export type LogitsReply = { logits?: Float32Array } | { error: ErrorRecord };

/** What an answer's call replies. */
export interface Answered {
  result: GenerateResult;
  /** How many messages came over the port. */
  messages: number;
  /** A session as its prompt has it: without the answer. */
  session?: SessionState;
}

/** The engine worker's calls. `id` names a request that can be aborted. */
export interface EngineApi {
  inspect(id: number, request: LoadRequest): Promise<Reply<Inspection>>;
  load(id: number, request: LoadRequest, onProgress: (progress: Progress) => void): Promise<Reply<Loaded>>;
  tokenize(text: string, options: TokenizeOptions): Promise<Reply<number[]>>;
  detokenize(ids: number[]): Promise<Reply<string>>;
  /** Each token by itself. */
  tokenTexts(ids: number[]): Promise<Reply<TokenText[]>>;
  applyChatTemplate(conversation: Conversation, addGenerationPrompt: boolean): Promise<Reply<Encoded>>;
  /** Tells of prompt and tokens over `port`, and has logits `processed` by the page; the reply says in how many messages. */
  generate(
    id: number,
    prompt: Prompt,
    settings: GenerateSettings,
    port: MessagePort,
    processed: boolean,
  ): Promise<Reply<Answered>>;
  evaluate(id: number, ids: number[]): Promise<Reply<Float32Array<ArrayBuffer>>>;
  perplexity(id: number, input: number[] | string, options: PerplexityOptions): Promise<Reply<PerplexityResult>>;
  /** Of a text each, one after the other. f32[texts, hidden] */
  embed(
    id: number,
    texts: (string | number[])[],
    settings: Omit<EmbedOptions, 'signal' | 'onProgress'>,
    onProgress: (progress: PrefillProgress) => void,
  ): Promise<Reply<{ vectors: Float32Array<ArrayBuffer>; promptTokens: number }>>;
  countTokens(prompt: Prompt): Promise<Reply<number>>;
  measureBandwidth(id: number): Promise<Reply<Bandwidth>>;
  /** Reads the messages of a session; gives the session as it is then. */
  extendSession(
    id: number,
    call: SessionCall,
    onProgress: (done: number, total: number) => void,
  ): Promise<Reply<SessionState>>;
  /** Saves a session; gives the bytes that it takes. */
  saveSession(
    id: number,
    call: SessionCall,
    as: { id: string; name: string },
    onProgress: (done: number, total: number) => void,
  ): Promise<Reply<number>>;
  restoreSession(
    id: number,
    owner: number,
    session: string,
    onProgress: (progress: RestoreProgress) => void,
  ): Promise<Reply<{ state: SessionState; name: string; why: string | undefined }>>;
  /** The session is gone: its slot is free. */
  releaseSession(owner: number): Promise<void>;
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

/** The page's first message to the engine worker: where the files are that it loads. */
export interface LocateRequest {
  /** The script with the formats of answers. */
  formats: string;
  kernels: Record<`${'shared' | 'single'}-${'relaxed' | 'baseline'}.wasm`, string>;
}
