/** One thread's hold on the memory: its kernels, the plan, its rank, and the words of memory.ts. */
import { instantiateKernels, type Kernels } from './kernels';
import type { MemoryPlan } from './memory';

export interface Machine {
  kernels: Kernels;
  plan: MemoryPlan;
  rank: number;
  /** The whole memory as i32. */
  words: Int32Array;
}

/** Instantiates the kernels of one thread over the memory. */
export function createMachine(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  rank: number,
): Machine {
  return { kernels: instantiateKernels(module, memory), plan, rank, words: new Int32Array(memory.buffer) };
}
