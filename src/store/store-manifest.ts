/** The manifest of a stored model, and whether one that the database gives back is still the one that was written. */
import { SternaError, shown } from '../errors';
import { isObject } from '../json';
import type { BackendName } from './store-backend';
import { modelKey } from './store-backend';
import { xxh64 } from './store-hash';

/** Version of the stored form. Models of another one are not found, and count as outdated. */
export const FORMAT = 2;

/** Packed bytes, made from bytes [from, to) of weight file number `file`. */
export interface StoredRecord {
  file: number;
  from: number;
  to: number;
  bytes: number;
  sha256: string;
  xxh64: string;
}

/** What the caller says of a model that it begins to store. */
export interface NewModel {
  /** Names the origin whatever its version. */
  key: string;
  version: string;
  name: string;
  /** Bytes of records and text when complete, as far as known. */
  expectedBytes: number;
  /** The caller's own: whatever is needed to read the records, as plain data. */
  description: unknown;
  /** The caller's own: whatever is needed to go on with the download; undefined when complete. Not views of large buffers. */
  state: unknown;
}

/** A manifest. */
export interface StoredModel extends NewModel {
  format: number;
  /** Never used twice. */
  id: string;
  backend: BackendName;
  /** False: a download that can be resumed. */
  complete: boolean;
  /** The stream `weights`. */
  records: StoredRecord[];
  /** Further streams of records. */
  extra: Record<string, StoredRecord[]>;
  text: { bytes: number; sha256: string } | undefined;
  /** Of all records and the text. */
  bytes: number;
  /** Times of the last write, and of the last `touch`; ms since 1970. */
  savedAt: number;
  usedAt: number;
  /** Checksum (XXH64) of everything else but `usedAt`. */
  seal: string;
}

/** Whether a manifest is that of a saved session: its key says so. */
export const isSession = ({ key }: Pick<StoredModel, 'key'>): boolean => key.startsWith(SESSION);
/** What the keys of sessions begin with; those of models begin with `hub:` or `url:`. */
export const SESSION = 'session:';

const utf8 = new TextEncoder();

/** The checksum of a manifest as it is: whoever changes one writes it with a new seal. */
export async function sealOf(manifest: Omit<StoredModel, 'seal'>): Promise<string> {
  // structured cloning, which storing is, keeps the order of keys
  return xxh64(utf8.encode(JSON.stringify({ ...manifest, usedAt: undefined, seal: undefined })));
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 8.64e15;
const isStoredRecord = (value: unknown): boolean =>
  isObject(value) &&
  [value.file, value.from, value.to, value.bytes].every(isSize) &&
  Number(value.from) <= Number(value.to) &&
  isText(value.sha256) &&
  isText(value.xxh64);
const areRecords = (value: unknown): boolean => Array.isArray(value) && value.every(isStoredRecord);

/** What each field has to be; of manifests of another format only these are looked at, for the list of models. */
const listed: [keyof StoredModel, (value: unknown) => boolean][] = [
  ...(['id', 'key', 'version', 'name'] as const).map((key): [typeof key, typeof isText] => [key, isText]),
  ...(['bytes', 'expectedBytes'] as const).map((key): [typeof key, typeof isSize] => [key, isSize]),
  ...(['savedAt', 'usedAt'] as const).map((key): [typeof key, typeof isTime] => [key, isTime]),
  ['complete', (value) => typeof value === 'boolean'],
];
const own: [keyof StoredModel, (value: unknown) => boolean][] = [
  ['backend', (value) => value === 'opfs' || value === 'indexeddb'],
  ['records', areRecords],
  ['extra', (value) => isObject(value) && Object.values(value).every(areRecords)],
  ['text', (value) => value === undefined || (isObject(value) && isSize(value.bytes) && isText(value.sha256))],
  ['description', isObject],
  ['seal', isText],
];

/**
 * The manifest at `key` of the database, if that is what it is. One of another format has the fields that a list of
 * models needs.
 * @throws SternaError `bad-file` for anything else: its model counts as not stored
 */
export async function checkManifest(value: unknown, key: string): Promise<StoredModel> {
  const damaged = (what: string, got: unknown, expected: string): SternaError =>
    new SternaError('bad-file', `damaged manifest: ${what}`, { file: key, got: shown(got), expected });
  if (!isObject(value)) throw damaged('kind', value, 'an object');
  const fields = value.format === FORMAT ? [...listed, ...own] : listed;
  for (const [field, isRight] of fields) if (!isRight(value[field])) throw damaged(field, value[field], 'another kind');
  const model = value as unknown as StoredModel;
  if (modelKey(model.id) !== key) throw damaged('id', model.id, key);
  if (model.format !== FORMAT) return model;
  const seal = await sealOf(model);
  if (seal !== model.seal) throw damaged('seal', seal, model.seal);
  return model;
}

/** The manifest as it is written. */
export async function sealed(model: Omit<StoredModel, 'seal'>): Promise<StoredModel> {
  return { ...model, seal: await sealOf(model) };
}

/** The records of a stream. */
export function recordsOf(model: StoredModel, stream: string): StoredRecord[] {
  return (stream === 'weights' ? model.records : model.extra[stream]) ?? [];
}

/** The manifest with other records in a stream. */
export function withRecords(model: StoredModel, stream: string, records: StoredRecord[]): StoredModel {
  const size = (some: StoredRecord[]): number => some.reduce((sum, { bytes }) => sum + bytes, 0);
  const bytes = model.bytes - size(recordsOf(model, stream)) + size(records);
  return stream === 'weights'
    ? { ...model, bytes, records }
    : { ...model, bytes, extra: { ...model.extra, [stream]: records } };
}

/** Every record of every stream. */
export function allRecords(model: StoredModel): [stream: string, n: number, record: StoredRecord][] {
  return Object.entries({ weights: model.records, ...model.extra }).flatMap(([stream, records]) =>
    records.map((record, n): [string, number, StoredRecord] => [stream, n, record]),
  );
}
