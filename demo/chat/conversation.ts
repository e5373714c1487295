import type { Message, Model, PrefillProgress } from '../../src/index';
import { type Problem, problemOf } from '../problem';
import { generateOptions } from '../settings/sampling';
import { branch, type Chat, type ChatSettings, endUnder, keepable, newChat, newId, type Turn, withTurn } from './chat';
import { keptCache } from './kept-cache';
import { type Reading, read } from './reading';

/** An answer under way: how far the prompt is read, tokens so far, and their rate. */
export interface Live {
  readonly id: string;
  /** Undefined until there is news of it. */
  readonly reading: Reading | undefined;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** While an answer streams, its first words are saved at once and then this often (ms): a tab that dies loses no more. */
const savePeriod = 400;

/** The chat on show, and the answer under way. Calls back on each change, at most once per frame while streaming. */
export class Conversation {
  chat: Chat;
  live: Live | undefined;
  /** What went wrong, by the id of the turn that it stands under. */
  readonly problems = new Map<string, Problem>();
  /** Ends the answer under way. */
  #attempt: AbortController | undefined;
  #finished: Promise<void> | undefined;
  #frame = 0;
  readonly #save: (chat: Chat) => void;
  readonly #changed: () => void;

  constructor(settings: ChatSettings, save: (chat: Chat) => void, changed: () => void) {
    this.chat = newChat(settings);
    this.#save = (chat) => save(keepable(chat));
    this.#changed = changed;
  }

  /** The last answer failed for want of context. */
  get outgrown(): boolean {
    return this.problems.get(this.chat.leaf ?? '')?.code === 'context-full';
  }

  get running(): boolean {
    return this.#finished !== undefined;
  }

  /** Tokens of the context taken by the branch on show. */
  get contextUsed(): number {
    if (this.live?.reading) return this.live.reading.done + this.live.tokens;
    const usage = branch(this.chat).findLast(({ figures }) => figures)?.figures?.usage;
    return usage ? usage.promptTokens + usage.completionTokens : 0;
  }

