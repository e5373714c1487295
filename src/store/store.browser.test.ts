/** The offline store in the browser's real storage: either backend, from a page and from a worker. */
import { get, keys, set } from 'idb-keyval';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  clearAll,
  database,
  everything,
  getRecord,
  loseRecord,
  putRecord,
  someBytes,
  startHost,
  storeIn,
} from '../../e2e/store-host';
import type { SternaError } from '../errors';
import { openStore, type Store } from './store';
import type { BackendName } from './store-backend';
import { withLock } from './store-lock';
import type { NewModel, StoredModel } from './store-manifest';

const host = startHost();
afterAll(() => host.worker.terminate());

const model: NewModel = {
  key: 'hub:https://example.org/owner/name@main',
  version: 'v1',
  name: 'owner/name',
  expectedBytes: 100_000,
  description: { config: { layers: 2 }, tensors: [{ name: 'a', shape: [2, 3] }] },
  state: { offset: 0 },
};
const at = (n: number) => ({ file: 0, from: 1000 * n, to: 1000 * (n + 1) });
/** Odd sizes, the first of them empty. */
const record = (n: number) => someBytes(n * 1237, n);

async function stored(store: Store, count: number, changes: Partial<NewModel> = {}, finish = true) {
  const begun = await store.begin({ ...model, ...changes });
  for (let n = 0; n < count; n++) await store.append(begun, record(n), at(n), { offset: n + 1 });
  if (finish) await store.finish(begun);
  return begun;
}

const errorOf = (promise: Promise<unknown>): Promise<SternaError | undefined> =>
  promise.then(
    () => undefined,
    (error) => error,
  );
const codeOf = async (promise: Promise<unknown>): Promise<string> => (await errorOf(promise))?.code ?? 'no error';

beforeEach(clearAll);

