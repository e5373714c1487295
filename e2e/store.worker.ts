/** The store in a worker, where it may open files synchronously; its calls come from e2e/store-host.ts. */
import { expose } from 'comlink';
import { type ErrorRecord, toRecord } from '../src/errors';
import { openStore, type Store } from '../src/store/store';
import type { BackendName } from '../src/store/store-backend';
import { withLock } from '../src/store/store-lock';

let store: Store | undefined;
let release: () => void = () => {};

const host = {
  async open(backend?: BackendName): Promise<BackendName | undefined> {
    store = await openStore({ backend });
    return store?.backend;
  },
  /** Calls a method. The first argument comes back too: methods bring a manifest up to date in place. */
  async call(method: string, args: unknown[]): Promise<{ value?: unknown; first?: unknown; error?: ErrorRecord }> {
    try {
      const methods = store as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
      return { value: await methods[method]!(...args), first: args[0] };
    } catch (error) {
      return { error: toRecord(error), first: args[0] };
    }
  },
  /** Takes a lock and keeps it until `release`. Resolves once it is held. */
  hold(key: string, mode: LockMode): Promise<void> {
    return new Promise((held, failed) => {
      const work = () =>
        new Promise<void>((resolve) => {
          release = resolve;
          held();
        });
      withLock(key, undefined, work, undefined, mode).catch(failed);
    });
  },
  async release(): Promise<void> {
    release();
  },
};

export type StoreHost = typeof host;

expose(host);
