import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { unsafeHTML } from 'lit/directives/unsafe-html.js';
import { copyText } from '../copy';
import type { Turn } from './chat';
import type { Live } from './conversation';
import './edit-box';
import { plural, rate } from '../figures';
import { icons, mark } from '../mark';
import { isFatal, type Problem, problemCard } from '../problem';
import { figuresLine, fillsContext } from './figures-line';
import type { Renderer } from './markdown';
import { readingProgress } from './reading';

const copiedFor = 1500; // ms that "Copied" stands on the button

/** A pasted text, say: more than some 12 lines. */
const isLong = (text: string): boolean => text.length > 900 || text.split('\n').length > 12;

/** Where a turn stands among its versions: the ids of its neighbours. */
export interface Versions {
  index: number;
  count: number;
  earlier: string | undefined;
  later: string | undefined;
}

/**
 * One message. Events: `regenerate`, `continue`, `reload`, `fresh`, `edit` (CustomEvent with the new text), `version` (CustomEvent with the
 * id of the version to show).
 */
export class ChatMessage extends LitElement {
  static override properties = {
    turn: { attribute: false },
    live: { attribute: false },
    problem: { attribute: false },
    versions: { attribute: false, hasChanged: (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b) },
    renderer: { attribute: false },
    last: { attribute: false },
    able: { attribute: false },
    copied: { state: true },
    editing: { state: true },
    whole: { state: true },
  };
  declare turn: Turn;
  /** Of an answer under way. */
  declare live: Live | undefined;
  declare problem: Problem | undefined;
  declare versions: Versions;
  /** Markdown to HTML; plain text is shown until it is there. */
  declare renderer: Renderer | undefined;
  declare last: boolean;
  /** A model is there to answer. */
  declare able: boolean;
  declare copied: boolean;
  declare editing: boolean;
  /** A long question is shown to its end. */
  declare whole: boolean;

  constructor() {
    super();
    this.last = this.able = this.copied = this.editing = this.whole = false;
    this.versions = { index: 0, count: 1, earlier: undefined, later: undefined };
  }

  protected override createRenderRoot(): this {
    return this;
  }

  protected override shouldUpdate(changes: PropertyValues): boolean {
    return changes.size > 0 && this.turn !== undefined;
  }

  protected override willUpdate(changes: PropertyValues<this>): void {
    if (changes.has('turn') && changes.get('turn')?.id !== this.turn.id)
      this.editing = this.copied = this.whole = false;
  }

  protected override render(): TemplateResult {
    return this.turn.role === 'user' ? this.#question() : this.#answer();
  }

