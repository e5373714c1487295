/** Loading progress as the page wants it: not too often, and with the rate of the last seconds. */
import type { Phase, Progress } from '../protocol/load-types';

const EVERY_MS = 60;
const WINDOW_MS = 3000;

export interface Report {
  (phase: Phase, file?: string, loaded?: number, total?: number): void;
  /** Says why the download of a file is waiting; the rest is as it was told last. */
  retry(file: string, reason: string): void;
}

/** Calls `onProgress` at each change of phase or file, and every 60 ms in between. */
export function createReport(onProgress: (progress: Progress) => void): Report {
  let told = 0;
  let last: Progress = { phase: 'config', file: '', loaded: 0, total: 0, rate: 0 };
  let samples: { at: number; loaded: number }[] = [];
  const report = (phase: Phase, file = '', loaded = 0, total = 0): void => {
    const now = performance.now();
    if (phase !== last.phase || loaded < last.loaded) samples = [];
    const isNew = phase !== last.phase || file !== last.file || loaded === total;
    last = { phase, file, loaded, total, rate: 0 };
    if (!isNew && now - told < EVERY_MS) return;
    told = now;
    samples = [...samples.filter(({ at }) => now - at < WINDOW_MS), { at: now, loaded }];
    const [first] = samples;
    const seconds = (now - first!.at) / 1000;
    if (seconds > 0.2) last.rate = (loaded - first!.loaded) / seconds;
    onProgress(last);
  };
  const retry = (file: string, reason: string): void => onProgress({ ...last, file, rate: 0, retry: reason });
  return Object.assign(report, { retry });
}
