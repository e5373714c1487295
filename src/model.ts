/** The page's handle on a model: starts the engine worker, passes calls on, and turns its answers into the public API. */
import { proxy, type Remote, transfer, wrap } from 'comlink';
import { fromRecord, SternaError } from './errors';
import { ABORT } from './memory';
import type {
  Chunk,
  Encoded,
  EngineApi,
  GenerateMessage,
  GenerateOptions,
  GenerateResult,
  Inspection,
  KernelWorkerMessage,
  LoadOptions,
  Message,
  ModelInfo,
  PerplexityOptions,
  PerplexityResult,
  Progress,
  Prompt,
  Reply,
  Source,
  SourceRecord,
  SpawnReply,
  SpawnRequest,
  TokenizeOptions,
} from './protocol';

/**
 * An answer as it comes, or several (`n`). Iterate it for the tokens (once), or just await `result`. Leaving the loop
 * early aborts.
 */
export interface Generation extends AsyncIterable<Chunk> {
  /** The whole answer. Resolves also after an abort (finishReason `abort`); rejects with a SternaError on failure. */
  readonly result: Promise<GenerateResult>;
  /** Ends all answers at the next barrier; what was generated so far is kept. */
  abort(): void;
}

export interface Model {
  /** What runs, and why: configuration, kernel, threads, memory. */
  readonly info: ModelInfo;
  /**
   * Token ids of a text. Adds neither BOS nor EOS unless asked.
   * @throws SternaError `no-tokenizer` if the model was loaded without tokenizer files
   */
  tokenize(text: string, options?: TokenizeOptions): Promise<number[]>;
  /**
   * Text of token ids; special tokens are left out.
   * @throws SternaError `no-tokenizer`, `bad-input` for ids outside the vocabulary
   */
  detokenize(ids: number[]): Promise<string>;
  /**
   * A conversation in the model's own chat template, as text and ids. Special tokens inside a message are text.
   * @param options addGenerationPrompt: end with the beginning of the assistant's turn (default true)
   * @throws SternaError `no-tokenizer`, `unsupported` without a template, `bad-input` for messages it refuses
   */
  applyChatTemplate(messages: Message[], options?: { addGenerationPrompt?: boolean }): Promise<Encoded>;
  /**
   * Answers a conversation. Keys and values of the prefix shared with the last call are reused. One call at a time:
   * a second one rejects with `busy`. `n` answers at once need a model that was loaded with as many `sequences`.
   * `result` rejects with `bad-input`, `context-full`, `no-tokenizer`, `unsupported`
   * (no chat template), `disposed` or `worker`.
   */
  chat(messages: Message[], options?: GenerateOptions): Generation;
  /** Continues a text (BOS is put in front where the model's tokenizer does so) or token ids (taken as they are). */
  complete(prompt: string | number[], options?: GenerateOptions): Generation;
  /**
   * Teacher-forced logits, float32 [ids.length, vocab]: row i is the prediction after ids[i].
   * @throws SternaError `context-full`, or `bad-input` for ids outside the vocabulary or more than 2 GB of logits
   */
  evaluate(ids: number[], options?: { signal?: AbortSignal }): Promise<{ logits: Float32Array }>;
  /**
   * Perplexity of a text: exp of the mean negative log likelihood of every token after the first. Ids are scored as
   * given; a string gets BOS and EOS. `nll` is the sum in nats over `tokens` scored tokens.
   * @throws SternaError `bad-input` for fewer than 2 ids, ids outside the vocabulary or a bad window, `no-tokenizer`
   */
  perplexity(
    input: number[] | string,
    options?: PerplexityOptions & { signal?: AbortSignal },
  ): Promise<PerplexityResult>;
  /** Stops the workers, which frees the memory. Calls under way reject with code `disposed`. */
  dispose(): Promise<void>;
}

let lastRequest = 0;

/** How long an engine that was told to stop loading may take to say so; its script may not even have arrived. */
const LOAD_ABORT_MS = 1000;

function startWorker(): Worker {
  try {
    return new Worker(new URL('../workers/engine.worker.js', import.meta.url), { type: 'module' });
  } catch (error) {
    throw new SternaError('worker', 'the browser refused the engine worker', { got: String(error) });
  }
}

