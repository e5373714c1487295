/** A model in memory with its pool, below the public API: passes of any rows, with a tap, with memory made dirty. */

import type { I2sOrder } from '../src/checkpoint/ternary';
import { logitsView } from '../src/generate/session';
import type { Tap } from '../src/model/forward';
import { compileKernels, instantiateKernels } from '../src/model/kernels';
import { BARRIER, type CacheKind, type KernelName, type MemoryPlan, PASS, ROWS } from '../src/model/memory';
import { createMemory, type PlanOptions, planMemory } from '../src/model/plan-memory';
import { type Pool, type Row, type Spawn, startPool } from '../src/model/pool';
import type { ReferenceModel } from '../src/model/reference';
import { type Files, fillMemory } from './filling';
import { plantModel } from './plant';
import { asFiles, type ModelFiles } from './reading';

export interface MachineOptions {
  kernel: KernelName;
  threads?: number;
  contextLength?: number;
  sequences?: number;
  maxRows?: number;
  kvCache?: CacheKind;
  lmHead?: 'bf16' | 'int8';
  screening?: boolean;
  /** Default: shared memory, relaxed SIMD. */
  shared?: boolean;
  relaxed?: boolean;
  /** How I2_S weights are read. Default x86. */
  i2sOrder?: I2sOrder;
}

export interface TestMachine {
  pool: Pool;
  plan: MemoryPlan;
  memory: WebAssembly.Memory;
  words: Int32Array;
  /** Fills the caches and every buffer with NaN: nothing may be read that was not written before. */
  poison(): void;
  /** Runs the passes and returns the logits of all their rows, or the best ones, f32[rows, vocab]. */
  logits(passes: Row[][], best?: number): Promise<Float32Array<ArrayBuffer>>;
  /** Ends the pool; its kernel workers are free for the next machine. */
  end(): void;
}

/** Kernel workers without a pool. One that leaves a failed pool takes the next start, and has its modules already. */
const idle: Worker[] = [];

const startWorker = (): Worker =>
  new Worker(new URL('../workers/kernel.worker.ts', import.meta.url), { type: 'module' });

const builds = new Map<string, ReturnType<typeof compileKernels>>();

/** Each build of the kernels, compiled once. */
function compiled(shared: boolean, relaxed: boolean): ReturnType<typeof compileKernels> {
  const build = `${shared} ${relaxed}`;
  const module = builds.get(build) ?? compileKernels(shared, relaxed);
  builds.set(build, module);
  return module;
}

type Fill = (
  module: WebAssembly.Module,
  options: PlanOptions,
  shared: boolean,
) => Promise<{ plan: MemoryPlan; memory: WebAssembly.Memory }>;

/** Loads as src/engine/loader.ts does, but with every option of the plan, and without tokenizer and warm-up. */
export function openMachine(
  files: ModelFiles | Files,
  options: MachineOptions,
  aborted?: () => boolean,
  tap?: (machine: Pick<TestMachine, 'plan' | 'memory' | 'words'>) => Tap,
): Promise<TestMachine> {
  const { i2sOrder = 'x86', ...rest } = options;
  const all = 'weights' in files ? asFiles(files as ModelFiles) : files;
  const fill: Fill = (module, planOptions, shared) => fillMemory(module, all, { ...planOptions, shared, i2sOrder });
  return open(rest, fill, aborted, tap);
}

/** The same with a model that comes from no file (plant.ts). */
export function openPlanted(model: ReferenceModel, options: MachineOptions): Promise<TestMachine> {
  const fill: Fill = async (module, planOptions, shared) => {
    const plan = planMemory(model.config, planOptions);
    const memory = createMemory(plan.bytes, shared);
    plantModel(model, instantiateKernels(module, memory), memory, plan);
    return { plan, memory };
  };
  return open(options, fill);
}

