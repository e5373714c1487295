/** How far the model has come with reading the question and what went before it. */
import { html, nothing, type TemplateResult } from 'lit';
import type { PrefillProgress } from '../../src/index';
import { count, roughly } from '../figures';

/** Progress of a prompt; tokens that were in the cache before are not read again. */
export interface Reading extends PrefillProgress {
  /** `done` when the first news came. */
  readonly from: number;
  /** ms, by the page's clock. */
  readonly began: number;
  readonly now: number;
}

/** News of a prompt, after what was known of it. */
export function read(former: Reading | undefined, { done, total }: PrefillProgress, now = performance.now()): Reading {
  return { done, total, from: former?.from ?? done, began: former?.began ?? now, now };
}

/** A prompt with fewer tokens to read is read before anybody looks. */
const worthShowing = 128;

/** The time that the rest will take, in seconds, once a part has been read. */
export function secondsLeft({ done, total, from, began, now }: Reading): number | undefined {
  return done > from && done < total ? ((now - began) / 1000 / (done - from)) * (total - done) : undefined;
}

/** A bar and the amounts; a word for a short prompt. */
export function readingProgress(reading: Reading | undefined): TemplateResult {
  if (!reading || reading.total - reading.from < worthShowing) return html`reading`;
  const { done, total } = reading;
  const left = secondsLeft(reading);
  return html`
    <progress data-testid="prefill" aria-label="Reading the conversation" max=${total} value=${done}></progress>
    <span>
      reading, ${count(done)} of ${count(total)} tokens${left === undefined || left < 1 ? nothing : `, ${roughly(left)} left`}
    </span>
  `;
}
