/** The page's link to the engine worker of one model: starts it, passes calls on, and ends. */
import { wrap } from 'comlink';
import { fromRecord, SternaError, toRecord as toErrorRecord } from '../errors';
import { ABORT } from '../model/memory';
import type {
  EngineApi,
  KernelWorkerMessage,
  LocateRequest,
  Reply,
  SpawnReply,
  SpawnRequest,
} from '../protocol/protocol';
import type { Assets } from './assets';
import { startWorker, workerFailure } from './start-worker';

let lastRequest = 0;

/** A number for a request that can be aborted. */
export const nextRequest = (): number => ++lastRequest;

/** The engine worker of one model, with an end to calls that nobody will answer any more. */
export function startEngine(assets: Assets) {
  const { 'engine.worker.js': engineUrl, 'kernel.worker.js': kernelUrl, 'formats.js': formats, ...kernels } = assets;
  const worker = startWorker(engineUrl);
  worker.postMessage({ kernels, formats } satisfies LocateRequest);
  const api: EngineApi = wrap<EngineApi>(worker); // the package's types name no dependency
  let memory: Int32Array | undefined;
  let ended: SternaError | undefined;
  const waiting = new Set<(error: SternaError) => void>();
  const kernelWorkers: Worker[] = [];

  worker.addEventListener('message', ({ data }: MessageEvent<Partial<SpawnRequest> | undefined>) => {
    const start = data?.spawn;
    if (!start || ended) return;
    let kernelWorker: Worker;
    try {
      kernelWorker = startWorker(kernelUrl);
    } catch (error) {
      return end(error as SternaError);
    }
    kernelWorkers.push(kernelWorker);
    const pass = (message: KernelWorkerMessage): void =>
      worker.postMessage({ rank: start.rank, message } satisfies SpawnReply);
    kernelWorker.onmessage = (event: MessageEvent<KernelWorkerMessage>) => pass(event.data);
    kernelWorker.onerror = (event) => pass({ error: toErrorRecord(workerFailure(kernelUrl, event)) });
    kernelWorker.postMessage(start);
  });

  function end(error: SternaError): void {
    if (ended) return;
    ended = error;
    memory = undefined;
    for (const each of [worker, ...kernelWorkers]) each.terminate();
    for (const reject of waiting) reject(error);
    waiting.clear();
  }
  worker.onerror = (event) => end(workerFailure(engineUrl, event));

  /** What `work` gives, unless the engine ends first: calls to a terminated worker never settle. */
  function orEnd<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      waiting.add(reject);
      work()
        .then(resolve, reject)
        .finally(() => waiting.delete(reject));
    });
  }

  /** One call: its value, or its error as a SternaError. */
  async function call<T>(work: () => Promise<Reply<T>>): Promise<T> {
    const reply = await orEnd(work).catch((error: unknown) => {
      if (error instanceof SternaError) throw error;
      throw new SternaError('bad-input', 'an argument cannot be sent to the engine', { got: String(error) });
    });
    if ('error' in reply) throw fromRecord(reply.error);
    return reply.value;
  }

  /** Asks for the end of a request that is waiting or at work. */
  function abort(id: number): void {
    if (ended) return;
    if (memory) Atomics.store(memory, ABORT / 4, id);
    void api.abort(id);
  }

  /** call(), aborted by a signal. */
  async function abortable<T>(
    signal: AbortSignal | undefined,
    work: (id: number) => Promise<Reply<T>>,
    onAbort = abort,
  ): Promise<T> {
    const id = nextRequest();
    const listener = (): void => onAbort(id);
    if (signal?.aborted) throw new SternaError('aborted', 'aborted before it began');
    signal?.addEventListener('abort', listener);
    try {
      return await call(() => work(id));
    } finally {
      signal?.removeEventListener('abort', listener);
    }
  }

  const share = (shared: WebAssembly.Memory | undefined): void => {
    memory = shared && new Int32Array(shared.buffer);
  };
  /** The memory of the model, where it is shared. */
  const buffer = (): ArrayBufferLike | undefined => memory?.buffer;
  return { api, call, orEnd, abort, abortable, share, buffer, end };
}

export type Engine = ReturnType<typeof startEngine>;
