import { html, nothing, type TemplateResult } from 'lit';
import { type HubSource, SternaError } from '../src/index';
import { bytes } from './figures';
import './report';
import { isRepository, type PageSource } from './models/source';

type Code = SternaError['code'];

/**
 * An error as the page shows it. `gated` and `hidden` are downloads that a hub refuses to this visitor; `bad-chats` is a
 * file of chats that cannot be read; `old-browser` lacks WebAssembly SIMD.
 */
export interface Problem {
  code: Code | 'gated' | 'hidden' | 'bad-chats' | 'old-browser' | 'unknown';
  message: string;
  facts: readonly (readonly [name: string, value: string])[];
}

const words: Record<Problem['code'], readonly [title: string, advice: string]> = {
  'bad-input': [
    'This cannot be taken as it is',
    'Check the settings, the name of the model and the address of this page.',
  ],
  'context-full': [
    'The conversation is longer than the context',
    'The model cannot read that much. Begin a new chat, edit this message, shorten the system prompt, or give the model more context in the settings.',
  ],
  'bad-file': [
    'A model file cannot be used',
    'It is missing, damaged, incomplete, or not what its name says. Check the address, or download the file again.',
  ],
  'bad-chats': ['These chats cannot be read', 'Choose a file that Sterna has exported, as it was saved.'],
  unsupported: [
    'This model or browser is not supported',
    'Sterna runs ternary models built like BitNet, Llama, Qwen3 or MiniCPM, in browsers with SIMD.',
  ],
  'old-browser': [
    'This browser is too old',
    'Sterna needs WebAssembly SIMD, which Chrome and Edge have from version 91 on, Firefox from 89, Safari from 16.4.',
  ],
  download: ['A file could not be fetched', 'Check the connection and the address, then try again.'],
  gated: [
    'This model is given on conditions',
    'Its makers want to know who takes it. Accept their conditions on the page of the model, make an access token in your account there, and enter it here.',
  ],
  hidden: [
    'There is no such model, or it is private',
    'Check its name. A private one opens with an access token of an account that may read it.',
  ],
  offline: [
    'The server cannot be reached',
    'Connect to the network and try again. Models that are on this device start without it.',
  ],
  quota: ['The browser has too little room', 'Delete a model that you no longer need, or free space on the disk.'],
  'no-tokenizer': ['The model came without a tokenizer', 'Add tokenizer.json and tokenizer_config.json to its files.'],
  'out-of-memory': [
    'The browser refused the memory',
    'Close other tabs, take a smaller model, or ask for less context in the settings.',
  ],
  busy: ['The model is still at work', 'Stop the running answer first.'],
  aborted: ['Loading was cancelled', 'You can load the model again at any time.'],
  disposed: ['The model was closed', 'Load it again.'],
  worker: ['Something broke inside Sterna', 'Load the model again. If it comes back, it is a bug worth reporting.'],
  unknown: ['Something broke on this page', 'Reload the page. If it comes back, it is a bug worth reporting.'],
};

/** What is expected and what was found, by code, where other words say it better. */
const factNames: Partial<Record<Code, readonly [wanted: string, found: string]>> = {
  quota: ['Needed', 'Free'],
  'context-full': ['Room for', 'Tokens'],
};

/** Any thrown value as a problem. `source`: what was being loaded or looked at. */
export function problemOf(error: unknown, source?: PageSource): Problem {
  if (!(error instanceof SternaError)) return { code: 'unknown', message: String(error), facts: [] };
  const { code, message, file, expected, got } = error;
  const [wanted, found] = factNames[code] ?? ['Expected', 'Found'];
  const shown = (value: string | number): string => {
    if (code !== 'quota') return `${value}`;
    return typeof value === 'number' ? bytes(value) : value === 'less' ? 'less than that' : value;
  };
  const facts = [['File', file] as const, [wanted, expected] as const, [found, got] as const].flatMap(
    ([name, value]) => (value === undefined ? [] : [[name, shown(value)] as const]),
  );
  const refused = code === 'download' && isRepository(source) && /^HTTP 40[13]\b/.test(String(got));
  if (code === 'unsupported' && got === 'no SIMD128') return { code: 'old-browser', message, facts };
  return { code: refused ? (/GatedRepo/.test(String(got)) ? 'gated' : 'hidden') : code, message, facts };
}

/** Whether an access token may help, or another than the one that was given. */
export const wantsToken = ({ code }: Problem, source: PageSource): source is HubSource =>
  isRepository(source) &&
  (code === 'gated' ||
    code === 'hidden' ||
    (source.token !== undefined && (code === 'download' || code === 'bad-input')));

/** Whether only loading the model again can help. */
export const isFatal = ({ code }: Problem): boolean =>
  code === 'worker' || code === 'disposed' || code === 'out-of-memory';

/** What may be a bug, in Sterna or in the files of a model. */
const reportable: ReadonlySet<Problem['code']> = new Set([
  'worker',
  'unknown',
  'unsupported',
  'bad-file',
  'out-of-memory',
  'old-browser',
]);

/** What happened, what to do, the facts, and the buttons that do it. */
export function problemCard(problem: Problem, actions: unknown, more: unknown = nothing): TemplateResult {
  const [title, advice] = words[problem.code];
  const calm = problem.code === 'aborted';
  const clear = calm || ['quota', 'gated', 'hidden', 'context-full', 'old-browser'].includes(problem.code); // advice and facts say all of the message
  return html`
    <section class="problem ${calm ? 'calm' : ''}" role="alert" data-testid="error" data-code=${problem.code}>
      <h2>${title}</h2>
      <p>${advice}</p>
      ${clear ? nothing : html`<p class="problem-message">${problem.message}</p>`}
      ${more}
      <dl>
        ${calm ? nothing : html`<div><dt>Code</dt><dd><code>${problem.code}</code></dd></div>`}
        ${problem.facts.map(([name, value]) => html`<div><dt>${name}</dt><dd><code>${value}</code></dd></div>`)}
      </dl>
      <div class="actions">${actions}</div>
      ${reportable.has(problem.code) ? html`<sterna-report .problem=${problem}></sterna-report>` : nothing}
    </section>
  `;
}
