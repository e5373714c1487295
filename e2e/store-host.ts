/** Stores to test: in the page, and in a worker behind the same interface; and what damages what they keep. */
import { type Remote, wrap } from 'comlink';
import { clear, createStore, del, get, keys, set } from 'idb-keyval';
import { fromRecord } from '../src/errors';
import { openStore, Store } from '../src/store/store';
import type { BackendName } from '../src/store/store-backend';
import type { StoredModel } from '../src/store/store-manifest';
import type { StoreHost } from './store.worker';

export const database = createStore('sterna', 'models');

export interface WorkerHost {
  worker: Worker;
  remote: Remote<StoreHost>;
}

export function startHost(): WorkerHost {
  const worker = new Worker(new URL('./store.worker.ts', import.meta.url), { type: 'module' });
  return { worker, remote: wrap<StoreHost>(worker) };
}

/** A store in the page, or with a host, the one of its worker: then for methods without callbacks and signals. */
export async function storeIn(host: WorkerHost | undefined, backend?: BackendName): Promise<Store> {
  if (!host) return (await openStore({ backend }))!;
  const name = await host.remote.open(backend);
  const call = async (method: string, args: unknown[]) => {
    const { value, first, error } = await host.remote.call(method, args);
    if (typeof first === 'object') Object.assign(args[0] as object, first);
    if (error) throw fromRecord(error);
    return value;
  };
  return new Proxy({} as Store, {
    get(_, property: string) {
      if (property === 'backend') return name;
      return property in Store.prototype ? (...args: unknown[]) => call(property, args) : undefined;
    },
  });
}

const root = () => navigator.storage.getDirectory();
const folder = async (id: string, create = false) =>
  (await (await root()).getDirectoryHandle('sterna', { create: true })).getDirectoryHandle(id, { create });

export async function clearAll(): Promise<void> {
  await clear(database);
  await (await root()).removeEntry('sterna', { recursive: true }).catch(() => {});
}

/** Every key of the database, and every file, as they are. */
export async function everything(): Promise<string[]> {
  const found = (await keys<string>(database)).map(String);
  const top = await (await root()).getDirectoryHandle('sterna', { create: true });
  for await (const [id, entry] of top.entries()) {
    found.push(`file ${id}`);
    for await (const name of (entry as FileSystemDirectoryHandle).keys()) found.push(`file ${id}/${name}`);
  }
  return found.sort();
}

type Where = Pick<StoredModel, 'backend' | 'id'>;
const keyOf = ({ id }: Where, stream: string, n: number): string => `record/${id}/${stream}/${n}`;

/** Puts any bytes in a record's place, past the store. */
export async function putRecord(model: Where, stream: string, n: number, bytes: Uint8Array<ArrayBuffer>) {
  if (model.backend === 'indexeddb') return set(keyOf(model, stream, n), new Blob([bytes]), database);
  const file = await (await folder(model.id, true)).getFileHandle(`${stream}.${n}`, { create: true });
  const writable = await file.createWritable();
  await writable.write(bytes);
  await writable.close();
}

export async function getRecord(model: Where, stream: string, n: number): Promise<Uint8Array<ArrayBuffer>> {
  const blob =
    model.backend === 'indexeddb'
      ? (await get<Blob>(keyOf(model, stream, n), database))!
      : await (await (await folder(model.id)).getFileHandle(`${stream}.${n}`)).getFile();
  return new Uint8Array(await blob.arrayBuffer());
}

export async function loseRecord(model: Where, stream: string, n: number): Promise<void> {
  if (model.backend === 'indexeddb') return del(keyOf(model, stream, n), database);
  await (await folder(model.id)).removeEntry(`${stream}.${n}`);
}

/** Bytes that differ for every seed; always the same for one. */
export function someBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed * 2654435761 + 1;
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
