import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { deleteModel, type HubSource, type Inspection, inspect, type LoadOptions, listModels } from '../../src/index';
import { bytes, millions } from '../figures';
import { type Problem, problemCard, problemOf, wantsToken } from '../problem';
import { knownModel } from './known-models';
import { cachedOf } from './on-device';
import { hostOf, isRepository, nameOf, originOf, type PageSource, pageOf } from './source';
import { tokenForm } from './token-form';

/**
 * What a source holds and what it would cost; nothing large is fetched for it. Events: `start` (CustomEvent with the
 * source), `stored` when what was here of it has been deleted.
 */
class InspectionCard extends LitElement {
  static override properties = {
    source: { attribute: false },
    options: { attribute: false },
    eager: { attribute: false },
    found: { state: true },
    problem: { state: true },
  };
  declare source: PageSource;
  declare options: LoadOptions;
  /** Start at once what is on this device already. */
  declare eager: boolean;
  declare found: Inspection | undefined;
  declare problem: Problem | undefined;
  #attempt: AbortController | undefined;

  protected override createRenderRoot(): this {
    return this;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#attempt?.abort();
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (changes.has('source')) void this.#look(this.source);
  }

  async #look(source: PageSource): Promise<void> {
    this.#attempt?.abort();
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.found = this.problem = undefined;
    try {
      const found = await inspect(source, { ...this.options, signal: attempt.signal });
      if (attempt !== this.#attempt) return;
      this.found = found;
      if (this.eager && found.cached === 'complete') this.#start();
    } catch (error) {
      if (attempt === this.#attempt) this.problem = problemOf(error, source);
    }
  }

  protected override render(): TemplateResult {
    const { found, problem } = this;
    return html`
      <section class="inspection" data-testid="inspection" data-cached=${found?.cached ?? nothing}>
        <p class="origin">${originOf(this.source)}</p>
        ${problem ? this.#failure(problem) : found ? this.#facts(found) : this.#pending()}
        <p class="unseen" role="status">${found ? `${found.name}: ${this.#action(found)}` : nothing}</p>
      </section>
    `;
  }

  #pending(): TemplateResult {
    return html`<p class="pending" role="status">
      <span class="trits" aria-hidden="true"><i>−</i><i>0</i><i>+</i></span> Looking at ${nameOf(this.source)}
    </p>`;
  }

  #failure(problem: Problem): TemplateResult {
    const { source } = this;
    const files = isRepository(source) ? severalFiles(problem) : [];
    if (files.length > 1) return this.#choice(source as HubSource, files);
    const again = html`<button data-testid="look-again" @click=${() => this.#look(source)}>Try again</button>`;
    const token = wantsToken(problem, source)
      ? tokenForm(source, (withToken) => {
          this.source = withToken;
        })
      : nothing;
    return problemCard(problem, again, token);
  }

  #choice(source: HubSource, files: readonly string[]): TemplateResult {
    return html`
      <p role="status">This repository holds several models. Which one?</p>
      <ul class="models">
        ${files.map((file) => {
          const choose = () => {
            this.source = { ...source, file };
          };
          return html`<li><button data-testid="file" @click=${choose}>${file}</button></li>`;
        })}
      </ul>
    `;
  }

  #facts(found: Inspection): TemplateResult {
    const licence = knownModel(this.source)?.licence;
    const page = isRepository(this.source) ? pageOf(this.source) : undefined;
    const link = page && html`<a href=${page} target="_blank" rel="noopener">${licence ?? 'see its page'}</a>`;
    const facts: (readonly [name: string, value: unknown])[] = [
      ['Parameters', millions(found.parameters)],
      ['Format', found.format],
      ['Licence', link ?? 'not known here'],
      ['Download', downloadWords(found)],
      ...(Array.isArray(this.source) ? [] : [['Space on this device', bytes(found.storedBytes)] as const]),
      ['Memory while it runs', bytes(found.memoryBytes)],
      ...(found.hasTokenizer ? [] : [['Tokenizer', 'none: it cannot chat'] as const]),
      ...(page ? [['Version', found.version.slice(0, 12)] as const] : []),
    ];
    return html`
      <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      ${found.obstacles.length > 0 ? this.#obstacles(found.obstacles) : nothing}
      <div class="row">
        <button class="primary" data-testid="start" @click=${this.#start}>${this.#action(found)}</button>
        ${
          found.cached === 'partly'
            ? html`<button data-testid="discard" @click=${this.#discard}>Delete what is here</button>`
            : nothing
        }
      </div>
      <p class="hint">${this.#privacy(found)}</p>
    `;
  }

  #obstacles(obstacles: readonly string[]): TemplateResult {
    return html`<div class="notice" data-testid="obstacles">
      <b>This may not work here</b>
      <ul>${obstacles.map((words) => html`<li>${words}</li>`)}</ul>
    </div>`;
  }

  #action({ cached, downloadBytes, obstacles }: Inspection): string {
    const anyway = obstacles.length > 0;
    if (cached === 'partly') return `Resume, ${bytes(downloadBytes)} to go`;
    if (cached === 'complete' || downloadBytes === 0) return anyway ? 'Start anyway' : 'Start';
    return `Download ${bytes(downloadBytes)} ${anyway ? 'anyway' : 'and start'}`;
  }

  #privacy({ downloadBytes }: Inspection): string {
    const host = hostOf(this.source);
    const files = downloadBytes > 0 ? `The files come from ${host || 'this server'}. ` : '';
    return `${files}It runs on your own processor: nothing you write leaves this device.`;
  }

  /** Deletes what is here of it, and looks at it again. */
  async #discard(): Promise<void> {
    const { source } = this;
    try {
      const cached = cachedOf(source, await listModels());
      if (cached) await deleteModel(cached.id);
      this.dispatchEvent(new Event('stored'));
      await this.#look(source);
    } catch (error) {
      this.problem = problemOf(error, source);
    }
  }

  readonly #start = (): void => {
    this.dispatchEvent(new CustomEvent('start', { detail: this.source }));
  };
}

/** The weight files that a repository without a single one holds, as the error names them. */
function severalFiles({ code, facts }: Problem): string[] {
  const found = code === 'bad-input' ? facts.find(([name]) => name === 'Found')?.[1] : undefined;
  return found?.split(', ').filter((file) => /\.gguf$/i.test(file)) ?? [];
}

function downloadWords({ cached, downloadBytes, totalBytes }: Inspection): string {
  if (cached === 'complete') return 'none: it is on this device';
  if (downloadBytes === 0) return 'none';
  return downloadBytes < totalBytes
    ? `${bytes(downloadBytes)} of ${bytes(totalBytes)} still to go`
    : bytes(downloadBytes);
}

customElements.define('sterna-inspection', InspectionCard);
