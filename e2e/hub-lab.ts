/** The lab page and a fake hub: loads as a page sees them, what went over the wire, and what the store has. */
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { checkpointBytes, packedCheckpoint, type Repository, shape2B4T } from '../bench/synthesize';
import type { HubSource, Inspection, LoadOptions, ModelInfo, Progress } from '../src/index';
import type { StoredModel } from '../src/store/store-manifest';
import type { FakeFile } from './fake-files';
import { type FakeHub, type FakeHubOptions, type FakeRepo, startFakeHub } from './fake-hub';
import { test as base, type Seen } from './lab';

export const WEIGHTS = 'model.safetensors';
export const TINY = 'lab/tiny';
export const WIDE = 'lab/wide';

const folder = new URL('../demo/public/models/tiny-stories-ternary/', import.meta.url);
const texts = ['tokenizer.json', 'tokenizer_config.json'];

const readAll = (names: string[]): Record<string, Buffer> =>
  Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name, folder))]));

/** The embedded model. */
export const tiny = readAll(['config.json', 'generation_config.json', ...texts, WEIGHTS]);

/** A repository of a written checkpoint, in memory: digests and ranges are then quick. */
export const inMemory = ({ files }: Pick<Repository, 'files'>): Record<string, Buffer> =>
  Object.fromEntries(Object.entries(files).map(([path, file]) => [path, Buffer.from(file.read(0, file.size).buffer)]));

const jsonFile = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** The files with one JSON file changed. */
export function withJson(files: Record<string, Buffer>, path: string, changes: object): Record<string, Buffer> {
  return { ...files, [path]: jsonFile({ ...(JSON.parse(files[path]!.toString()) as object), ...changes }) };
}

/** 73 MB with the tokenizer of the embedded model: four records of the store. */
function makeWide(): Record<string, Buffer> {
  const checkpoint = packedCheckpoint({ ...shape2B4T, maxPositions: 2 ** 20 });
  return {
    'config.json': jsonFile(checkpoint.config),
    'generation_config.json': jsonFile(checkpoint.generation),
    ...readAll(texts),
    [WEIGHTS]: Buffer.from(checkpointBytes(checkpoint).buffer),
  };
}

type Start = (repos: Record<string, FakeRepo | Record<string, FakeFile>>, options?: FakeHubOptions) => Promise<FakeHub>;
const isRepo = (repo: FakeRepo | Record<string, FakeFile>): repo is FakeRepo =>
  'files' in repo && !('size' in repo.files);

/** `startHub` takes repositories, or just their files; `wide` is made once. */
export const test = base.extend<{ startHub: Start; hub: FakeHub }, { wide: Record<string, Buffer> }>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures it depends on here
  wide: [async ({}, use) => use(makeWide()), { scope: 'worker' }],
  // biome-ignore lint/correctness/noEmptyPattern: as above
  startHub: async ({}, use) => {
    const hubs: FakeHub[] = [];
    await use(async (repos, options) => {
      const given = Object.entries(repos).map(([name, repo]) => [name, isRepo(repo) ? repo : { files: repo }] as const);
      hubs.push(await startFakeHub(Object.fromEntries(given), options));
      return hubs.at(-1)!;
    });
    await Promise.all(hubs.map((hub) => hub.close()));
  },
  /** With the embedded model. */
  hub: async ({ startHub }, use) => use(await startHub({ [TINY]: tiny })),
});

export type Address = HubSource | { url: string };
export const hubSource = (hub: FakeHub, repo = TINY): HubSource => ({ repo, hubUrl: hub.url });
/** The files of a repository as a folder of a web server. */
export const folderUrl = (hub: FakeHub, repo = TINY): Address => ({ url: `${hub.url}/${repo}/resolve/main/` });

/** What came of a load. */
export interface Outcome {
  error?: Seen;
  info?: ModelInfo;
  /** SHA-256 of the logits of a few tokens. */
  hash?: string;
  progress: Progress[];
}

type Options = Omit<LoadOptions, 'onProgress' | 'signal'>;

/** Loads, evaluates and disposes. @param abortAt bytes of the weights at which the load is aborted */
export function tryLoad(page: Page, source: Address, options: Options = {}, abortAt = 2 ** 50): Promise<Outcome> {
  return page.evaluate(
    async ({ source, options, abortAt }) => {
      const progress: Progress[] = [];
      const controller = new AbortController();
      const onProgress = (one: Progress) => {
        progress.push(one);
        if (one.phase === 'weights' && one.loaded >= abortAt) controller.abort();
      };
      try {
        const { signal } = controller;
        const model = await window.sterna.load(source, { ...options, onProgress, signal });
        const { logits } = await model.evaluate([0, 5, 77, 31, 2]);
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', logits.slice().buffer));
        const hash = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
        await model.dispose();
        return { info: model.info, hash, progress };
      } catch (error) {
        const { name, code, message, file, got, expected } = error as InstanceType<typeof window.sterna.SternaError>;
        const isSternaError = error instanceof window.sterna.SternaError;
        return { error: { isSternaError, name, code, message, file, got, expected } as Seen, progress };
      }
    },
    { source, options, abortAt },
  );
}

