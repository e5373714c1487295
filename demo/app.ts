import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { createRef, ref } from 'lit/directives/ref.js';
import { repeat } from 'lit/directives/repeat.js';
import { badge, contextMeter } from './badge';
import type { Composer } from './composer';
import './chooser';
import type { Chooser } from './chooser';
import './composer';
import { Conversation } from './conversation';
import { type FrontActions, front, loadState } from './front';
import { Loading } from './loading';
import { icons, mark } from './mark';
import { loadMarkdown, type Renderer } from './markdown';
import './message';
import './model-card';
import { readSampling, type Sampling, writeSampling } from './sampling';
import type { Settings } from './settings';
import './settings';
import './inspection-card';
import { spokenProgress } from './progress';
import { type Address, embedded, isEmbedded, isRepository, type PageSource, readAddress, writeAddress } from './source';
import { restoreTheme, toggleTheme } from './theme';

/** A view this close to the end (CSS px) goes along with the answer. */
const followWithin = 48;

/** The chat page. */
class App extends LitElement {
  static override properties = {
    sampling: { state: true },
    renderer: { state: true },
    following: { state: true },
    said: { state: true },
    question: { state: true },
  };
  declare sampling: Sampling;
  declare renderer: Renderer | undefined;
  /** The view goes along with the answer; off once the visitor scrolls up. */
  declare following: boolean;
  /** What a screen reader is told. */
  declare said: string;
  /** A repository that the address of the page names: it is looked at before anything large is fetched. */
  declare question: PageSource | undefined;

