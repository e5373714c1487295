/**
 * The prototype of the dot32 kernel that the product's own is held against: compiled from its source where that lies
 * beside the checkout, over the same weights, by the same threads. Each takes its half of the rows of every matrix, with no
 * barrier before the end.
 */
import type { Machine } from '../../src/model/machine';
import { BARRIER, type MemoryPlan } from '../../src/model/memory';

interface Exports {
  initc(): void;
  gD_r2n4u1(w: number, a: number, out: number, rows: number, cols: number, sum: number): void;
}

/** It keeps its masks at a fixed place, where the model has weights: those are put back after each pass. */
const MASKS = { at: 1024, bytes: 96 };
/** From one copy of the activations to the other, in its code. */
const COPY = 8192;
/** For each thread, in the place of logits: two copies of the activations, then the sums. */
const THREAD_BYTES = 65_536;
const OUT = 2 * COPY;
const SPIN = 100_000;

/** The prototype reads tiles, so it cannot read what is packed for lut8. */
export const readsTiles = ({ kernel }: MemoryPlan): boolean => kernel !== 'lut8';

/** Makes one thread's pass. Thread 0 has to call `saved` around a pass of all threads. */
export function createPrototype(
  { kernels, plan, rank, words }: Machine,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
) {
  const { initc, gD_r2n4u1 } = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
  const scratch = plan.logits + rank * THREAD_BYTES;
  const matrices = plan.layers.flatMap((l) => [l.query, l.key, l.value, l.output, l.gate, l.up, l.down]);
  const parts = matrices.map(({ at, paddedRows, paddedCols: cols }) => {
    const tiles = paddedRows / 2;
    const [from, to] = [rank, rank + 1].map((i) => Math.floor((tiles * i) / plan.threads) * 2) as [number, number];
    return { at: at + (from * cols) / 4, rows: to - from, cols };
  });
  function pass(): void {
    for (const { at, rows, cols } of parts) gD_r2n4u1(at, scratch, scratch + OUT, rows, cols, 0);
    if (plan.threads > 1) kernels.barrier(BARRIER, plan.threads, SPIN);
  }

  /** Puts masks and activations in place, runs, and puts back what was there. */
  function saved<T>(work: () => T): T {
    const bytes = new Uint8Array(words.buffer);
    const before = bytes.slice(MASKS.at, MASKS.at + MASKS.bytes);
    initc();
    for (let thread = 0; thread < plan.threads; thread++) {
      const codes = new Int8Array(words.buffer, plan.logits + thread * THREAD_BYTES, OUT);
      for (let i = 0; i < COPY; i++) codes[i] = codes[i + COPY] = ((i * 37) % 255) - 127;
    }
    try {
      return work();
    } finally {
      bytes.set(before, MASKS.at);
    }
  }
  return { pass, saved };
}
