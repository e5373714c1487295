/**
 * The worker pool: kernel workers (threads 1..n-1) beside the engine worker (thread 0), over one shared memory.
 * Each kernel worker gets one message, then lives in shared memory: it sleeps on the pass counter, runs the pass, and
 * meets the others at barriers.
 */
import { type ErrorRecord, fromRecord, SternaError, toRecord } from '../errors';
import type { KernelWorkerMessage, PoolStart } from '../protocol/protocol';
import { createForward, PoolFailed, type Tap } from './forward';
import type { Kernels } from './kernels';
import { createMachine } from './machine';
import { BARRIER, BEST, LOGITS_FROM, type MemoryPlan, PASS, ROWS } from './memory';

/** One row of a forward pass. */
export interface Row {
  sequence: number;
  position: number;
  token: number;
}

export interface Pool {
  kernels: Kernels;
  plan: MemoryPlan;
  /**
   * One forward pass over at most plan.maxRows rows; afterwards the logits of rows logitsFrom.. (at most
   * plan.logitRows of them; none with logitsFrom = rows.length) lie at plan.logits, and the residual stream at plan.hidden.
   * False if it was aborted. Without rows: a plain read of the ternary weights (bandwidth.ts).
   * @param best how many of the best logits of each row are wanted: the others may then be -Infinity. Default 0: all are
   * @throws SternaError `worker` if a thread failed; the pool is then unusable
   */
  run(rows: Row[], logitsFrom: number, best?: number): Promise<boolean>;
}

/** Starts a kernel worker with its message, and passes on what it says. The page does this: see docs/decisions.md. */
export type Spawn = (start: PoolStart, onMessage: (message: KernelWorkerMessage) => void) => void;

/**
 * Starts the kernel workers and waits until each is ready.
 * @param aborted asked at every barrier of a pass
 * @throws SternaError `worker` if one of them does not start
 */
export async function startPool(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  aborted: () => boolean,
  spawn: Spawn,
  tap?: Tap,
): Promise<Pool> {
  const machine = createMachine(module, memory, plan, 0);
  const { kernels, words } = machine;
  let failure: SternaError | undefined;
  let onFailure: (() => void) | undefined;

  const failed = (record: ErrorRecord): SternaError => {
    failure ??= fromRecord(record);
    onFailure?.();
    return failure;
  };

  const startWorker = (rank: number): Promise<void> =>
    new Promise((resolve, reject) => {
      spawn({ module, memory, plan, rank }, (message) => {
        if ('ready' in message) resolve();
        else reject(failed(message.error));
      });
    });
  const others = Promise.all(Array.from({ length: plan.threads - 1 }, (_, index) => startWorker(index + 1)));
  const forward = createForward(machine, aborted, tap); // while the others start
  await others;

  /** Another thread reports why it failed, in a message that needs this thread's event loop. */
  async function awaitFailure(): Promise<SternaError> {
    await Promise.race([
      new Promise<void>((resolve) => {
        onFailure = resolve;
        if (failure) resolve();
      }),
      new Promise<void>((resolve) => setTimeout(resolve, 1000)),
    ]);
    return failure ?? new SternaError('worker', 'a thread failed without a word');
  }

  async function run(rows: Row[], logitsFrom: number, best = 0): Promise<boolean> {
    if (failure) throw failure;
    if (rows.length > plan.maxRows || rows.length - logitsFrom > plan.logitRows) {
      throw new SternaError('worker', 'rows of a pass', {
        got: `${rows.length}, logits of ${rows.length - logitsFrom}`,
        expected: `at most ${plan.maxRows}, logits of ${plan.logitRows}`,
      });
    }
    for (const [index, { sequence, position, token }] of rows.entries()) {
      words[plan.rowSequences / 4 + index] = sequence;
      words[plan.rowPositions / 4 + index] = position;
      words[plan.rowTokens / 4 + index] = token;
    }
    words[ROWS / 4] = rows.length;
    words[LOGITS_FROM / 4] = logitsFrom;
    words[BEST / 4] = best;
    kernels.startPass(PASS);
    try {
      return forward();
    } catch (error) {
      if (error instanceof PoolFailed) failure ??= await awaitFailure();
      else {
        failure = fromRecord(toRecord(error));
        kernels.fail(BARRIER);
      }
      throw failure;
    }
  }

  return { kernels, plan, run };
}
