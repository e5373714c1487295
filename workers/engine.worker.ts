/** The engine worker: thread 0 of the pool, and the page's only correspondent. */
import { expose } from 'comlink';
import { createEngine } from '../src/engine';

expose(createEngine());
