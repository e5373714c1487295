/**
 * A plain read of the ternary weights, by the threads that decode: the least time that a token can take on a machine, since
 * each weight is read once a token. Measured where a decode rate is to be judged.
 */
import type { Bandwidth } from '../protocol/generate-types';
import type { Machine } from './machine';
import { ternaryMatrices } from './memory';
import type { Pool } from './pool';

/** Matrices are whole multiples of it: 16 rows of 64 weights. */
const GRAIN = 256;
/** Long against the coarsest clock, 0.1 ms. */
const ROUND_MS = 20;
const ROUNDS = 5;

/** Makes one thread's read of its part of all ternary weights. What it returns means nothing. */
export function createReading({ kernels, plan, rank }: Machine): () => number {
  const parts = ternaryMatrices(plan).map(({ at, paddedRows, paddedCols }) => {
    const grains = (paddedRows * paddedCols) / 4 / GRAIN;
    const [from, to] = [rank, rank + 1].map((i) => Math.floor((grains * i) / plan.threads) * GRAIN) as [number, number];
    return { at: at + from, bytes: to - from };
  });
  return () => parts.reduce((all, { at, bytes }) => all ^ kernels.readMemory(at, bytes), 0);
}

/**
 * Reads all ternary weights many times over: the median of five rounds of at least 20 ms.
 * @param between called after each round; it may throw
 */
export async function measureBandwidth(pool: Pool, between: () => Promise<void>): Promise<Bandwidth> {
  const times: number[] = [];
  while (times.length < ROUNDS) {
    const start = performance.now();
    let [passes, ms] = [0, 0];
    while (ms < ROUND_MS) {
      await pool.run([], 0);
      passes++;
      ms = performance.now() - start;
    }
    times.push(ms / passes);
    await between();
  }
  const ms = times.sort((a, b) => a - b)[ROUNDS >> 1]!;
  const bytes = pool.plan.ternaryBytes;
  return { bytes, ms, bytesPerSecond: (bytes * 1000) / ms };
}