  readonly #address: Address;
  readonly #loading: Loading;
  readonly #conversation = new Conversation(() => this.requestUpdate());
  readonly #view = createRef<HTMLElement>();
  readonly #composer = createRef<Composer>();
  readonly #settings = createRef<Settings>();
  readonly #chooser = createRef<Chooser>();
  readonly #actions: FrontActions = {
    ask: (text) => this.#ask(text),
    load: (source) => this.#load(source),
    loadUnkept: () => this.#load(this.#loading.source, false),
    discard: () => this.#loading.discard(),
    choose: () => this.#chooser.value?.show(),
    manage: () => this.#chooser.value?.show('storage'),
  };
  #scrollTop = 0;

  constructor() {
    super();
    this.sampling = readSampling();
    this.following = true;
    this.said = '';
    this.#address = readAddress(location.search);
    const { source, options } = this.#address;
    this.#loading = new Loading(source, options, () => this.#loadChanged());
    if (isRepository(source)) this.question = source;
  }

  protected override createRenderRoot(): this {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener('keydown', this.#keydown);
    if (!this.question) void this.#load();
    void loadMarkdown().then((renderer) => {
      this.renderer = renderer;
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener('keydown', this.#keydown);
  }

  get #state(): 'asking' | 'loading' | 'ready' | 'error' | 'generating' {
    if (this.question) return 'asking';
    if (this.#loading.problem) return 'error';
    if (!this.#loading.model) return 'loading';
    return this.#conversation.running ? 'generating' : 'ready';
  }

  get #invitation(): string {
    const { model, problem, source } = this.#loading;
    if (model) return isEmbedded(source) ? 'What should the story be about?' : 'Write a message';
    return problem || this.question ? 'No model is loaded' : 'You can write already';
  }

  protected override render(): TemplateResult {
    const { model, source } = this.#loading;
    const empty = this.#conversation.turns.length === 0;
    return html`
      <div class="app" data-testid="app" data-state=${this.#state}>
        <aside>
          <h1 class="brand">${mark(40)} Sterna</h1>
          <button class="fresh" data-testid="new-chat" ?disabled=${empty} @click=${this.#newChat}>
            ${icons.fresh} <span>New chat</span>
          </button>
          <div class="tools">
            <button class="icon-button" data-testid="settings" aria-label="Settings" title="Settings" @click=${this.#openSettings}>
              ${icons.tune}
            </button>
            <button class="icon-button" data-testid="theme" aria-label="Light or dark" title="Light or dark" @click=${toggleTheme}>
              ${icons.theme}
            </button>
          </div>
          <sterna-model-card
            .info=${model?.info}
            .source=${source}
            @change=${this.#actions.choose}
          ></sterna-model-card>
        </aside>
        <main ${ref(this.#view)} @scroll=${this.#scrolled}>
          ${crossOriginIsolated ? nothing : this.#isolationNotice()}
          ${empty ? front(this.#loading, this.#asking(), this.#actions) : this.#talk()}
        </main>
        <div class="desk">
          ${this.following ? nothing : html`<button class="to-end" data-testid="to-end" @click=${this.#toEnd}>${icons.down} Latest</button>`}
          <sterna-composer
            ${ref(this.#composer)}
            .ready=${model !== undefined}
            .running=${this.#conversation.running}
            .invitation=${this.#invitation}
            @send=${({ detail }: CustomEvent<string>) => this.#ask(detail)}
            @stop=${() => this.#conversation.stop()}
          ></sterna-composer>
          <div class="instruments">
            ${model ? html`${badge(model.info)} ${contextMeter(this.#conversation.contextUsed, model.info)}` : nothing}
          </div>
        </div>
        <sterna-settings
          ${ref(this.#settings)}
          .sampling=${this.sampling}
          .defaults=${model?.info.defaults}
          @change-sampling=${this.#changeSampling}
        ></sterna-settings>
        <sterna-chooser
          ${ref(this.#chooser)}
          .running=${model ? source : undefined}
          .loading=${this.#state === 'loading' ? source : undefined}
          .options=${this.#address.options}
          .hub=${this.#address.hub}
          @start=${({ detail }: CustomEvent<PageSource>) => this.#load(detail)}
        ></sterna-chooser>
        <p class="unseen" role="status">${this.said}</p>
      </div>
    `;
  }

  /** What a repository that the address names holds; what is on this device already starts unasked. */
  #asking(): TemplateResult | undefined {
    if (!this.question) return undefined;
    return html`
      <sterna-inspection
        .source=${this.question}
        .options=${this.#address.options}
        .eager=${true}
        @start=${({ detail }: CustomEvent<PageSource>) => this.#load(detail)}
      ></sterna-inspection>
      <div class="row">
        <button data-testid="change-model" @click=${this.#actions.choose}>Change model</button>
        <button data-testid="use-embedded" @click=${() => this.#load(embedded)}>Use the story model</button>
      </div>
    `;
  }

  #talk(): TemplateResult {
    const { turns } = this.#conversation;
    return html`
      <div class="talk">
        ${repeat(
          turns,
          (turn) => turn.id,
          (turn) => html`<sterna-message
            .turn=${turn}
            .renderer=${this.renderer}
            .last=${turn === turns.at(-1)}
            @regenerate=${this.#regenerate}
            @reload=${() => this.#load()}
          ></sterna-message>`,
        )}
        ${this.#loading.model ? nothing : html`<div class="reloading">${loadState(this.#loading, this.#actions)}</div>`}
      </div>
    `;
  }

  #isolationNotice(): TemplateResult {
    return html`<p class="notice" data-testid="notice-isolation">
      One thread only: this server does not send the COOP and COEP headers, without which browsers share no memory
      between threads.
    </p>`;
  }

  protected override updated(): void {
    const view = this.#view.value;
    if (view && this.following && this.#conversation.turns.length > 0) view.scrollTop = view.scrollHeight;
  }

  #scrolled(): void {
    const view = this.#view.value!;
    const rest = view.scrollHeight - view.clientHeight - view.scrollTop;
    if (rest < followWithin) this.following = true;
    else if (view.scrollTop < this.#scrollTop) this.following = false;
    this.#scrollTop = view.scrollTop;
  }

  #toEnd(): void {
    this.following = true;
    this.#composer.value?.focusBox();
  }

  async #load(source = this.#loading.source, keep = true): Promise<void> {
    this.question = undefined;
    const asked = document.activeElement !== document.body; // by somebody who is at work here: focus goes along
    history.replaceState(null, '', location.pathname + writeAddress(location.search, source) + location.hash);
    const loaded = this.#loading.start(source, keep);
    await this.updateComplete;
    if (asked) this.#focus('cancel-load');
    await loaded;
    const { model, problem } = this.#loading;
    this.said = model ? `${model.info.name} is ready` : '';
    await this.updateComplete;
    if (document.activeElement !== document.body) return;
    if (model) this.#composer.value?.focusBox();
    else if (asked && problem) this.#focus('retry');
  }

  #focus(testId: string): void {
    this.querySelector<HTMLElement>(`[data-testid=${testId}]`)?.focus();
  }

  #loadChanged(): void {
    const { model, problem, progress } = this.#loading;
    if (!model && !problem) this.said = spokenProgress(progress);
    this.requestUpdate();
  }

  async #ask(text: string): Promise<void> {
    const { model } = this.#loading;
    if (!model) return;
    this.#composer.value?.focusBox();
    await this.#follow(this.#conversation.ask(text, model, this.sampling));
  }

  async #regenerate(): Promise<void> {
    const { model } = this.#loading;
    if (!model) return;
    this.#composer.value?.focusBox();
    await this.#follow(this.#conversation.regenerate(model, this.sampling));
  }

  /** Keeps the end in view while the answer comes, and reads it out once it is there. */
  async #follow(answer: Promise<void>): Promise<void> {
    this.following = true;
    this.said = 'The model is writing';
    await answer;
    this.said = this.#conversation.turns.at(-1)?.text ?? 'New chat';
  }

  #newChat(): void {
    void this.#conversation.clear();
    this.following = true;
    this.said = 'New chat';
    this.#composer.value?.focusBox();
  }

  #openSettings(): void {
    this.#settings.value?.show();
  }

  #changeSampling({ detail }: CustomEvent<Sampling>): void {
    this.sampling = detail;
    writeSampling(detail);
  }

  readonly #keydown = (event: KeyboardEvent): void => {
    const open = document.querySelector('dialog[open], [popover]:popover-open');
    if (event.key !== 'Escape' || open || !this.#conversation.running) return;
    event.preventDefault();
    this.#conversation.stop();
    this.#composer.value?.focusBox();
  };
}

restoreTheme();
customElements.define('sterna-app', App);
