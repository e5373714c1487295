import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { type CachedModel, type LoadOptions, listModels, type StorageFacts, storageFacts } from '../../src/index';
import './inspection-card';
import { icons } from '../mark';
import { titleOf } from './known-models';
import { modelList } from './model-list';
import './other-model';
import { isEmbedded, type PageSource, sameSource } from './source';
import './storage-panel';
import { roomWords } from './storage-panel';

type View = 'list' | 'storage' | { source: PageSource };

/** The panel to choose a model in. Event: `start` (CustomEvent with the source to load). */
export class Chooser extends LitElement {
  static override properties = {
    running: { attribute: false },
    loading: { attribute: false },
    options: { attribute: false },
    hub: { attribute: false },
    view: { state: true },
    models: { state: true },
    facts: { state: true },
  };
  /** What the page's model was loaded from. */
  declare running: PageSource | undefined;
  /** What is being loaded now. */
  declare loading: PageSource | undefined;
  declare options: LoadOptions;
  declare hub: string | undefined;
  declare view: View;
  declare models: readonly CachedModel[];
  declare facts: StorageFacts | undefined;

  constructor() {
    super();
    this.view = 'list';
    this.models = [];
  }

  protected override createRenderRoot(): this {
    return this;
  }

  /** Opens the panel at the list of models, or at what is stored. */
  async show(view: 'list' | 'storage' = 'list'): Promise<void> {
    this.view = view;
    await Promise.all([this.#refresh(), this.updateComplete]);
    const dialog = this.querySelector('dialog')!;
    if (!dialog.open) dialog.showModal();
    this.#focusTitle();
  }

  protected override render(): TemplateResult {
    const { view } = this;
    return html`
      <dialog class="panel chooser" data-testid="chooser" aria-labelledby="chooser-title" @click=${this.#outside} @close=${this.#closed}>
        <div class="sheet">
          <header>
            ${view === 'list' ? nothing : this.#back()}
            <h2 id="chooser-title" tabindex="-1">${this.#title}</h2>
            <button class="icon-button" data-testid="chooser-close" aria-label="Close" title="Close" @click=${this.#close}>${icons.close}</button>
          </header>
          <div class="panel-body">
            ${view === 'list' ? this.#list() : view === 'storage' ? this.#storage() : this.#inspection(view.source)}
          </div>
          ${view === 'list' ? this.#footer() : nothing}
        </div>
      </dialog>
    `;
  }

  get #title(): string {
    if (this.view === 'list') return 'Choose a model';
    if (this.view === 'storage') return 'On this device';
    return titleOf(this.view.source);
  }

  #back(): TemplateResult {
    return html`<button class="icon-button" data-testid="chooser-back" aria-label="All models" title="All models" @click=${() => this.#go('list')}>
      ${icons.back}
    </button>`;
  }

  #list(): TemplateResult {
    return html`
      ${modelList(this.models, this.running, this.hub, (source) => this.#choose(source))}
      <section class="elsewhere" aria-labelledby="other-title">
        <h3 id="other-title">Another model</h3>
        <sterna-other-model .hub=${this.hub} @look=${this.#look}></sterna-other-model>
      </section>
    `;
  }

  #storage(): TemplateResult {
    return html`<sterna-storage
      .models=${this.models}
      .facts=${this.facts}
      .running=${this.running}
      .loading=${this.loading}
      @look=${this.#look}
      @stored=${this.#refresh}
    ></sterna-storage>`;
  }

  #inspection(source: PageSource): TemplateResult {
    return html`<sterna-inspection
      .source=${source}
      .options=${this.options}
      @start=${({ detail }: CustomEvent<PageSource>) => this.#start(detail)}
      @stored=${this.#refresh}
    ></sterna-inspection>`;
  }

  #footer(): TemplateResult {
    return html`<footer>
      <span class="hint">${this.facts ? roomWords(this.facts) : 'This browser keeps no models for this page'}</span>
      <button data-testid="open-storage" @click=${() => this.#go('storage')}>Storage</button>
    </footer>`;
  }

  protected override updated(changes: PropertyValues): void {
    if (changes.has('view') && this.querySelector('dialog')!.open) this.#focusTitle();
  }

  /** A new view begins at its title, for the eye and for a screen reader. */
  #focusTitle(): void {
    this.querySelector('.panel-body')!.scrollTop = 0;
    this.querySelector<HTMLElement>('#chooser-title')!.focus();
  }

  readonly #refresh = async (): Promise<void> => {
    [this.models, this.facts] = await Promise.all([
      listModels().catch(() => []),
      storageFacts().catch(() => undefined),
    ]);
  };

  #go(view: View): void {
    this.view = view;
    void this.#refresh();
  }

  #choose(source: PageSource): void {
    if (this.running && sameSource(source, this.running)) this.#close();
    else if (isEmbedded(source)) this.#start(source);
    else this.#go({ source });
  }

  #look({ detail }: CustomEvent<PageSource>): void {
    this.#go({ source: detail });
  }

  #start(detail: PageSource): void {
    this.#close();
    this.dispatchEvent(new CustomEvent('start', { detail }));
  }

  #close(): void {
    this.querySelector('dialog')?.close();
  }

  /** Nothing stays at work behind a closed panel. */
  #closed(): void {
    this.view = 'list';
  }

  /** A press on the backdrop closes the panel. */
  #outside(event: MouseEvent): void {
    if (event.target === event.currentTarget) this.#close();
  }
}

customElements.define('sterna-chooser', Chooser);
