/**
 * Which binary and which BitLinear kernel to run: validate, known-answer test, micro-benchmark; never the user agent.
 */

import { SternaError } from '../errors';
import sharedBaseline from '../generated/shared-baseline.wasm?url&no-inline';
import type { instantiate as Instantiate } from '../generated/shared-relaxed';
import sharedRelaxed from '../generated/shared-relaxed.wasm?url&no-inline';
import singleBaseline from '../generated/single-baseline.wasm?url&no-inline';
import singleRelaxed from '../generated/single-relaxed.wasm?url&no-inline';
import { boundsRight, gemv, gemvAnswersRight, headAnswersRight, lcg, TRIAL } from './known-answers';
import { CODES_COPY, type KernelName } from './memory';

/** The exports of every build (types come from the compiler). */
export type Kernels = Omit<Awaited<ReturnType<typeof Instantiate>>, 'memory'>;

export interface KernelChoice {
  module: WebAssembly.Module;
  relaxedSimd: boolean;
  kernel: KernelName;
  reason: string;
  /** Weights per nanosecond in the micro-benchmark; 0 = failed its known-answer test. */
  rates: Partial<Record<KernelName, number>>;
  /** Whether the bounds of screening passed their known-answer test. */
  screens: boolean;
}

/** Where the binaries are, unless the page says otherwise. */
export const kernelUrls = {
  'shared-relaxed.wasm': sharedRelaxed,
  'shared-baseline.wasm': sharedBaseline,
  'single-relaxed.wasm': singleRelaxed,
  'single-baseline.wasm': singleBaseline,
};

let urls: typeof kernelUrls = kernelUrls;

/** In the engine worker: where the page has the binaries. */
export function locateKernels(located: typeof kernelUrls): void {
  urls = located;
}

async function fetchBytes(url: string): Promise<ArrayBuffer> {
  const facts = { file: url, expected: 'HTTP 200' };
  const response = await fetch(url).catch((error: unknown) => {
    throw new SternaError('download', 'kernel binary', { ...facts, got: String(error) });
  });
  if (!response.ok) throw new SternaError('download', 'kernel binary', { ...facts, got: `HTTP ${response.status}` });
  return response.arrayBuffer();
}

/** One instance over a memory; every thread makes its own. */
export function instantiateKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
}

/**
 * Loads the relaxed build where this browser validates it, else the baseline one.
 * @param relaxed false: the baseline build in any case
 * @throws SternaError `unsupported` without WebAssembly SIMD, `download` if a binary cannot be fetched
 */
export async function compileKernels(
  shared: boolean,
  relaxed = true,
  located = urls,
): Promise<{ module: WebAssembly.Module; relaxedSimd: boolean }> {
  const build = shared ? 'shared' : 'single';
  if (relaxed) {
    const bytes = await fetchBytes(located[`${build}-relaxed.wasm`]);
    if (WebAssembly.validate(bytes)) return { module: await WebAssembly.compile(bytes), relaxedSimd: true };
  }
  const bytes = await fetchBytes(located[`${build}-baseline.wasm`]);
  if (!WebAssembly.validate(bytes)) {
    throw new SternaError('unsupported', 'WebAssembly features of this browser', {
      got: 'no SIMD128',
      expected: 'SIMD128',
    });
  }
  return { module: await WebAssembly.compile(bytes), relaxedSimd: false };
}

const TRIAL_ROWS = 256;
const TRIAL_COLS = 2560;

/**
 * Weights per nanosecond of each candidate: the fastest of several batches, which take turns, so that noise and the
 * optimising compiler's late arrival hit all alike. A batch of 1-2 ms is long against the coarsest browser clock.
 */
