/**
 * Keys and values of the visitor's chats, kept in the browser's storage: a chat that is opened after a reload goes on
 * without being read again. Nothing depends on it; where something fails, the chat is read as ever.
 */
import {
  deleteSession,
  listSessions,
  type Message,
  type Model,
  type RestoreProgress,
  type SavedSession,
} from '../../src/index';

/** Sessions of this page are named after their chats. */
const PREFIX = 'chat ';
/** Chats that are kept, and the largest of them. */
const MOST = { chats: 6, bytes: 256e6 };
/** Shorter ones are read in no time. */
const LEAST_TOKENS = 64;
/** An answer is kept once nobody has asked for so long (ms). */
const PATIENCE = 1500;

const nameOf = (chat: string): string => PREFIX + chat;
const ofThisPage = (sessions: SavedSession[]): SavedSession[] => sessions.filter(({ name }) => name.startsWith(PREFIX));

/** Bytes of keys and values of a token. */
function tokenBytes({ config, kvCache }: Model['info']): number {
  const { layers, kvHeads, headDim } = config;
  return 2 * layers * kvHeads * headDim * { f32: 4, bf16: 2, int8: 1 }[kvCache];
}

class KeptCache {
  /** Whether the page may keep anything. */
  allowed: () => boolean = () => true;
  /** The chat whose keys and values the model has, as far as this page knows, and the model. */
  #held: { chat: string; model: Model } | undefined;
  #timer = 0;
  #saving: { attempt: AbortController; over: Promise<void> } | undefined;

  /** Before an answer: the model is free, and knows what was kept of the chat. `signal` gives up the reading. */
  async ready(chat: string, model: Model, signal: AbortSignal): Promise<void> {
    await this.#giveWay();
    const { version } = model.info;
    if (version === '' || (this.#held?.chat === chat && this.#held.model === model)) return;
    this.#held = { chat, model };
    const found = (await sessions()).find((kept) => kept.name === nameOf(chat) && kept.model.version === version);
    if (!found) return;
    const attempt = new AbortController();
    const abort = (): void => attempt.abort();
    signal.addEventListener('abort', abort);
    try {
      const onProgress = ({ phase }: RestoreProgress): void => {
        if (phase === 'prefill') abort(); // damaged, or of another kind of cache: reading the chat does the same
      };
      (await model.restoreSession(found.id, { signal: attempt.signal, onProgress })).dispose();
    } catch {
      if (signal.aborted) this.#held = undefined;
      else await this.forget(chat);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** After an answer: keeps the chat when nobody asks for a while. */
  soon(chat: string, messages: Message[], tokens: number, model: Model): void {
    const { info } = model;
    clearTimeout(this.#timer);
    if (!this.allowed() || info.version === '' || tokens < LEAST_TOKENS) return;
    if (tokens * tokenBytes(info) > MOST.bytes) return;
    this.#timer = window.setTimeout(() => {
      const attempt = new AbortController();
      this.#saving = { attempt, over: this.#save(chat, messages, model, attempt.signal).catch(() => {}) };
    }, PATIENCE);
  }

  async #save(chat: string, messages: Message[], model: Model, signal: AbortSignal): Promise<void> {
    const session = model.session({ messages });
    try {
      await session.append([], { signal }); // the answer is in the cache already, but for its end
      const before = (await sessions()).filter(({ name }) => name === nameOf(chat));
      await session.save(nameOf(chat), { signal });
      for (const { id } of before) await deleteSession(id);
      const others = ofThisPage(await sessions()).sort((a, b) => +b.usedAt - +a.usedAt);
      for (const { id } of others.slice(MOST.chats)) await deleteSession(id);
    } finally {
      session.dispose();
    }
  }

  /** What is being saved is given up. */
  async #giveWay(): Promise<void> {
    clearTimeout(this.#timer);
    this.#saving?.attempt.abort();
    await this.#saving?.over;
    this.#saving = undefined;
  }

  /** Nothing of the chat is kept any more. */
  async forget(chat: string): Promise<void> {
    await this.#giveWay();
    await remove((await sessions()).filter(({ name }) => name === nameOf(chat)));
  }

  /** Nothing is kept of any chat. */
  async forgetAll(): Promise<void> {
    await this.#giveWay();
    await remove(ofThisPage(await sessions()));
  }

  /** Nothing is kept of chats that are not there. */
  async tidy(chats: ReadonlySet<string>): Promise<void> {
    await remove(ofThisPage(await sessions()).filter(({ name }) => !chats.has(name.slice(PREFIX.length))));
  }
}

/** The page's only one: it has one model at a time. */
export const keptCache = new KeptCache();

/** None where the browser refuses its storage. */
const sessions = (): Promise<SavedSession[]> => listSessions().catch(() => []);

/** One that another tab is at stays. */
async function remove(some: SavedSession[]): Promise<void> {
  for (const { id } of some) await deleteSession(id).catch(() => {});
}