describe.each([
  ['indexeddb', 'the page'],
  ['opfs', 'the page'],
  ['indexeddb', 'a worker'],
  ['opfs', 'a worker'],
] as [BackendName, string][])('%s, from %s', (backend, thread) => {
  const open = () => storeIn(thread === 'a worker' ? host : undefined, backend);

  test('a model is begun, resumed by another, and finished', async () => {
    const first = await open();
    expect(first.backend).toBe(backend);
    const begun = await first.begin(model);
    for (const n of [0, 1, 2]) {
      const state = { offset: 10 * n, hash: Uint8Array.of(n, 255) };
      await first.append(begun, record(n), at(n), state);
      await first.append(begun, record(n + 5), at(n), state, 'embedding-bf16');
    }
    const second = await open();
    const resumed = (await second.find(model.key, 'v1'))!;
    expect(resumed).toEqual(begun);
    expect(resumed).toMatchObject({ ...model, complete: false, state: { offset: 20, hash: Uint8Array.of(2, 255) } });
    expect(resumed.records.map(({ bytes, ...where }) => [bytes, where.from, where.to])).toEqual([
      [0, 0, 1000],
      [1237, 1000, 2000],
      [2474, 2000, 3000],
    ]);
    resumed.description = { config: {}, hasTokenizer: true };
    await second.append(resumed, record(3), at(3), { offset: 30 });
    await second.writeText(resumed, 'tokenizer: \u{1f426}');
    await second.finish(resumed);

    const found = (await (await open()).find(model.key))!;
    expect(found).toEqual(resumed);
    expect(found).toMatchObject({ complete: true, state: undefined, description: { config: {}, hasTokenizer: true } });
    const bytes = 1237 * (1 + 2 + 3) + 1237 * (5 + 6 + 7) + 15;
    expect(found).toMatchObject({ bytes, expectedBytes: bytes });
    for (const n of [0, 1, 2, 3]) expect(await second.read(found, n)).toEqual(record(n));
    for (const n of [0, 1, 2]) expect(await second.read(found, n, 'embedding-bf16')).toEqual(record(n + 5));
    expect(await second.read(found, 4)).toBeUndefined();
    expect(await second.read(found, 0, 'other')).toBeUndefined();
    expect(await second.readText(found)).toBe('tokenizer: \u{1f426}');
    expect(await second.verify(found.id)).toEqual({ damaged: 0 });
  });

  test('a record of 16 MB, its hash as elsewhere, read into room that is given', async () => {
    const store = await open();
    const begun = await store.begin(model);
    const large = someBytes(16 << 20, 9);
    await store.append(begun, large, at(0), undefined);
    await store.append(begun, new TextEncoder().encode('abc'), at(1), undefined);
    expect(begun.records[1]).toMatchObject({
      sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', // FIPS 180-2, B.1
      xxh64: '44bc2cf5ad770999', // python-xxhash, xxh64('abc')
    });
    const room = new Uint8Array(17 << 20);
    expect((await store.read(begun, 0, 'weights', room))?.every((byte, i) => byte === large[i])).toBe(true);
    expect(await store.read(begun, 1, 'weights', room)).toEqual(new TextEncoder().encode('abc'));
    expect(await store.read(begun, 1, 'weights', new Uint8Array(2))).toEqual(new TextEncoder().encode('abc'));
  });

  test.each([
    ['one bit flipped', (bytes: Uint8Array<ArrayBuffer>) => bytes.map((byte, i) => (i === 1234 ? byte ^ 1 : byte))],
    ['the end lost', (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, -1)],
    ['the end zeroed', (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0, 2000)],
    ['one byte more', (bytes: Uint8Array<ArrayBuffer>) => Uint8Array.of(...bytes, 0)],
    ['missing', undefined],
  ])('a damaged record is not read, and healed only by the same bytes: %s', async (_, damage) => {
    const store = await open();
    const kept = await stored(store, 4);
    await store.append(kept, record(5), at(0), undefined, 'embedding-bf16');
    for (const [n, stream] of [
      [2, 'weights'],
      [0, 'embedding-bf16'],
    ] as const) {
      if (damage) await putRecord(kept, stream, n, damage(await getRecord(kept, stream, n)));
      else await loseRecord(kept, stream, n);
      expect(await store.read(kept, n, stream)).toBeUndefined();
    }
    expect(await store.read(kept, 3)).toEqual(record(3));
    expect(await store.verify(kept.id)).toEqual({ damaged: 2 });
    expect(await errorOf(store.replace(kept, 2, record(3)))).toMatchObject({
      code: 'bad-file',
      got: kept.records[3]?.sha256,
      expected: kept.records[2]?.sha256,
    });
    expect(await store.read(kept, 2)).toBeUndefined();
    await store.replace(kept, 2, record(2));
    await store.replace(kept, 0, record(5), 'embedding-bf16');
    expect(await store.read(kept, 2)).toEqual(record(2));
    expect(await store.verify(kept.id)).toEqual({ damaged: 0 });
    expect(await store.find(model.key)).toEqual(kept);
  });

  test('a damaged text is not read', async () => {
    const store = await open();
    const kept = await stored(store, 2);
    expect(await store.readText(kept)).toBeUndefined();
    await store.writeText(kept, 'first, and longer');
    await store.writeText(kept, 'second');
    expect(kept.bytes).toBe(1237 + 6);
    expect(await store.readText(kept)).toBe('second');
    await set(`text/${kept.id}`, new Blob(['secomd']), database);
    expect(await store.readText(kept)).toBeUndefined();
    expect(await store.verify(kept.id)).toEqual({ damaged: 1 });
  });

  test('truncated, then appended to again', async () => {
    const store = await open();
    const kept = await stored(store, 4);
    await store.append(kept, record(4), at(0), undefined, 'embedding-bf16');
    await store.truncate(kept, 1, { offset: 1 });
    expect(await store.find(model.key)).toEqual(kept);
    expect(kept).toMatchObject({ complete: false, state: { offset: 1 }, bytes: 4 * 1237 });
    expect(kept.records).toHaveLength(1);
    const place =
      backend === 'opfs'
        ? (s: string) => `file ${kept.id}/${s.replace('/', '.')}`
        : (s: string) => `record/${kept.id}/${s}`;
    const records = (await everything()).filter((name) => name.includes(`${kept.id}/`));
    expect(records).toEqual([place('embedding-bf16/0'), place('weights/0')]);
    await store.append(kept, record(7), at(1), undefined);
    await store.truncate(kept, 0, undefined, 'embedding-bf16');
    expect(await store.read(kept, 1)).toEqual(record(7));
    expect(kept.bytes).toBe(7 * 1237);
    expect(await store.verify(kept.id)).toEqual({ damaged: 0 });
  });

  test('a record that a crash left beyond the manifest is written over', async () => {
    const store = await open();
    const kept = await stored(store, 2, {}, false);
    await putRecord(kept, 'weights', 2, record(50));
    const resumed = (await (await open()).find(model.key))!;
    expect(resumed.records).toHaveLength(2);
    await store.append(resumed, record(2), at(2), undefined);
    expect(await store.read(resumed, 2)).toEqual(record(2));
    expect(await store.verify(kept.id)).toEqual({ damaged: 0 });
  });

  test('the same version begun again takes the place of the first', async () => {
    const store = await open();
    const first = await stored(store, 3, {}, false);
    const second = await store.begin(model);
    expect(second.id).not.toBe(first.id);
    expect(await everything()).toEqual([`model/${second.id}`]);
    expect(await codeOf(store.append(first, record(1), at(3), undefined))).toBe('bad-file');
    expect((await store.list()).map(({ id }) => id)).toEqual([second.id]);
  });

  test('nothing is written to a model that was removed meanwhile', async () => {
    const store = await open();
    const kept = await stored(store, 2, {}, false);
    await clearAll();
    expect(await errorOf(store.append(kept, record(2), at(2), { offset: 9 }))).toMatchObject({ code: 'bad-file' });
    expect(kept.records).toHaveLength(2);
    expect(kept.state).toEqual({ offset: 2 });
    expect(await codeOf(store.writeText(kept, 'text'))).toBe('bad-file');
    expect(await codeOf(store.replace(kept, 1, record(1)))).toBe('bad-file');
    expect(await codeOf(store.finish(kept))).toBe('bad-file');
    await store.touch(kept);
    expect(await store.list()).toEqual([]);
    expect(await everything()).toEqual([]);
  });

  test('records without a manifest are removed, on opening and on listing', async () => {
    const store = await open();
    const kept = await stored(store, 2);
    const all = await everything();
    const orphan = { backend, id: crypto.randomUUID() };
    await putRecord(orphan, 'weights', 3, record(3));
    expect(await everything()).not.toEqual(all);
    await open();
    expect(await everything()).toEqual(all);
    await putRecord(orphan, 'weights', 3, record(3));
    await store.list();
    expect(await everything()).toEqual(all);
    expect(await store.verify(kept.id)).toEqual({ damaged: 0 });
  });

  test('find: the version, else the newest complete one, else the newest', async () => {
    const store = await open();
    await stored(store, 1, { key: 'other' });
    expect(await store.find(model.key)).toBeUndefined();
    const ids: string[] = [];
    for (const [version, finish] of [
      ['v1', false],
      ['v2', false],
    ] as const) {
      await new Promise((resolve) => setTimeout(resolve, 2)); // another millisecond
      ids.push((await stored(store, 1, { version }, finish)).id);
    }
    expect((await store.find(model.key))?.id).toBe(ids[1]);
    for (const [version, finish] of [
      ['v3', true],
      ['v4', true],
      ['v5', false],
    ] as const) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      ids.push((await stored(store, 1, { version }, finish)).id);
    }
    expect((await store.find(model.key))?.id).toBe(ids[3]);
    expect((await store.find(model.key, 'v1'))?.id).toBe(ids[0]);
    expect(await store.find(model.key, 'v6')).toBeUndefined();
    const newest = (await get<StoredModel>(`model/${ids[3]}`, database))!;
    await set(`model/${ids[3]}`, { ...newest, format: newest.format + 1 }, database);
    expect((await store.find(model.key))?.id).toBe(ids[2]);
    expect(await store.find(model.key, 'v4')).toBeUndefined();
    expect((await store.list()).find(({ id }) => id === ids[3])?.outdated).toBe(true);
  });

  test('a damaged manifest counts as not stored, and goes with its records', async () => {
    const store = await open();
    const other = await stored(store, 1, { key: 'other' });
    for (const damage of [
      { complete: false },
      { description: { config: { layers: 3 } } },
      { records: [] },
      { id: other.id },
      { format: 'x', name: 7 },
    ]) {
      const kept = await stored(store, 2);
      const manifest = (await get<StoredModel>(`model/${kept.id}`, database))!;
      await set(`model/${kept.id}`, { ...manifest, ...damage }, database);
      expect(await store.find(model.key)).toBeUndefined();
      expect(await codeOf(store.verify(kept.id))).toBe('bad-input');
      expect((await store.list()).map(({ id }) => id)).toEqual([other.id]);
      expect((await everything()).filter((name) => name.includes(kept.id))).toEqual([]);
    }
    const again = await stored(store, 2);
    await store.touch(again);
    expect((await store.find(model.key))?.id).toBe(again.id);
  });

  test('list, outdated versions, remove', async () => {
    const store = await open();
    const wait = () => new Promise((resolve) => setTimeout(resolve, 2));
    const other = await stored(store, 2, { key: 'other' });
    await wait();
    const old = await stored(store, 3);
    await wait();
    const newer = await stored(store, 4, { version: 'v2' }, false);
    // a download does not yet replace what works
    expect((await store.list()).map(({ id, outdated }) => [id, outdated])).toEqual([
      [newer.id, false],
      [old.id, false],
      [other.id, false],
    ]);
    await store.finish(newer);
    await wait();
    await store.touch(other);
    const { key, name, version, savedAt } = old;
    const list = await store.list();
    expect(list.map(({ id, outdated }) => [id, outdated])).toEqual([
      [other.id, false],
      [newer.id, false],
      [old.id, true],
    ]);
    expect(list[0]!.usedAt).toBeGreaterThan(other.usedAt);
    expect(list[2]).toEqual({
      id: old.id,
      key,
      name,
      version,
      bytes: 3 * 1237,
      expectedBytes: 3 * 1237,
      complete: true,
      savedAt,
      usedAt: old.usedAt,
      outdated: true,
    });
    expect((await store.estimate()).models).toBe((1 + 3 + 6) * 1237);

    expect(await store.removeOutdated()).toBe(3 * 1237);
    expect(await store.verify(newer.id)).toEqual({ damaged: 0 });
    expect(await codeOf(store.verify(old.id))).toBe('bad-input');
    await store.remove(old.id);
    await store.discard(newer);
    await store.writeText(other, 'text');
    await store.remove(other.id);
    expect(await store.list()).toEqual([]);
    expect(await everything()).toEqual([]);
  });
});

