import { html, type TemplateResult } from 'lit';

/** No shared memory: said above the conversation. */
export const isolationNotice = (): TemplateResult => html`
  <p class="notice" data-testid="notice-isolation">
    One thread only: this server does not send the COOP and COEP headers, without which browsers share no memory between
    threads.
  </p>
`;

/** The chat wants the engine otherwise than it runs: said above the text box. */
export const engineNotice = (reload: () => void): TemplateResult => html`
  <div class="notice row" data-testid="notice-engine">
    <p>This chat has other engine settings than the model runs with.</p>
    <button data-testid="notice-reload" @click=${reload}>Load the model again</button>
  </div>
`;
