/** The page of the bench's engine: its calls, for whoever drives the browser. */
import { wrap } from 'comlink';
import type { BenchHost } from './engine.worker';
import { serveSpawns } from './spawn';

const worker = new Worker(new URL('./engine.worker.ts', import.meta.url), { type: 'module' });
worker.onerror = ({ message }) => console.error(message);
serveSpawns(worker);
Object.assign(globalThis, { engine: wrap<BenchHost>(worker) });