test('files are preferred; models are found, read and removed where they are', async () => {
  const blobs = await storeIn(undefined, 'indexeddb');
  const kept = await stored(blobs, 3, {}, false);
  const files = await storeIn(host);
  expect(files.backend).toBe('opfs');
  const found = (await files.find(model.key))!;
  expect(found).toEqual(kept);
  await files.append(found, record(3), at(3), undefined);
  expect(found.backend).toBe('indexeddb');
  expect(await files.read(found, 3)).toEqual(record(3));
  expect(await blobs.verify(kept.id)).toEqual({ damaged: 0 });
  await files.begin(model);
  expect((await everything()).filter((name) => !name.startsWith('model/'))).toEqual([]);
});

test('verify tells how far it is, and can be aborted', async () => {
  const store = await storeIn(undefined);
  const kept = await stored(store, 4);
  await store.writeText(kept, 'text');
  const seen: number[][] = [];
  await store.verify(kept.id, (...progress) => seen.push(progress));
  const total = 6 * 1237 + 4;
  expect(seen).toEqual([0, 4, 4, 4 + 1237, 4 + 3 * 1237, total].map((checked) => [checked, total]));
  const controller = new AbortController();
  let calls = 0;
  const aborted = store.verify(
    kept.id,
    () => {
      calls++;
      controller.abort();
    },
    controller.signal,
  );
  expect(await errorOf(aborted)).toMatchObject({ code: 'aborted', name: 'AbortError' });
  expect(calls).toBe(1);
});

