/** Imported first: what comes after it waits until the page is isolated, where it can be. */
import { keepAndIsolate } from './offline';

await keepAndIsolate();
