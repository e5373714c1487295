/** A kernel worker of the bench: as workers/kernel.worker.ts, but it may be slow on purpose, and knows the prototype. */
import { toRecord } from '../../src/errors';
import { createForward } from '../../src/model/forward';
import { createMachine } from '../../src/model/machine';
import { BARRIER, PASS, ROWS } from '../../src/model/memory';
import type { KernelWorkerMessage, PoolStart } from '../../src/protocol/protocol';
import { LAST_PASS, PROTOTYPE_PASS } from './passes';
import { createPrototype } from './prototype';
import { slowed } from './slow';

export interface BenchStart extends PoolStart {
  /** Times as long as its kernels need; 1: a core like the others. */
  slowness: number;
  prototype: WebAssembly.Module | undefined;
}

export type Said = KernelWorkerMessage | { ended: true };

const SPIN = 100_000;

function serve({ module, memory, plan, rank, slowness, prototype }: BenchStart): void {
  const plain = createMachine(module, memory, plan, rank);
  const machine = slowness === 1 ? plain : { ...plain, kernels: slowed(plain.kernels, slowness) };
  const forward = createForward(machine, () => false);
  const other = prototype && createPrototype(plain, prototype, memory);
  say({ ready: true });
  try {
    for (let pass = 0; ; ) {
      pass = plain.kernels.awaitPass(PASS, pass, SPIN);
      const rows = machine.words[ROWS / 4]!;
      if (rows === LAST_PASS) break;
      if (rows === PROTOTYPE_PASS) other?.pass();
      else forward();
    }
  } catch (error) {
    plain.kernels.fail(BARRIER);
    throw error;
  }
  say({ ended: true });
  self.close();
}

const say = (message: Said): void => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<BenchStart>) => {
  try {
    serve(data);
  } catch (error) {
    say({ error: toRecord(error) });
  }
};
