/** The engine worker: thread 0 of the pool, and the page's only correspondent. */
import { expose } from 'comlink';
import { createEngine } from '../src/engine/engine';
import { lazyFormats } from '../src/generate/lazy-formats';
import { locateKernels } from '../src/model/kernels';
import type { Spawn } from '../src/model/pool';
import type { LocateRequest, SpawnReply, SpawnRequest } from '../src/protocol/protocol';

/** The page starts the kernel workers and passes on what they say. */
const spawn: Spawn = (start, onMessage) => {
  self.addEventListener('message', ({ data }: MessageEvent<Partial<SpawnReply>>) => {
    if (data.rank === start.rank && data.message) onMessage(data.message);
  });
  self.postMessage({ spawn: start } satisfies SpawnRequest);
};

let formatsUrl = '';

// the page's first message
self.addEventListener('message', ({ data }: MessageEvent<Partial<LocateRequest>>) => {
  if (data.kernels) locateKernels(data.kernels);
  if (data.formats) formatsUrl = data.formats;
});
expose(createEngine(spawn, () => lazyFormats(formatsUrl)));
