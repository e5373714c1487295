/** The page's handle on a session: a conversation that goes on where it was, forks, goes back, is saved and restored. */
import { proxy } from 'comlink';
import { SternaError } from '../errors';
import { isObject } from '../json';
import type { ChatOptions, Message, PrefillProgress } from '../protocol/generate-types';
import type { ModelInfo } from '../protocol/load-types';
import type {
  Restored,
  RestoreProgress,
  SessionCall,
  SessionOptions,
  SessionResult,
  SessionState,
  WhenFull,
} from '../protocol/session-types';
import { checkTools } from '../text/tool-format';
import { callOptions, knownOptions } from './call-options';
import { prepareChat } from './chat';
import { type Generation, startAnswer } from './generation';
import { type Engine, nextRequest } from './link';
import { createListener } from './listener';

/**
 * A conversation with a model. What has been read and written stays as it was, token by token, and its keys and values are
 * kept as long as the model has a sequence of the cache for it (`LoadOptions.sequences`); after that they are computed
 * again by the next call. Sessions with the same beginning share it by themselves: nothing is read twice that is in the
 * cache. One call at a time, of all sessions of a model: a second one rejects with `busy`, unless the first has been aborted.
 */
export interface Session {
  /** What the model knows of the conversation: what was dropped from it is not there any more. */
  readonly messages: readonly Message[];
  /** The ids of what has been read and written. A message that was only handed over is not among them yet. */
  readonly ids: readonly number[];
  /** How many they are, and how many the context holds. */
  readonly tokens: { used: number; total: number };
  readonly whenFull: WhenFull;
  /** Messages that were dropped since it began (`drop-oldest`). */
  readonly dropped: number;
  /** How it came back from storage; undefined for one that began here. */
  readonly restored: Restored | undefined;
  /**
   * Adds messages (a text: one of the user) and reads them now, so that the next answer begins at once. Without any, it
   * reads what is there: a prompt beforehand. If it is aborted or fails, the session is as it was.
   * @param options onPrefill: tokens read, of how many
   * @throws SternaError `context-full` (see SessionOptions.whenFull), `bad-input`, `no-tokenizer`, `unsupported`, `busy`, `aborted`
   */
  append(
    messages?: string | Message | Message[],
    options?: { signal?: AbortSignal; onPrefill?: (progress: PrefillProgress) => void },
  ): Promise<void>;
  /**
   * Answers the conversation with this message (a text: of the user) at its end, or several, results of tools, say; with
   * an empty array, what is there. When the answer has ended, all of it joins the session: an aborted answer as far as it
   * came. If it was aborted before its first token, or failed, the session is as it was. `n` is 1: fork for several answers.
   * Errors as of `model.chat` and `append`.
   */
  chat(message: string | Message | Message[], options?: ChatOptions): Generation<SessionResult>;
  /** A session of its own that begins as this one is now; from then on they know nothing of each other. */
  fork(): Session;
  /**
   * Goes back to the first `to` messages, at once: what has been read of them is not read again.
   * @throws SternaError `bad-input` unless `to` is 0 to the number of messages, `busy` while a call of the session is at work
   */
  rewind(to: number): void;
  /**
   * Keeps the session in the browser's storage: messages, tokens, keys and values. Once more: in place of what was saved,
   * which stays if this fails. Seeds and options belong to the calls, and are not kept.
   * @param name for lists. Default: the name that it has, else the first message of the user
   * @param options onProgress: bytes of keys and values written, of how many
   * @returns the id for `restoreSession` and `deleteSession`: the same each time
   * @throws SternaError `quota`, `busy` (also another tab at the same session), `unsupported` without storage, `aborted`
   */
  save(
    name?: string,
    options?: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void },
  ): Promise<string>;
  /** Gives its place in the cache to others. What is saved stays. */
  dispose(): void;
}

/** What a handle begins with. */
interface Beginning {
  state: SessionState;
  owner: number;
  /** marks[n]: how many ids the first n messages took, where a call ended there. */
  marks: number[];
  saved?: { id: string; name: string };
  restored?: Restored;
}

