/**
 * Where the bytes of stored records lie: in IndexedDB as Blobs, or as files (store-opfs.ts). Manifests are always in
 * IndexedDB, for its transactions: a manifest is written after the bytes that it claims, or together with them.
 */
import { delMany, keys, promisifyRequest, get as read, type UseStore } from 'idb-keyval';
import { SternaError } from '../errors';

export type BackendName = 'opfs' | 'indexeddb';

/** Keys of the database. Ids are never used twice, and have no slash. */
export const modelKey = (id: string): string => `model/${id}`;
export const textKey = (id: string): string => `text/${id}`;

/** Records of models. A record is named `stream/number` within its model. */
export interface Backend {
  readonly name: BackendName;
  /** Ids of the models that have records here. */
  ids(): Promise<string[]>;
  /** A record of that many bytes, in `into` if it fits and the backend can; undefined if there is no such record. */
  read(
    id: string,
    record: string,
    bytes: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes a record, and the manifest with it or after it: a crash leaves the manifest before or this one. */
  write(id: string, record: string, bytes: Uint8Array<ArrayBuffer>, manifest: unknown): Promise<void>;
  /** Removes the records named, by default all of the model. What is not there counts as removed. */
  remove(id: string, records?: string[]): Promise<void>;
  /** Whether so many bytes can be written, where that can be tried. */
  hasRoom?(bytes: number): Promise<boolean>;
}

/**
 * Writes entries, if the model's manifest is still there, in one transaction.
 * @throws SternaError `bad-file` if the manifest is gone: removed, or the browser's data were cleared
 */
export function commit(database: UseStore, id: string, entries: [key: string, value: unknown][]): Promise<void> {
  return database(
    'readwrite',
    (store) =>
      new Promise((resolve, reject) => {
        const { transaction } = store;
        let failure: unknown;
        const abort = (error: unknown): void => {
          failure = error;
          transaction.abort();
        };
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(failure ?? transaction.error);
        const manifest = store.count(modelKey(id));
        manifest.onsuccess = () => {
          const facts = { got: 'nothing', expected: `the manifest ${id}` };
          if (manifest.result === 0) return abort(new SternaError('bad-file', 'the stored model was removed', facts));
          try {
            for (const [key, value] of entries) store.put(value, key);
          } catch (error) {
            abort(error); // what cannot be cloned
          }
        };
      }),
  );
}

/** Every key that begins so, with its value, as one transaction sees them. */
export function entriesUnder(database: UseStore, prefix: string): Promise<[key: string, value: unknown][]> {
  const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
  return database('readonly', async (store) => {
    const [keys, values] = await Promise.all([
      promisifyRequest(store.getAllKeys(range)),
      promisifyRequest<unknown[]>(store.getAll(range)),
    ]);
    return keys.map((key, i) => [String(key), values[i]]);
  });
}

/** Records as Blobs beside the manifests, each in one transaction with its manifest. */
export function indexedDbBackend(database: UseStore): Backend {
  const recordKey = (id: string, record: string): string => `record/${id}/${record}`;
  return {
    name: 'indexeddb',
    async ids() {
      const all = (await keys<string>(database)).map((key) => key.split('/'));
      return [...new Set(all.filter(([kind]) => kind === 'record').map(([, id]) => id!))];
    },
    async read(id, record, bytes) {
      const blob = await read<Blob>(recordKey(id, record), database);
      return blob?.size === bytes ? new Uint8Array(await blob.arrayBuffer()) : undefined;
    },
    write(id, record, bytes, manifest) {
      return commit(database, id, [
        [recordKey(id, record), new Blob([bytes])],
        [modelKey(id), manifest],
      ]);
    },
    async remove(id, records) {
      const prefix = recordKey(id, '');
      const all = records?.map((record) => recordKey(id, record)) ?? (await keys<string>(database));
      await delMany(
        all.filter((key) => key.startsWith(prefix)),
        database,
      );
    },
  };
}
