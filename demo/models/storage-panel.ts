import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { type CachedModel, deleteModel, persistStorage, type StorageFacts, verifyModel } from '../../src/index';
import { keptCache } from '../chat/kept-cache';
import { bytes, plural } from '../figures';
import { problemOf } from '../problem';
import { titleOf } from './known-models';
import { percent, shareOf } from './on-device';
import { originOf, type PageSource, sameSource } from './source';

/** An integrity check under way. */
interface Check {
  id: string;
  share: number;
  attempt: AbortController;
}

const when = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/**
 * What is in the browser's storage, and what can be done with it. Events: `look` (CustomEvent with a source), `stored`
 * when something has changed.
 */
class StoragePanel extends LitElement {
  static override properties = {
    models: { attribute: false },
    facts: { attribute: false },
    running: { attribute: false },
    loading: { attribute: false },
    asked: { state: true },
    check: { state: true },
    results: { state: true },
    persistence: { state: true },
  };
  declare models: readonly CachedModel[];
  declare facts: StorageFacts | undefined;
  /** What the page's model was loaded from; deleting it from storage leaves the model at work. */
  declare running: PageSource | undefined;
  /** What is being loaded now: it cannot be deleted. */
  declare loading: PageSource | undefined;
  /** The id of the model whose deletion is to be confirmed. */
  declare asked: string | undefined;
  declare check: Check | undefined;
  /** What the last check or deletion of a model came to, by id. */
  declare results: ReadonlyMap<string, string>;
  /** The browser's answer to the wish to keep the models. */
  declare persistence: string;

  constructor() {
    super();
    this.results = new Map();
    this.persistence = '';
  }

  protected override createRenderRoot(): this {
    return this;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.check?.attempt.abort();
  }

  protected override render(): TemplateResult {
    return html`
      <section class="storage" tabindex="-1" aria-label="Stored models" data-testid="storage">
        ${this.facts ? this.#room(this.facts) : html`<p>This browser keeps no models for this page.</p>`}
        <ul class="stored">
          ${repeat(
            this.models,
            ({ id }) => id,
            (model) => this.#row(model),
          )}
        </ul>
      </section>
    `;
  }

  #room(facts: StorageFacts): TemplateResult {
    const { used, quota, persisted, sessions } = facts;
    return html`
      <div class="room" data-testid="quota">
        <p>${roomWords(facts)}</p>
        <meter min="0" max=${quota} value=${used} aria-label="Storage in use">${bytes(used)}</meter>
        <p class="hint">
          This site takes ${bytes(used)} in all, of the ${bytes(quota)} that the browser allows it. How much room the disk
          really has, it does not tell.
        </p>
      </div>
      ${
        sessions > 0
          ? html`
              <div class="room">
                <p data-testid="kept-chats">${bytes(sessions)} of what the model has read, so that chats go on at once after a reload.</p>
                <button data-testid="forget-chats" @click=${this.#forget}>Clear it</button>
              </div>
            `
          : nothing
      }
      <div class="room" role="status">
        ${
          persisted
            ? html`<p data-testid="persisted">The browser keeps all of it until you delete it.</p>`
            : html`
                <p>The browser may delete the models when the disk gets full.</p>
                <button data-testid="persist" @click=${this.#persist}>Ask the browser to keep them</button>
                ${this.persistence ? html`<p class="hint" data-testid="persist-answer">${this.persistence}</p>` : nothing}
              `
        }
      </div>
    `;
  }

  #row(model: CachedModel): TemplateResult {
    const { id, source, complete, outdated, usedAt } = model;
    const name = titleOf(source, model.name);
    const size = complete ? bytes(model.bytes) : `${bytes(model.bytes)}, ${percent(shareOf(model))} of it`;
    return html`
      <li data-testid="stored" data-id=${id} data-complete=${complete}>
        <h3>${name}</h3>
        <p class="about">${originOf(source)}</p>
        <p class="standing">
          <span>${size}</span>
          ${complete ? nothing : html`<span>a download to be resumed</span>`}
          ${outdated ? html`<span class="flag">older version; a newer one is here</span>` : nothing}
          <span>last used ${when.format(usedAt)}</span>
        </p>
        <p class="result" role="status" data-testid="stored-result">${this.#progressWords(id)}</p>
        <div class="row">${this.#buttons(model, name)}</div>
      </li>
    `;
  }

