// barrier(), fail(), awaitPass(), startPass(): real workers over one shared memory.
import { describe, expect, test } from 'vitest';
import { BUILDS, type Lab, openLab } from '../e2e/kernel-lab';
import type { Kernels } from '../src/model/kernels';
import { BARRIER, PASS } from '../src/model/memory';

const shared = await Promise.all(BUILDS.filter((build) => build.shared).map((build) => openLab(build, 1)));
const single = await Promise.all(BUILDS.filter((build) => !build.shared).map((build) => openLab(build, 1)));
const COUNTER = 4096; // i32 of the tests: a shared counter, then a word for each thread
const SLOTS = 4160;
const NOBODY = 4400; // a word that nobody wakes
const PATIENCE = 40_000; // milliseconds, for what takes one or two seconds on an idle machine
const SPINS = [0, 100_000];

interface Order {
  task: 'meet' | 'fail' | 'passes';
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  rank: number;
  threads: number;
  rounds: number;
  spin: number;
  pause: number; // milliseconds before fail()
  at: { barrier: number; pass: number; counter: number; slots: number; nobody: number };
}

interface Report {
  rounds: number; // done
  wrong: number; // rounds in which something was not as it must be
  answers: number[]; // of barrier(), where it was not 0
}

/** What a worker runs. Its text goes into a Blob, so it knows nothing but what it is sent. */
function program(): void {
  self.onmessage = ({ data }: MessageEvent<Order>) => {
    const { task, module, memory, rank, threads, rounds, spin, pause, at } = data;
    const k = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
    const words = new Int32Array(memory.buffer);
    const report: Report = { rounds: 0, wrong: 0, answers: [] };
    const meet = (): boolean => {
      const answer = k.barrier(at.barrier, threads, spin);
      if (answer !== 0) report.answers.push(answer);
      return answer === 0;
    };
    /** Nobody passes before all have come, and what they wrote before is seen after. */
    const round = (i: number): boolean => {
      words[at.slots / 4 + rank] = i;
      Atomics.add(words, at.counter / 4, 1);
      if (!meet()) return false;
      const count = Atomics.load(words, at.counter / 4) - threads * (i + 1);
      let right = count >= 0 && count < threads;
      for (let other = 0; other < threads; other++) {
        const behind = words[at.slots / 4 + other]! - i;
        if (behind !== 0 && behind !== 1) right = false;
      }
      if (!right) report.wrong++;
      report.rounds++;
      return true;
    };
    if (task === 'meet') {
      for (let i = 0; i < rounds; i++) if (!round(i)) break;
    } else if (task === 'fail') {
      for (let i = 0; i < rounds; i++) round(i);
      if (rank === threads - 1) {
        if (pause > 0) Atomics.wait(words, at.nobody / 4, 0, pause);
        k.fail(at.barrier);
      }
      meet();
      meet();
    } else {
      let seen = 0;
      for (let i = 0; i < rounds; i++) {
        if (rank === 0) {
          words[at.slots / 4] = i; // plain: starting the pass must make it seen
          k.startPass(at.pass);
        }
        const now = k.awaitPass(at.pass, seen, spin);
        if (now !== seen + 1 || words[at.slots / 4] !== i) report.wrong++;
        seen = now;
        if (!meet()) break;
        report.rounds++;
      }
    }
    self.postMessage(report);
  };
}