/** The engine worker of one model, with an end to calls that nobody will answer any more. */
function startEngine() {
  const worker = startWorker();
  const api: Remote<EngineApi> = wrap<EngineApi>(worker);
  let memory: Int32Array | undefined;
  let ended: SternaError | undefined;
  const waiting = new Set<(error: SternaError) => void>();
  const kernelWorkers: Worker[] = [];

  worker.addEventListener('message', ({ data }: MessageEvent<Partial<SpawnRequest> | undefined>) => {
    const start = data?.spawn;
    if (!start || ended) return;
    let kernelWorker: Worker;
    try {
      kernelWorker = new Worker(new URL('../workers/kernel.worker.js', import.meta.url), { type: 'module' });
    } catch (error) {
      return end(new SternaError('worker', 'the browser refused a kernel worker', { got: String(error) }));
    }
    kernelWorkers.push(kernelWorker);
    const pass = (message: KernelWorkerMessage): void =>
      worker.postMessage({ rank: start.rank, message } satisfies SpawnReply);
    kernelWorker.onmessage = (event: MessageEvent<KernelWorkerMessage>) => pass(event.data);
    kernelWorker.onerror = (event) =>
      pass({ error: { code: 'worker', message: `kernel worker: ${event.message || 'did not start'}` } });
    kernelWorker.postMessage(start);
  });

  function end(error: SternaError): void {
    if (ended) return;
    ended = error;
    memory = undefined;
    for (const each of [worker, ...kernelWorkers]) each.terminate();
    for (const reject of waiting) reject(error);
    waiting.clear();
  }
  worker.onerror = (event) => end(new SternaError('worker', `engine worker: ${event.message || 'did not start'}`));

  /** What `work` gives, unless the engine ends first: calls to a terminated worker never settle. */
  function orEnd<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      waiting.add(reject);
      work()
        .then(resolve, reject)
        .finally(() => waiting.delete(reject));
    });
  }

  /** One call: its value, or its error as a SternaError. */
  async function call<T>(work: () => Promise<Reply<T>>): Promise<T> {
    const reply = await orEnd(work).catch((error: unknown) => {
      if (error instanceof SternaError) throw error;
      throw new SternaError('bad-input', 'an argument cannot be sent to the engine', { got: String(error) });
    });
    if ('error' in reply) throw fromRecord(reply.error);
    return reply.value;
  }

  /** Asks for the end of a request that is waiting or at work. */
  function abort(id: number): void {
    if (ended) return;
    if (memory) Atomics.store(memory, ABORT / 4, id);
    void api.abort(id);
  }

  /** call(), aborted by a signal. */
  async function abortable<T>(
    signal: AbortSignal | undefined,
    work: (id: number) => Promise<Reply<T>>,
    onAbort = abort,
  ): Promise<T> {
    const id = ++lastRequest;
    const listener = (): void => onAbort(id);
    if (signal?.aborted) throw new SternaError('aborted', 'aborted before it began');
    signal?.addEventListener('abort', listener);
    try {
      return await call(() => work(id));
    } finally {
      signal?.removeEventListener('abort', listener);
    }
  }

  const share = (shared: WebAssembly.Memory | undefined): void => {
    memory = shared && new Int32Array(shared.buffer);
  };
  return { api, call, orEnd, abort, abortable, share, end };
}

type Engine = ReturnType<typeof startEngine>;