  /** Shows another chat, or a new one. An answer under way ends; what is there of it is kept. */
  open(chat: Chat): Promise<void> {
    return this.#next(() => {
      this.chat = chat;
      this.problems.clear();
      this.#changed();
    });
  }

  /** Takes over what another tab has done to this chat. */
  refresh(chat: Chat): void {
    if (this.running || chat.turns.length <= this.chat.turns.length) return;
    this.chat = { ...chat, leaf: this.chat.leaf };
    this.#changed();
  }

  configure(settings: ChatSettings): void {
    this.chat = { ...this.chat, settings };
    if (this.chat.turns.length > 0) this.#save(this.chat);
    this.#changed();
  }

  rename(title: string): void {
    this.chat = { ...this.chat, title };
    this.#changed();
  }

  /** Sends a message; resolves when the answer has ended, one way or another. */
  ask(text: string, model: Model): Promise<void> {
    return this.#next(() => this.#answer(this.#add(this.chat.leaf, 'user', text).id, model));
  }

  /** Sends another version of a question. */
  edit({ parent }: Turn, text: string, model: Model): Promise<void> {
    return this.#next(() => this.#answer(this.#add(parent, 'user', text).id, model));
  }

  /** Answers a question that has no answer, or makes another version of an answer. */
  regenerate(turn: Turn, model: Model): Promise<void> {
    return this.#next(() =>
      turn.role === 'user' ? this.#answer(turn.id, model) : this.#answer(turn.parent!, model, turn),
    );
  }

  /** Goes on with an answer that was cut short: another version, which begins with it. */
  goOn(turn: Turn, model: Model): Promise<void> {
    return this.#next(() => this.#answer(turn.parent!, model, turn, turn.text));
  }

  /** Shows the branch that a version of a turn leads to. */
  show(id: string): Promise<void> {
    return this.#next(() => {
      this.chat = { ...this.chat, leaf: endUnder(this.chat, id) };
      this.#save(this.chat);
      this.#changed();
    });
  }

  /** Ends the answer under way; what is there is kept. */
  stop(): void {
    this.#attempt?.abort();
  }

  /** Saves the answer under way as far as it is there. */
  saveNow(): void {
    if (this.running) this.#save(this.chat);
  }

  /** Ends the answer under way, and does the work at once when it has ended: what comes meanwhile finds what that began. */
  async #next(work: () => void | Promise<void>): Promise<void> {
    while (this.#finished) {
      this.stop();
      await this.#finished;
    }
    await work();
  }

  #add(parent: string | null, role: Turn['role'], text: string): Turn {
    const turn: Turn = {
      id: newId(),
      parent,
      role,
      text,
      at: Date.now(),
      ...(role === 'assistant' && { unfinished: true }),
    };
    this.chat = withTurn(this.chat, turn);
    this.#save(this.chat);
    this.#changed();
    return turn;
  }

  /** `former` is the version that comes back if this one fails before its first word; `begun` is how it begins. */
  async #answer(question: string, model: Model, former?: Turn, begun = ''): Promise<void> {
    if (former) this.#drop(former);
    this.problems.clear();
    const attempt = new AbortController();
    this.#attempt = attempt;
    const answer = this.#add(question, 'assistant', begun);
    const { id } = answer;
    this.live = { id, reading: undefined, tokens: 0, tokensPerSecond: 0 };
    this.#finished = this.#stream(answer, model, attempt.signal, former);
    this.#changed();
    await this.#finished;
    this.#finished = this.#attempt = this.live = undefined;
    this.#save(this.chat);
    if (!this.problems.has(id)) keptCache.soon(this.chat.id, this.#messages(id), this.contextUsed, model);
    this.#changed();
  }

  /** An answer that failed before its first word is no version. */
  #drop({ id, text, figures, parent }: Turn): void {
    if (text !== '' || figures) return;
    this.chat = { ...this.chat, leaf: parent, turns: this.chat.turns.filter((turn) => turn.id !== id) };
  }

  async #stream(answer: Turn, model: Model, signal: AbortSignal, former?: Turn): Promise<void> {
    const { id, text: begun } = answer;
    const continueFinalMessage = begun !== '';
    const messages = this.#messages(continueFinalMessage ? id : answer.parent!);
    let text = begun;
    let [first, saved] = [0, -savePeriod];
    let reading: Reading | undefined;
    const onPrefill = (progress: PrefillProgress) => {
      reading = read(reading, progress);
      this.live = { id, reading, tokens: 0, tokensPerSecond: 0 };
      this.#soon();
    };
    try {
      await keptCache.ready(this.chat.id, model, signal);
      const options = { ...generateOptions(this.chat.settings.sampling), continueFinalMessage };
      const generation = model.chat(messages, { ...options, onPrefill, signal });
      for await (const chunk of generation) {
        const now = performance.now();
        first ||= now;
        text += chunk.text;
        const tokensPerSecond = chunk.index === 0 ? 0 : (chunk.index * 1000) / (now - first);
        this.live = { id, reading, tokens: chunk.index + 1, tokensPerSecond };
        this.#replace(id, { text });
        if (text !== begun && now - saved > savePeriod) {
          saved = now;
          this.#save(this.chat);
        }
        this.#soon();
      }
      const { text: whole, tokens: _tokens, answers: _answers, draft: _draft, ...figures } = await generation.result;
      const { name, contextLength } = model.info;
      this.#replace(id, {
        text: begun + whole,
        unfinished: undefined,
        figures: { ...figures, model: name, contextLength },
      });
    } catch (error) {
      const back = text === begun && this.chat.turns.find((turn) => turn.id === former?.id);
      if (back) {
        this.chat = { ...this.chat, turns: this.chat.turns.filter((turn) => turn.id !== id) };
        this.chat = { ...this.chat, leaf: endUnder(this.chat, back.id) };
      }
      this.problems.set(back ? back.id : id, problemOf(error));
    }
  }

  /** Tells of changes with the next frame. */
  #soon(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#changed();
    });
  }

  /** What the model is to read, to a turn: questions without an answer are left out, but for the last. */
  #messages(leaf: string): Message[] {
    const { systemPrompt = '' } = this.chat.settings.sampling;
    const turns = branch({ ...this.chat, leaf });
    const unanswered = (index: number) => turns[index + 1]?.role === 'assistant' && !turns[index + 1]?.text;
    const spoken = turns.filter((turn, index) => turn.text !== '' && !unanswered(index));
    const messages = spoken.map(({ role, text }) => ({ role, content: text }));
    return systemPrompt.trim() === '' ? messages : [{ role: 'system', content: systemPrompt }, ...messages];
  }

  #replace(id: string, change: Partial<Turn>): void {
    const turns = this.chat.turns.map((turn) => (turn.id === id ? { ...turn, ...change } : turn));
    this.chat = { ...this.chat, turns, changedAt: Date.now() };
  }
}
