/** Locks between threads: who waits, who is told, and what an abort ends. */
import { afterAll, expect, test } from 'vitest';
import { startHost } from '../../e2e/store-host';
import type { SternaError } from '../errors';
import { withLock } from './store-lock';

const host = startHost();
afterAll(() => host.worker.terminate());

const done = async () => 'done';
const errorOf = (promise: Promise<unknown>): Promise<SternaError | undefined> =>
  promise.then(
    () => undefined,
    (error) => error,
  );

test('work waits for the other thread, and says so', async () => {
  await host.remote.hold('a', 'exclusive');
  const events: string[] = [];
  const work = withLock(
    'a',
    new AbortController().signal,
    async () => events.push('work'),
    () => events.push('waiting'),
  );
  expect(await withLock('b', undefined, done)).toBe('done'); // another model does not wait
  await expect.poll(() => events).toEqual(['waiting']);
  events.push('release');
  await host.remote.release();
  await work;
  expect(events).toEqual(['waiting', 'release', 'work']);
  await withLock('a', undefined, done, () => events.push('waiting again'));
  expect(events).toHaveLength(3);
});

test('the wait is aborted; the work is not, and its error is its own', async () => {
  await host.remote.hold('a', 'exclusive');
  const controller = new AbortController();
  let begun = 0;
  const begin = async () => begun++;
  const waiting = withLock('a', controller.signal, begin, () => controller.abort());
  expect(await errorOf(waiting)).toMatchObject({ code: 'aborted', name: 'AbortError' });
  expect((await errorOf(withLock('a', controller.signal, begin)))?.code).toBe('aborted');
  await host.remote.release();
  expect(await withLock('a', undefined, done)).toBe('done');
  expect(begun).toBe(0);
  const later = new AbortController();
  const aborting = withLock('a', later.signal, async () => {
    later.abort();
    return 'through';
  });
  expect(await aborting).toBe('through');
  const failing = withLock('a', undefined, () => Promise.reject(new Error('its own')));
  expect((await errorOf(failing))?.message).toBe('its own');
  expect(await withLock('a', undefined, done)).toBe('done');
});

test('a thread that ends lets go', async () => {
  const other = startHost();
  await other.remote.hold('a', 'exclusive');
  const events: string[] = [];
  const work = withLock('a', undefined, done, () => events.push('waiting'));
  await expect.poll(() => events).toEqual(['waiting']);
  other.worker.terminate();
  expect(await work).toBe('done');
});
