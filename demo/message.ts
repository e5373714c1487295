import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { unsafeHTML } from 'lit/directives/unsafe-html.js';
import type { GenerateResult } from '../src/index';
import type { Turn } from './conversation';
import { count, duration, plural, rate } from './figures';
import { mark } from './mark';
import type { Renderer } from './markdown';
import { isFatal, problemCard } from './problem';

const copiedFor = 1500; // ms that "Copied" stands on the button

/** A rate over fewer tokens than this says nothing. */
const FEW = 8;

/** The figures under an answer. */
function figures({ usage, timings, finishReason, seed }: GenerateResult): TemplateResult {
  const computed = usage.promptTokens - usage.cachedTokens;
  const cached = usage.cachedTokens === 0 ? '' : `, ${count(usage.cachedTokens)} cached`;
  return html`
    <ul class="stats" data-testid="stats">
      ${finishReason === 'abort' ? html`<li class="flag">Stopped</li>` : nothing}
      ${finishReason === 'length' ? html`<li class="flag">Cut: token limit</li>` : nothing}
      <li><b>${rate(timings.decodeTokensPerSecond)}</b> tokens/s</li>
      <li><b>${plural(usage.completionTokens, 'token')}</b></li>
      <li>first after <b>${duration(timings.firstTokenMs)}</b></li>
      <li>prompt <b>${count(usage.promptTokens)}</b>${cached}</li>
      ${computed < FEW ? nothing : html`<li>prefill <b>${rate(timings.promptTokensPerSecond)}</b> tokens/s</li>`}
      <li>seed <b>${seed}</b></li>
    </ul>
  `;
}

/** One message. Events: `regenerate`, `reload`. */
export class ChatMessage extends LitElement {
  static override properties = {
    turn: { attribute: false },
    renderer: { attribute: false },
    last: { attribute: false },
    copied: { state: true },
  };
  declare turn: Turn;
  /** Markdown to HTML; plain text is shown until it is there. */
  declare renderer: Renderer | undefined;
  declare last: boolean;
  declare copied: boolean;

  constructor() {
    super();
    this.last = this.copied = false;
  }

  protected override createRenderRoot(): this {
    return this;
  }

  protected override shouldUpdate(changes: PropertyValues): boolean {
    return changes.size > 0 && this.turn !== undefined;
  }

  protected override render(): TemplateResult {
    return this.turn.role === 'user' ? this.#question() : this.#answer();
  }

  #question(): TemplateResult {
    return html`
      <article class="message user" data-testid="message-user">
        <h2 class="unseen">You said</h2>
        <p class="said">${this.turn.text}</p>
      </article>
    `;
  }

  #answer(): TemplateResult {
    const { done, result, problem } = this.turn;
    return html`
      <article class="message assistant" data-testid="message-assistant" data-done=${done ? 'true' : nothing} aria-busy=${!done}>
        <h2 class="unseen">The model said</h2>
        ${mark(28)}
        <div class="answer">
          ${this.#text()}
          ${problem ? problemCard(problem, this.#remedies()) : nothing}
          ${done ? this.#buttons() : this.#streaming()}
          ${result ? figures(result) : nothing}
        </div>
      </article>
    `;
  }

  #text(): TemplateResult | typeof nothing {
    const text = this.turn.text.trim();
    if (text !== '') {
      return this.renderer
        ? html`<div class="prose">${unsafeHTML(this.renderer(text))}</div>`
        : html`<div class="prose plain">${text}</div>`;
    }
    if (!this.turn.done || this.turn.problem) return nothing;
    return html`<p class="empty-answer">No words this time.</p>`;
  }

  #streaming(): TemplateResult {
    const { tokens, tokensPerSecond } = this.turn;
    return html`
      <p class="streaming">
        <span class="trits" aria-hidden="true"><i>−</i><i>0</i><i>+</i></span>
        ${tokens === 0 ? 'reading' : `${plural(tokens, 'token')}, ${rate(tokensPerSecond)} tokens/s`}
      </p>
    `;
  }

  #buttons(): TemplateResult {
    const copy = html`<button class="quiet" data-testid="copy" @click=${this.#copy}>
      ${this.copied ? 'Copied' : 'Copy'}
    </button>`;
    const again = html`<button class="quiet" data-testid="regenerate" @click=${() => this.#emit('regenerate')}>
      Regenerate
    </button>`;
    return html`<div class="message-actions">
      ${this.turn.text ? copy : nothing} ${this.last && !this.turn.problem ? again : nothing}
    </div>`;
  }

  #remedies(): TemplateResult | typeof nothing {
    const { problem } = this.turn;
    if (!this.last || !problem) return nothing;
    return html`
      ${isFatal(problem) ? html`<button @click=${() => this.#emit('reload')}>Load the model again</button>` : nothing}
      <button data-testid="regenerate" @click=${() => this.#emit('regenerate')}>Try again</button>
    `;
  }

  #emit(name: 'regenerate' | 'reload'): void {
    this.dispatchEvent(new Event(name));
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.turn.text.trim());
      this.copied = true;
      setTimeout(() => {
        this.copied = false;
      }, copiedFor);
    } catch {
      // The browser forbids it: select the text, so that the visitor's own copy command takes it.
      const prose = this.querySelector('.prose');
      if (prose) getSelection()?.selectAllChildren(prose);
    }
  }
}

customElements.define('sterna-message', ChatMessage);
