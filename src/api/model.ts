/** The page's handle on a model: starts the engine worker, passes calls on, and turns its answers into the public API. */
import { proxy } from 'comlink';
import { SternaError } from '../errors';
import { type Answering, createOpenAI } from '../openai/openai';
import type { OpenAIFace } from '../openai/openai-types';
import type {
  Bandwidth,
  ChatOptions,
  EmbedOptions,
  EmbedResult,
  Encoded,
  GenerateOptions,
  Message,
  PerplexityOptions,
  PerplexityResult,
  TokenizeOptions,
  Tool,
} from '../protocol/generate-types';
import type { Inspection, LoadOptions, ModelInfo, Progress, Source } from '../protocol/load-types';
import type { Prompt, SourceRecord } from '../protocol/protocol';
import type { RestoreProgress, SessionOptions } from '../protocol/session-types';
import { locateAssets } from './assets';
import { callOptions, knownOptions } from './call-options';
import { startChat } from './chat';
import { startEmbedding } from './embedding';
import { type Generation, startGeneration } from './generation';
import { startEngine } from './link';
import { createListener } from './listener';
import { beginSession, restoreSession, type Session } from './session-handle';

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
   * @param options addGenerationPrompt: end with the beginning of the assistant's turn (default true); tools: functions that
   * the model is told of
   * @throws SternaError `no-tokenizer`, `unsupported` without a template, or with tools for one that has none, `bad-input`
   * for messages it refuses
   */
  applyChatTemplate(messages: Message[], options?: { addGenerationPrompt?: boolean; tools?: Tool[] }): Promise<Encoded>;
  /**
   * Tokens that a prompt takes: of a text as `complete` reads it (with BOS where the model's tokenizer puts it in front), of
   * messages as `chat` does (in the chat template, with the `tools` and the beginning of the assistant's turn).
   * @throws SternaError as `tokenize` and `applyChatTemplate`
   */
  countTokens(prompt: string | Message[], options?: { tools?: Tool[] }): Promise<number>;
  /**
   * Answers a conversation. Keys and values of the prefix shared with the last call are reused. One call at a time:
   * a second one rejects with `busy`. `n` answers at once need a model that was loaded with as many `sequences`.
   * `result` rejects with `bad-input`, `context-full`, `no-tokenizer`, `unsupported`
   * (no chat template, or tools for one that has none), `disposed` or `worker`.
   */
  chat(messages: Message[], options?: ChatOptions): Generation;
  /**
   * The model behind the calls of an OpenAI client: `openai.chat.completions.create({ messages, stream, ... })`,
   * `completions.create`, `embeddings.create`. Code written for
   * a server goes on with `model.openai` for its client.
   */
  readonly openai: OpenAIFace;
  /**
   * Begins a conversation that is kept from call to call, can fork, go back, be saved and restored. Nothing is computed
   * yet: `append()` or the first `chat()` reads what is there. Load with `sequences` for as many as shall stay in the cache.
   * @throws SternaError `bad-input`
   */
  session(options?: SessionOptions): Session;
  /**
   * Brings back a session that was saved, in this tab or before: `listSessions()` has the ids. Keys and values are read,
   * not computed, and what follows is bit for bit what it would have been. Where they are damaged, or the model was
   * loaded with another `kvCache` or table of embeddings, they are computed from the session's tokens: see `restored`.
   * @param options onProgress: bytes read, or tokens computed
   * @throws SternaError `bad-input` if there is no such session, or it is of another model or version; `bad-file` if its
   * messages are damaged; `context-full` if it is longer than the context, `busy`, `unsupported` without storage, `aborted`
   */
  restoreSession(
    id: string,
    options?: { signal?: AbortSignal; onProgress?: (progress: RestoreProgress) => void },
  ): Promise<Session>;
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
  /**
   * Embeddings: the hidden states after the final norm, float32 [hidden] for each text, by default their mean divided by its
   * L2 norm. The same bits on every machine. A string gets BOS where the model's tokenizer puts it in front; ids are taken
   * as they are; an array of numbers is one text.
   *
   * What they are good for: models that were trained to embed. A chat model was trained to predict the next token, and
   * its hidden states are weak embeddings: texts of all kinds lie close together, and the order of neighbours is rough. They
   * do to find near duplicates or to group short texts of one kind; for search, use an embedding model. `last` suits
   * decoders that were trained with it; for others `mean` is the better choice.
   *
   * Takes its turn as an answer does. It works in the sequence of the cache that holds least, so a chat keeps its prefix
   * if the model was loaded with `sequences: 2` or more; with one, the next answer reads its prompt anew.
   * @throws SternaError `bad-input` for an empty text, more than 2048 of them or ids outside the vocabulary, `context-full`
   * for a text longer than the context, `no-tokenizer`, `busy`, `aborted`
   */
  embed(input: string | string[] | number[] | number[][], options?: EmbedOptions): Promise<EmbedResult>;
  /**
   * Reads all ternary weights over and over for 0.1 s and more, by the threads that decode: a token reads each of them once,
   * so that no token can be faster. Takes its turn as an answer does, and changes nothing.
   * @throws SternaError `busy`, `aborted`
   */
  measureBandwidth(options?: { signal?: AbortSignal }): Promise<Bandwidth>;
  /** Stops the workers, which frees the memory. Calls under way reject with code `disposed`. */
  dispose(): Promise<void>;
}