function measure(k: Kernels, memory: WebAssembly.Memory, candidates: KernelName[]): Map<KernelName, number> {
  const random = lcg(11);
  const matrix = new Uint8Array(memory.buffer, TRIAL.matrix, (TRIAL_ROWS * TRIAL_COLS) / 4);
  const codes = new Int8Array(memory.buffer, TRIAL.codes, 2 * CODES_COPY);
  for (let i = 0; i < matrix.length; i++) matrix[i] = random() & 0xaa; // codes 0 and 2
  for (let i = 0; i < codes.length; i++) codes[i] = (random() % 255) - 127;
  const best = new Map(candidates.map((kernel) => [kernel, 0]));
  const batch = 64;
  for (let round = 0; round < 5; round++) {
    for (const kernel of candidates) {
      const start = performance.now();
      for (let i = 0; i < batch; i++) gemv(k, kernel, TRIAL_ROWS, TRIAL_COLS);
      const nanoseconds = (performance.now() - start) * 1e6;
      if (nanoseconds === 0) continue;
      best.set(kernel, Math.max(best.get(kernel)!, (batch * TRIAL_ROWS * TRIAL_COLS) / nanoseconds));
    }
  }
  return best;
}

interface Trial {
  module: WebAssembly.Module;
  relaxedSimd: boolean;
  memory: WebAssembly.Memory;
  kernels: Kernels;
}

async function openTrial(shared: boolean, relaxed: boolean): Promise<Trial> {
  const build = await compileKernels(shared, relaxed);
  const memory = new WebAssembly.Memory({ initial: TRIAL.pages, maximum: TRIAL.pages, shared });
  const kernels = instantiateKernels(build.module, memory);
  kernels.writeConstants();
  return { ...build, memory, kernels };
}

const candidatesOf = ({ relaxedSimd }: Trial): KernelName[] => (relaxedSimd ? ['dot32', 'dot16', 'lut8'] : ['lut8']);

/** Known-answer tests, measurement, and the tests again: by then the optimising compiler may have taken over. */
function tryOut(trial: Trial): Map<KernelName, number> | undefined {
  const { kernels, memory } = trial;
  const candidates = candidatesOf(trial);
  const right = (): boolean =>
    candidates.every((kernel) => gemvAnswersRight(kernels, memory, kernel)) && headAnswersRight(kernels, memory);
  if (!right()) return undefined;
  const rates = measure(kernels, memory, candidates);
  return right() ? rates : undefined;
}

/**
 * Chooses the BitLinear kernel: every candidate must pass its known-answer test, then the fastest in a micro-benchmark
 * of a few milliseconds wins. If a relaxed kernel answers wrongly, the whole relaxed build is dropped.
 * @throws SternaError `unsupported` if a forced kernel does not run here
 */
export async function chooseKernel(wanted: 'auto' | KernelName, shared: boolean): Promise<KernelChoice> {
  let trial = await openTrial(shared, true);
  let measured = tryOut(trial);
  let dropped = trial.relaxedSimd ? '' : 'no relaxed SIMD in this browser';
  const rates: Partial<Record<KernelName, number>> = {};
  if (!measured && trial.relaxedSimd) {
    dropped = 'relaxed SIMD of this browser answers wrongly';
    rates.dot32 = 0;
    rates.dot16 = 0;
    trial = await openTrial(shared, false);
    measured = tryOut(trial);
  }
  if (!measured) {
    const facts = { got: 'wrong sums', expected: 'exact sums' };
    throw new SternaError('unsupported', 'WebAssembly SIMD of this browser', facts);
  }
  const candidates = candidatesOf(trial);
  if (wanted !== 'auto' && !candidates.includes(wanted)) {
    throw new SternaError('unsupported', `kernel: ${dropped}`, { got: wanted, expected: 'lut8 or auto' });
  }
  for (const [kernel, rate] of measured) rates[kernel] = Math.round(rate * 10) / 10;
  const fastest = candidates.reduce((a, b) => (rates[b]! > rates[a]! ? b : a));
  const figures = candidates.map((kernel) => `${kernel} ${rates[kernel]}`).join(', ');
  const why = wanted === 'auto' ? dropped || 'fastest' : 'as asked';
  const { module, relaxedSimd } = trial;
  const kernel = wanted === 'auto' ? fastest : wanted;
  const screens = boundsRight(trial.kernels, trial.memory, kernel);
  return { module, relaxedSimd, kernel, reason: `${why}; weights/ns: ${figures}`, rates, screens };
}
