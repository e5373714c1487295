import { html, type TemplateResult } from 'lit';
import type { KernelName, LoadOptions, ModelInfo } from '../../src/index';
import { count, plural } from '../figures';

/** How a chat wants its model loaded; what is absent is left to the address of the page, or to Sterna. */
export type Engine = Readonly<Pick<LoadOptions, 'contextLength' | 'threads'> & { kernel?: KernelName }>;

const kernels: readonly KernelName[] = ['dot32', 'dot16', 'lut8'];

const whole = (value: unknown, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;

const mostThreads = 64;
const mostContext = 1_000_000;

/** Engine settings from a record of any origin; what they cannot be is left out. */
export function readEngine({ contextLength, threads, kernel }: Record<string, unknown>): Engine {
  return {
    ...(whole(contextLength, mostContext) && { contextLength }),
    ...(whole(threads, mostThreads) && { threads }),
    ...(kernels.includes(kernel as KernelName) && { kernel: kernel as KernelName }),
  };
}

export const sameEngine = (a: Engine, b: Engine): boolean =>
  a.contextLength === b.contextLength && a.threads === b.threads && a.kernel === b.kernel;

/** What runs, in words. */
const running = (info: ModelInfo): string =>
  `Runs now: ${plural(info.threads, 'thread')}, ${info.kernel}, ${count(info.contextLength)} tokens of context.`;

export interface EngineActions {
  /** Only what has changed. */
  change: (change: Engine) => void;
  reload: () => void;
}

/** The fields of these settings. `loaded`: with what the model on the page was loaded. */
export function engineFields(
  engine: Engine,
  loaded: Engine,
  info: ModelInfo | undefined,
  { change, reload }: EngineActions,
): TemplateResult {
  const number = (key: 'contextLength' | 'threads', label: string, most: number, hint: string) => html`
    <div class="field">
      <label for="setting-${key}">${label}</label>
      <input
        id="setting-${key}"
        data-testid="setting-${key}"
        type="number"
        inputmode="numeric"
        aria-describedby="setting-${key}-hint"
        min="1"
        max=${most}
        step="1"
        placeholder="auto"
        .value=${String(engine[key] ?? '')}
        @input=${({ target }: Event) => {
          const { value, valueAsNumber, validity } = target as HTMLInputElement;
          if (validity.valid) change({ [key]: value === '' ? undefined : valueAsNumber });
        }}
      />
      <p class="hint" id="setting-${key}-hint">${hint}</p>
    </div>
  `;
  const most = info?.config.maxPositions ?? mostContext;
  return html`
    <fieldset class="engine" data-testid="engine-settings">
      <legend>Engine</legend>
      <p class="hint">These need the model to be loaded again.</p>
      ${number('contextLength', 'Context', most, info ? `Tokens of the conversation that the model can read; this one at most ${count(most)}` : 'Tokens of the conversation that the model can read')}
      ${number('threads', 'Threads', mostThreads, 'Processor cores at work on an answer')}
      <div class="field">
        <label for="setting-kernel">Kernel</label>
        <select
          id="setting-kernel"
          data-testid="setting-kernel"
          aria-describedby="setting-kernel-hint"
          @change=${({ target }: Event) => {
            const { value } = target as HTMLSelectElement;
            change({ kernel: (value || undefined) as KernelName | undefined });
          }}
        >
          <option value="" ?selected=${!engine.kernel}>fastest</option>
          ${kernels.map((name) => html`<option value=${name} ?selected=${engine.kernel === name}>${name}</option>`)}
        </select>
        <p class="hint" id="setting-kernel-hint">The inner loop; every one gives the same words</p>
      </div>
      ${info ? html`<p class="hint" data-testid="engine-running">${running(info)}</p>` : ''}
      ${sameEngine(engine, loaded) ? '' : html`<button type="button" data-testid="engine-reload" @click=${reload}>Load the model again</button>`}
    </fieldset>
  `;
}