/** Runs a task on `threads` workers, over words set to 0. */
async function runWorkers(lab: Lab, task: Order['task'], threads: number, rounds: number, spin: number, pause = 0) {
  const words = new Int32Array(lab.memory.buffer);
  words.fill(0, BARRIER / 4);
  const url = URL.createObjectURL(new Blob([`(${program})()`], { type: 'text/javascript' }));
  const at = { barrier: BARRIER, pass: PASS, counter: COUNTER, slots: SLOTS, nobody: NOBODY };
  const workers = Array.from({ length: threads }, () => new Worker(url));
  try {
    return await Promise.all(
      workers.map(
        (worker, rank) =>
          new Promise<Report>((resolve, reject) => {
            worker.onmessage = ({ data }: MessageEvent<Report>) => resolve(data);
            worker.onerror = ({ message }) => reject(new Error(message));
            setTimeout(() => reject(new Error(`thread ${rank} hangs`)), PATIENCE);
            const { module, memory } = lab;
            worker.postMessage({ task, module, memory, rank, threads, rounds, spin, pause, at } satisfies Order);
          }),
      ),
    );
  } finally {
    for (const worker of workers) worker.terminate();
    URL.revokeObjectURL(url);
  }
}

const barrierWords = (lab: Lab): number[] => [...lab.i32(BARRIER, 4)]; // arrived, generation, sleepers, failed

test('the page is cross-origin isolated, as threads need', () => {
  expect(crossOriginIsolated).toBe(true);
});

describe.each(shared)('$name', (lab) => {
  describe.each([2, 3, 4])('%i threads', (threads) => {
    test.each(SPINS)('meet 10,000 times, spin %i', async (spin) => {
      const reports = await runWorkers(lab, 'meet', threads, 10_000, spin);
      expect(reports).toEqual(Array(threads).fill({ rounds: 10_000, wrong: 0, answers: [] }));
      expect(barrierWords(lab)).toEqual([0, 10_000, 0, 0]);
    });

    test.each(SPINS)('pass by pass, spin %i', async (spin) => {
      const reports = await runWorkers(lab, 'passes', threads, 2000, spin);
      expect(reports).toEqual(Array(threads).fill({ rounds: 2000, wrong: 0, answers: [] }));
      expect([...lab.i32(PASS, 2)]).toEqual([2000, 0]); // counter, sleepers
      expect(barrierWords(lab)).toEqual([0, 2000, 0, 0]);
    });

    test.each(SPINS.flatMap((spin) => [0, 20].map((pause) => [spin, pause] as const)))(
      'fail() releases all, once and for all: spin %i, after %i ms',
      async (spin, pause) => {
        const reports = await runWorkers(lab, 'fail', threads, 50, spin, pause);
        for (const { rounds, wrong, answers } of reports) {
          // a thread that is slow to leave the last good barrier may see the failure there
          expect(rounds).toBeGreaterThanOrEqual(pause > 0 ? 50 : 49);
          expect(answers).toEqual(Array(52 - rounds).fill(1));
          expect(wrong).toBe(0);
        }
        expect(barrierWords(lab).slice(2)).toEqual([0, 1]); // no sleepers, failed
      },
    );
  });

  test('one thread meets itself', () => {
    new Int32Array(lab.memory.buffer).fill(0, BARRIER / 4);
    for (let i = 0; i < 3; i++) expect(lab.kernels.barrier(BARRIER, 1, 0)).toBe(0);
    expect(barrierWords(lab)).toEqual([0, 3, 0, 0]);
    lab.kernels.fail(BARRIER);
    expect(lab.kernels.barrier(BARRIER, 1, 0)).toBe(1);
  });

  test('a pass that has begun is not waited for', () => {
    new Int32Array(lab.memory.buffer).fill(0, BARRIER / 4);
    lab.kernels.startPass(PASS);
    expect(lab.kernels.awaitPass(PASS, 0, 0)).toBe(1);
    expect(lab.kernels.awaitPass(PASS, 7, 100)).toBe(1);
  });
});

describe.each(single)('$name', (lab) => {
  test('without threads all four return at once and touch nothing', () => {
    const before = lab.u8(0, 65536);
    lab.kernels.fail(BARRIER);
    lab.kernels.startPass(PASS);
    expect(lab.kernels.barrier(BARRIER, 4, 100)).toBe(0);
    expect(lab.kernels.awaitPass(PASS, 5, 100)).toBe(5);
    expect(lab.u8(0, 65536).every((byte, i) => byte === before[i])).toBe(true);
  });
});
