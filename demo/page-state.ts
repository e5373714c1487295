import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { update, watchForUpdate } from './offline';

/** What is to be said of the page itself: that a new version is ready. */
class PageState extends LitElement {
  static override properties = { renewed: { state: true } };
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
    @media (max-width: 56rem) {
      div {
        inset-block-start: 3.5rem; /* below the bar */
      }
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
    this.renewed = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void watchForUpdate(() => {
      this.renewed = true;
    });
  }

  protected override render(): TemplateResult {
    return html`<div role="status">${this.renewed ? this.#update() : nothing}</div>`;
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