  #progressWords(id: string): string {
    return this.check?.id === id ? `Checking, ${percent(this.check.share)}` : (this.results.get(id) ?? '');
  }

  #buttons(model: CachedModel, name: string): TemplateResult {
    const { id, source, complete } = model;
    if (this.asked === id) {
      return html`
        <span class="ask">Delete ${name}, ${bytes(model.bytes)}?</span>
        <button class="primary" data-testid="delete-yes" @click=${() => this.#delete(id)}>Delete</button>
        <button data-testid="delete-no" @click=${() => this.#ask(undefined)}>Keep</button>
      `;
    }
    if (this.check?.id === id) {
      return html`<button data-testid="check-stop" @click=${() => this.check?.attempt.abort()}>Stop checking</button>`;
    }
    const [busy, runs] = [this.loading, this.running].map((other) => other !== undefined && sameSource(source, other));
    return html`
      ${
        runs
          ? nothing
          : html`<button data-testid="stored-start" aria-label="${complete ? 'Start' : 'Resume'} ${name}" ?disabled=${busy} @click=${() => this.#look(source)}>
              ${complete ? 'Start' : 'Resume'}
            </button>`
      }
      ${
        complete
          ? html`<button data-testid="check" aria-label="Check ${name}" ?disabled=${this.check !== undefined} @click=${() => this.#verify(id)}>Check</button>`
          : nothing
      }
      <button data-testid="delete" aria-label="Delete ${name}" ?disabled=${busy} @click=${() => this.#ask(id)}>Delete</button>
      ${busy ? html`<span class="hint">being loaded now</span>` : nothing}
      ${runs ? html`<span class="hint">in use</span>` : nothing}
    `;
  }

  /** Focus goes to the careful answer, and back to where the question came from. */
  async #ask(id: string | undefined): Promise<void> {
    const row = id ?? this.asked;
    this.asked = id;
    await this.updateComplete;
    this.querySelector<HTMLElement>(
      `[data-id="${CSS.escape(row ?? '')}"] [data-testid=${id ? 'delete-no' : 'delete'}]`,
    )?.focus();
  }

  async #delete(id: string): Promise<void> {
    this.asked = undefined;
    try {
      await deleteModel(id);
      this.querySelector<HTMLElement>('.storage')?.focus(); // the row goes, and its buttons with it
    } catch (error) {
      this.#say(id, `It could not be deleted: ${problemOf(error).message}`);
    }
    this.#changed();
  }

  async #verify(id: string): Promise<void> {
    const attempt = new AbortController();
    this.check = { id, share: 0, attempt };
    const onProgress = (done: number, total: number) => {
      if (this.check?.attempt === attempt) this.check = { id, share: total > 0 ? done / total : 0, attempt };
    };
    try {
      const { damaged } = await verifyModel(id, { onProgress, signal: attempt.signal });
      const bad = `${plural(damaged, 'part')} damaged: fetched again when the model is next loaded.`;
      this.#say(id, damaged === 0 ? 'Checked: every byte is as it was stored.' : bad);
    } catch (error) {
      const { code, message } = problemOf(error);
      this.#say(id, code === 'aborted' ? 'The check was stopped.' : `The check failed: ${message}`);
    }
    this.check = undefined;
    this.#changed();
  }

  async #forget(): Promise<void> {
    await keptCache.forgetAll();
    this.querySelector<HTMLElement>('.storage')?.focus(); // the button goes
    this.#changed();
  }

  async #persist(): Promise<void> {
    const kept = await persistStorage().catch(() => false);
    this.persistence = kept
      ? ''
      : 'The browser says no for now. Browsers promise it to pages that are bookmarked, installed or often used.';
    this.#changed();
  }

  #say(id: string, words: string): void {
    this.results = new Map(this.results).set(id, words);
  }

  #look(source: PageSource): void {
    this.dispatchEvent(new CustomEvent('look', { detail: source }));
  }

  #changed(): void {
    this.dispatchEvent(new Event('stored'));
  }
}

/** How much room there is, in one sentence. */
export const roomWords = ({ models, free }: StorageFacts): string =>
  models > 0
    ? `${bytes(models)} of models on this device; the browser allows about ${bytes(free)} more`
    : `No models on this device yet; the browser allows about ${bytes(free)}`;

customElements.define('sterna-storage', StoragePanel);
