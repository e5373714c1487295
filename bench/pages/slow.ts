/** A slow core, made on purpose: every kernel takes a number of times as long as it needs. */
import type { Kernels } from '../../src/model/kernels';

/** Waiting for others takes no part in it. */
const WAITING = ['barrier', 'awaitPass', 'startPass', 'fail'];

/**
 * The same kernels, each `factor` times as slow. The clock is coarse against one call, so what is owed adds up over many:
 * a call's time is right on average, and the sum is right to a few microseconds.
 */
export function slowed(kernels: Kernels, factor: number): Kernels {
  let owed = 0;
  const slow =
    (kernel: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      const start = performance.now();
      const result = kernel(...args);
      const end = performance.now();
      owed += (factor - 1) * (end - start);
      let now = end;
      while (now - end < owed) now = performance.now();
      owed -= now - end;
      return result;
    };
  const wrapped = Object.entries(kernels).map(([name, kernel]) => [
    name,
    WAITING.includes(name) || typeof kernel !== 'function' ? kernel : slow(kernel as () => unknown),
  ]);
  return Object.fromEntries(wrapped) as Kernels;
}
