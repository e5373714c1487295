/**
 * A pool over a loaded model, as src/model/pool.ts makes it, with what a bench wants beside: the time of each step, passes of the
 * prototype, workers that are slow on purpose.
 */

import type { LoadedModel } from '../../src/engine/loader';
import { createForward } from '../../src/model/forward';
import { createMachine } from '../../src/model/machine';
import { BARRIER, BEST, LOGITS_FROM, PASS, ROWS, SHARE_BYTES, SHARE_SETS } from '../../src/model/memory';
import type { Pool, Row } from '../../src/model/pool';
import { LAST_PASS, PROTOTYPE_PASS } from './passes';
import { createPrototype, readsTiles } from './prototype';
import { kernelWorkersEnded, spawnKernelWorker } from './spawn';
import { createSteps, type Steps } from './steps';

export interface BenchPool extends Pool {
  steps: Steps;
  /** Ms of one pass of the prototype over all ternary weights; undefined where it cannot run. */
  prototype: (() => number) | undefined;
  /** Tokens by position: what the logits are made to say after each pass. */
  script: number[] | undefined;
}

export interface BenchPoolOptions {
  /** Of each kernel worker, from thread 1 on: how many times as long its kernels take. Default 1. */
  slowness?: number[];
  prototype?: WebAssembly.Module | undefined;
}

/** In place of the model's own pool, or one of these before: begins with barriers and counters as in new memory. */
export async function startBenchPool(
  { memory, pool: { plan } }: Pick<LoadedModel, 'memory' | 'pool'>,
  module: WebAssembly.Module,
  { slowness = [], prototype }: BenchPoolOptions,
): Promise<BenchPool> {
  const plain = createMachine(module, memory, plan, 0);
  const { words } = plain;
  words[ROWS / 4] = LAST_PASS;
  plain.kernels.startPass(PASS);
  await kernelWorkersEnded();
  words.fill(0, BARRIER / 4, 1024 / 4);
  words.fill(0, plan.shares / 4, (plan.shares + SHARE_SETS * plan.threads * SHARE_BYTES) / 4);
  const steps = createSteps(plain.kernels);
  const forward = createForward({ ...plain, kernels: steps.kernels }, () => false, steps.tap);
  const startWorker = (rank: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const start = { module, memory, plan, rank, slowness: slowness[rank - 1] ?? 1, prototype };
      spawnKernelWorker(start, (message) => {
        if ('ready' in message) resolve();
        else reject(new Error(message.error.message));
      });
    });
  await Promise.all(Array.from({ length: plan.threads - 1 }, (_, index) => startWorker(index + 1)));

  const run: Pool['run'] = async (rows, logitsFrom, best = 0) => {
    for (const [index, { sequence, position, token }] of rows.entries()) {
      words[plan.rowSequences / 4 + index] = sequence;
      words[plan.rowPositions / 4 + index] = position;
      words[plan.rowTokens / 4 + index] = token;
    }
    words[ROWS / 4] = rows.length;
    words[LOGITS_FROM / 4] = logitsFrom;
    words[BEST / 4] = best;
    steps.pass();
    plain.kernels.startPass(PASS);
    const complete = forward();
    if (pool.script) say(pool.script, rows.slice(logitsFrom));
    return complete;
  };
  /** The most likely token after each row is the one that comes next in the script. */
  function say(script: number[], rows: Row[]): void {
    const { paddedVocab } = plan.head;
    const logits = new Float32Array(memory.buffer, plan.logits, rows.length * paddedVocab);
    for (const [index, { position }] of rows.entries()) logits[index * paddedVocab + script[position + 1]!] = 1e9;
  }
  const own = prototype && readsTiles(plan) ? createPrototype(plain, prototype, memory) : undefined;
  const timePrototype = (): number =>
    own!.saved(() => {
      words[ROWS / 4] = PROTOTYPE_PASS;
      const start = performance.now();
      plain.kernels.startPass(PASS);
      own!.pass();
      return performance.now() - start;
    });
  const pool: BenchPool = {
    kernels: plain.kernels,
    plan,
    run,
    steps,
    prototype: own && timePrototype,
    script: undefined,
  };
  return pool;
}