const disposed = (): SternaError =>
  new SternaError('disposed', 'the model was disposed', { got: 'a disposed model', expected: 'a loaded one' });

/** How long an engine that was told to stop loading may take to say so; its script may not even have arrived. */
const LOAD_ABORT_MS = 1000;

/** The source as it can be posted. */
function toRecord(source: Source): SourceRecord {
  if (typeof source === 'string') return { repo: source };
  if (Array.isArray(source)) {
    const other = source.findIndex((file) => !(file instanceof File));
    if (other < 0) return source;
    throw new SternaError('bad-input', `source, item ${other}`, { got: typeof source[other], expected: 'a File' });
  }
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
  const { onProgress: _, signal, assets, ...rest } = callOptions(options);
  const record = toRecord(source);
  const engine = startEngine(locateAssets(assets));
  const onAbort = (): void => engine.end(new SternaError('aborted', 'the inspection was aborted')); // it writes nothing
  try {
    return await engine.abortable(signal, (id) => engine.api.inspect(id, { source: record, options: rest }), onAbort);
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
  const { onProgress, signal, assets, ...rest } = callOptions(options);
  const record = toRecord(source);
  if (signal?.aborted) throw new SternaError('aborted', 'aborted before it began');
  const engine = startEngine(locateAssets(assets));
  const { api, call, abort, abortable, end } = engine;
  const aborted = new SternaError('aborted', 'loading was aborted');
  let loading = true;
  const { tell, end: endOfNews } = createListener(onProgress);
  const report = proxy((progress: Progress) => tell(progress));
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
    tell({ phase: 'ready', file: '', loaded: bytes, total: bytes, rate: 0 });
    endOfNews(); // none of the others comes after it
    loading = false;
    const chat: Model['chat'] = (messages, chatOptions) => startChat(engine, info, messages, chatOptions ?? {});
    const complete: Model['complete'] = (prompt, generateOptions) =>
      startGeneration(engine, () => toPrompt(prompt), generateOptions ?? {});
    const embed: Model['embed'] = async (input, embedOptions) =>
      startEmbedding(engine, input, callOptions(embedOptions));
    const tokenTexts: Answering['tokenTexts'] = (ids) => call(() => api.tokenTexts(ids));
    const openai = createOpenAI({ info, chat, complete, embed, tokenTexts });
    return {
      info,
      openai,
      tokenize: async (text, tokenizeOptions) => {
        const checked = toText(text);
        const how = knownOptions(callOptions(tokenizeOptions), 'bos', 'eos', 'special');
        return call(() => api.tokenize(checked, how));
      },
      detokenize: async (ids) => {
        const checked = toIds(ids);
        return call(() => api.detokenize(checked));
      },
      applyChatTemplate: async (messages, templateOptions) => {
        const { addGenerationPrompt = true, tools } = callOptions(templateOptions);
        return call(() => api.applyChatTemplate({ messages, tools }, addGenerationPrompt));
      },
      chat,
      session: (sessionOptions) => beginSession(engine, info, sessionOptions ?? {}),
      restoreSession: (id, restoreOptions) => restoreSession(engine, info, id, restoreOptions ?? {}),
      complete,
      evaluate: async (ids, evaluateOptions) => {
        const checked = toIds(ids);
        const { signal: by } = callOptions(evaluateOptions);
        return { logits: await abortable(by, (id) => api.evaluate(id, checked)) };
      },
      perplexity: async (input, perplexityOptions) => {
        const { signal: by, ...windows } = knownOptions(callOptions(perplexityOptions), 'window', 'stride', 'signal');
        const checked = typeof input === 'string' ? input : toIds(input);
        return abortable(by, (id) => api.perplexity(id, checked, windows));
      },
      countTokens: async (prompt, countOptions) => {
        const { tools } = knownOptions(callOptions(countOptions), 'tools');
        const checked = typeof prompt === 'string' ? { text: prompt } : { messages: prompt, tools };
        return call(() => api.countTokens(checked));
      },
      embed,
      measureBandwidth: async (bandwidthOptions) =>
        abortable(callOptions(bandwidthOptions).signal, (id) => api.measureBandwidth(id)),
      dispose: async () => end(disposed()),
    };
  } catch (error) {
    end(error instanceof SternaError ? error : new SternaError('worker', String(error)));
    throw error;
  } finally {
    endOfNews();
    loading = false;
  }
}
