import { html, nothing, type TemplateResult } from 'lit';
import type { Phase, Progress } from '../src/index';
import { bytes } from './figures';

const words: Record<Phase, string> = {
  config: 'Reading the configuration',
  tokenizer: 'Reading the tokenizer',
  weights: 'Fetching the weights',
  warmup: 'Choosing the fastest kernel',
  ready: 'Ready',
};

/** The bar is a row of weights: each is -1, 0 or +1. */
const trits = [...'+0−−0+0+−+00−+−0+0−−+0+−00+−+0−+'];
const names: Record<string, string> = { '−': 'minus', '0': 'zero', '+': 'plus' };

/** How far the model has come, with a way out. `speed` is in bytes a second, 0 if not known yet. */
export function loadProgress(progress: Progress | undefined, speed: number, cancel: () => void): TemplateResult {
  const { phase, file, loaded, total } = progress ?? { phase: 'config', file: '', loaded: 0, total: 0 };
  const known = total > 0;
  const share = known ? loaded / total : phase === 'warmup' || phase === 'ready' ? 1 : 0;
  const lit = Math.round(share * trits.length);
  const amount = known ? `${bytes(loaded)} of ${bytes(total)}` : loaded > 0 ? bytes(loaded) : '';
  return html`
    <div
      class="trit-bar"
      role="progressbar"
      aria-label="Loading the model"
      aria-valuetext=${words[phase]}
      aria-valuenow=${known ? Math.round(share * 100) : nothing}
      aria-valuemin="0"
      aria-valuemax="100"
      data-testid="progress"
      data-phase=${phase}
    >
      ${trits.map((trit, index) => html`<i class=${index < lit ? `lit ${names[trit]}` : ''}>${trit}</i>`)}
    </div>
    <p class="load-words">
      <b>${words[phase]}</b>
      ${file ? html`<span>${file}</span>` : nothing}
      ${amount ? html`<span>${amount}${speed > 0 ? `, ${bytes(speed)}/s` : ''}</span>` : nothing}
    </p>
    <button data-testid="cancel-load" @click=${cancel}>Cancel</button>
  `;
}
