/**
 * Work shared out among the threads. Every piece of a step's work is a list of units 0..count-1. Each thread takes the
 * units of its own part in order, so that it reads one sequential stream of weights; when it is done it helps the others,
 * so that nobody waits long for a slow core. Which thread takes a unit changes no bit: units write to places of their own.
 *
 * Counters lie in shared memory; those of a step and of the next take turns.
 */
import type { Machine } from './machine';
import { SHARE_BYTES, SHARE_SETS } from './memory';

/** Pieces of work between two barriers, at most. */
const PIECES = SHARE_SETS / 2;
/** i32 words from counter to counter. */
const LINE = SHARE_BYTES / 4;

export interface Share {
  /** Has `work` done for every unit below `count`, by one thread each. All threads call it alike, at most twice a step. */
  each(count: number, work: (unit: number) => void): void;
  /** All threads call it once a step, just before they meet. */
  endStep(): void;
}

/** One thread's hand in the work. */
export function createShare({ plan, rank, words }: Pick<Machine, 'plan' | 'rank' | 'words'>): Share {
  const { threads } = plan;
  const counters = plan.shares / 4;
  let turn = 0;
  let piece = 0;
  const setOf = (turnOf: number, pieceOf: number): number => counters + (turnOf * PIECES + pieceOf) * threads * LINE;

  function each(count: number, work: (unit: number) => void): void {
    if (threads === 1) {
      for (let unit = 0; unit < count; unit++) work(unit);
      return;
    }
    const set = setOf(turn, piece++);
    for (let i = 0; i < threads; i++) {
      const part = (rank + i) % threads;
      const begin = Math.floor((count * part) / threads);
      const end = Math.floor((count * (part + 1)) / threads);
      if (i > 0 && Atomics.load(words, set + part * LINE) >= end - begin) continue;
      for (;;) {
        const unit = begin + Atomics.add(words, set + part * LINE, 1);
        if (unit >= end) break;
        work(unit);
      }
    }
  }

  function endStep(): void {
    // The other set is of the step before. All have left that one behind, and none has begun the next.
    turn ^= 1;
    piece = 0;
    if (rank > 0 || threads === 1) return;
    for (let i = 0; i < PIECES * threads; i++) words[setOf(turn, 0) + i * LINE] = 0;
  }

  return { each, endStep };
}
