/**
 * The offline store of packed models, for pages and workers. A model is a manifest, records of about 16 MB, and one
 * text; a saved session is kept in the same way (store-sessions.ts), under a key of its own kind. At any moment, also after a crash, a manifest claims only what was written before it: a download goes on where
 * its manifest ends. What belongs to no manifest, or to a damaged one, is removed when the store is opened or listed.
 * Everything that writes is called under `withLock(key)` (store-lock.ts), but `remove` and `verify`, which take it.
 */
import { createStore, delMany, get, promisifyRequest, setMany, type UseStore } from 'idb-keyval';
import { SternaError } from '../errors';
import {
  type Backend,
  type BackendName,
  commit,
  entriesUnder,
  indexedDbBackend,
  modelKey,
  textKey,
} from './store-backend';
import { sha256, xxh64 } from './store-hash';
import { withFreeLock } from './store-lock';
import {
  allRecords,
  checkManifest,
  FORMAT,
  isSession,
  type NewModel,
  recordsOf,
  type StoredModel,
  type StoredRecord,
  sealed,
  withRecords,
} from './store-manifest';
import { opfsBackend } from './store-opfs';
import { estimateStorage, needRoom, noRoom, type StorageEstimate } from './store-space';

export interface StoredSummary
  extends Pick<
    StoredModel,
    'id' | 'key' | 'name' | 'version' | 'bytes' | 'expectedBytes' | 'complete' | 'savedAt' | 'usedAt'
  > {
  /** There is a newer version from the same origin, or this one was stored by another version of this software. */
  outdated: boolean;
}

/**
 * Opens the store of this origin.
 * @param options backend: where new models go. Default: files (OPFS) where this thread can write them, else IndexedDB.
 *   Models are found, read and removed wherever they are.
 * @returns undefined where the browser gives no storage (blocked, some private windows, an address that is not secure):
 *   models then load without being kept
 */
export async function openStore(options: { backend?: BackendName } = {}): Promise<Store | undefined> {
  if (!globalThis.indexedDB || !globalThis.crypto?.subtle) return undefined;
  const database = createStore('sterna', 'models');
  const inDatabase = indexedDbBackend(database);
  const files = await opfsBackend(database);
  const backends = files ? [files, inDatabase] : [inDatabase];
  const preferred = backends.find(({ name }) => name === (options.backend ?? backends[0]!.name));
  if (!preferred) return undefined;
  const store = new Store(database, backends, preferred);
  try {
    await store.list();
  } catch {
    return undefined;
  }
  return store;
}

/** Get one from `openStore`. */
export class Store {
  /** Where new models go. */
  readonly backend: BackendName;
  readonly #database: UseStore;
  readonly #backends: Backend[];

  constructor(database: UseStore, backends: Backend[], preferred: Backend) {
    this.#database = database;
    this.#backends = backends;
    this.backend = preferred.name;
  }

  /** The manifest of that version; without a version the complete one that was used last, else the last used. */
  async find(key: string, version?: string): Promise<StoredModel | undefined> {
    const models = (await this.manifests()).filter(
      (model) => model.key === key && (version ?? model.version) === model.version && this.#readable(model),
    );
    models.sort((a, b) => +b.complete - +a.complete || b.usedAt - a.usedAt);
    return models[0];
  }

  /**
   * Writes the manifest of a model without records. What was stored of the same version is removed.
   * @throws SternaError `quota`
   */
  async begin(model: NewModel): Promise<StoredModel> {
    const earlier = (await this.manifests()).filter(
      ({ key, version }) => key === model.key && version === model.version,
    );
    for (const { id } of earlier) await this.#drop(id);
    const now = Date.now();
    const started = await sealed({
      ...model,
      format: FORMAT,
      id: crypto.randomUUID(),
      backend: this.backend,
      complete: false,
      records: [],
      extra: {},
      text: undefined,
      bytes: 0,
      savedAt: now,
      usedAt: now,
    });
    await this.#writing(started, 0, setMany([[modelKey(started.id), started]], this.#database));
    return started;
  }