async function open(
  { kernel, shared = true, relaxed = true, ...options }: MachineOptions,
  fill: Fill,
  aborted: () => boolean = () => false,
  tap?: (machine: Pick<TestMachine, 'plan' | 'memory' | 'words'>) => Tap,
): Promise<TestMachine> {
  const { module } = await compiled(shared, relaxed);
  const planOptions: PlanOptions = {
    kernel,
    threads: 1,
    contextLength: 64,
    sequences: 1,
    maxRows: 64,
    kvCache: 'bf16',
    lmHead: 'bf16',
    ...options,
  };
  const { plan, memory } = await fill(module, planOptions, shared);
  const { config } = plan;
  const words = new Int32Array(memory.buffer);
  const workers: Worker[] = [];
  /** Starts kernel workers, as the page does for the product. */
  const spawn: Spawn = (start, onMessage) => {
    const worker = idle.pop() ?? startWorker();
    workers.push(worker);
    worker.onmessage = ({ data }) => onMessage(data);
    worker.postMessage(start);
  };
  const pool = await startPool(module, memory, plan, aborted, spawn, tap?.({ plan, memory, words }));

  async function logits(passes: Row[][], best = 0): Promise<Float32Array<ArrayBuffer>> {
    const out = new Float32Array(passes.flat().length * config.vocab);
    let done = 0;
    for (const rows of passes) {
      if (!(await pool.run(rows, 0, best))) throw new Error('the pass was aborted');
      for (const index of rows.keys()) out.set(logitsView(memory, plan, index), config.vocab * done++);
    }
    return out;
  }
  /** The plan lays out: weights, RoPE tables, caches, rows of the pass, buffers, scratch of each thread. */
  function poison(): void {
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0xff, plan.layers[0]!.keys, plan.rowTokens);
    bytes.fill(0xff, plan.hidden, plan.bytes);
  }
  /** As a thread that fails: the others leave at their next barrier. */
  function end(): void {
    words[ROWS / 4] = 0;
    pool.kernels.fail(BARRIER);
    pool.kernels.startPass(PASS);
    idle.push(...workers.splice(0));
  }
  return { pool, plan, memory, words, poison, logits, end };
}

/** Rows in passes of the given sizes, over and over. */
export function inPasses(rows: Row[], sizes: number[]): Row[][] {
  const passes: Row[][] = [];
  for (let at = 0; at < rows.length; ) {
    const size = sizes[passes.length % sizes.length]!;
    passes.push(rows.slice(at, at + size));
    at += size;
  }
  return passes;
}

export const rowsOf = (tokens: number[], sequence = 0): Row[] =>
  tokens.map((token, position) => ({ sequence, position, token }));

/** `count` tokens of a vocabulary, its first and its last among them; always the same for a seed. */
export function someTokens(count: number, vocab: number, seed = 1): number[] {
  let state = seed;
  const tokens = Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % vocab;
  });
  return [vocab - 1, 0, ...tokens].slice(0, count);
}

/** Where two float arrays differ in a bit, in words; empty where they do not. */
export function bitDifference(got: Float32Array<ArrayBuffer>, right: Float32Array<ArrayBuffer>, rowLength: number) {
  if (got.length !== right.length) return `${got.length} numbers instead of ${right.length}`;
  const [a, b] = [new Uint32Array(got.buffer), new Uint32Array(right.buffer)];
  const at = a.findIndex((word, i) => word !== b[i]);
  if (at < 0) return '';
  const count = a.reduce((sum, word, i) => sum + +(word !== b[i]), 0);
  const where = `row ${Math.floor(at / rowLength)}, column ${at % rowLength}`;
  return `${count} of ${a.length} differ, first in ${where}: ${got[at]} instead of ${right[at]}`;
}

/** L2 norm of the difference over L2 norm of the reference. */
export function relativeError(got: ArrayLike<number>, right: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (const [i, value] of right.entries()) {
    difference += (got[i]! - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(difference / norm);
}
