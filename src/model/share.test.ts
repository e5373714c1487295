/** Work shared out: every unit once, whoever is fast, step after step. Threads are played by interleaved calls. */
import { describe, expect, test } from 'vitest';
import type { MemoryPlan } from './memory';
import { SHARE_BYTES, SHARE_SETS } from './memory';
import { createShare, type Share } from './share';

const at = 64;

function threadsOf(threads: number): Share[] {
  const words = new Int32Array(new SharedArrayBuffer(at + SHARE_SETS * threads * SHARE_BYTES + 64));
  words.fill(-1, 0, at / 4);
  words.fill(-1, words.length - 16);
  const plan = { threads, shares: at } as MemoryPlan;
  return Array.from({ length: threads }, (_, rank) => createShare({ plan, rank, words }));
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Who took which units when `order` works, one thread after the other; `nested`: another thread gets its turn in mid-unit. */
function step(shares: Share[], count: number, order: number[], nested?: { at: number; rank: number }): number[][] {
  const taken = shares.map((): number[] => []);
  const work = (rank: number): void =>
    shares[rank]!.each(count, (unit) => {
      taken[rank]!.push(unit);
      if (nested && unit === nested.at && rank !== nested.rank) work(nested.rank);
    });
  for (const rank of order) if (nested?.rank !== rank) work(rank);
  return taken;
}

describe.each([1, 2, 3, 7])('%i threads', (threads) => {
  test.each([0, 1, 2, 5, 64, 65])('%i units, each once, whoever comes first', (count) => {
    const shares = threadsOf(threads);
    const ranks = upTo(threads);
    for (let round = 0; round < 5; round++) {
      const order = ranks.map((rank) => (rank + round) % threads);
      for (let piece = 0; piece < 2; piece++) {
        const taken = step(shares, count, order);
        expect(taken.flat().sort((a, b) => a - b)).toEqual(upTo(count));
        expect(taken[order[0]!]).toHaveLength(count); // the others never came, so the first did it all
      }
      for (const share of shares) share.endStep();
    }
  });
});

test('a thread takes its own part in order, and helps the one that is held up', () => {
  const shares = threadsOf(2);
  // thread 0 is held up in its second unit, while thread 1 does everything else
  const taken = step(shares, 10, [0], { at: 1, rank: 1 });
  expect(taken).toEqual([
    [0, 1],
    [5, 6, 7, 8, 9, 2, 3, 4],
  ]);
});
