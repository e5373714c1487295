import { html, nothing, type TemplateResult } from 'lit';
import { bytes } from './figures';
import { firstRun } from './first-run';
import { mark } from './mark';
import { titleOf } from './models/known-models';
import type { Loading } from './models/loading';
import { keptWords, shareOf } from './models/on-device';
import { loadProgress } from './models/progress';
import { embedded, isEmbedded, type PageSource } from './models/source';
import { tokenForm } from './models/token-form';
import { problemCard, wantsToken } from './problem';

const storySuggestions = [
  'Tell me a story about a dog and a ball.',
  'Tell me a story about a girl named Lily and a cat.',
  'Tell me a story about a boy named Tim.',
  'Who are you?',
];
const suggestions = [
  'Who are you?',
  'Write a short poem about the sea.',
  'Explain in two sentences why the sky is blue.',
];

export interface FrontActions {
  ask: (text: string) => void;
  /** Loads this, or what was to be loaded last. */
  load: (source?: PageSource) => void;
  /** The same, without keeping it in the browser's storage. */
  loadUnkept: () => void;
  /** Deletes what a load has left on this device. */
  discard: () => void;
  /** Opens the list of models, or of what is stored. */
  choose: () => void;
  manage: () => void;
}

/** How the model is doing while it cannot answer: on its way, or failed. */
export function loadState(loading: Loading, actions: FrontActions): TemplateResult {
  const { problem, progress } = loading;
  return problem ? failure(loading, actions) : loadProgress(progress, () => loading.cancel());
}

function failure(
  { problem, progress, kept, source }: Loading,
  { load, loadUnkept, discard, choose, manage }: FrontActions,
) {
  const { code } = problem!;
  const partly = kept && !kept.complete ? kept : undefined;
  const toGo = partly && progress?.total ? `, ${bytes(progress.total * (1 - shareOf(partly)))} to go` : '';
  const again = partly ? `Resume${toGo}` : code === 'aborted' ? 'Load the model' : 'Try again';
  const asksForToken = wantsToken(problem!, source);
  const buttons = html`
    <button class=${asksForToken ? '' : 'primary'} data-testid="retry" @click=${() => load()}>${again}</button>
    ${partly ? html`<button data-testid="discard" @click=${discard}>Delete what is here</button>` : nothing}
    ${
      code === 'quota'
        ? html`<button data-testid="manage-storage" @click=${manage}>Manage storage</button>
            <button data-testid="load-unkept" @click=${loadUnkept}>Load without keeping it</button>`
        : nothing
    }
    <button data-testid="change-model" @click=${choose}>Change model</button>
    ${isEmbedded(source) ? nothing : html`<button data-testid="use-embedded" @click=${() => load(embedded)}>Use the story model</button>`}
  `;
  const more = html`
    ${partly ? html`<p data-testid="kept">What has arrived is kept: ${keptWords(partly)}.</p>` : nothing}
    ${asksForToken ? tokenForm(source, load) : nothing}
  `;
  return problemCard(problem!, buttons, more);
}

/**
 * What stands where the conversation will be: `content` while there is no model to invite to. `first`: nobody has
 * chatted here before.
 */
export function front(
  loading: Loading,
  content: TemplateResult | undefined,
  first: boolean,
  actions: FrontActions,
): TemplateResult {
  const story = isEmbedded(loading.source);
  const [title, lead] = content
    ? [titleOf(loading.source), 'A language model that would answer here, in this tab.']
    : story
      ? ['A small storyteller, on your own processor', 'It reads your wish and writes a short story, here in this tab.']
      : ['A language model, on your own processor', 'It answers here, in this tab.'];
  return html`
    <div class="front">
      ${mark(88)}
      <h2>${title}</h2>
      <p class="lead">${lead} ${first ? nothing : 'Nothing you write leaves this device.'}</p>
      ${first && !content && !loading.problem ? firstRun(loading) : nothing}
      ${content ?? (loading.model ? invitation(story, actions) : loadState(loading, actions))}
    </div>
  `;
}

const invitation = (story: boolean, { ask, choose }: FrontActions): TemplateResult => html`
  <ul class="suggestions">
    ${(story ? storySuggestions : suggestions).map(
      (text) => html`<li><button data-testid="suggestion" @click=${() => ask(text)}>${text}</button></li>`,
    )}
  </ul>
  <button class="quiet" data-testid="more-models" @click=${choose}>${story ? 'Larger models' : 'Other models'}</button>
`;
