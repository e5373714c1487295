import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { ModelInfo } from '../../src/index';
import { icons } from '../mark';
import { type Engine, engineFields } from './engine-settings';
import { fallback, type NumberSetting, numberSettings, type Sampling } from './sampling';

/**
 * The panel of the settings of a chat. Events, on every valid change: `change-sampling` (CustomEvent with the new
 * settings), `change-engine` (CustomEvent with what has changed); `reload` when the model is to be loaded again with them.
 */
export class Settings extends LitElement {
  static override properties = {
    sampling: { attribute: false },
    engine: { attribute: false },
    loaded: { attribute: false },
    info: { attribute: false },
  };
  declare sampling: Sampling;
  declare engine: Engine;
  /** The engine settings that the model was loaded with. */
  declare loaded: Engine;
  /** The model that runs; its defaults are what a blank field means. */
  declare info: ModelInfo | undefined;

  protected override createRenderRoot(): this {
    return this;
  }

  show(): void {
    this.querySelector('dialog')?.showModal();
    this.querySelector('.panel-body')!.scrollTop = 0;
  }

  protected override render(): TemplateResult {
    return html`
      <dialog class="panel settings" data-testid="settings-panel" aria-labelledby="settings-title" @click=${this.#outside} @close=${this.#restore}>
        <form class="sheet" method="dialog">
          <header>
            <h2 id="settings-title">Settings</h2>
            <button class="icon-button" aria-label="Close" title="Close">${icons.close}</button>
          </header>
          <div class="panel-body fields">
            <p class="hint">For this chat. New chats begin with what was set last, but for the system prompt.</p>
            ${this.#systemPrompt()} ${numberSettings.map((setting) => this.#number(setting))}
            ${engineFields(this.engine, this.loaded, this.info, {
              change: (detail) => this.dispatchEvent(new CustomEvent('change-engine', { detail })),
              reload: () => this.#reload(),
            })}
          </div>
          <footer>
            <button type="button" data-testid="settings-reset" @click=${this.#reset}>Reset to defaults</button>
            <button class="primary" data-testid="settings-close">Done</button>
          </footer>
        </form>
      </dialog>
    `;
  }

  #systemPrompt(): TemplateResult {
    return html`
      <div class="field">
        <label for="setting-systemPrompt">System prompt</label>
        <textarea
          id="setting-systemPrompt"
          data-testid="setting-systemPrompt"
          rows="2"
          placeholder="None"
          .value=${this.sampling.systemPrompt ?? ''}
          @input=${(event: Event) => this.#set('systemPrompt', (event.target as HTMLTextAreaElement).value || undefined)}
        ></textarea>
        <p class="hint">Read by the model before the conversation; small models may not follow it</p>
      </div>
    `;
  }

  #number(setting: NumberSetting): TemplateResult {
    const { key, label, hint, min, max, step, slider } = setting;
    const usual = fallback(key, this.info?.defaults);
    const value = this.sampling[key];
    const id = `setting-${key}`;
    const input = (event: Event) => this.#setNumber(setting, event.target as HTMLInputElement);
    const range = html`<input
      type="range"
      aria-label="${label}, slider"
      min=${min}
      max=${max}
      step=${step}
      .value=${String(value ?? usual)}
      @input=${input}
    />`;
    return html`
      <div class="field ${slider ? 'sliding' : ''}">
        <label for=${id}>${label}</label>
        ${slider ? range : nothing}
        <input
          id=${id}
          data-testid=${id}
          type="number"
          inputmode="decimal"
          aria-describedby="${id}-hint"
          min=${min}
          max=${max}
          step=${slider ? 'any' : step}
          placeholder=${usual ?? (key === 'seed' ? 'random' : 'no limit')}
          .value=${value === undefined ? '' : String(value)}
          @input=${input}
        />
        <p class="hint" id="${id}-hint">${hint}</p>
      </div>
    `;
  }

  #setNumber({ key }: NumberSetting, input: HTMLInputElement): void {
    if (!input.validity.valid) return;
    this.#set(key, input.value === '' ? undefined : input.valueAsNumber);
  }

  #set<Key extends keyof Sampling>(key: Key, value: Sampling[Key]): void {
    this.#emit({ ...this.sampling, [key]: value });
  }

  #emit(detail: Sampling): void {
    this.dispatchEvent(new CustomEvent('change-sampling', { detail }));
  }

  #reload(): void {
    this.querySelector('dialog')?.close();
    this.dispatchEvent(new Event('reload'));
  }

  async #reset(): Promise<void> {
    this.#emit({});
    this.dispatchEvent(
      new CustomEvent('change-engine', { detail: { contextLength: undefined, threads: undefined, kernel: undefined } }),
    );
    await this.updateComplete;
    this.#restore();
  }

  /** Fields show what is in force again, also where something invalid was typed. */
  #restore(): void {
    for (const { key } of numberSettings) {
      const field = this.querySelector<HTMLInputElement>(`#setting-${key}`);
      if (field) field.value = this.sampling[key] === undefined ? '' : String(this.sampling[key]);
    }
    for (const key of ['contextLength', 'threads'] as const) {
      const field = this.querySelector<HTMLInputElement>(`#setting-${key}`);
      if (field) field.value = String(this.engine[key] ?? '');
    }
  }

  /** A press on the backdrop closes the panel. */
  #outside(event: MouseEvent): void {
    if (event.target === event.currentTarget) (event.currentTarget as HTMLDialogElement).close();
  }
}

customElements.define('sterna-settings', Settings);
