/**
 * Threads 1..n-1 of the pool. One message brings module, memory and plan; from then on the worker lives in shared
 * memory: it sleeps on the pass counter, runs the pass, and meets the others at barriers.
 */
import { toRecord } from '../src/errors';
import { createForward, PoolFailed } from '../src/model/forward';
import { createMachine } from '../src/model/machine';
import { BARRIER, PASS } from '../src/model/memory';
import type { KernelWorkerMessage, PoolStart } from '../src/protocol/protocol';

/** Rounds to spin between passes before sleeping: the engine samples and decodes a token in less. */
const SPIN = 100_000;

function serve({ module, memory, plan, rank }: PoolStart): void {
  const machine = createMachine(module, memory, plan, rank);
  try {
    const forward = createForward(machine, () => false);
    post({ ready: true });
    for (let pass = 0; ; ) {
      pass = machine.kernels.awaitPass(PASS, pass, SPIN);
      forward();
    }
  } catch (error) {
    if (error instanceof PoolFailed) return; // another thread reports the cause
    post({ error: toRecord(error) });
    machine.kernels.fail(BARRIER);
  }
}

const post = (message: KernelWorkerMessage): void => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<PoolStart>) => {
  try {
    serve(data);
  } catch (error) {
    post({ error: toRecord(error) });
  }
};
