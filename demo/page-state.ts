import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { update, watchForUpdate } from './offline';

/** What is to be said of the page itself: that there is no connection, and that a new version is ready. */
class PageState extends LitElement {
  static override properties = { offline: { state: true }, renewed: { state: true } };
  declare offline: boolean;
  declare renewed: boolean;

  static override styles = css`
    div {
      position: fixed;
      z-index: 10;
      inset: 0.6rem 0 auto;
      display: grid;
      justify-items: center;
      pointer-events: none;
      font-size: var(--small);
    }
    .state {
      inset: auto 0 1.15rem;
    }
    p {
      display: flex;
      align-items: center;
      margin: 0;
      pointer-events: auto;
    }
    .update {
      gap: 0.75rem;
      padding: 0.3rem 0.35rem 0.3rem 0.85rem;
      border: 1px solid var(--line);
      border-radius: 2rem;
      background: var(--raised);
      color: var(--ink);
      box-shadow: 0 4px 18px rgb(0 0 0 / 0.12);
    }
    .offline {
      padding: 0.1rem 0.6rem;
      border-radius: 2rem;
      background: var(--wash);
      color: var(--ink);
    }
    button {
      min-height: 2rem;
      padding: 0 0.8rem;
      border: 0;
      border-radius: 2rem;
      background: none;
      color: inherit;
      font: inherit;
      cursor: pointer;
    }
    .primary {
      background: var(--accent);
      color: var(--on-accent);
    }
    button:focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 2px;
    }
  `;

  constructor() {
    super();
    this.offline = !navigator.onLine;
    this.renewed = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    for (const event of ['online', 'offline']) {
      addEventListener(event, () => {
        this.offline = !navigator.onLine;
      });
    }
    void watchForUpdate(() => {
      this.renewed = true;
    });
  }

  protected override render(): TemplateResult {
    return html`<div role="status">${this.renewed ? this.#update() : nothing}</div>
      <div role="status" class="state">
        ${
          this.offline
            ? html`<p class="offline" data-testid="offline" title="Models on this device go on working.">Offline</p>`
            : nothing
        }
      </div>`;
  }

  #update(): TemplateResult {
    const later = (): void => {
      this.renewed = false;
    };
    return html`<p class="update" data-testid="update">
      A new version is ready.
      <span>
        <button class="primary" data-testid="update-reload" @click=${update}>Reload</button>
        <button data-testid="update-later" @click=${later}>Later</button>
      </span>
    </p>`;
  }
}

customElements.define('sterna-page-state', PageState);
