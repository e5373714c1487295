import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { ModelInfo } from '../../src/index';
import { bytes, count, millions } from '../figures';
import { icons } from '../mark';
import { knownModel, titleOf } from './known-models';
import { embeddedCard, isEmbedded, originOf, type PageSource } from './source';

/** What the model is and where it came from. Event: `change` when another one is wanted. */
class ModelCard extends LitElement {
  static override properties = {
    info: { attribute: false },
    source: { attribute: false },
    open: { state: true },
  };
  declare info: ModelInfo | undefined;
  declare source: PageSource;
  /** The card is a line and a button until it is opened. */
  declare open: boolean;

  constructor() {
    super();
    this.open = false;
  }

  protected override createRenderRoot(): this {
    return this;
  }

  protected override render(): TemplateResult {
    const { info } = this;
    return html`
      <section class="card ${this.open ? 'open' : ''}" aria-label="Model" data-testid="model-card">
        <button
          class="card-toggle"
          aria-expanded=${this.open}
          aria-controls="card-body"
          @click=${this.#toggle}
        >
          <span class="card-names">
            <span class="card-name">${this.#name}</span>
            <span class="card-brief">${info ? `${millions(info.parameters)}, ${bytes(info.bytes.file)}` : nothing}</span>
          </span>
          ${icons.down}
        </button>
        <div id="card-body" class="card-body">
          ${isEmbedded(this.source) ? this.#story() : html`<p>From ${originOf(this.source)}</p>`}
          ${info ? this.#facts(info) : nothing}
          <p class="privacy">It runs on your own processor. Nothing you write leaves this device.</p>
        </div>
        <button data-testid="choose-model" @click=${this.#change}>Change model</button>
      </section>
    `;
  }

  get #name(): string {
    return titleOf(this.source, this.info?.name);
  }

  #story(): TemplateResult {
    return html`
      <p>
        A very small language model that writes short stories in plain English. It was trained from nothing on 9,025
        stories from TinyStories, and knows nothing else. Every weight is −1, 0 or +1.
      </p>
      <p><a href=${embeddedCard} target="_blank" rel="noopener">Model card</a>: training, data and limits</p>
    `;
  }

  #facts(info: ModelInfo): TemplateResult {
    const licence = isEmbedded(this.source) ? 'MIT' : knownModel(this.source)?.licence;
    const facts = [
      ['Parameters', millions(info.parameters)],
      ['Download', bytes(info.bytes.file)],
      ['In memory', bytes(info.bytes.memory)],
      ['Context', `${count(info.contextLength)} tokens`],
      ['On this device', info.cached.now ? 'kept' : 'not kept'],
      ...(licence ? [['Licence', licence]] : []),
    ];
    return html`<dl class="facts">
      ${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>`;
  }

  #toggle(): void {
    this.open = !this.open;
  }

  #change(): void {
    this.open = false;
    this.dispatchEvent(new Event('change'));
  }
}

customElements.define('sterna-model-card', ModelCard);
