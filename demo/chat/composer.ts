import { html, LitElement, type PropertyValues, type TemplateResult } from 'lit';
import { icons } from '../mark';

/** The text box. Events: `send` (CustomEvent with the text), `stop`. */
export class Composer extends LitElement {
  static override properties = {
    ready: { attribute: false },
    running: { attribute: false },
    invitation: { attribute: false },
    draft: { state: true },
  };
  /** A model is there to answer. */
  declare ready: boolean;
  /** An answer is under way. */
  declare running: boolean;
  /** What stands in the box while it is empty. */
  declare invitation: string;
  declare draft: string;

  constructor() {
    super();
    this.ready = this.running = false;
    this.invitation = this.draft = '';
  }

  protected override createRenderRoot(): this {
    return this;
  }

  get #box(): HTMLTextAreaElement | null {
    return this.querySelector('textarea');
  }

  /** Puts the cursor into the box, but not where that would open a touch keyboard unasked. */
  focusBox(): void {
    if (matchMedia('(hover: hover)').matches) this.#box?.focus();
  }

  protected override render(): TemplateResult {
    return html`
      <form class="composer" @submit=${this.#submit}>
        <label class="unseen" for="composer">Message</label>
        <textarea
          id="composer"
          data-testid="composer"
          rows="1"
          placeholder=${this.invitation}
          enterkeyhint="send"
          .value=${this.draft}
          @input=${this.#input}
          @keydown=${this.#key}
        ></textarea>
        ${this.running ? this.#stopButton() : this.#sendButton()}
      </form>
    `;
  }

  #sendButton(): TemplateResult {
    const off = !this.ready || this.draft.trim() === '';
    return html`<button class="round primary" type="submit" data-testid="send" aria-label="Send" title="Send (Enter)" ?disabled=${off}>
      ${icons.send}
    </button>`;
  }

  #stopButton(): TemplateResult {
    return html`<button class="round" type="button" data-testid="stop" aria-label="Stop" title="Stop (Escape)" @click=${this.#stop}>
      ${icons.stop}
    </button>`;
  }

  protected override updated(changes: PropertyValues): void {
    const box = this.#box;
    if (!box || !changes.has('draft')) return; // to measure it costs a layout of the page
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }

  #input(): void {
    this.draft = this.#box?.value ?? '';
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#send();
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    this.#send();
  }

  #send(): void {
    const detail = this.draft.trim();
    if (!this.ready || this.running || detail === '') return;
    this.draft = '';
    this.dispatchEvent(new CustomEvent('send', { detail }));
    this.focusBox();
  }

  #stop(): void {
    this.dispatchEvent(new Event('stop'));
    this.focusBox();
  }
}

customElements.define('sterna-composer', Composer);
