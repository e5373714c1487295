import { html, nothing, type TemplateResult } from 'lit';
import { SternaError } from '../src/index';

type Code = SternaError['code'];

/** An error as the page shows it. */
export interface Problem {
  code: Code | 'unknown';
  message: string;
  facts: readonly (readonly [name: string, value: string])[];
}

const words: Record<Problem['code'], readonly [title: string, advice: string]> = {
  'bad-input': ['This cannot be taken as it is', 'Check the settings and the address of this page.'],
  'context-full': ['The conversation is longer than the context', 'Start a new chat, or shorten the system prompt.'],
  'bad-file': [
    'A model file cannot be used',
    'It is missing, damaged, incomplete, or not what its name says. Check the address, or download the file again.',
  ],
  unsupported: ['This model or browser is not supported', 'Sterna runs BitNet b1.58 models, in browsers with SIMD.'],
  download: ['A file could not be fetched', 'Check the connection and the address, then try again.'],
  offline: [
    'The server cannot be reached',
    'Check the connection, then try again. Models kept in this browser still load.',
  ],
  quota: ['The browser has no room to keep the model', 'Remove other models or free disk space, then try again.'],
  'no-tokenizer': ['The model came without a tokenizer', 'Add tokenizer.json and tokenizer_config.json to its files.'],
  'out-of-memory': [
    'The browser refused the memory',
    'Close other tabs, or ask for less context (?contextLength=512).',
  ],
  busy: ['The model is still at work', 'Stop the running answer first.'],
  aborted: ['Loading was cancelled', 'Nothing was kept. You can load the model again at any time.'],
  disposed: ['The model was closed', 'Load it again.'],
  worker: ['Something broke inside Sterna', 'Load the model again. If it comes back, it is a bug worth reporting.'],
  unknown: ['Something broke on this page', 'Reload the page. If it comes back, it is a bug worth reporting.'],
};

/** Any thrown value as a problem. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof SternaError)) return { code: 'unknown', message: String(error), facts: [] };
  const { code, message, file, expected, got } = error;
  const facts = [
    ['File', file],
    ['Expected', expected],
    ['Found', got],
  ].flatMap(([name, value]) => (value === undefined ? [] : [[String(name), String(value)] as const]));
  return { code, message, facts };
}

/** Whether only loading the model again can help. */
export const isFatal = ({ code }: Problem): boolean =>
  code === 'worker' || code === 'disposed' || code === 'out-of-memory';

/** What happened, what to do, the facts, and the buttons that do it. */
export function problemCard(problem: Problem, actions: TemplateResult | typeof nothing): TemplateResult {
  const [title, advice] = words[problem.code];
  const calm = problem.code === 'aborted';
  return html`
    <section class="problem ${calm ? 'calm' : ''}" role="alert" data-testid="error" data-code=${problem.code}>
      <h2>${title}</h2>
      <p>${advice}</p>
      ${calm ? nothing : html`<p class="problem-message">${problem.message}</p>`}
      <dl>
        <div><dt>Code</dt><dd><code>${problem.code}</code></dd></div>
        ${problem.facts.map(([name, value]) => html`<div><dt>${name}</dt><dd><code>${value}</code></dd></div>`)}
      </dl>
      <div class="actions">${actions}</div>
    </section>
  `;
}
