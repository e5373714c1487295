/** Kernel workers of the bench's engine: the page starts them, as it does for the product, and passes on what they say. */
import type { BenchStart, Said } from './kernel.worker';

interface ToPage {
  spawn: BenchStart;
  id: number;
}
interface FromPage {
  id: number;
  said: Said;
}

let last = 0;
/** One for each worker that has not ended. */
const ends = new Set<Promise<void>>();

/** Called in the engine worker. */
export function spawnKernelWorker(
  spawn: BenchStart,
  onMessage: (message: Exclude<Said, { ended: true }>) => void,
): void {
  const id = ++last;
  const end = new Promise<void>((resolve) => {
    self.addEventListener('message', ({ data }: MessageEvent<FromPage>) => {
      if (data.id !== id || !data.said) return;
      if ('ended' in data.said) resolve();
      else onMessage(data.said);
    });
  });
  ends.add(end);
  void end.then(() => ends.delete(end));
  self.postMessage({ spawn, id } satisfies ToPage);
}

/** Resolves when all kernel workers have left the memory. A worker that is terminated may touch it for two seconds more. */
export const kernelWorkersEnded = (): Promise<unknown> => Promise.all(ends);

/** Called in the page, for its engine worker. */
export function serveSpawns(engine: Worker): void {
  engine.addEventListener('message', ({ data }: MessageEvent<ToPage>) => {
    if (!data.spawn) return;
    const { id } = data;
    const pass = (said: Said): void => {
      if ('error' in said) console.error(said.error);
      engine.postMessage({ id, said } satisfies FromPage);
    };
    const worker = new Worker(new URL('./kernel.worker.ts', import.meta.url), { type: 'module' });
    worker.onmessage = (event: MessageEvent<Said>) => pass(event.data);
    worker.onerror = ({ message }) => pass({ error: { code: 'worker', message } });
    worker.postMessage(data.spawn);
  });
}
