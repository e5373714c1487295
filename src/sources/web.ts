/** A folder on a web server, or one weight file in it. Nothing can be listed there: files are asked for by name. */

import { isGguf } from '../checkpoint/weight-files';
import { SternaError } from '../errors';
import { type ByteSource, etagOf, parseContentRange, remoteSource } from './download';
import type { Folder, Opening } from './origin';
import { ask, type Call, firstContact, joinPieces, MOST_TEXT_BYTES, refusal, withRetries } from './request';

/** Asked for at first in a folder: the weights, or the list of their parts. */
const WEIGHTS = ['model.safetensors', 'model.safetensors.index.json'];

/** What one byte of a file tells of it. */
interface Probe {
  size: number;
  etag: string | null;
  modified: string | null;
  /** Whether the server keeps to ranges. */
  ranged: boolean;
}

/**
 * Opens a URL: a folder, with or without trailing slash, or a file of it that ends with .gguf or .safetensors. The query
 * is sent with every request, and told to nobody else: it may be a signature.
 * @throws SternaError `bad-input` for another address or one with a user's name, and as `openOrigin`
 */
export async function openWeb(url: string | URL, { signal, report, patience }: Opening): Promise<Folder> {
  const { folder, file } = parseAddress(url);
  const urlOf = (path: string): string => {
    const address = new URL(folder);
    address.pathname += path.split('/').map(encodeURIComponent).join('/');
    return address.href;
  };
  const callFor = (path: string): Call => ({ file: path, patience, report });

  // What a file was when it was first asked for: what is read later must be the same.
  const known = new Map<string, ByteSource>();
  async function open(path: string, call = callFor(path)): Promise<ByteSource | null> {
    const found = known.has(path) ? null : await probe(urlOf(path), call, signal);
    // The narrow Accept keeps development servers from answering a missing file with their index page.
    const headers = { Accept: 'application/octet-stream' };
    if (found) known.set(path, remoteSource({ ...callFor(path), url: urlOf(path), headers, ...found }));
    return known.get(path) ?? null;
  }

  // The first of these that is there shows whether the server can be reached.
  for (const path of file === undefined ? WEIGHTS : [file]) {
    if (await open(path, { ...callFor(path), patience: firstContact(patience) })) break;
  }
  return {
    name: file ?? (folder.pathname.split('/').at(-2) || folder.host),
    address: publicAddress(url),
    key: webKey(url),
    version: '',
    files: undefined,
    file,
    open: (path) => open(path),
    // No range here: so the server may compress, which makes a tokenizer.json five times smaller.
    bytes: (path) => withRetries(callFor(path), signal, () => readWhole(urlOf(path), callFor(path), signal)),
  };
}

/** `url:` and the address of the folder or file, without the query: what is stored must hold no signature. */
export const webKey = (url: string | URL): string => `url:${publicAddress(url)}`;

function publicAddress(url: string | URL): string {
  const { folder, file } = parseAddress(url);
  if (file !== undefined) folder.pathname += encodeURIComponent(file);
  folder.search = '';
  return folder.href;
}

function parseAddress(address: string | URL): { folder: URL; file: string | undefined } {
  const folder = URL.canParse(address) ? new URL(address) : undefined;
  if (!folder?.pathname.startsWith('/') || /%(?![\da-f]{2})/i.test(folder.pathname)) {
    throw new SternaError('bad-input', 'bad source', { got: String(address), expected: 'an absolute URL, or files' });
  }
  if (folder.username || folder.password) {
    const facts = { got: `a user's name or password for ${folder.host}`, expected: 'a URL without' };
    throw new SternaError('bad-input', 'bad source', facts);
  }
  folder.hash = '';
  const [, parent, last = ''] = /^(.*\/)([^/]+)$/.exec(folder.pathname) ?? [];
  if (isGguf(last) || /\.safetensors$/i.test(last)) {
    folder.pathname = parent!;
    return { folder, file: decodeURIComponent(last) };
  }
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  return { folder, file: undefined };
}

/** Whether an answer means that there is no such file. Static hosts say so with 404, with 403 (S3), or with their page. */
const isMissing = ({ status, headers }: Response): boolean =>
  status === 404 || status === 403 || (status === 200 && !!headers.get('Content-Type')?.startsWith('text/html'));

/** Asks for the first byte of a file; null if there is no such file. HEAD would not tell whether ranges work. */
function probe(url: string, call: Call, signal: AbortSignal): Promise<Probe | null> {
  const { file } = call;
  return withRetries(call, signal, async () => {
    const headers = { Accept: 'application/octet-stream', Range: 'bytes=0-0' };
    const { response, close } = await ask(url, { headers }, call, signal);
    close();
    if (isMissing(response)) return null;
    const told = (name: string) => response.headers.get(name);
    const contentRange = told('Content-Range');
    const facts = { etag: etagOf(response.headers), modified: told('Last-Modified') };
    if (response.status === 206) {
      const range = parseContentRange(contentRange);
      if (range?.from === 0) return { size: range.total, ranged: true, ...facts };
      const got = contentRange ?? 'no readable Content-Range';
      throw new SternaError('download', 'wrong answer to a range request', { file, got, expected: 'bytes 0-' });
    }
    if (response.status === 416 && /^bytes \*\/0$/.test(contentRange ?? '')) return { size: 0, ranged: true, ...facts };
    if (response.status !== 200) throw refusal(response, 'HTTP 206', call);
    // The server ignores ranges: then the length must be told. A compressed body's length is not the file's.
    const length = told('Content-Length');
    if (length !== null && told('Content-Encoding') === null) return { size: Number(length), ranged: false, ...facts };
    const what = 'the server does not tell the size';
    throw new SternaError('download', what, { file, got: 'neither', expected: 'Content-Range or Content-Length' });
  });
}

/** One GET of a whole file; undefined if there is no such file. */
async function readWhole(url: string, call: Call, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const headers = { Accept: 'application/json, text/plain' };
  const { response, pieces, close } = await ask(url, { headers }, call, signal);
  try {
    if (isMissing(response)) return undefined;
    if (response.status !== 200) throw refusal(response, 'HTTP 200', call);
    return await joinPieces(pieces, MOST_TEXT_BYTES, call.file);
  } finally {
    close();
  }
}
