/** The bench: what a model does on the visitor's own machine, through the public API, with bars and figures. */
import { features, listModels, load, type Model, type ModelInfo, SternaError } from '../../src/index';
import { bytes, count, duration, millions, rate } from '../figures';
import { embedded, isEmbedded, nameOf, type PageSource, readAddress, sameSource } from '../models/source';
import { problemOf } from '../problem';
import { restoreTheme } from '../theme';
import { type Bar, barChart } from './bar-chart';
import { type BenchFigures, measure, type Point } from './bench-run';

type State = 'ready' | 'loading' | 'measuring' | 'done' | 'error';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const asked = readAddress(location.search);
let choices: { name: string; source: PageSource }[] = [];
let stopping = new AbortController();
let copied = '';

function enter(state: State): void {
  document.querySelector('main')!.dataset.state = state;
  const atWork = state === 'loading' || state === 'measuring';
  element<HTMLButtonElement>('run').disabled = atWork;
  element<HTMLButtonElement>('stop').disabled = !atWork;
  element<HTMLButtonElement>('copy').disabled = state !== 'done';
  element('problem').hidden = state !== 'error';
}

const status = (text: string): void => {
  element('status').textContent = text;
};

/** The model that comes with the page, those on this device, and the one that the address names. */
async function offerModels(): Promise<void> {
  const kept = await listModels().catch(() => []);
  choices = [{ name: 'Tiny stories (comes with the page)', source: embedded }];
  for (const { name, source, complete, outdated } of kept) {
    if (complete && !outdated && !isEmbedded(source)) choices.push({ name, source });
  }
  if (!choices.some(({ source }) => sameSource(source, asked.source))) {
    choices.push({ name: nameOf(asked.source), source: asked.source });
  }
  const options = choices.map(({ name, source }, index) => {
    const chosen = sameSource(source, asked.source);
    return new Option(name, String(index), chosen, chosen);
  });
  element<HTMLSelectElement>('model').replaceChildren(...options);
  const { threads } = asked.options;
  if (threads) element<HTMLInputElement>('threads').value = String(threads);
}

const perSecondBars = (points: Point[], name: (tokens: number) => string): Bar[] =>
  points.map(({ tokens, perSecond }) => ({
    name: name(tokens),
    value: perSecond,
    shown: `${rate(perSecond)} tokens/s`,
  }));

/** A read of a small model takes less than a tenth of a millisecond. */
const fine = (ms: number): string => (ms < 1 ? `${Math.round(ms * 1000)} \u00b5s` : duration(ms));

