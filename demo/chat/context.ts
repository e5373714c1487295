/** How much of the context the conversation takes, and what to do when it is full. */
import { html, nothing, type TemplateResult } from 'lit';
import type { ModelInfo } from '../../src/index';
import { count, plural } from '../figures';

export type Fullness = 'roomy' | 'nearly' | 'full';

const nearlyFull = 0.85;
/** With less room (tokens), hardly any question fits with its answer. */
const leastRoom = 16;

function fullness(used: number, contextLength: number): Fullness {
  if (contextLength - used < leastRoom) return 'full';
  return used / contextLength > nearlyFull ? 'nearly' : 'roomy';
}

const meterWords: Record<Fullness, string> = {
  roomy: 'Context',
  nearly: 'Context nearly full:',
  full: 'Context full:',
};

/** Stands at the end of the page, at all times. */
export function contextMeter(used: number, { contextLength }: ModelInfo): TemplateResult {
  const state = fullness(used, contextLength);
  return html`
    <label class="context ${state}" title="Tokens of this conversation that the model reads, of those that it can read">
      <span>${meterWords[state]} ${count(used)} of ${count(contextLength)}</span>
      <meter data-testid="context" min="0" max=${contextLength} value=${used}></meter>
    </label>
  `;
}

export interface ContextActions {
  fresh: () => void;
  /** Shows the settings, where there is one for the size of the context. */
  settings: () => void;
}

/** Said above the text box once there is little room, and when there is none. */
export function contextNotice(
  used: number,
  { contextLength, config }: ModelInfo,
  { fresh, settings }: ContextActions,
): TemplateResult | typeof nothing {
  const state = fullness(used, contextLength);
  if (state === 'roomy') return nothing;
  const larger = config.maxPositions > contextLength;
  const words =
    state === 'full'
      ? `The context is full (${plural(contextLength, 'token')}): the model cannot go on here. Begin a new chat${larger ? ', edit an earlier message, or give it more context' : ' or edit an earlier message'}.`
      : `The context is nearly full: room for ${plural(contextLength - used, 'more token')}. After that, answers end early.`;
  return html`
    <div class="notice row" role="status" data-testid="notice-context" data-state=${state}>
      <p>${words}</p>
      <span class="notice-buttons">
        <button data-testid="context-fresh" @click=${fresh}>New chat</button>
        ${larger ? html`<button data-testid="context-more" @click=${settings}>More context</button>` : nothing}
      </span>
    </div>
  `;
}
