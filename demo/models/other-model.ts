import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { isRepository, type PageSource, parseSource } from './source';

/** Names a model that is not in the list. Event: `look` (CustomEvent with the source). */
class OtherModel extends LitElement {
  static override properties = {
    hub: { attribute: false },
    wrong: { state: true },
  };
  declare hub: string | undefined;
  /** What is wrong with the text. */
  declare wrong: string;

  constructor() {
    super();
    this.wrong = '';
  }

  protected override createRenderRoot(): this {
    return this;
  }

  protected override render(): TemplateResult {
    return html`
      <form class="other" @submit=${this.#submit} novalidate>
        <label for="other-address">Repository on Hugging Face, or a URL</label>
        <div class="row">
          <input
            id="other-address"
            data-testid="other-address"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            enterkeyhint="go"
            placeholder="owner/name"
            aria-describedby="other-hint"
            aria-invalid=${this.wrong ? 'true' : nothing}
            @input=${this.#calm}
          />
          <button data-testid="other-look">Look at it</button>
        </div>
        <p class="hint ${this.wrong ? 'wrong' : ''}" id="other-hint" role="status">
          ${this.wrong || 'A URL names a folder, a .gguf file or a .safetensors file'}
        </p>
        <details>
          <summary>One file or version of a repository</summary>
          <div class="pair">
            <label for="other-file">File</label>
            <input id="other-file" data-testid="other-file" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="the only one" />
            <label for="other-revision">Branch, tag or commit</label>
            <input id="other-revision" data-testid="other-revision" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="main" />
          </div>
        </details>
      </form>
      <label class="picker">
        <span>Open files on this device…</span>
        <input class="unseen" type="file" multiple data-testid="model-files" aria-describedby="files-hint" @change=${this.#pick} />
      </label>
      <p class="hint" id="files-hint">
        One .gguf file; or model.safetensors with its config.json and tokenizer files
      </p>
    `;
  }

  #value(id: string): string {
    return this.querySelector<HTMLInputElement>(`#other-${id}`)!.value.trim();
  }

  #calm(): void {
    this.wrong = '';
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const source = parseSource(this.#value('address'), this.hub);
    if (!source) {
      this.wrong = 'Write owner/name, or a URL that begins with https://';
      this.querySelector<HTMLInputElement>('#other-address')!.focus();
      return;
    }
    const [file, revision] = [this.#value('file'), this.#value('revision')];
    this.#look(isRepository(source) ? { ...source, ...(file && { file }), ...(revision && { revision }) } : source);
  }

  #pick(event: Event): void {
    const input = event.target as HTMLInputElement;
    const files = [...(input.files ?? [])];
    input.value = ''; // the same files can then be picked again
    if (files.length > 0) this.#look(files);
  }

  #look(detail: PageSource): void {
    this.dispatchEvent(new CustomEvent('look', { detail }));
  }
}

customElements.define('sterna-other-model', OtherModel);
