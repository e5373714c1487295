/** Where the time of thread 0 goes within its passes: by step, and at the barriers between them. */
import type { Step, Tap } from '../../src/model/forward';
import type { Kernels } from '../../src/model/kernels';

export interface Steps {
  tap: Tap;
  /** The same kernels, with a barrier that is timed. */
  kernels: Kernels;
  /** Begins to count anew. */
  start(): void;
  /** Milliseconds since the start, by step; `barrier STEP`: waiting after it; `barrier`: within one. */
  stop(): Record<string, number>;
  /** A pass begins now. */
  pass(): void;
}

/** Nothing is timed but between start() and stop(). */
export function createSteps(kernels: Kernels): Steps {
  let times: Map<string, number> | undefined;
  let since = 0;
  let pending = 0; // of a step that has a barrier within
  let over: Step | undefined; // its barrier comes next

  const add = (what: string, ms: number): void => void times!.set(what, (times!.get(what) ?? 0) + ms);

  const tap: Tap = (step) => {
    if (!times) return;
    const now = performance.now();
    add(step, pending + now - since);
    pending = 0;
    since = now;
    over = step;
  };
  function barrier(at: number, threads: number, spin: number): number {
    if (!times) return kernels.barrier(at, threads, spin);
    const begin = performance.now();
    pending += begin - since;
    const failed = kernels.barrier(at, threads, spin);
    since = performance.now();
    add(over ? `barrier ${over}` : 'barrier', since - begin);
    over = undefined;
    return failed;
  }
  return {
    tap,
    kernels: { ...kernels, barrier },
    start() {
      times = new Map();
    },
    stop() {
      const all = Object.fromEntries(times!);
      times = undefined;
      return all;
    },
    pass() {
      since = performance.now();
      pending = 0;
    },
  };
}
