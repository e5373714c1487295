import { html, type TemplateResult } from 'lit';
import type { HubSource } from '../../src/index';
import { hostOf, pageOf } from './source';

/** Asks for the access token of a gated repository; `use` gets the source with it. The page keeps the token nowhere else. */
export function tokenForm(source: HubSource, use: (source: HubSource) => void): TemplateResult {
  const host = hostOf(source) || location.host;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).querySelector('input')!;
    const token = field.value.trim();
    field.value = '';
    if (token) use({ ...source, token });
  };
  return html`
    <form class="token" data-testid="token-form" @submit=${submit}>
      <p><a href=${pageOf(source)} target="_blank" rel="noopener">The page of ${source.repo}</a></p>
      <label for="token">Access token for ${host}</label>
      <div class="row">
        <input
          id="token"
          data-testid="token"
          type="password"
          autocomplete="off"
          spellcheck="false"
          aria-describedby="token-hint"
        />
        <button class="primary" data-testid="token-use">Use it</button>
      </div>
      <p class="hint" id="token-hint">It goes to ${host} only, for this load only, and is never stored.</p>
    </form>
  `;
}
