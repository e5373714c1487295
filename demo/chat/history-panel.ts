import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { plural } from '../figures';
import { icons } from '../mark';
import { type Problem, problemCard } from '../problem';
import type { Chat } from './chat';
import { type Hit, search } from './search';

/**
 * The chats of the past. Events: `open` (CustomEvent with a hit), `rename` (CustomEvent with `{ id, title }`), `remove`
 * (CustomEvent with an id), `undo`, `forget`, `take` (CustomEvent with a file), `give` (CustomEvent with the chats to
 * export), `calm` when a message has been read.
 */
class HistoryPanel extends LitElement {
  static override properties = {
    chats: { attribute: false },
    current: { attribute: false },
    deleted: { attribute: false },
    kept: { attribute: false },
    problem: { attribute: false },
    news: { attribute: false },
    query: { state: true },
    opened: { state: true },
    renaming: { state: true },
    more: { state: true },
  };
  /** Last changed first. */
  declare chats: readonly Chat[];
  /** The id of the chat on show. */
  declare current: string;
  /** The chat that was deleted last. */
  declare deleted: Chat | undefined;
  declare kept: boolean;
  /** Why a file could not be taken in. */
  declare problem: Problem | undefined;
  /** What a file brought. */
  declare news: string;
  declare query: string;
  /** The ids of the chats whose tools are shown, or whose title is being written. */
  declare opened: string | undefined;
  declare renaming: string | undefined;
  /** Export and import are shown. */
  declare more: boolean;

  constructor() {
    super();
    this.chats = [];
    this.kept = true;
    this.query = this.current = this.news = '';
    this.more = false;
  }

  protected override createRenderRoot(): this {
    return this;
  }

  focusSearch(): void {
    this.querySelector<HTMLElement>('#search')?.focus();
  }

  protected override render(): TemplateResult {
    const hits: readonly Hit[] = this.query.trim()
      ? search(this.chats, this.query)
      : this.chats.map((chat) => ({ chat }));
    return html`
      <section class="history" aria-labelledby="history-title" data-testid="history">
        <div class="history-head">
          <h2 id="history-title">Chats</h2>
          <button
            class="icon-button"
            data-testid="history-more"
            aria-label="Export and import"
            title="Export and import"
            aria-expanded=${this.more}
            @click=${this.#toggleMore}
          >
            ${icons.more}
          </button>
        </div>
        ${this.more ? this.#transfer() : nothing}
        ${this.problem ? this.#failure(this.problem) : nothing}
        <p class="history-news" role="status" data-testid="history-news">${this.news}</p>
        ${this.chats.length > 0 ? this.#search(hits.length) : nothing}
        ${hits.length > 0 ? this.#list(hits) : nothing}
        ${this.chats.length === 0 ? html`<p class="hint">Your chats will be here. They stay in this browser.</p>` : nothing}
        ${this.kept ? nothing : html`<p class="notice" data-testid="history-unkept">This browser keeps nothing for this page: chats are gone when the tab is closed. Export what you want to keep.</p>`}
        ${this.deleted ? this.#undo(this.deleted) : nothing}
      </section>
    `;
  }