function startGeneration(
  { api, call, orEnd, abort }: Engine,
  prompt: () => Prompt,
  options: GenerateOptions,
): Generation {
  const { signal, onPrefill, ...settings } = options;
  const id = ++lastRequest;
  const { port1, port2 } = new MessageChannel();
  const chunks: Chunk[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  const stop = (): void => {
    if (!over) abort(id);
  };

  // the port's messages and the call's reply come over different channels: the last chunks may come after the reply
  let expected = Number.POSITIVE_INFINITY;
  let settle: () => void = () => {};
  const delivered = new Promise<void>((resolve) => {
    settle = resolve;
  });
  let received = 0;
  port1.onmessage = ({ data }: MessageEvent<GenerateMessage>) => {
    received++;
    if ('chunk' in data) {
      chunks.push(data.chunk);
      wake?.();
    }
    if (received >= expected) settle();
    if ('prefill' in data) onPrefill?.(data.prefill);
  };

  const result = (async (): Promise<GenerateResult> => {
    try {
      if (signal?.aborted) stop(); // the answer then ends before its first token
      signal?.addEventListener('abort', stop);
      const answer = await call(() => api.generate(id, prompt(), settings, transfer(port2, [port2])));
      expected = answer.messages;
      if (received < expected) await orEnd(() => delivered);
      return answer.result;
    } finally {
      signal?.removeEventListener('abort', stop);
      port1.close();
      over = true;
      wake?.();
    }
  })();
  result.catch(() => {}); // whoever iterates gets the error from the iteration

  async function* iterate(): AsyncGenerator<Chunk> {
    try {
      for (;;) {
        const chunk = chunks.shift();
        if (chunk) yield chunk;
        else if (over) break;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      await result;
    } finally {
      if (!over) {
        stop();
        await result.catch(() => {}); // the model is free for the next call when the loop has been left
      }
    }
  }
  return { result, abort: stop, [Symbol.asyncIterator]: iterate };
}

/** The source as it can be posted. */
function toRecord(source: Source): SourceRecord {
  if (typeof source === 'string') return { repo: source };
  if (Array.isArray(source)) return source;
  if (source instanceof File) return [source];
  if (typeof FileList !== 'undefined' && source instanceof FileList) return [...source];
  if (typeof source === 'object' && source && 'repo' in source) return { ...source };
  if (typeof source !== 'object' || !source || !('url' in source)) {
    const expected = 'owner/name, { repo }, { url } or files';
    throw new SternaError('bad-input', 'source', { got: typeof source, expected });
  }
  const base = globalThis.document?.baseURI;
  if (!URL.canParse(String(source.url), base)) {
    throw new SternaError('bad-input', 'source', { got: String(source.url), expected: 'the URL of a folder or file' });
  }
  return { url: new URL(source.url, base).href };
}

/** Token ids as a plain array; typed arrays are taken too. */
function toIds(ids: unknown): number[] {
  if (Array.isArray(ids)) return ids as number[];
  if (ArrayBuffer.isView(ids) && !(ids instanceof DataView)) return Array.from(ids as Uint32Array);
  throw new SternaError('bad-input', 'token ids', { got: typeof ids, expected: 'an array of numbers' });
}

function toText(text: unknown): string {
  if (typeof text === 'string') return text;
  throw new SternaError('bad-input', 'text', { got: typeof text, expected: 'a string' });
}

const toPrompt = (prompt: unknown): Prompt => (typeof prompt === 'string' ? { text: prompt } : { ids: toIds(prompt) });

/**
 * What a source holds and what it would cost to load it. Nothing large is downloaded, no memory is taken.
 * @param options as for `load`: they decide on memory and storage
 * @throws SternaError as `load`, but for memory and storage: see `obstacles`
 */
export async function inspect(source: Source, options: LoadOptions = {}): Promise<Inspection> {
  const { onProgress: _, signal, ...rest } = options;
  const record = toRecord(source);
  const engine = startEngine();
  try {
    return await engine.abortable(signal, (id) => engine.api.inspect(id, { source: record, options: rest }));
  } finally {
    engine.end(new SternaError('disposed', 'the inspection is over'));
  }
}

/**
 * Loads a model and gets it ready to answer. What is downloaded is kept in the browser's storage, packed; an interrupted
 * download goes on where it was, and a kept model starts without a connection.
 * @param source `owner/name`, a repository of the Hugging Face Hub, or `{ repo, revision, file, token, hubUrl }`. `{ url }`: a
 * folder with config.json, model.safetensors and (for text) tokenizer.json, tokenizer_config.json, or one .gguf file;
 * relative to the page. Or the files themselves: a `File`, `File[]` or `input.files`.
 * @throws SternaError: `bad-input`, `download`, `offline`, `bad-file`, `unsupported`, `quota`, `out-of-memory`, `aborted`,
 * `worker`
 */
export async function load(source: Source, options: LoadOptions = {}): Promise<Model> {
  const { onProgress, signal, ...rest } = options;
  const record = toRecord(source);
  if (signal?.aborted) throw new SternaError('aborted', 'aborted before it began');
  const engine = startEngine();
  const { api, call, abort, abortable, end } = engine;
  const aborted = new SternaError('aborted', 'loading was aborted');
  let loading = true; // progress comes over a channel of its own, and may be late
  const report = proxy((progress: Progress) => {
    if (loading) onProgress?.(progress);
  });
  const onAbort = (id: number): void => {
    abort(id);
    setTimeout(() => loading && end(aborted), LOAD_ABORT_MS);
  };
  try {
    const request = { source: record, options: rest };
    const { info, memory } = await abortable(signal, (id) => api.load(id, request, report), onAbort);
    if (signal?.aborted) throw aborted;
    engine.share(memory);
    const { file: bytes } = info.bytes;
    onProgress?.({ phase: 'ready', file: '', loaded: bytes, total: bytes, rate: 0 }); // none of the others comes after it
    loading = false;
    return {
      info,
      tokenize: async (text, tokenizeOptions) => {
        const checked = toText(text);
        return call(() => api.tokenize(checked, tokenizeOptions ?? {}));
      },
      detokenize: async (ids) => {
        const checked = toIds(ids);
        return call(() => api.detokenize(checked));
      },
      applyChatTemplate: (messages, { addGenerationPrompt = true } = {}) =>
        call(() => api.applyChatTemplate(messages, addGenerationPrompt)),
      chat: (messages, generateOptions) => startGeneration(engine, () => ({ messages }), generateOptions ?? {}),
      complete: (prompt, generateOptions) => startGeneration(engine, () => toPrompt(prompt), generateOptions ?? {}),
      evaluate: async (ids, { signal: by } = {}) => {
        const checked = toIds(ids);
        return { logits: await abortable(by, (id) => api.evaluate(id, checked)) };
      },
      perplexity: async (input, { signal: by, ...windows } = {}) => {
        const checked = typeof input === 'string' ? input : toIds(input);
        return abortable(by, (id) => api.perplexity(id, checked, windows));
      },
      dispose: async () => end(new SternaError('disposed', 'the model was disposed')),
    };
  } catch (error) {
    end(error instanceof SternaError ? error : new SternaError('worker', String(error)));
    throw error;
  } finally {
    loading = false;
  }
}
