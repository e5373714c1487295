import { html, LitElement, nothing, type TemplateResult } from 'lit';

/** Says that there is no connection, and nothing while there is one. */
class OfflineBadge extends LitElement {
  static override properties = { offline: { state: true } };
  declare offline: boolean;

  constructor() {
    super();
    this.offline = !navigator.onLine;
  }

  protected override createRenderRoot(): this {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    for (const event of ['online', 'offline']) addEventListener(event, this.#look);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const event of ['online', 'offline']) removeEventListener(event, this.#look);
  }

  protected override render(): TemplateResult {
    return html`<span role="status">
      ${this.offline ? html`<span class="offline" data-testid="offline" title="Models on this device go on working.">Offline</span>` : nothing}
    </span>`;
  }

  readonly #look = (): void => {
    this.offline = !navigator.onLine;
  };
}

customElements.define('sterna-offline', OfflineBadge);
