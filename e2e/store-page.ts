/** What a page of e2e/store.spec.ts has on `window.store`. */
import { openStore, type Store } from '../src/store/store';
import { withLock } from '../src/store/store-lock';
import { everything, someBytes, startHost, storeIn } from './store-host';

const tools = { openStore, withLock, everything, someBytes, startHost, storeIn };

declare global {
  interface Window {
    store: typeof tools;
    opened: Store;
  }
}

window.store = tools;
