/** A kernel worker of the bench: as workers/kernel.worker.ts, but it may be slow on purpose, and knows the prototype. */
import { toRecord } from '../../src/errors';
import { createForward } from '../../src/forward';
import { createMachine } from '../../src/machine';
import { PASS, ROWS } from '../../src/memory';
import type { PoolStart } from '../../src/protocol';
import { createPrototype, PROTOTYPE_PASS } from './prototype';
import { slowed } from './slow';

export interface BenchStart extends PoolStart {
  /** Times as long as its kernels need; 1: a core like the others. */
  slowness: number;
  prototype: WebAssembly.Module | undefined;
}

const SPIN = 100_000;

function serve({ module, memory, plan, rank, slowness, prototype }: BenchStart): void {
  const plain = createMachine(module, memory, plan, rank);
  const machine = slowness === 1 ? plain : { ...plain, kernels: slowed(plain.kernels, slowness) };
  const forward = createForward(machine, () => false);
  const other = prototype && createPrototype(plain, prototype, memory);
  self.postMessage({ ready: true });
  for (let pass = 0; ; ) {
    pass = plain.kernels.awaitPass(PASS, pass, SPIN);
    if (machine.words[ROWS / 4] === PROTOTYPE_PASS) other?.pass();
    else forward();
  }
}

self.onmessage = ({ data }: MessageEvent<BenchStart>) => {
  try {
    serve(data);
  } catch (error) {
    self.postMessage({ error: toRecord(error) });
  }
};