test('the estimate and persistence are the browser\u2019s', async () => {
  const store = await storeIn(undefined);
  const before = await store.estimate();
  await store.append(await store.begin(model), someBytes(4e6, 1), at(0), undefined);
  const after = await store.estimate();
  expect(after.models).toBe(4e6);
  expect(after.usage).toBeGreaterThan(before.usage + 3.9e6);
  expect(after.free).toBe(after.quota - after.usage);
  expect(await store.persist()).toBe((await store.estimate()).persisted);
  expect(await (await storeIn(host)).persist()).toBe(after.persisted);
});

test('a model that another thread holds is neither removed nor checked; one that is only read is checked', async () => {
  const store = await storeIn(undefined);
  const kept = await stored(store, 2);
  const old = await stored(store, 1, { version: 'v0' });
  await host.remote.hold(model.key, 'exclusive');
  expect(await errorOf(store.remove(kept.id))).toMatchObject({ code: 'busy', file: model.name });
  expect(await codeOf(store.verify(kept.id))).toBe('busy');
  expect(await store.removeOutdated()).toBe(0);
  await host.remote.release();
  await host.remote.hold(model.key, 'shared');
  expect(await codeOf(store.remove(kept.id))).toBe('busy');
  expect(await store.verify(kept.id)).toEqual({ damaged: 0 });
  expect(await withLock(model.key, undefined, async () => 'done', undefined, 'shared')).toBe('done');
  await host.remote.release();
  await store.remove(kept.id);
  expect((await store.list()).map(({ id }) => id)).toEqual([old.id]);
});

test('two threads that want the same model: the second finds what the first has stored', async () => {
  const [page, worker] = [await storeIn(undefined), await storeIn(host)];
  const first = withLock(model.key, undefined, () => stored(page, 3));
  await host.remote.hold(model.key, 'exclusive'); // resolves when the page is done
  expect(await worker.find(model.key)).toEqual(await first);
  await host.remote.release();
  expect((await keys<string>(database)).filter((key) => key.startsWith('model/'))).toHaveLength(1);
});

test('openStore without a backend that is there gives none', async () => {
  const { getDirectory } = StorageManager.prototype;
  StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('no', 'SecurityError'));
  try {
    expect(await openStore({ backend: 'opfs' })).toBeUndefined();
    expect((await openStore())?.backend).toBe('indexeddb');
  } finally {
    StorageManager.prototype.getDirectory = getDirectory;
  }
});
