/** The chats of the visitor and the one on show: opened, renamed, deleted, taken along. The address names the one on show. */

import { plural } from '../figures';
import { type Problem, problemOf } from '../problem';
import { saveFile } from '../save-file';
import type { Engine } from '../settings/engine-settings';
import { readSettings, writeSettings } from '../settings/last-settings';
import { branch, type Chat, type ChatSettings, endUnder, newChat } from './chat';
import { chatFile, chatFileName, readChatFile } from './chat-file';
import { Conversation } from './conversation';
import { ChatHistory } from './history';
import { keptCache } from './kept-cache';
import type { Hit } from './search';

const named = /^#chat=([\w-]+)$/;

export class Chats {
  readonly history: ChatHistory;
  readonly conversation: Conversation;
  /** What an imported file brought, or why it could not be taken. */
  news = '';
  refusal: Problem | undefined;
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.history = new ChatHistory(() => this.#listed());
    keptCache.allowed = () => this.history.kept;
    this.conversation = new Conversation(
      readSettings(),
      (chat) => {
        void this.history.save(chat);
        this.#name('replace');
      },
      changed,
    );
  }

  /** Reads what is stored, and opens the chat that the address names. */
  async begin(): Promise<void> {
    await this.history.read();
    await this.openNamed();
    if (this.history.kept) void keptCache.tidy(new Set(this.history.chats.map(({ id }) => id)));
  }

  /** The page may be about to close: what there is of an answer, and what the store has not confirmed, stays all the same. */
  saveNow(): void {
    this.conversation.saveNow();
    this.history.setAside();
  }

  /** Opens the chat that the address names; a new one if there is no such chat. */
  async openNamed(): Promise<void> {
    const id = named.exec(location.hash)?.[1];
    const { conversation } = this;
    if (id === conversation.chat.id) return;
    const chat = id === undefined ? undefined : this.history.find(id);
    if (chat) await conversation.open(chat);
    else if (conversation.chat.turns.length > 0) await conversation.open(this.#blank());
    this.#name('replace');
  }

  /** Opens a chat, at the branch with the turn that was found. */
  async open({ chat, turn }: Hit): Promise<void> {
    this.news = '';
    const onShow = !turn || branch(chat).some(({ id }) => id === turn.id);
    await this.conversation.open(onShow ? chat : { ...chat, leaf: endUnder(chat, turn.id) });
    this.#name('push');
  }

  /** Begins a new chat. `engine`: as the model runs. */
  async fresh(engine: Engine): Promise<void> {
    this.news = '';
    await this.conversation.open({ ...this.#blank(), settings: { ...readSettings(), engine } });
    this.#name('push');
  }

  /** Changes settings of the chat on show; new chats will begin with them. */
  configure(change: Partial<ChatSettings>): void {
    const settings = { ...this.conversation.chat.settings, ...change };
    this.conversation.configure(settings);
    writeSettings(settings);
  }

  configureEngine(change: Engine): void {
    this.configure({ engine: { ...this.conversation.chat.settings.engine, ...change } });
  }

  async rename(id: string, title: string): Promise<void> {
    if (id === this.conversation.chat.id) this.conversation.rename(title);
    await this.history.rename(id, title);
  }

  async remove(id: string): Promise<void> {
    if (id === this.conversation.chat.id) await this.fresh(this.conversation.chat.settings.engine);
    await this.history.delete(id);
    void keptCache.forget(id);
  }

  /** Takes in the chats of a file. */
  async take(file: File): Promise<void> {
    this.news = '';
    this.refusal = undefined;
    try {
      const chats = await readChatFile(file);
      const fresh = await this.history.take(chats);
      const known = chats.length - fresh;
      this.news = `${plural(fresh, 'chat')} came in${known > 0 ? `, ${known} ${known === 1 ? 'was' : 'were'} here already` : ''}.`;
    } catch (error) {
      const problem = problemOf(error);
      this.refusal = problem.code === 'bad-file' ? { ...problem, code: 'bad-chats' } : problem;
    }
    this.#changed();
  }

  give(chats: readonly Chat[]): void {
    saveFile(chatFileName(chats), chatFile(chats));
  }

  calm(): void {
    this.refusal = undefined;
    this.#changed();
  }

  #blank(): Chat {
    return newChat(readSettings());
  }

  /** Writes the chat on show into the address. */
  #name(how: 'push' | 'replace'): void {
    const { id, turns } = this.conversation.chat;
    const hash = turns.length > 0 ? `#chat=${id}` : '';
    if (hash === location.hash) return;
    history[`${how}State`](null, '', location.pathname + location.search + hash);
  }

  #listed(): void {
    const chat = this.history.find(this.conversation.chat.id);
    if (chat) this.conversation.refresh(chat);
    this.#changed();
  }
}