const percent = (share: number): string => `${share < 0.1 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;

function showDecode({ bandwidth, decode }: BenchFigures, { bytes: sizes }: ModelInfo): void {
  const first = decode[0];
  if (!bandwidth || !first) return;
  const roof = 1000 / bandwidth.ms;
  element('rate').textContent = rate(first.perSecond);
  element('share').textContent = percent(first.perSecond / roof);
  const bars = perSecondBars(decode, (tokens) => `after ${count(tokens)} tokens`);
  const chart = barChart('Tokens written a second', bars, { name: `roofline: ${rate(roof)} tokens/s`, value: roof });
  element('decode-chart').replaceChildren(chart);
  element('roof').textContent =
    `The roofline: a token takes each of the ${bytes(sizes.ternary)} of ternary weights once, and a plain read of them all by ` +
    `the same threads takes ${fine(bandwidth.ms)} here (${bytes(bandwidth.bytesPerSecond)} a second). What a token takes ` +
    'beyond that is arithmetic, attention, the choice of the token, and threads that wait for each other.';
}

function showKernels({ kernel, kernelRates, kernelReason }: ModelInfo): void {
  const bars = Object.entries(kernelRates).map(([name, value]) => ({
    name: value === 0 ? `${name}: answers wrongly here` : name,
    value,
    shown: `${rate(value)} weights/ns`,
    chosen: name === kernel,
  }));
  element('kernel-chart').replaceChildren(barChart('Weights a nanosecond, one thread', bars));
  element('kernel-why').textContent =
    `Measured while the model was loaded, on one thread. In use: ${kernel}, ${kernelReason.split(';')[0]}.`;
}

function showTable({ bandwidth, decode, prefill, firstToken }: BenchFigures, info: ModelInfo): void {
  const rows = [
    ['Model', `${info.name}, ${millions(info.parameters)} parameters`],
    ['Threads', `${info.threads}: ${info.threadsReason}`],
    ...decode.map(({ tokens, perSecond }) => [`Writing after ${count(tokens)} tokens`, `${rate(perSecond)} tokens/s`]),
    ...prefill.map(({ tokens, perSecond }) => [`Prompt of ${count(tokens)} tokens`, `${rate(perSecond)} tokens/s`]),
    ...(firstToken ? [[`First token, prompt of ${count(firstToken.tokens)}`, duration(firstToken.ms)]] : []),
    ...(bandwidth
      ? [['Plain read of the weights', `${fine(bandwidth.ms)}, ${bytes(bandwidth.bytesPerSecond)}/s`]]
      : []),
    ['Memory', `${bytes(info.bytes.memory)}, of it ternary weights ${bytes(info.bytes.ternary)}`],
    ['Loaded in', `${duration(info.loadMs)}${info.cached.before ? ', from this device' : ''}`],
  ];
  const lines = rows.map(([name, value]) => {
    const row = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = name!;
    row.append(head);
    row.insertCell().textContent = value!;
    return row;
  });
  element('figures').replaceChildren(...lines);
}

function show(figures: BenchFigures, info: ModelInfo): void {
  showDecode(figures, info);
  const bars = perSecondBars(figures.prefill, (tokens) => `${count(tokens)} tokens`);
  element('prefill-chart').replaceChildren(barChart('Tokens read a second, by the length of the prompt', bars));
  showKernels(info);
  showTable(figures, info);
}

async function run(): Promise<void> {
  stopping = new AbortController();
  const { signal } = stopping;
  const threads = element<HTMLInputElement>('threads').valueAsNumber;
  const { source, name } = choices[Number(element<HTMLSelectElement>('model').value)]!;
  element('results').hidden = true;
  enter('loading');
  let model: Model | undefined;
  try {
    model = await load(source, {
      ...asked.options,
      threads: Number.isNaN(threads) ? undefined : threads,
      signal,
      onProgress: ({ phase, loaded, total }) =>
        status(`${name}: ${phase}${total ? ` ${bytes(loaded)} of ${bytes(total)}` : ''}`),
    });
    const { info } = model;
    enter('measuring');
    const figures = await measure(model, signal, (doing, soFar) => {
      status(doing);
      if (soFar.decode.length === 0) return;
      show(soFar, info);
      element('results').hidden = false;
    });
    show(figures, info);
    element('results').hidden = false;
    const machine = { browser: navigator.userAgent, ...(await features()) };
    copied = JSON.stringify({ at: new Date().toISOString(), machine, figures, info }, undefined, 1);
    status('Done: medians of three rounds.');
    enter('done');
  } catch (error) {
    if (signal.aborted) {
      status('Stopped.');
      enter('ready');
    } else {
      const { code, message } = problemOf(error, source);
      element('problem').textContent = `${code}: ${message}`;
      status('');
      enter('error');
    }
  } finally {
    await model?.dispose();
  }
}

restoreTheme();
element('run-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void run();
});
element('stop').addEventListener('click', () => stopping.abort(new SternaError('aborted', 'stopped')));
element('copy').addEventListener('click', async () => {
  const done = await navigator.clipboard.writeText(copied).then(
    () => 'Copied.',
    () => 'The browser did not allow it.',
  );
  element('copied').textContent = done;
});
void offerModels().then(() => enter('ready'));
