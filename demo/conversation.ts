import type { GenerateResult, Generation, Message, Model } from '../src/index';
import { type Problem, problemOf } from './problem';
import { generateOptions, type Sampling } from './sampling';

/** One message of the conversation, as shown. */
export interface Turn {
  readonly id: number;
  readonly role: 'user' | 'assistant';
  readonly text: string;
  readonly done: boolean;
  /** Tokens so far, and their rate, while the answer streams. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly result?: GenerateResult;
  readonly problem?: Problem;
}

/** The conversation, and the answer under way. Calls back on each change, at most once per frame while streaming. */
export class Conversation {
  turns: readonly Turn[] = [];
  #generation: Generation | undefined;
  #finished: Promise<void> | undefined;
  #frame = 0;
  #nextId = 1;
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get running(): boolean {
    return this.#finished !== undefined;
  }

  /** Tokens of the context taken by the conversation so far. */
  get contextUsed(): number {
    const last = this.turns.findLast((turn) => turn.result !== undefined)?.result;
    return last === undefined ? 0 : last.usage.promptTokens + last.usage.completionTokens;
  }

  /** Sends a message; resolves when the answer has ended, one way or another. */
  async ask(text: string, model: Model, sampling: Sampling): Promise<void> {
    await this.#halt();
    this.#append('user', text, true);
    await this.#answer(model, sampling);
  }

  /** Replaces the last answer by a new one. */
  async regenerate(model: Model, sampling: Sampling): Promise<void> {
    await this.#halt();
    const former = this.turns.at(-1);
    if (former?.role !== 'assistant') return;
    this.turns = this.turns.slice(0, -1);
    await this.#answer(model, sampling, former);
  }

  /** Ends the answer under way; what is there is kept. */
  stop(): void {
    this.#generation?.abort();
  }

  async clear(): Promise<void> {
    this.turns = [];
    this.#changed();
    await this.#halt();
  }

  async #halt(): Promise<void> {
    this.stop();
    await this.#finished;
  }

  async #answer(model: Model, sampling: Sampling, former?: Turn): Promise<void> {
    const messages = this.#messages(sampling.systemPrompt);
    const id = this.#append('assistant', '', false);
    this.#finished = this.#stream(id, () => model.chat(messages, generateOptions(sampling)), former);
    this.#changed();
    await this.#finished;
    this.#finished = this.#generation = undefined;
    this.#changed();
  }

  /** `former` is the answer that comes back if this one fails before its first word. */
  async #stream(id: number, start: () => Generation, former?: Turn): Promise<void> {
    let text = '';
    let first = 0;
    try {
      this.#generation = start();
      for await (const chunk of this.#generation) {
        const now = performance.now();
        first ||= now;
        text += chunk.text;
        const tokensPerSecond = chunk.index === 0 ? 0 : (chunk.index * 1000) / (now - first);
        this.#replace(id, { text, tokens: chunk.index + 1, tokensPerSecond });
        this.#frame ||= requestAnimationFrame(() => {
          this.#frame = 0;
          this.#changed();
        });
      }
      const result = await this.#generation.result;
      this.#replace(id, { text: result.text, done: true, result });
    } catch (error) {
      const kept = text === '' ? former : undefined;
      this.#replace(id, { ...kept, id, done: true, problem: problemOf(error) });
    }
  }

  /** What the model is to read: questions without an answer are left out, but for the last. */
  #messages(systemPrompt = ''): Message[] {
    const unanswered = (index: number) => this.turns[index + 1]?.role === 'assistant' && !this.turns[index + 1]?.text;
    const spoken = this.turns.filter((turn, index) => turn.text !== '' && !unanswered(index));
    const messages = spoken.map(({ role, text }) => ({ role, content: text }));
    return systemPrompt.trim() === '' ? messages : [{ role: 'system', content: systemPrompt }, ...messages];
  }

  #append(role: Turn['role'], text: string, done: boolean): number {
    const id = this.#nextId++;
    this.turns = [...this.turns, { id, role, text, done, tokens: 0, tokensPerSecond: 0 }];
    return id;
  }

  #replace(id: number, change: Partial<Turn>): void {
    this.turns = this.turns.map((turn) => (turn.id === id ? { ...turn, ...change } : turn));
  }
}
