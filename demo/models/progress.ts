import { html, nothing, type TemplateResult } from 'lit';
import type { Phase, Progress } from '../../src/index';
import { bytes, roughly } from '../figures';
import { percent } from './on-device';

const words: Record<Phase, string> = {
  config: 'Reading the configuration',
  tokenizer: 'Reading the tokenizer',
  waiting: 'Another tab is downloading this model',
  weights: 'Fetching the weights',
  cache: 'Reading the weights from this device',
  warmup: 'Choosing the fastest kernel',
  ready: 'Ready',
};

const start: Progress = { phase: 'config', file: '', loaded: 0, total: 0, rate: 0 };

/** The bar is a row of weights: each is -1, 0 or +1. */
const trits = [...'+0−−0+0+−+00−+−0+0−−+0+−00+−+0−+'];
const names: Record<string, string> = { '−': 'minus', '0': 'zero', '+': 'plus' };

function shareOf({ phase, loaded, total }: Progress): number {
  if (total > 0) return loaded / total;
  return phase === 'warmup' || phase === 'ready' ? 1 : 0;
}

/** What a screen reader is told: each phase, and each quarter of it. */
export function spokenProgress(progress: Progress = start): string {
  const quarter = Math.floor(shareOf(progress) * 4) / 4;
  const amount = quarter > 0 && quarter < 1 ? `, ${percent(quarter)} of ${bytes(progress.total)}` : '';
  return progress.retry ? 'Interrupted, trying again' : words[progress.phase] + amount;
}

function amountOf({ loaded, total, rate }: Progress): string {
  if (total === 0) return loaded > 0 ? bytes(loaded) : '';
  const speed = rate > 0 ? `, ${bytes(rate)}/s` : '';
  const left = rate > 0 && loaded < total ? `, ${roughly((total - loaded) / rate)} left` : '';
  return `${bytes(loaded)} of ${bytes(total)}${speed}${left}`;
}

/** How far the model has come, with a way out. */
export function loadProgress(progress: Progress = start, cancel: () => void): TemplateResult {
  const { phase, file, total, retry } = progress;
  const share = shareOf(progress);
  const lit = Math.round(share * trits.length);
  const amount = amountOf(progress);
  return html`
    <div
      class="trit-bar"
      role="progressbar"
      aria-label="Loading the model"
      aria-valuetext=${total > 0 ? `${words[phase]}, ${percent(share)}` : words[phase]}
      aria-valuenow=${total > 0 ? Math.round(share * 100) : nothing}
      aria-valuemin="0"
      aria-valuemax="100"
      data-testid="progress"
      data-phase=${phase}
    >
      ${trits.map((trit, index) => html`<i class=${index < lit ? `lit ${names[trit]}` : ''}>${trit}</i>`)}
    </div>
    <p class="load-words">
      <b>${retry ? 'Interrupted, trying again' : words[phase]}</b>
      ${file ? html`<span>${file}</span>` : nothing}
      ${amount ? html`<span data-testid="load-amount">${amount}</span>` : nothing}
      ${retry ? html`<span class="hint" data-testid="load-retry">${retry}</span>` : nothing}
    </p>
    <button data-testid="cancel-load" @click=${cancel}>Cancel</button>
  `;
}