  /**
   * Writes a record at the end of a stream, and the manifest with it (also what the caller changed in its description).
   * `model` is up to date afterwards, and as before if this fails. One call at a time for a model.
   * @param bytes not shared memory
   * @param state the state from which to resume after this record
   * @throws SternaError `quota` (what was stored before stays), `bad-file` if the model was removed meanwhile
   */
  async append(
    model: StoredModel,
    bytes: Uint8Array<ArrayBuffer>,
    { file, from, to }: Pick<StoredRecord, 'file' | 'from' | 'to'>,
    state: unknown,
    stream = 'weights',
  ): Promise<void> {
    const records = recordsOf(model, stream);
    const sums = { sha256: await sha256(bytes), xxh64: await xxh64(bytes) };
    const record = { file, from, to, bytes: bytes.length, ...sums };
    const next = await sealed(withRecords({ ...model, state, savedAt: Date.now() }, stream, [...records, record]));
    const written = this.#backendOf(model).write(model.id, `${stream}/${records.length}`, bytes, next);
    await this.#writing(model, bytes.length, written);
    Object.assign(model, next);
  }

  /**
   * Marks the model complete. Its state goes.
   * @throws SternaError `quota`, `bad-file` as `append` does
   */
  async finish(model: StoredModel): Promise<void> {
    const now = Date.now();
    await this.#commit(model, {
      complete: true,
      state: undefined,
      expectedBytes: model.bytes,
      savedAt: now,
      usedAt: now,
    });
  }

  /**
   * The bytes of a record, checked (XXH64); undefined if it is missing or damaged.
   * @param into room to read into, if it is large enough: the result may be a part of it
   */
  async read(
    model: StoredModel,
    n: number,
    stream = 'weights',
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const record = recordsOf(model, stream)[n];
    if (!record) return undefined;
    const read = this.#backendOf(model).read(model.id, `${stream}/${n}`, record.bytes, into);
    const bytes = await read.catch(() => undefined); // a file that the browser or the disk has lost
    return bytes && (await xxh64(bytes)) === record.xxh64 ? bytes : undefined;
  }

  /**
   * Writes a damaged or missing record again.
   * @throws SternaError `bad-file` if these are not the bytes that it had; `quota`
   */
  async replace(model: StoredModel, n: number, bytes: Uint8Array<ArrayBuffer>, stream = 'weights'): Promise<void> {
    const expected = recordsOf(model, stream)[n]?.sha256;
    const got = await sha256(bytes);
    if (got !== expected) {
      const facts = { file: model.name, got, expected: expected ?? `no record ${n}` };
      throw new SternaError('bad-file', 'other bytes than those that were stored', facts);
    }
    const written = this.#backendOf(model).write(model.id, `${stream}/${n}`, bytes, await sealed(model));
    await this.#writing(model, bytes.length, written);
  }

  /**
   * Drops the records of a stream from number `count` on; the model is then incomplete.
   * @throws SternaError `bad-file` as `append` does
   */
  async truncate(model: StoredModel, count: number, state: unknown, stream = 'weights'): Promise<void> {
    const records = recordsOf(model, stream);
    const names = records.map((_, n) => `${stream}/${n}`).slice(count);
    const change = { complete: false, state, savedAt: Date.now() };
    await this.#commit(model, withRecords({ ...model, ...change }, stream, records.slice(0, count)));
    await this.#backendOf(model).remove(model.id, names);
  }

  /**
   * Keeps a text beside the records (tokenizer files), in place of the one that is there.
   * @throws SternaError `quota`, `bad-file` as `append` does
   */
  async writeText(model: StoredModel, text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    const described = { bytes: bytes.length, sha256: await sha256(bytes) };
    const change = { text: described, bytes: model.bytes - (model.text?.bytes ?? 0) + bytes.length };
    await this.#commit(model, change, [[textKey(model.id), new Blob([bytes])]], bytes.length);
  }

  /** The text; undefined if there is none, or if it is damaged. */
  async readText(model: StoredModel): Promise<string | undefined> {
    const blob = await get<Blob>(textKey(model.id), this.#database).catch(() => undefined);
    const bytes = await blob?.arrayBuffer().catch(() => undefined);
    if (!bytes || (await sha256(new Uint8Array(bytes))) !== model.text?.sha256) return undefined;
    return new TextDecoder().decode(bytes);
  }

  /** Notes that the model is used now. Needs no lock. */
  async touch(model: StoredModel): Promise<void> {
    const written = this.#database('readwrite', async (objects) => {
      const stored = await promisifyRequest<StoredModel | undefined>(objects.get(modelKey(model.id)));
      if (stored) objects.put({ ...stored, usedAt: Date.now() }, modelKey(model.id));
      return promisifyRequest<void>(objects.transaction);
    });
    await this.#writing(model, 0, written);
  }

  /** Every model, the last used first; no sessions. */
  async list(): Promise<StoredSummary[]> {
    // Ids first: a model that is begun meanwhile has its manifest before its first record.
    const withRecords = await Promise.all(this.#backends.map((backend) => backend.ids()));
    const entries = await this.#entries();
    // one of another version of this software is not ours to judge
    const isOurs = (format: unknown): boolean => format === FORMAT || typeof format !== 'number';
    for (const [id, model, format] of entries) if (!model && isOurs(format)) await this.#drop(id);
    const models = entries.flatMap(([, model]) => (model && !isSession(model) ? model : []));
    const known = new Set(entries.map(([id]) => id));
    for (const [i, backend] of this.#backends.entries()) {
      for (const id of withRecords[i]!) if (!known.has(id)) await backend.remove(id).catch(() => {}); // next time
    }
    const isNewer = (a: StoredModel, b: StoredModel): boolean =>
      a.key === b.key && a.id !== b.id && a.usedAt > b.usedAt && (a.complete || !b.complete) && this.#readable(a);
    return models
      .sort((a, b) => b.usedAt - a.usedAt)
      .map((model) => {
        const { id, key, name, version, bytes, expectedBytes, complete, savedAt, usedAt } = model;
        const outdated = !this.#readable(model) || models.some((other) => isNewer(other, model));
        return { id, key, name, version, bytes, expectedBytes, complete, savedAt, usedAt, outdated };
      });
  }

  /** Every manifest that is sound, of models and sessions. */
  async manifests(): Promise<StoredModel[]> {
    return (await this.#entries()).flatMap(([, model]) => model ?? []);
  }

  /**
   * Reads and checks (XXH64, SHA-256) every record and the text. For the page that wants to know; loading checks what it reads anyway.
   * @param onProgress bytes checked, of how many
   * @returns how many records (and text) are missing or damaged
   * @throws SternaError `busy` if another tab is writing the model, `aborted`, `bad-input` if there is no such model
   */
  async verify(
    id: string,
    onProgress: (checked: number, total: number) => void = () => {},
    signal?: AbortSignal,
  ): Promise<{ damaged: number }> {
    const { key, name } = await this.#stored(id);
    return withFreeLock(key, name, 'shared', async () => {
      const model = await this.#stored(id);
      let [damaged, checked] = [0, 0];
      const count = (good: boolean, bytes: number): void => {
        if (signal?.aborted) throw new SternaError('aborted', 'the check was aborted', { file: name });
        damaged += good ? 0 : 1;
        checked += bytes;
        onProgress(checked, model.bytes);
      };
      count(true, 0);
      if (model.text) count((await this.readText(model)) !== undefined, model.text.bytes);
      const room = new Uint8Array(Math.max(0, ...allRecords(model).map(([, , { bytes }]) => bytes)));
      for (const [stream, n, record] of allRecords(model)) {
        const bytes = await this.read(model, n, stream, room);
        count(bytes !== undefined && (await sha256(bytes)) === record.sha256, record.bytes);
      }
      return { damaged };
    });
  }

  /**
   * Removes a model. One that is not there counts as removed.
   * @throws SternaError `busy` if another tab is loading it or checking it
   */
  async remove(id: string): Promise<void> {
    const model = (await this.manifests()).find((stored) => stored.id === id);
    if (model) await withFreeLock(model.key, model.name, 'exclusive', () => this.#drop(id));
  }

  /** Removes a model of which the caller holds the lock. */
  async discard(model: StoredModel): Promise<void> {
    await this.#drop(model.id);
  }

  /** Removes what is outdated, but for what another tab is at work on. Returns the bytes removed. */
  async removeOutdated(): Promise<number> {
    let freed = 0;
    for (const { id, bytes, outdated } of await this.list()) {
      if (!outdated) continue;
      try {
        await this.remove(id);
        freed += bytes;
      } catch (error) {
        if (!(error instanceof SternaError && error.code === 'busy')) throw error;
      }
    }
    return freed;
  }

  async estimate(): Promise<StorageEstimate> {
    return estimateStorage(await this.manifests());
  }

  /**
   * Makes sure that there is room for so many bytes, as far as the browser lets one find out.
   * @throws SternaError `quota`
   */
  async needRoom(bytes: number, name: string): Promise<void> {
    await needRoom(
      this.#backends.find((each) => each.name === this.backend),
      bytes,
      name,
    );
  }

  /** Asks the browser not to evict. Only a page may ask; a worker is told what is. */
  async persist(): Promise<boolean> {
    const { storage } = navigator;
    return 'persist' in storage ? storage.persist() : (storage as StorageManager).persisted();
  }

  /** Every manifest by the id that it is kept under; undefined where it is damaged. */
  async #entries(): Promise<[id: string, model: StoredModel | undefined, format: unknown][]> {
    const entries = await entriesUnder(this.#database, modelKey(''));
    return Promise.all(
      entries.map(async ([key, value]) => [
        key.slice(modelKey('').length),
        await checkManifest(value, key).catch(() => undefined),
        (value as { format?: unknown } | null)?.format,
      ]),
    );
  }

  async #stored(id: string): Promise<StoredModel> {
    const model = (await this.manifests()).find((stored) => stored.id === id);
    if (model) return model;
    throw new SternaError('bad-input', 'no such model is stored', { got: id, expected: 'an id of list()' });
  }

  #readable({ format, backend }: StoredModel): boolean {
    return format === FORMAT && this.#backends.some(({ name }) => name === backend);
  }

  #backendOf(model: StoredModel): Backend {
    return this.#backends.find(({ name }) => name === model.backend)!;
  }

  /** The manifest goes first: what is left after a crash belongs to none. */
  async #drop(id: string): Promise<void> {
    await delMany([modelKey(id), textKey(id)], this.#database);
    for (const backend of this.#backends) await backend.remove(id);
  }

  /** Writes the manifest with changes, which `model` then has too, and entries beside it. */
  async #commit(
    model: StoredModel,
    changes: Partial<StoredModel>,
    entries: [string, unknown][] = [],
    bytes = 0,
  ): Promise<void> {
    const next = await sealed({ ...model, ...changes });
    await this.#writing(model, bytes, commit(this.#database, model.id, [...entries, [modelKey(model.id), next]]));
    Object.assign(model, next);
  }

  /** Waits for a write, and says in our own terms what it fails of. */
  async #writing(model: StoredModel, bytes: number, written: Promise<void>): Promise<void> {
    try {
      await written;
    } catch (error) {
      if (error instanceof SternaError) throw error;
      const { name: file } = model;
      if ((error as Error).name === 'QuotaExceededError') {
        const expected = Math.max(bytes, model.expectedBytes - model.bytes);
        throw noRoom(file, (await this.estimate()).free, expected);
      }
      throw new SternaError('worker', "the browser's storage failed", { file, got: String(error) });
    }
  }
}
