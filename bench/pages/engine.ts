/** The page of the bench's engine: its calls, for whoever drives the browser. */
import { wrap } from 'comlink';
import type { BenchHost } from './engine.worker';

const worker = new Worker(new URL('./engine.worker.ts', import.meta.url), { type: 'module' });
worker.onerror = ({ message }) => console.error(message);
Object.assign(globalThis, { engine: wrap<BenchHost>(worker) });
