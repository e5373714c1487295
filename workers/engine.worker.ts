/** The engine worker: thread 0 of the pool, and the page's only correspondent. */
import { expose } from 'comlink';
import { createEngine } from '../src/engine';
import type { Spawn } from '../src/pool';
import type { SpawnReply, SpawnRequest } from '../src/protocol';

/** The page starts the kernel workers and passes on what they say. */
const spawn: Spawn = (start, onMessage) => {
  self.addEventListener('message', ({ data }: MessageEvent<Partial<SpawnReply>>) => {
    if (data.rank === start.rank && data.message) onMessage(data.message);
  });
  self.postMessage({ spawn: start } satisfies SpawnRequest);
};

expose(createEngine(spawn));