  #list(hits: readonly Hit[]): TemplateResult {
    return html`<ul class="chats">
      ${repeat(
        hits,
        ({ chat }) => chat.id,
        (hit) => this.#row(hit),
      )}
    </ul>`;
  }

  #search(found: number): TemplateResult {
    return html`
      <input
        id="search"
        type="search"
        data-testid="search"
        aria-label="Search the chats"
        placeholder="Search"
        autocomplete="off"
        .value=${this.query}
        @input=${(event: Event) => {
          this.query = (event.target as HTMLInputElement).value;
        }}
      />
      <p class=${this.query && found === 0 ? 'hint' : 'unseen'} role="status" data-testid="search-found">
        ${this.query.trim() ? (found === 0 ? 'No chat has these words.' : `${plural(found, 'chat')} found`) : nothing}
      </p>
    `;
  }

  #row(hit: Hit): TemplateResult {
    const { id, title } = hit.chat;
    const [before, word, after] = hit.snippet ?? [];
    if (this.renaming === id) return this.#nameField(hit.chat);
    const open = this.opened === id;
    return html`
      <li data-testid="chat" data-id=${id} class=${id === this.current ? 'current' : ''}>
        <button class="chat-title" data-testid="chat-open" aria-current=${id === this.current ? 'page' : nothing} @click=${() => this.#emit('open', hit)}>
          <span>${title}</span>
          ${word ? html`<small>${before}<mark>${word}</mark>${after}</small>` : nothing}
        </button>
        <button
          class="icon-button chat-more"
          data-testid="chat-more"
          aria-label="More for ${title}"
          title="Rename, export, delete"
          aria-expanded=${open}
          @click=${() => {
            this.opened = open ? undefined : id;
          }}
        >
          ${icons.more}
        </button>
        ${
          open
            ? html`<div class="chat-tools">
                <button class="quiet" data-testid="chat-rename" @click=${() => this.#rename(id)}>Rename</button>
                <button class="quiet" data-testid="chat-export" @click=${() => this.#emit('give', [hit.chat])}>Export</button>
                <button class="quiet" data-testid="chat-delete" @click=${() => this.#remove(id)}>Delete</button>
              </div>`
            : nothing
        }
      </li>
    `;
  }

  #nameField({ id, title }: Chat): TemplateResult {
    const done = (event: Event) => {
      const field =
        (event.currentTarget as HTMLElement).querySelector('input') ?? (event.currentTarget as HTMLInputElement);
      event.preventDefault();
      if (this.renaming !== id) return;
      if (field.value.trim() && field.value.trim() !== title) this.#emit('rename', { id, title: field.value.trim() });
      void this.#leaveName(id);
    };
    const key = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      event.preventDefault(); // an open drawer would close
      event.stopPropagation();
      void this.#leaveName(id);
    };
    return html`
      <li data-testid="chat" data-id=${id}>
        <form class="chat-name" @submit=${done}>
          <input data-testid="chat-name" aria-label="Title of the chat" maxlength="200" .value=${title} @keydown=${key} @blur=${done} />
        </form>
      </li>
    `;
  }

  #transfer(): TemplateResult {
    return html`
      <div class="chat-tools" data-testid="transfer">
        <button class="quiet" data-testid="export-all" ?disabled=${this.chats.length === 0} @click=${() => this.#emit('give', this.chats)}>
          Export all
        </button>
        <label class="picker quiet">
          <span>Import…</span>
          <input class="unseen" type="file" accept=".json,application/json" data-testid="import" @change=${this.#pick} />
        </label>
      </div>
    `;
  }

  #failure(problem: Problem): TemplateResult {
    return problemCard(
      problem,
      html`<button data-testid="history-calm" @click=${() => this.#emit('calm')}>Close</button>`,
    );
  }

  #undo({ title }: Chat): TemplateResult {
    return html`
      <div class="undo" data-testid="undo-bar">
        <p role="status">Deleted <q>${title}</q></p>
        <button data-testid="undo" @click=${() => this.#emit('undo')}>Undo</button>
        <button class="icon-button" aria-label="Close" title="Close" @click=${() => this.#emit('forget')}>${icons.close}</button>
      </div>
    `;
  }

  protected override updated(changes: PropertyValues): void {
    const here = this.contains(document.activeElement) || document.activeElement === document.body;
    if (changes.has('deleted') && this.deleted && here) {
      this.querySelector<HTMLElement>('[data-testid=undo]')?.focus(); // the row is gone, and its buttons with it
    }
    if (changes.has('renaming') && this.renaming) this.querySelector<HTMLInputElement>('.chat-name input')?.select();
  }

  #rename(id: string): void {
    this.opened = undefined;
    this.renaming = id;
  }

  async #leaveName(id: string): Promise<void> {
    const byKeyboard = this.querySelector('.chat-name input') === document.activeElement;
    this.renaming = undefined;
    await this.updateComplete;
    if (byKeyboard) this.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"] .chat-title`)?.focus();
  }

  #remove(id: string): void {
    this.opened = undefined;
    this.#emit('remove', id);
  }

  #toggleMore(): void {
    this.more = !this.more;
  }

  #pick(event: Event): void {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    input.value = ''; // the same file can then be picked again
    if (file) this.#emit('take', file);
  }

  #emit(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

customElements.define('sterna-history', HistoryPanel);