/** A load that must succeed. */
export async function mustLoad(page: Page, source: Address, options: Options = {}) {
  const { error, info, hash, progress } = await tryLoad(page, source, options);
  if (error) throw new Error(`${error.code}: ${error.message}`);
  return { info: info!, hash: hash!, progress };
}

/** The phases in order, each once in a row. */
export const phasesOf = ({ progress }: Pick<Outcome, 'progress'>): string[] =>
  progress.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1]);

export const inspectAt = (page: Page, source: Address, options: Options = {}): Promise<Inspection> =>
  page.evaluate(([source, options]) => window.sterna.inspect(source, options), [source, options] as const);

export const storedModels = (page: Page) => page.evaluate(() => window.sterna.listModels());

/** Waits until the store has so many bytes. */
export async function waitForStored(page: Page, bytes: number): Promise<void> {
  await page.evaluate(async (least) => {
    const stored = async () => (await window.sterna.listModels()).reduce((sum, { bytes }) => sum + bytes, 0);
    while ((await stored()) < least) await new Promise((resolve) => setTimeout(resolve, 20));
  }, bytes);
}

/** Bytes of each file that went out since the log was last emptied; the log is empty afterwards. */
export function takeSent({ requests }: FakeHub): Record<string, number> {
  const sent: Record<string, number> = {};
  for (const { file, sent: bytes } of requests.splice(0)) {
    const path = file?.split('/').slice(2).join('/');
    if (path !== undefined && bytes > 0) sent[path] = (sent[path] ?? 0) + bytes;
  }
  return sent;
}

/** The bytes of the weights that were asked for, as [from, to), in the order of the requests. */
export const rangesOf = ({ requests }: FakeHub, path = WEIGHTS): [from: number, to: number][] =>
  requests
    .filter(({ host, file, range }) => host === 'cdn' && range && file?.endsWith(`/${path}`))
    .map(({ range }) => /(\d+)-(\d+)/.exec(range!)!.slice(1).map(Number))
    .map(([from, last]) => [from!, last! + 1]);

/** The header of a safetensors file: where it ends, and where the bytes of a tensor lie. */
export function safetensors(bytes: Buffer) {
  const dataStart = 8 + bytes.readUInt32LE(0);
  const header = JSON.parse(bytes.subarray(8, dataStart).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const tensor = (name: string) => header[name]!.data_offsets.map((at) => at + dataStart) as [number, number];
  return { dataStart, tensor };
}

/** What went out for a first load: the file, and what was read with its header and not used. */
export const firstLoadBytes = (bytes: Buffer): number => bytes.length + 2 ** 18 - safetensors(bytes).dataStart;

/** A copy with one byte changed. */
export function withByte(bytes: Buffer, at: number, change: (byte: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = change(copy[at]!);
  return copy;
}

/** Opens the store's database in the page. */
const manifestsIn = (page: Page): Promise<StoredModel[]> =>
  page.evaluate(async () => {
    const asked = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await asked(indexedDB.open('sterna'));
    const range = IDBKeyRange.bound('model/', 'model/\uffff');
    const found = await asked(database.transaction('models').objectStore('models').getAll(range));
    database.close();
    return found as StoredModel[];
  });

/** The manifest of the one model that is stored. */
export async function manifest(page: Page): Promise<StoredModel> {
  const found = await manifestsIn(page);
  if (found.length !== 1) throw new Error(`${found.length} models are stored`);
  return found[0]!;
}

/** Names of what lies beside the manifests: one folder of records for each model. */
export const storedFolders = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    const top = await (await navigator.storage.getDirectory()).getDirectoryHandle('sterna', { create: true });
    const names: string[] = [];
    for await (const name of top.keys()) names.push(name);
    return names;
  });

export const verify = (page: Page, id: string) => page.evaluate((id) => window.sterna.verifyModel(id), id);

/** Changes a byte of a stored record, or loses the record. */
export function damageRecord(page: Page, id: string, record: string, what: 'byte' | 'lost' | 'cut'): Promise<void> {
  return page.evaluate(
    async ([id, name, what]) => {
      const top = await (await navigator.storage.getDirectory()).getDirectoryHandle('sterna');
      const folder = await top.getDirectoryHandle(id);
      if (what === 'lost') return folder.removeEntry(name);
      const handle = await folder.getFileHandle(name);
      const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
      bytes[bytes.length >> 1]! ^= 1;
      const file = await handle.createWritable();
      await file.write(what === 'cut' ? bytes.subarray(0, bytes.length - 1) : bytes);
      await file.close();
    },
    [id, record, what] as const,
  );
}

/** Changes the stored text of a model. */
export function damageText(page: Page, id: string): Promise<void> {
  return page.evaluate(
    (id) =>
      new Promise<void>((resolve, reject) => {
        const opened = indexedDB.open('sterna');
        opened.onerror = () => reject(opened.error);
        opened.onsuccess = () => {
          const transaction = opened.result.transaction('models', 'readwrite');
          transaction.objectStore('models').put(new Blob(['{}']), `text/${id}`);
          transaction.oncomplete = () => {
            opened.result.close();
            resolve();
          };
        };
      }),
    id,
  );
}
