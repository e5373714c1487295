import { html, type TemplateResult } from 'lit';
import { bytes } from './figures';
import type { Loading } from './models/loading';
import { hostOf, isEmbedded } from './models/source';

/** What a first visit should know: what comes in, what goes out, what is not needed. */
export function firstRun(loading: Loading): TemplateResult {
  const { model, progress, source } = loading;
  const size = model?.info.bytes.file ?? progress?.total ?? 0;
  const from = hostOf(source) || 'this site';
  const what = isEmbedded(source) ? 'The story model' : 'The model';
  const kept = model && !model.info.cached.now ? '' : ' It stays on this device and works without a network.';
  return html`
    <ul class="trit-facts" data-testid="first-run">
      <li>
        <b class="plus" aria-hidden="true">+</b>
        <h3>${size ? `${bytes(size)} come in` : 'A download'}</h3>
        <p>${what}, once, from ${from}.${kept} Larger ones are fetched only when you ask.</p>
      </li>
      <li>
        <b class="zero" aria-hidden="true">0</b>
        <h3>Nothing goes out</h3>
        <p>What you write and what it answers never leave this device. Chats are kept in this browser.</p>
      </li>
      <li>
        <b class="minus" aria-hidden="true">−</b>
        <h3>Nothing else is needed</h3>
        <p>No server, no account, no graphics card. Delete all of it whenever you like.</p>
      </li>
    </ul>
  `;
}
