/** Loading progress as the page wants it: not too often, and with the rate of the last seconds. */
import type { Phase, Progress } from './protocol';

const EVERY_MS = 60;
const WINDOW_MS = 3000;

export type Report = (phase: Phase, file?: string, loaded?: number, total?: number, retry?: string) => void;

/** Calls `onProgress` at each change of phase or file, and every 60 ms in between. */
export function createReport(onProgress: (progress: Progress) => void): Report {
  let [told, last] = [0, ''];
  let samples: { at: number; loaded: number }[] = [];
  return (phase, file = '', loaded = 0, total = 0, retry) => {
    const now = performance.now();
    const what = `${phase} ${file}`;
    if (!last.startsWith(`${phase} `)) samples = [];
    const isNew = what !== last || retry !== undefined || loaded === total;
    if (!isNew && now - told < EVERY_MS) return;
    [told, last] = [now, what];
    samples = [...samples.filter(({ at }) => now - at < WINDOW_MS), { at: now, loaded }];
    const [first] = samples;
    const seconds = (now - first!.at) / 1000;
    const rate = seconds > 0.2 ? (loaded - first!.loaded) / seconds : 0;
    onProgress({ phase, file, loaded, total, rate, ...(retry === undefined ? {} : { retry }) });
  };
}