const bad = (what: string, got: unknown, expected: string): SternaError =>
  new SternaError('bad-input', what, { got: got === null ? 'null' : typeof got, expected });

function toMessages(given: unknown): Message[] {
  if (given === undefined) return [];
  if (typeof given === 'string') return [{ role: 'user', content: given }];
  if (typeof given !== 'object' || given === null)
    throw bad('messages', given, 'a text, a message, or an array of them');
  return Array.isArray(given) ? [...given] : [given as Message];
}

/** A new session; nothing is computed. @throws SternaError `bad-input` */
export function beginSession(engine: Engine, info: ModelInfo, options: SessionOptions): Session {
  const known = knownOptions(callOptions(options), 'system', 'messages', 'tools', 'whenFull');
  const { system, messages = [], whenFull = 'stop' } = known;
  const tools = checkTools(known.tools);
  if (!['error', 'stop', 'drop-oldest'].includes(whenFull)) {
    throw new SternaError('bad-input', 'whenFull', { got: String(whenFull), expected: 'error, stop or drop-oldest' });
  }
  if (system !== undefined && typeof system !== 'string') throw bad('system', system, 'a string');
  if (!Array.isArray(messages)) throw bad('messages', messages, 'an array');
  const all = [...(system === undefined ? [] : [{ role: 'system', content: system }]), ...messages];
  const state: SessionState = { messages: all, ids: [], whenFull, dropped: 0, ...(tools ? { tools } : {}) };
  return createHandle(engine, info, { state, owner: nextRequest(), marks: [] });
}

/** Brings a saved session back. See Model.restoreSession. */
export async function restoreSession(
  engine: Engine,
  info: ModelInfo,
  id: string,
  options: { signal?: AbortSignal; onProgress?: (progress: RestoreProgress) => void },
): Promise<Session> {
  const { signal, onProgress } = knownOptions(callOptions(options), 'signal', 'onProgress');
  if (typeof id !== 'string') throw bad('id of a session', id, 'a string');
  const owner = nextRequest();
  const start = performance.now();
  const report = createListener(onProgress);
  const { state, name, why } = await engine
    .abortable(signal, (request) => engine.api.restoreSession(request, owner, id, proxy(report.tell)))
    .finally(report.end);
  const restored: Restored = { from: why === undefined ? 'cache' : 'prefill', why, ms: performance.now() - start };
  const marks: number[] = [];
  marks[state.messages.length] = state.ids.length;
  return createHandle(engine, info, { state, owner, marks, saved: { id, name }, restored });
}

