import { html, LitElement, type TemplateResult } from 'lit';

/** A message being written anew. Events: `send` (CustomEvent with the text), `cancel`. */
class EditBox extends LitElement {
  static override properties = { text: { attribute: false } };
  declare text: string;

  protected override createRenderRoot(): this {
    return this;
  }

  get #box(): HTMLTextAreaElement {
    return this.querySelector('textarea')!;
  }

  protected override render(): TemplateResult {
    return html`
      <form class="edit" @submit=${this.#submit} @keydown=${this.#key}>
        <textarea data-testid="edit-box" aria-label="Your message" rows="1" .value=${this.text} @input=${this.#grow}></textarea>
        <div class="row">
          <button type="button" class="quiet" data-testid="edit-cancel" @click=${this.#cancel}>Cancel</button>
          <button class="primary" data-testid="edit-send">Send</button>
        </div>
      </form>
    `;
  }

  protected override firstUpdated(): void {
    this.#grow();
    this.#box.focus();
    this.#box.setSelectionRange(this.text.length, this.text.length);
  }

  #grow(): void {
    const box = this.#box;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight + 2}px`;
  }

  #key(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation(); // it would stop an answer
      this.#cancel();
    } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.target === this.#box) {
      this.#submit(event);
    }
  }

  #submit(event: Event): void {
    event.preventDefault();
    const detail = this.#box.value.trim();
    if (detail) this.dispatchEvent(new CustomEvent('send', { detail }));
  }

  #cancel(): void {
    this.dispatchEvent(new Event('cancel'));
  }
}

customElements.define('sterna-edit', EditBox);
