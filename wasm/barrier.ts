// Meeting points of the worker pool, in shared memory. All no-ops in the builds without threads.
//
// Words (i32) from `at`: 0 arrived, 1 generation, 2 sleepers, 3 failed.

/** Spins, then sleeps, until the word differs from `seen`. */
function waitWhile(word: usize, sleepers: usize, seen: i32, spin: i32): void {
  if (ASC_FEATURE_THREADS) {
    for (let i = spin; i > 0; i--) if (atomic.load<i32>(word) != seen) return;
    atomic.add<i32>(sleepers, 1);
    while (atomic.load<i32>(word) == seen) atomic.wait<i32>(word, seen, -1);
    atomic.sub<i32>(sleepers, 1);
  }
}

/** All `threads` meet. Returns 0, or 1 if one of them has failed (then nobody waits any more). */
export function barrier(at: usize, threads: i32, spin: i32): i32 {
  if (ASC_FEATURE_THREADS) {
    const generation = atomic.load<i32>(at, 4);
    if (atomic.load<i32>(at, 12)) return 1;
    if (atomic.add<i32>(at, 1) == threads - 1) {
      atomic.store<i32>(at, 0);
      atomic.add<i32>(at, 1, 4);
      if (atomic.load<i32>(at, 8)) atomic.notify(at + 4, -1);
    } else waitWhile(at + 4, at + 8, generation, spin);
    return atomic.load<i32>(at, 12);
  }
  return 0;
}

/** Marks the pool as failed and releases everybody who waits. */
export function fail(at: usize): void {
  if (ASC_FEATURE_THREADS) {
    atomic.store<i32>(at, 1, 12);
    atomic.add<i32>(at, 1, 4);
    atomic.notify(at + 4, -1);
  }
}

/** A kernel worker waits for the word at `at` (a pass counter; sleepers beside it) to move on from `seen`. */
export function awaitPass(at: usize, seen: i32, spin: i32): i32 {
  waitWhile(at, at + 4, seen, spin);
  if (ASC_FEATURE_THREADS) return atomic.load<i32>(at);
  return seen;
}

/** Starts the next pass: moves the counter on and wakes the sleepers. */
export function startPass(at: usize): void {
  if (ASC_FEATURE_THREADS) {
    atomic.add<i32>(at, 1);
    if (atomic.load<i32>(at, 4)) atomic.notify(at, -1);
  }
}
