import { html, nothing, type TemplateResult } from 'lit';
import type { Loading } from './loading';
import { mark } from './mark';
import { problemCard } from './problem';
import { loadProgress } from './progress';
import { isEmbedded } from './source';

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
  reload: () => void;
  useEmbedded: () => void;
}

/** How the model is doing while it cannot answer: on its way, or failed. */
export function loadState(loading: Loading, { reload, useEmbedded }: FrontActions): TemplateResult {
  const { problem, progress, speed, source } = loading;
  if (!problem) return loadProgress(progress, speed, () => loading.cancel());
  const other = html`<button data-testid="use-embedded" @click=${useEmbedded}>Use the story model</button>`;
  const again = html`<button class="primary" data-testid="retry" @click=${reload}>
    ${problem.code === 'aborted' ? 'Load the model' : 'Try again'}
  </button>`;
  return problemCard(problem, html`${again} ${isEmbedded(source) ? nothing : other}`);
}

/** What stands where the conversation will be: the model on its way, or an invitation. */
export function front(loading: Loading, actions: FrontActions): TemplateResult {
  const story = isEmbedded(loading.source);
  const invitation = html`
    <ul class="suggestions">
      ${(story ? storySuggestions : suggestions).map(
        (text) => html`<li><button data-testid="suggestion" @click=${() => actions.ask(text)}>${text}</button></li>`,
      )}
    </ul>
  `;
  return html`
    <div class="front">
      ${mark(104)}
      <h2>${story ? 'A small storyteller, on your own processor' : 'A language model, on your own processor'}</h2>
      <p class="lead">
        ${story ? 'It reads your wish and writes a short story, here in this tab.' : 'It answers here, in this tab.'}
        No server, no account.
      </p>
      ${loading.model ? invitation : loadState(loading, actions)}
    </div>
  `;
}
