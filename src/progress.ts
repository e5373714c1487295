/** Loading progress as the page wants it: not too often, and with the rate of the last seconds. */
import type { Phase, Progress } from './protocol';

const EVERY_MS = 60;
const WINDOW_MS = 3000;

export interface Report {
  (phase: Phase, file?: string, loaded?: number, total?: number): void;
  /** Says that what is under way is being tried again, and why. */
  retry(why: string): void;
}

/** Calls `onProgress` at each change of phase or file, and every 60 ms in between. */
export function createReport(onProgress: (progress: Progress) => void): Report {
  let told = 0;
  let last: Progress = { phase: 'config', file: '', loaded: 0, total: 0, rate: 0 };
  let samples: { at: number; loaded: number }[] = [];
  const report = (phase: Phase, file = '', loaded = 0, total = 0): void => {
    const now = performance.now();
    if (phase !== last.phase) samples = [];
    const isNew = phase !== last.phase || file !== last.file || loaded === total;
    if (!isNew && now - told < EVERY_MS) return;
    told = now;
    samples = [...samples.filter(({ at }) => now - at < WINDOW_MS), { at: now, loaded }];
    const [first] = samples;
    const seconds = (now - first!.at) / 1000;
    const rate = seconds > 0.2 ? (loaded - first!.loaded) / seconds : 0;
    last = { phase, file, loaded, total, rate };
    onProgress(last);
  };
  const retry = (why: string): void => onProgress({ ...last, rate: 0, retry: why });
  return Object.assign(report, { retry });
}
