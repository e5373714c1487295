/** Where a model comes from: a repository on the hub, a folder or file on a web server, or files of the user. */

import { SternaError } from '../errors';
import type { SourceRecord } from '../protocol/protocol';
import type { ByteSource } from './download';
import { hubKey, openHub } from './hub';
import { openPicked } from './picked';
import { defaultPatience, type Patience, type RetryEvent } from './request';
import { openWeb, webKey } from './web';

/** A file as its origin lists it. */
export interface Listing {
  path: string;
  /** Bytes. */
  size: number;
  /** Digest of the whole file in lower-case hex, where the origin tells it. */
  sha256?: string;
  /** What the origin calls the content, where it tells it (git's object id). */
  oid?: string;
}

/** What every kind of origin brings by itself. */
export interface Folder {
  /** Name of the model for display: `owner/name`, a folder, or a file. */
  name: string;
  /** Where it is, for display and for errors. */
  address: string;
  /** Names the source whatever its version: `hub:https://huggingface.co/owner/name@main`, `url:https://...`; '' for files. */
  key: string;
  /** The commit; '' for a URL and for files, which have none. `versionOf` (describe.ts) makes the version of a model. */
  version: string;
  /** All files; undefined where the origin cannot list them (URL). */
  files: Listing[] | undefined;
  /** The weight file that the source names, as a path for `open`; undefined where it names none. */
  file: string | undefined;
  /** A file to read in pieces; null if there is none. */
  open(path: string): Promise<ByteSource | null>;
  /** The bytes of a text file; undefined if there is none. */
  bytes(path: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
}

/** An opened source. `open`, `text` and `json` end with the signal that it was opened with. */
export interface Origin extends Omit<Folder, 'bytes'> {
  /** Bytes of the text files read so far, each counted once. */
  readonly textBytes: number;
  /** A whole text file; undefined if there is none. Throws `bad-file` if it is not UTF-8. */
  text(path: string): Promise<string | undefined>;
  /** A whole JSON file, parsed; undefined if there is none. Throws `bad-file` if it is not JSON. */
  json(path: string): Promise<unknown | undefined>;
}

/** What opening takes besides the source. */
export interface Opening {
  signal: AbortSignal;
  report: ((event: RetryEvent) => void) | undefined;
  patience: Patience;
}

/**
 * Opens a source: resolves the revision of a repository to its commit and lists it, asks a web server for the
 * first weight file. `report` hears of each failed try; `patience` is for tests.
 * @throws SternaError `bad-input` (no source), `offline` (no server answers), `download` (it refuses), `aborted`
 */
export async function openOrigin(
  source: SourceRecord,
  signal: AbortSignal,
  report?: (event: RetryEvent) => void,
  patience = defaultPatience,
): Promise<Origin> {
  const opening = { signal, report, patience };
  const { bytes, ...folder } = await openFolder(source, opening);
  const textBytes = new Map<string, number>();
  const text = async (path: string): Promise<string | undefined> => {
    const content = await bytes(path);
    textBytes.set(path, content?.length ?? 0);
    return content && decode(content, path);
  };
  const json = async (path: string): Promise<unknown | undefined> => {
    const content = await text(path);
    return content === undefined ? undefined : parseJson(content, path);
  };
  return {
    ...folder,
    text,
    json,
    get textBytes() {
      return [...textBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

/** The key of a source, without asking anyone. */
export function sourceKey(source: SourceRecord): string {
  if (Array.isArray(source)) return '';
  return 'repo' in source ? hubKey(source) : webKey(source.url);
}

async function openFolder(source: SourceRecord, opening: Opening): Promise<Folder> {
  if (Array.isArray(source)) return openPicked(source, opening);
  if ('repo' in source) return openHub(source, opening);
  return openWeb(source.url, opening);
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SternaError('bad-file', 'damaged', { file, got: 'other bytes', expected: 'UTF-8 text' });
  }
}

/** No file of a model goes deeper than ten levels; what goes through all of one is sure to end. */
const mostLevels = 100;

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((one) => isDeeper(one, levels - 1));
}

/** @throws SternaError `bad-file` unless the text is JSON, of at most 100 levels */
export function parseJson(text: string, file: string): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    const got = JSON.stringify(text.slice(0, 40));
    throw new SternaError('bad-file', 'damaged, or not what its name says', { file, got, expected: 'JSON' });
  }
  if (!isDeeper(json, mostLevels)) return json;
  throw new SternaError('bad-file', 'too deep', { file, got: 'more', expected: `at most ${mostLevels} levels` });
}
