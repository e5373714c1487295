import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { createRef, ref } from 'lit/directives/ref.js';
import type { Model } from '../src/index';
import { badge } from './badge';
import { branch } from './chat/chat';
import { Chats } from './chat/chats';
import './models/chooser';
import type { Chooser } from './models/chooser';
import './chat/composer';
import type { Composer } from './chat/composer';
import { contextMeter, contextNotice } from './chat/context';
import { isNarrow, keepBehind, watchWidth } from './drawer';
import { plural } from './figures';
import { type FrontActions, front, loadState } from './front';
import { type Engine, sameEngine } from './settings/engine-settings';
import './models/inspection-card';
import { loadMarkdown, type Renderer } from './chat/markdown';
import { icons } from './mark';
import { Loading } from './models/loading';
import { engineNotice, isolationNotice } from './notices';
import './offline-badge';
import type { Hit } from './chat/search';
import { spokenProgress } from './models/progress';
import type { Sampling } from './settings/sampling';
import './settings/settings';
import { type TalkActions, talk } from './chat/talk';
import {
  type Address,
  embedded,
  isEmbedded,
  isRepository,
  type PageSource,
  readAddress,
  writeAddress,
} from './models/source';
import type { Settings } from './settings/settings';
import { bar, type SidebarActions, sidebar } from './sidebar';
import { restoreTheme } from './theme';

/** A view this close to the end (CSS px) goes along with the answer. */
const followWithin = 48;

/** The chat page. */
class App extends LitElement {
  static override properties = {
    renderer: { state: true },
    following: { state: true },
    said: { state: true },
    question: { state: true },
  };
  declare renderer: Renderer | undefined;
  /** The view goes along with the answer; off once the visitor scrolls up. */
  declare following: boolean;
  /** What a screen reader is told. */
  declare said: string;
  /** A repository that the address of the page names: it is looked at before anything large is fetched. */
  declare question: PageSource | undefined;