function createHandle(engine: Engine, info: ModelInfo, { state, owner, marks, saved, restored }: Beginning): Session {
  let disposed = false;
  /** The call at work. */
  let work: { over: Promise<void>; aborted: () => boolean } | undefined;

  /**
   * Takes the session's turn, until `end` is called; `before` has to be waited for.
   * @throws SternaError `busy`, `disposed`
   */
  function claim(aborted: () => boolean): { before: Promise<void> | undefined; end: () => void } {
    if (disposed) throw new SternaError('disposed', 'the session was disposed');
    if (work && !work.aborted()) {
      throw new SternaError('busy', 'the session is at work on another call; await or abort it first');
    }
    const before = work?.over;
    let settle: () => void = () => {};
    const over = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const mine = { over, aborted };
    work = mine;
    const end = (): void => {
      if (work === mine) work = undefined;
      settle();
    };
    return { before, end };
  }

  /** One call of the session, which leaves it as it was if it fails. */
  async function turn<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    const { before, end } = claim(() => signal?.aborted === true);
    try {
      await before;
      return await call();
    } finally {
      end();
    }
  }

  /** The session goes on as the engine has it. */
  function advance(next: SessionState): void {
    const same = next.ids.findIndex((id, i) => state.ids[i] !== id);
    const kept = same < 0 ? next.ids.length : same;
    marks = next.dropped > state.dropped ? [] : marks.map((mark) => (mark <= kept ? mark : 0));
    marks[next.messages.length] = next.ids.length;
    state = { ...next, tools: state.tools };
  }

  const callOf = (more: Message[]): SessionCall => ({
    owner,
    state: { ...state, messages: [...state.messages, ...more] },
  });

  function chat(message: string | Message | Message[], given?: ChatOptions): Generation<SessionResult> {
    const options: ChatOptions = given ?? {};
    const withTools = isObject(options) ? { ...options, tools: given?.tools ?? state.tools } : options;
    const { failure, tools, settings, reading } = prepareChat(info, withTools);
    let aborted = false;
    let end: () => void = () => {};
    const prompt = () => {
      if (failure) throw failure;
      if (options.n !== undefined && options.n !== 1) {
        throw new SternaError('bad-input', 'answers of a session at once', { got: options.n, expected: '1: fork it' });
      }
      if (options.continueFinalMessage) {
        const facts = { got: 'continueFinalMessage', expected: 'a message, or model.chat' };
        throw new SternaError('unsupported', 'an option of an answer in a session', facts);
      }
      const more = toMessages(message);
      if (message === undefined) throw bad('message', message, 'a text or a message');
      const turn = claim(() => aborted || options.signal?.aborted === true);
      end = turn.end;
      const call = (): SessionCall => ({ owner, state: { ...callOf(more).state, tools } });
      return turn.before ? turn.before.then(call) : call();
    };
    const generation = startAnswer(engine, prompt, settings, reading, ({ result, session }): SessionResult => {
      const droppedMessages = session!.dropped - state.dropped;
      if (result.finishReason === 'abort' && result.tokens.length === 0) return { ...result, droppedMessages: 0 };
      const calls = result.toolCalls?.length ? { tool_calls: result.toolCalls } : {};
      const messages = [...session!.messages, { role: 'assistant', content: result.text, ...calls }];
      advance({ ...session!, messages, ids: [...session!.ids, ...result.tokens] });
      return { ...result, droppedMessages };
    });
    const ended = (): void => end();
    generation.result.then(ended, ended); // before whoever awaits the result
    return {
      ...generation,
      abort() {
        aborted = true;
        generation.abort();
      },
    };
  }

  return {
    get messages() {
      return [...state.messages];
    },
    get ids() {
      return [...state.ids];
    },
    get tokens() {
      return { used: state.ids.length, total: info.contextLength };
    },
    get dropped() {
      return state.dropped;
    },
    whenFull: state.whenFull,
    restored,
    append: async (messages, options) => {
      const { signal, onPrefill } = knownOptions(callOptions(options), 'signal', 'onPrefill');
      return turn(signal, async () => {
        const call = callOf(toMessages(messages));
        const report = createListener((done: number, total: number) => onPrefill?.({ done, total }));
        const extended = engine.abortable(signal, (id) => engine.api.extendSession(id, call, proxy(report.tell)));
        advance(await extended.finally(report.end));
      });
    },
    chat,
    fork: () => createHandle(engine, info, { state, owner: nextRequest(), marks: [...marks] }),
    rewind(to) {
      if (work) throw new SternaError('busy', 'the session is at work on a call; await or abort it first');
      const most = state.messages.length;
      if (!Number.isInteger(to) || to < 0 || to > most) {
        throw new SternaError('bad-input', 'messages to go back to', { got: String(to), expected: `0 to ${most}` });
      }
      marks = marks.slice(0, to + 1);
      const read = Math.max(0, ...marks.filter((mark) => mark !== undefined));
      state = { ...state, messages: state.messages.slice(0, to), ids: state.ids.slice(0, read) };
    },
    save: async (name, options) => {
      const { signal, onProgress } = knownOptions(callOptions(options), 'signal', 'onProgress');
      if (name !== undefined && typeof name !== 'string') throw bad('name of a session', name, 'a string');
      return turn(signal, async () => {
        const first = state.messages.find(({ role, content }) => role === 'user' && content)?.content.slice(0, 80);
        const as = { id: saved?.id ?? crypto.randomUUID(), name: name ?? saved?.name ?? first ?? '' };
        const report = createListener(onProgress);
        await engine
          .abortable(signal, (id) => engine.api.saveSession(id, callOf([]), as, proxy(report.tell)))
          .finally(report.end);
        saved = as;
        return as.id;
      });
    },
    dispose() {
      disposed = true;
      void engine.api.releaseSession(owner);
    },
  };
}
