/**
 * One tab at a time at a stored model. The browser's locks reach every tab and worker of the origin, and go with the
 * one that held them, however it ended. Browsers without them (all older than WebAssembly SIMD) just go on.
 */
import { SternaError } from '../errors';

const lockName = (key: string): string => `sterna/${key}`;

/** What `work` returns, if the lock is free; undefined, and no work done, if it is not. */
function tryLock<T>(key: string, mode: LockMode, work: () => Promise<T>): Promise<{ value: T } | undefined> {
  const run = async (lock: Lock | null) => (lock ? { value: await work() } : undefined);
  return navigator.locks.request(lockName(key), { mode, ifAvailable: true }, run);
}

/**
 * Does the work while holding the lock of a model's key. Whatever writes to the store belongs under it, with the
 * manifest read (again) under it too.
 * @param signal ends the wait, not the work
 * @param onWaiting called once if another tab or worker holds the lock
 * @param mode `shared` for work that only reads: such holders do not wait for each other
 * @throws SternaError `aborted` while waiting; what `work` throws
 */
export async function withLock<T>(
  key: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  onWaiting: () => void = () => {},
  mode: LockMode = 'exclusive',
): Promise<T> {
  const aborted = () => new SternaError('aborted', 'the wait for another tab was aborted', { file: key });
  if (signal?.aborted) throw aborted();
  if (!navigator.locks) return work();
  const done = await tryLock(key, mode, work);
  if (done) return done.value;
  onWaiting();
  let begun = false;
  const begin = (): Promise<T> => {
    begun = true;
    return work();
  };
  try {
    return await navigator.locks.request(lockName(key), { mode, signal }, begin);
  } catch (error) {
    throw !begun && signal?.aborted ? aborted() : error;
  }
}

/**
 * The same, without a wait.
 * @throws SternaError `busy` if another tab or worker holds the lock; what `work` throws
 */
export async function withFreeLock<T>(key: string, name: string, mode: LockMode, work: () => Promise<T>): Promise<T> {
  if (!navigator.locks) return work();
  const done = await tryLock(key, mode, work);
  if (!done) throw new SternaError('busy', 'another tab is at work on this stored model', { file: name });
  return done.value;
}
