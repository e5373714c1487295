import { html, nothing, type TemplateResult } from 'lit';
import { count, duration, plural, rate } from '../figures';
import type { Figures } from './chat';

/** A rate over fewer tokens than this says nothing. */
const FEW = 8;

/** There was no room for another token. */
export const fillsContext = ({ usage, contextLength }: Figures): boolean =>
  usage.promptTokens + usage.completionTokens >= contextLength;

/** The figures under an answer: the main ones in a line, the rest when it is opened. */
export function figuresLine(figures: Figures): TemplateResult {
  const { usage, timings, finishReason, seed, model, contextLength } = figures;
  const { promptTokens, cachedTokens, completionTokens } = usage;
  const used = promptTokens + completionTokens;
  const cached = cachedTokens === 0 ? '' : `, ${count(cachedTokens)} cached`;
  const prefill = promptTokens - cachedTokens < FEW ? undefined : rate(timings.promptTokensPerSecond);
  return html`
    <details class="stats" data-testid="stats">
      <summary>
        ${finishReason === 'abort' ? html`<span class="flag">Stopped</span>` : nothing}
        ${finishReason === 'length' ? html`<span class="flag">${fillsContext(figures) ? 'Cut: the context is full' : 'Cut: token limit'}</span>` : nothing}
        <span><b>${rate(timings.decodeTokensPerSecond)}</b> tokens/s</span>
        <span><b>${plural(completionTokens, 'token')}</b></span>
        <span>first after <b>${duration(timings.firstTokenMs)}</b></span>
        ${prefill ? html`<span>prefill <b>${prefill}</b> tokens/s</span>` : nothing}
      </summary>
      <ul>
        <li>context <b>${count(used)}</b> of ${count(contextLength)}</li>
        <li>prompt <b>${count(promptTokens)}</b>${cached}</li>
        <li>prefill <b>${duration(timings.promptMs)}</b></li>
        <li>decode <b>${duration(timings.decodeMs)}</b></li>
        <li>seed <b>${seed}</b></li>
        <li>${model}</li>
      </ul>
    </details>
  `;
}
