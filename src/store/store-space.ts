/** How much room there is: what the store's manifests say, and the browser's estimate for the whole origin. */
import { SternaError } from '../errors';
import type { Backend } from './store-backend';
import { isSession, type StoredModel } from './store-manifest';

/**
 * In bytes. `models` and `sessions` are what this store's manifests say; the rest is the browser's estimate for the whole origin.
 * Chromium's (156) is 10 GB free, whatever there is: only a write shows whether there is room.
 */
export interface StorageEstimate {
  models: number;
  sessions: number;
  usage: number;
  quota: number;
  free: number;
  /** The browser has promised not to evict. */
  persisted: boolean;
}

/** What is taken and free, with the store's manifests. */
export async function estimateStorage(stored: StoredModel[]): Promise<StorageEstimate> {
  const { usage = 0, quota = 0 } = await navigator.storage.estimate();
  const bytesOf = (some: StoredModel[]): number => some.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    models: bytesOf(stored.filter((one) => !isSession(one))),
    sessions: bytesOf(stored.filter(isSession)),
    usage,
    quota,
    free: Math.max(0, quota - usage),
    persisted: await navigator.storage.persisted(),
  };
}

/**
 * Makes sure that there is room for so many bytes, as far as the browser lets one find out.
 * @throws SternaError `quota`
 */
export async function needRoom(backend: Backend | undefined, bytes: number, name: string): Promise<void> {
  const { free } = await estimateStorage([]);
  if (free >= bytes && (await backend?.hasRoom?.(bytes)) !== false) return;
  throw noRoom(name, free, bytes);
}

/** `free` is not always true: see StorageEstimate. */
export function noRoom(file: string, free: number, expected: number): SternaError {
  const facts = { file, got: free < expected ? free : 'less', expected };
  return new SternaError('quota', "the browser's storage has not enough room, in bytes", facts);
}