  readonly #address: Address;
  readonly #loading: Loading;
  readonly #chats = new Chats(() => this.requestUpdate());
  readonly #conversation = this.#chats.conversation;
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
  readonly #talkActions: TalkActions = {
    edit: (turn, text) => this.#answer((model) => this.#conversation.edit(turn, text, model)),
    regenerate: (turn) => this.#answer((model) => this.#conversation.regenerate(turn, model)),
    goOn: (turn) => this.#answer((model) => this.#conversation.goOn(turn, model)),
    show: (id) => {
      this.following = false;
      void this.#conversation.show(id);
    },
    reload: () => this.#load(),
    fresh: () => this.#newChat(),
  };
  readonly #sideActions: SidebarActions = {
    fresh: () => this.#newChat(),
    open: (hit) => this.#open(hit),
    settings: () => this.#settings.value?.show(),
    choose: this.#actions.choose,
  };
  #scrollTop = 0;
  #unwatch = () => {};

  constructor() {
    super();
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
    document.addEventListener('visibilitychange', this.#saveNow);
    addEventListener('popstate', this.#openNamed);
    addEventListener('pagehide', this.#closing);
    this.#unwatch = watchWidth(() => this.requestUpdate());
    void this.#begin();
    const show = (renderer: Renderer) => {
      this.renderer = renderer;
    };
    void loadMarkdown(show).then(show);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener('keydown', this.#keydown);
    document.removeEventListener('visibilitychange', this.#saveNow);
    removeEventListener('popstate', this.#openNamed);
    removeEventListener('pagehide', this.#closing);
    this.#unwatch();
  }

  /** The chat that the address names comes first: it may want the engine in its own way. */
  async #begin(): Promise<void> {
    await this.#chats.begin();
    if (!this.question) await this.#load();
  }

  get #state(): 'asking' | 'loading' | 'ready' | 'error' | 'generating' {
    if (this.question) return 'asking';
    if (this.#loading.problem) return 'error';
    if (!this.#loading.model) return 'loading';
    return this.#conversation.running ? 'generating' : 'ready';
  }

  get #invitation(): string {
    const { model, problem, source } = this.#loading;
    const begun = this.#conversation.chat.turns.length > 0;
    if (model) return isEmbedded(source) && !begun ? 'What should the story be about?' : 'Write a message';
    return problem || this.question ? 'No model is loaded' : 'You can write already';
  }

  protected override render(): TemplateResult {
    const { model, source, engine } = this.#loading;
    const { chat } = this.#conversation;
    return html`
      <a class="skip" href="#composer" @click=${this.#skip}>To the message box</a>
      <div class="app" data-testid="app" data-state=${this.#state}>
        ${bar(chat.title, this.#newChat)}
        ${sidebar(this.#chats, this.#loading, isNarrow(), this.#toggled, this.#sideActions)}
        <main ${ref(this.#view)} @scroll=${this.#scrolled}>
          ${crossOriginIsolated ? nothing : isolationNotice()}
          ${chat.turns.length > 0 ? this.#talk() : this.#chats.history.known ? this.#front() : nothing}
        </main>
        <section class="desk" aria-label="Your message">
          ${this.following || chat.turns.length === 0 ? nothing : html`<button class="to-end" data-testid="to-end" @click=${this.#toEnd}>${icons.down} Latest</button>`}
          ${model && !sameEngine(chat.settings.engine, engine) ? engineNotice(() => this.#load()) : nothing}
          ${model && !this.#conversation.running && !this.#conversation.outgrown ? contextNotice(this.#conversation.contextUsed, model.info, this.#sideActions) : nothing}
          <sterna-composer
            ${ref(this.#composer)}
            .ready=${model !== undefined}
            .running=${this.#conversation.running}
            .invitation=${this.#invitation}
            @send=${({ detail }: CustomEvent<string>) => this.#ask(detail)}
            @stop=${() => this.#conversation.stop()}
          ></sterna-composer>
          <div class="instruments">
            ${model ? badge(model.info) : nothing}
            <sterna-offline></sterna-offline>
            ${model ? contextMeter(this.#conversation.contextUsed, model.info) : nothing}
          </div>
        </section>
        <sterna-settings
          ${ref(this.#settings)}
          .sampling=${chat.settings.sampling}
          .engine=${chat.settings.engine}
          .loaded=${engine}
          .info=${model?.info}
          @change-sampling=${({ detail }: CustomEvent<Sampling>) => this.#chats.configure({ sampling: detail })}
          @change-engine=${({ detail }: CustomEvent<Engine>) => this.#chats.configureEngine(detail)}
          @reload=${() => this.#load()}
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

  #front(): TemplateResult {
    return front(this.#loading, this.#asking(), this.#chats.history.chats.length === 0, this.#actions);
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
    const { model } = this.#loading;
    const waiting = this.#asking() ?? (model ? nothing : loadState(this.#loading, this.#actions));
    return html`
      <div class="talk" data-testid="talk">
        ${talk(this.#conversation, this.renderer, model !== undefined, this.#talkActions)}
        ${waiting === nothing ? nothing : html`<div class="reloading">${waiting}</div>`}
      </div>
    `;
  }

  protected override updated(): void {
    const { chat } = this.#conversation;
    document.title = chat.title ? `${chat.title} · Sterna` : 'Sterna: a language model in this tab';
    const view = this.#view.value;
    if (view && this.following && chat.turns.length > 0) view.scrollTop = view.scrollHeight;
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

  #skip(event: Event): void {
    event.preventDefault(); // the fragment of the address names the chat
    this.#focus('composer');
  }

  async #load(source = this.#loading.source, keep = true): Promise<void> {
    this.question = undefined;
    const asked = document.activeElement !== document.body; // by somebody who is at work here: focus goes along
    history.replaceState(null, '', location.pathname + writeAddress(location.search, source) + location.hash);
    const loaded = this.#loading.start(source, this.#conversation.chat.settings.engine, keep);
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

  #ask(text: string): Promise<void> {
    return this.#answer((model) => this.#conversation.ask(text, model));
  }

  /** Keeps the end in view while the answer comes, and reads it out once it is there. */
  async #answer(start: (model: Model) => Promise<void>): Promise<void> {
    const { model } = this.#loading;
    if (!model) return;
    this.#composer.value?.focusBox();
    this.following = true;
    this.said = 'The model is writing';
    const { id } = this.#conversation.chat;
    await start(model);
    if (this.#conversation.chat.id === id) this.said = branch(this.#conversation.chat).at(-1)?.text ?? '';
  }

  readonly #newChat = async (): Promise<void> => {
    this.#closeDrawer();
    await this.#chats.fresh(this.#loading.engine);
    this.following = true;
    this.said = 'New chat';
    this.#composer.value?.focusBox();
  };

  async #open(hit: Hit): Promise<void> {
    this.#closeDrawer();
    this.following = !hit.turn;
    await this.#chats.open(hit);
    this.said = `${hit.chat.title}, ${plural(branch(hit.chat).length, 'message')}`;
    await this.updateComplete;
    if (hit.turn) document.getElementById(`turn-${hit.turn.id}`)?.scrollIntoView({ block: 'start' });
    this.#composer.value?.focusBox();
  }

  #closeDrawer(): void {
    const side = this.querySelector<HTMLElement>('#side');
    if (side?.matches('[popover]:popover-open')) side.hidePopover();
  }

  readonly #toggled = (event: Event): void =>
    keepBehind(event, this.querySelectorAll<HTMLElement>('main, .desk, .bar'));

  readonly #openNamed = (): void => void this.#chats.openNamed();

  readonly #closing = (): void => this.#chats.saveNow();

  readonly #saveNow = (): void => {
    if (document.visibilityState === 'hidden') this.#chats.saveNow();
  };

  readonly #keydown = (event: KeyboardEvent): void => {
    const open = document.querySelector('dialog[open], [popover]:popover-open');
    if (event.key === 'k' && (event.ctrlKey || event.metaKey) && !document.querySelector('dialog[open]')) {
      event.preventDefault();
      this.querySelector<HTMLElement>('#side[popover]')?.showPopover();
      this.#focus('search');
    }
    if (event.key !== 'Escape' || open || !this.#conversation.running) return;
    event.preventDefault();
    this.#conversation.stop();
    this.#composer.value?.focusBox();
  };
}

restoreTheme();
customElements.define('sterna-app', App);
