/** What a bug report should say of this browser and of what runs in it. It has no word of any chat. */
import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { features, type ModelInfo, storageFacts } from '../src/index';
import { copyText } from './copy';
import { bytes, count, duration, rate } from './figures';
import type { Problem } from './problem';

const copiedFor = 1500; // ms that "Copied" stands on the button

type Line = readonly [name: string, value: string];

const yes = (is: boolean): string => (is ? 'yes' : 'no');

async function machineLines(): Promise<Line[]> {
  const { simd, relaxedSimd, crossOriginIsolated, sharedMemory, cores } = await features();
  const storage = await storageFacts().catch(() => undefined);
  const { deviceMemory } = navigator as { deviceMemory?: number }; // Chromium alone tells, and rounds
  return [
    ['Browser', navigator.userAgent],
    ['SIMD', yes(simd)],
    ['Relaxed SIMD', yes(relaxedSimd)],
    ['Isolated', yes(crossOriginIsolated)],
    ['Shared memory', yes(sharedMemory)],
    ['Cores', `${cores}`],
    ...(deviceMemory ? [['Memory of the device', `${deviceMemory} GB`] as const] : []),
    ['Storage', storage ? `${bytes(storage.used)} of ${bytes(storage.quota)}` : 'none for this page'],
    ['Service worker', yes(Boolean(navigator.serviceWorker?.controller))],
    ['Window', `${innerWidth} x ${innerHeight}`],
  ];
}

function modelLines(info: ModelInfo): Line[] {
  const rates = Object.entries(info.kernelRates).map(([name, value]) => `${name} ${value ? rate(value) : 'wrong'}`);
  return [
    ['Model', `${info.name}, ${info.format}, ${count(info.parameters)} parameters`],
    ['Version', info.version || 'none'],
    ['Threads', `${info.threads}: ${info.threadsReason}`],
    ['Kernel', `${info.kernel}: ${info.kernelReason}`],
    ['Kernels, weights/ns', rates.join(', ')],
    ['Precision', `KV cache ${info.kvCache}, output layer ${info.lmHead}`],
    ['Screening', `${yes(info.screening)}: ${info.screeningReason}`],
    ['Context', `${count(info.contextLength)} tokens`],
    ['Memory', `${bytes(info.bytes.memory)}, of it ternary weights ${bytes(info.bytes.ternary)}`],
    ['Loaded in', duration(info.loadMs)],
  ];
}

const problemLines = ({ code, message, facts }: Problem): Line[] => [['Problem', code], ['Message', message], ...facts];

/** The report as lines of text. `info`: of the model that runs; `problem`: what went wrong. */
export async function reportText(info: ModelInfo | undefined, problem: Problem | undefined): Promise<string> {
  const lines = [
    ...(problem ? problemLines(problem) : []),
    ...(await machineLines()),
    ...(info ? modelLines(info) : []),
  ];
  return lines.map(([name, value]) => `${name}: ${value}`).join('\n');
}

/** A button that copies the report; where the browser forbids it, the report is shown and selected. */
export class Report extends LitElement {
  static override properties = {
    info: { attribute: false },
    problem: { attribute: false },
    copied: { state: true },
    text: { state: true },
  };
  declare info: ModelInfo | undefined;
  declare problem: Problem | undefined;
  declare copied: boolean;
  /** The report, where it could not be copied. */
  declare text: string;

  constructor() {
    super();
    this.copied = false;
    this.text = '';
  }

  protected override createRenderRoot(): this {
    return this;
  }

  protected override render(): TemplateResult {
    return html`
      <button class="quiet" type="button" data-testid="report" @click=${this.#copy}>
        ${this.copied ? 'Copied' : 'Copy for a bug report'}
      </button>
      ${this.text ? html`<pre class="report" tabindex="0" aria-label="Report">${this.text}</pre>` : nothing}
    `;
  }

  async #copy(): Promise<void> {
    const text = await reportText(this.info, this.problem);
    this.copied = await copyText(text, null);
    if (this.copied) {
      setTimeout(() => {
        this.copied = false;
      }, copiedFor);
      return;
    }
    this.text = text;
    await this.updateComplete;
    getSelection()?.selectAllChildren(this.querySelector('pre')!);
  }
}

customElements.define('sterna-report', Report);
