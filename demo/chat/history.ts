/** The visitor's chats, kept in IndexedDB on this device; in memory only where the browser keeps nothing. */
import { createStore, del, type UseStore, update, values } from 'idb-keyval';
import { type Chat, joined } from './chat';
import { asides, dropAside, setAside } from './set-aside';

/** News from other tabs are gathered for so long (ms): a tab in which an answer streams writes often. */
const patience = 300;

export class ChatHistory {
  /** Last changed first. */
  chats: readonly Chat[] = [];
  /** What was deleted last and can be brought back. */
  deleted: Chat | undefined;
  /** Whether it is known what is stored. */
  known = false;
  /** Whether the browser keeps the chats; until it is known, it is hoped. */
  kept = true;
  #store: UseStore | undefined;
  #soon = 0;
  readonly #gone = new Set<string>();
  /** What the store has not confirmed yet: chats, and null for deleted ones. */
  readonly #unconfirmed = new Map<string, Chat | null>();
  /** What this tab has set aside, by id. */
  readonly #aside = new Map<string, string>();
  readonly #tabs = new BroadcastChannel('sterna.chats');
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.#tabs.onmessage = () => {
      this.#soon ||= window.setTimeout(() => {
        this.#soon = 0;
        void this.read();
      }, patience);
    };
  }

  /** Reads what is stored, and puts into the store what was set aside. */
  async read(): Promise<void> {
    await this.#try(async (store) => {
      for (const { id, chat, text } of asides()) {
        await (chat ? update<Chat>(id, (old) => (old ? joined(old, chat) : chat), store) : del(id, store));
        dropAside(id, text);
      }
      const stored = new Map((await values<Chat>(store)).map((chat) => [chat.id, chat]));
      // what was saved while this was read is not in it
      for (const chat of this.#unconfirmed.values())
        if (chat) stored.set(chat.id, joined(stored.get(chat.id) ?? chat, chat));
      this.#list([...stored.values()].filter(({ id }) => !this.#gone.has(id)));
    });
    this.known = true;
    this.#changed();
  }

  find(id: string): Chat | undefined {
    return this.chats.find((chat) => chat.id === id);
  }

  /** Keeps a chat; turns that another tab has added to it stay. */
  async save(chat: Chat): Promise<void> {
    if (this.#gone.has(chat.id)) return;
    this.#list([chat, ...this.chats.filter(({ id }) => id !== chat.id)]);
    await this.#write(chat.id, chat, (store) =>
      update<Chat>(chat.id, (old) => (old ? joined(old, chat) : chat), store),
    );
  }

  /** Sets aside what the store has not confirmed: the page may be about to close. */
  setAside(): void {
    if (!this.kept) return; // the visitor was told that nothing is kept
    for (const [id, chat] of this.#unconfirmed) this.#aside.set(id, setAside(id, chat));
  }

  async rename(id: string, title: string): Promise<void> {
    const chat = this.find(id);
    if (chat && title.trim()) await this.save({ ...chat, title: title.trim(), changedAt: Date.now() });
  }

  /** Deletes a chat; `undelete` brings back the last one. */
  async delete(id: string): Promise<void> {
    this.deleted = this.find(id);
    this.#gone.add(id);
    this.#list(this.chats.filter((chat) => chat.id !== id));
    await this.#write(id, null, (store) => del(id, store));
  }

  async undelete(): Promise<void> {
    const chat = this.deleted;
    this.forget();
    if (!chat) return;
    this.#gone.delete(chat.id);
    await this.save(chat);
  }

  /** What was deleted last is not to be brought back any more. */
  forget(): void {
    this.deleted = undefined;
    this.#changed();
  }

  /** Takes in chats of a file. @returns how many of them were not here before */
  async take(chats: readonly Chat[]): Promise<number> {
    const fresh = chats.filter(({ id }) => !this.find(id)).length;
    for (const chat of chats) {
      this.#gone.delete(chat.id);
      const here = this.find(chat.id);
      await this.save(here ? joined(here, chat) : chat);
    }
    return fresh;
  }

  #list(chats: readonly Chat[]): void {
    this.chats = [...chats].sort((a, b) => b.changedAt - a.changedAt);
    this.#changed();
  }

  async #write(id: string, state: Chat | null, work: (store: UseStore) => Promise<void>): Promise<void> {
    this.#unconfirmed.set(id, state);
    const done = await this.#try(work);
    if (this.#unconfirmed.get(id) === state) {
      this.#unconfirmed.delete(id);
      if (done) dropAside(id, this.#aside.get(id) ?? '');
    }
    if (done) this.#tabs.postMessage('changed');
  }

  /** @returns whether the browser did it */
  async #try(work: (store: UseStore) => Promise<void>): Promise<boolean> {
    try {
      this.#store ??= createStore('sterna-chats', 'chats');
      await work(this.#store);
      this.kept = true;
    } catch {
      this.kept = false; // blocked, or no room: what is in memory goes on
    }
    this.#changed();
    return this.kept;
  }
}
