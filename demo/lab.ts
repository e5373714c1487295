/** The lab: the public API on `window`, for the console, the end-to-end tests and the benches, and a few forms over it. */
import * as sterna from '../src/index';
import { bytes, duration, millions, rate } from './figures';
import { parseSource } from './models/source';
import { problemOf } from './problem';
import { restoreTheme } from './theme';

declare global {
  interface Window {
    sterna: typeof sterna;
    /** Resolves once the page is set up, with what the machine offers. */
    sternaReady: Promise<sterna.Features>;
    /** The model loaded by the form. */
    model: sterna.Model | undefined;
  }
}

type Rows = readonly (readonly [name: string, value: string])[];

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const number = (id: string): number | undefined => {
  const { value, valueAsNumber } = element<HTMLInputElement>(id);
  return value === '' ? undefined : valueAsNumber;
};

function show(id: string, rows: Rows): void {
  const lines = rows.map(([name, value]) => {
    const row = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = value;
    return row;
  });
  element<HTMLTableElement>(id).replaceChildren(...lines);
}

/** Where the page is, for those who wait for it. */
function enter(state: 'ready' | 'loading' | 'running' | 'error'): void {
  document.querySelector('main')!.dataset.state = state;
  element<HTMLButtonElement>('run').disabled = state === 'running' || state === 'loading' || !window.model;
  element<HTMLButtonElement>('stop').disabled = state !== 'running';
  element('problem').hidden = state !== 'error';
}

function fail(error: unknown): void {
  const { code, message } = problemOf(error);
  element('problem').textContent = `${code}: ${message}`;
  enter('error');
}

const yes = (there: boolean): string => (there ? 'yes' : 'no');

async function showMachine(): Promise<sterna.Features> {
  const found = await sterna.features();
  show('machine', [
    ['SIMD128', found.simd ? 'yes' : 'no: Sterna cannot run here'],
    ['Relaxed SIMD', found.relaxedSimd ? 'yes' : 'no: only the lut8 kernel runs'],
    ['Cross-origin isolation', found.crossOriginIsolated ? 'yes' : 'no: COOP and COEP headers are missing'],
    ['Shared memory', found.sharedMemory ? 'yes' : 'no: one thread'],
    ['Logical cores', String(found.cores)],
  ]);
  enter('ready');
  return found;
}

function showModel({ info }: sterna.Model): void {
  const rates = Object.entries(info.kernelRates).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  show('info', [
    ['Name', info.name],
    ['Parameters', millions(info.parameters)],
    ['Kernel', `${info.kernel}: ${info.kernelReason}`],
    ['Weights per ns', rates.join(', ') || 'not measured'],
    ['Relaxed SIMD', yes(info.relaxedSimd)],
    ['Threads', `${info.threads}: ${info.threadsReason}`],
    ['Context', String(info.contextLength)],
    ['KV cache, lm_head', `${info.kvCache}, ${info.lmHead}`],
    ['Weight file', bytes(info.bytes.file)],
    ['Ternary weights', bytes(info.bytes.ternary)],
    ['WebAssembly memory', bytes(info.bytes.memory)],
    ['Tokenizer', yes(info.hasTokenizer)],
    ['Loaded in', duration(info.loadMs)],
    ['Defaults', JSON.stringify(info.defaults)],
    ['Configuration', JSON.stringify(info.config)],
  ]);
}

async function loadModel(): Promise<void> {
  const status = element('load-status');
  enter('loading');
  try {
    await window.model?.dispose();
    window.model = undefined;
    const text = element<HTMLInputElement>('url').value;
    const source = parseSource(text) ?? { url: text };
    const kernel = element<HTMLSelectElement>('kernel').value as sterna.LoadOptions['kernel'];
    const onProgress = ({ phase, file, loaded, total }: sterna.Progress) => {
      status.textContent = `${phase} ${file} ${total ? `${bytes(loaded)} of ${bytes(total)}` : ''}`;
    };
    window.model = await sterna.load(source, { kernel, threads: number('threads'), onProgress });
    showModel(window.model);
    enter('ready');
  } catch (error) {
    fail(error);
  }
  status.textContent = '';
}

function showTimings({ usage, timings, finishReason, seed }: sterna.GenerateResult): void {
  show('timings', [
    ['Prompt', `${usage.promptTokens} tokens, ${usage.cachedTokens} cached`],
    ['Prefill', `${duration(timings.promptMs)}, ${rate(timings.promptTokensPerSecond)} tokens/s`],
    ['First token after', duration(timings.firstTokenMs)],
    ['Answer', `${usage.completionTokens} tokens, ended by ${finishReason}`],
    ['Decode', `${duration(timings.decodeMs)}, ${rate(timings.decodeTokensPerSecond)} tokens/s`],
    ['Seed', String(seed)],
  ]);
}

async function complete(model: sterna.Model): Promise<void> {
  const output = element('text');
  enter('running');
  output.textContent = '';
  try {
    const settings = { maxTokens: number('max-tokens'), temperature: number('temperature'), seed: number('seed') };
    const generation = model.complete(element<HTMLTextAreaElement>('prompt').value, settings);
    element('stop').onclick = () => generation.abort();
    for await (const { text } of generation) output.append(text);
    showTimings(await generation.result);
    enter('ready');
  } catch (error) {
    fail(error);
  }
}

restoreTheme();
window.sterna = sterna;
window.sternaReady = showMachine();
element('load-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void loadModel();
});
element('run-form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (window.model) void complete(window.model);
});