  #question(): TemplateResult {
    const long = isLong(this.turn.text);
    return html`
      <article class="message user" data-testid="message-user">
        <h2 class="unseen">You said</h2>
        ${
          this.editing
            ? html`<sterna-edit .text=${this.turn.text} @send=${this.#send} @cancel=${this.#leave}></sterna-edit>`
            : html`<p class="said ${long && !this.whole ? 'cut' : ''}">${this.turn.text}</p>
                <div class="message-actions">
                  ${this.#arrows()} ${long ? this.#wholeButton() : nothing} ${this.#copyButton()}
                  <button class="quiet" data-testid="edit" ?disabled=${!this.able} @click=${this.#edit}>Edit</button>
                </div>`
        }
        ${this.last ? this.#unanswered() : nothing}
      </article>
    `;
  }

  #wholeButton(): TemplateResult {
    const turn = () => {
      this.whole = !this.whole;
    };
    return html`<button class="quiet" data-testid="whole" aria-expanded=${this.whole} @click=${turn}>${this.whole ? 'Show less' : 'Show all'}</button>`;
  }

  /** A question without an answer: the page was closed, or it came with a file. */
  #unanswered(): TemplateResult {
    return html`<button data-testid="answer" ?disabled=${!this.able} @click=${() => this.#emit('regenerate')}>
      Answer it
    </button>`;
  }

  #answer(): TemplateResult {
    const { live, problem } = this;
    const { figures, text, unfinished } = this.turn;
    return html`
      <article class="message assistant" data-testid="message-assistant" data-done=${live ? nothing : 'true'} aria-busy=${live !== undefined}>
        <h2 class="unseen">The model said</h2>
        ${mark(28)}
        <div class="answer">
          ${this.#text()}
          ${problem ? problemCard(problem, this.#remedies(problem)) : nothing}
          ${live ? this.#streaming(live) : this.#buttons()}
          ${figures ? figuresLine(figures) : nothing}
          ${unfinished && text && !live && !problem ? html`<p class="stats flag" data-testid="unfinished">Interrupted before its end</p>` : nothing}
        </div>
      </article>
    `;
  }

  #text(): TemplateResult | typeof nothing {
    const text = this.turn.text.trim();
    if (text !== '') {
      return this.renderer
        ? html`<div class="prose" @click=${this.#copyCode}>${this.renderer(text).map((block) => unsafeHTML(block))}</div>`
        : html`<div class="prose plain">${text}</div>`;
    }
    if (this.live || this.problem) return nothing;
    return html`<p class="empty-answer">No words this time.</p>`;
  }

  #streaming({ reading, tokens, tokensPerSecond }: Live): TemplateResult {
    return html`
      <p class="streaming">
        <span class="trits" aria-hidden="true"><i>−</i><i>0</i><i>+</i></span>
        ${tokens === 0 ? readingProgress(reading) : `${plural(tokens, 'token')}, ${rate(tokensPerSecond)} tokens/s`}
      </p>
    `;
  }

  #buttons(): TemplateResult {
    const again = html`<button class="quiet" data-testid="regenerate" ?disabled=${!this.able} @click=${() => this.#emit('regenerate')}>
      Regenerate
    </button>`;
    const { figures, unfinished, text } = this.turn;
    const cut = unfinished || (figures && figures.finishReason !== 'stop' && !fillsContext(figures));
    const goOn = html`<button class="quiet" data-testid="continue" ?disabled=${!this.able} @click=${() => this.#emit('continue')}>
      Continue
    </button>`;
    return html`<div class="message-actions">
      ${this.#arrows()} ${text ? this.#copyButton() : nothing} ${cut && this.last && text && !this.problem ? goOn : nothing} ${this.problem ? nothing : again}
    </div>`;
  }

  #copyButton(): TemplateResult {
    return html`<button class="quiet" data-testid="copy" @click=${this.#copy}>${this.copied ? 'Copied' : 'Copy'}</button>`;
  }

  /** Through the versions of this message. */
  #arrows(): TemplateResult | typeof nothing {
    const { index, count, earlier, later } = this.versions;
    if (count < 2) return nothing;
    const arrow = (id: string | undefined, words: string, drawing: TemplateResult, testId: string) => html`
      <button class="quiet arrow" data-testid=${testId} aria-label=${words} title=${words} aria-disabled=${id === undefined} @click=${() => id && this.#emit('version', id)}>
        ${drawing}
      </button>`;
    return html`<span class="versions" role="group" aria-label="Versions of this message">
      ${arrow(earlier, 'Earlier version', icons.back, 'version-earlier')}
      <span data-testid="version">${index + 1}/${count}</span>
      ${arrow(later, 'Later version', icons.forward, 'version-later')}
    </span>`;
  }

  #remedies(problem: Problem): TemplateResult | typeof nothing {
    if (!this.last) return nothing;
    return html`
      ${isFatal(problem) ? html`<button @click=${() => this.#emit('reload')}>Load the model again</button>` : nothing}
      ${problem.code === 'context-full' ? html`<button class="primary" data-testid="problem-fresh" @click=${() => this.#emit('fresh')}>New chat</button>` : nothing}
      <button data-testid="regenerate" @click=${() => this.#emit('regenerate')}>Try again</button>
    `;
  }

  #emit(name: string, detail?: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #edit(): void {
    this.editing = true;
  }

  #send({ detail }: CustomEvent<string>): void {
    this.editing = false;
    this.#emit('edit', detail);
  }

  async #leave(): Promise<void> {
    this.editing = false;
    await this.updateComplete;
    this.querySelector<HTMLElement>('[data-testid=edit]')?.focus();
  }

  async #copy(): Promise<void> {
    if (!(await copyText(this.turn.text.trim(), this.querySelector('.prose, .said')))) return;
    this.copied = true;
    setTimeout(() => {
      this.copied = false;
    }, copiedFor);
  }

  /** The buttons of code blocks are part of the rendered text. */
  async #copyCode(event: MouseEvent): Promise<void> {
    const button = (event.target as Element).closest<HTMLElement>('[data-copy]');
    const code = button?.closest('.code-block')?.querySelector('code');
    if (!button || !code || !(await copyText(code.textContent, code))) return;
    button.textContent = 'Copied';
    setTimeout(() => {
      button.textContent = 'Copy';
    }, copiedFor);
  }
}

customElements.define('sterna-message', ChatMessage);
