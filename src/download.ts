import { SternaError } from './errors';
import type { SourceRecord } from './protocol';

/** A file that is read front to back in pieces, never as a whole. */
export interface ByteSource {
  /** File name within its folder, as errors name it. */
  readonly name: string;
  /** Bytes of the whole file. */
  readonly size: number;
  /**
   * The bytes from `start` to the end, in pieces of at most a few MB; each piece is the receiver's to keep.
   * Exactly `size - start` bytes arrive, or it throws `download`, `bad-file` (a File that cannot be read) or `aborted`.
   */
  stream(start: number, signal: AbortSignal): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** A folder of model files, on a web server or picked by the user. */
export interface SourceFolder {
  /** Name of the folder, for display. */
  readonly name: string;
  /** Where the folder is, for error messages. */
  readonly address: string;
  /**
   * Opens a file for streaming; null if there is none. From a server, the first range is already under way then: read
   * it with `stream(0, ...)`, else its connection stays open until the folder's signal fires.
   */
  open(file: string): Promise<ByteSource | null>;
  /** A whole text file; undefined if there is none. */
  text(file: string): Promise<string | undefined>;
  /** A whole JSON file, parsed; undefined if there is none. Throws `bad-file` if it is not JSON. */
  json(file: string): Promise<unknown | undefined>;
}

/** Bytes asked for in one request. */
const rangeBytes = 16 * 2 ** 20;
/** Bytes read from a File at once. */
const sliceBytes = 4 * 2 ** 20;
/** A text file longer than this is no tokenizer and no configuration. */
const textBytes = 256 * 2 ** 20;

/**
 * Opens a folder of model files. A URL must be absolute; with or without trailing slash it is the folder itself, and
 * its query is sent with every request. `signal` aborts whatever is under way. Throws `bad-input` for another source.
 */
export function openSource(source: SourceRecord, signal: AbortSignal): SourceFolder {
  const { name, address, open, text } = Array.isArray(source)
    ? pickedFolder(source, signal)
    : webFolder(source.url, signal);
  const json = async (file: string): Promise<unknown | undefined> => {
    const content = await text(file);
    if (content === undefined) return undefined;
    try {
      return JSON.parse(content) as unknown;
    } catch {
      const got = JSON.stringify(content.slice(0, 40));
      throw new SternaError('bad-file', 'damaged, or not what its name says', { file, got, expected: 'JSON' });
    }
  };
  return { name, address, open, text, json };
}

function pickedFolder(files: File[], signal: AbortSignal): Omit<SourceFolder, 'json'> {
  const pathOf = (file: File) => file.webkitRelativePath || file.name;
  const depth = (file: File) => pathOf(file).split('/').length;
  // A picked folder may hold subfolders with files of the same names: the one nearest to the top is meant.
  const byDepth = [...files].sort((a, b) => depth(a) - depth(b));
  const find = (name: string) => byDepth.find((file) => pathOf(file) === name || pathOf(file).endsWith(`/${name}`));
  const first = byDepth[0];
  const open = async (name: string): Promise<ByteSource | null> => {
    const file = find(name);
    return file ? { name, size: file.size, stream: (start, by) => readFile(file, name, start, by) } : null;
  };
  const text = async (name: string): Promise<string | undefined> => {
    const file = find(name);
    return file && joinText(readFile(file, name, 0, signal), name);
  };
  return {
    name: (first && pathOf(first).split('/').at(-2)) ?? 'files',
    address: `the ${files.length} files given`,
    open,
    text,
  };
}

async function* readFile(file: File, name: string, start: number, signal: AbortSignal) {
  for (let at = start; at < file.size; at += sliceBytes) {
    throwIfAborted(signal, name);
    let buffer: ArrayBuffer;
    try {
      buffer = await file.slice(at, at + sliceBytes).arrayBuffer();
    } catch (error) {
      throw new SternaError('bad-file', 'cannot be read; was it changed or removed?', { file: name, got: `${error}` });
    }
    throwIfAborted(signal, name);
    yield new Uint8Array(buffer);
  }
}

function webFolder(address: string | URL, signal: AbortSignal): Omit<SourceFolder, 'json'> {
  const base = parseAddress(address);
  const urlOf = (file: string): string => {
    const url = new URL(base);
    url.pathname += file.split('/').map(encodeURIComponent).join('/');
    return url.href;
  };
  const open = async (name: string): Promise<ByteSource | null> => {
    const first = await requestRange(urlOf(name), name, 0, signal);
    if (!first) return null;
    let held: Range | undefined = first;
    const stream = (start: number, by: AbortSignal) => {
      const ready = start === 0 ? held : undefined;
      if (!ready) void held?.response.body?.cancel().catch(() => {});
      held = undefined;
      return readRanges(urlOf(name), name, start, first.total, by, ready);
    };
    return { name, size: first.total, stream };
  };
  const text = async (name: string): Promise<string | undefined> => {
    // No range here: so the server may compress, which makes a tokenizer.json five times smaller.
    const response = await request(urlOf(name), name, 'application/json, text/plain', signal);
    if (isMissing(response)) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status !== 200) throw await refusal(response, name, 'HTTP 200');
    return joinText(readBody(response, name, undefined, signal), name);
  };
  return { name: base.pathname.split('/').at(-2) || base.host, address: base.href, open, text };
}

function parseAddress(address: string | URL): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url?.pathname.startsWith('/')) {
    throw new SternaError('bad-input', 'bad source', { got: String(address), expected: 'an absolute URL, or files' });
  }
  url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** The answer to one range request: its body holds the bytes from `start` to before `end` of `total`. */
interface Range {
  response: Response;
  end: number;
  total: number;
}

async function* readRanges(
  url: string,
  file: string,
  start: number,
  total: number,
  signal: AbortSignal,
  ready: Range | undefined,
) {
  for (let at = start; at < total; ) {
    const range = ready ?? (await requestRange(url, file, at, signal));
    ready = undefined;
    if (!range)
      throw new SternaError('download', 'gone from the server', { file, got: 'HTTP 404', expected: 'HTTP 206' });
    if (range.total !== total) {
      await range.response.body?.cancel();
      const facts = { file, got: range.total, expected: total };
      throw new SternaError('download', 'its size changed during the download', facts);
    }
    yield* readBody(range.response, file, range.end - at, signal);
    at = range.end;
  }
}

/** Asks for the range from `start`; null if the server has no such file. The body is not read yet. */
async function requestRange(url: string, file: string, start: number, signal: AbortSignal): Promise<Range | null> {
  const last = start + rangeBytes - 1;
  const response = await request(url, file, 'application/octet-stream', signal, `bytes=${start}-${last}`);
  if (isMissing(response)) {
    await response.body?.cancel();
    return null;
  }
  const contentRange = response.headers.get('Content-Range');
  if (response.status === 206) {
    const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '')?.map(Number) ?? [];
    // A server may send less than was asked for, but from where it was asked, and not past the file's end.
    const right = from === start && to !== undefined && total !== undefined && to >= from && to <= last && to < total;
    if (right) return { response, end: to + 1, total };
    await response.body?.cancel();
    const got = contentRange ?? 'no readable Content-Range';
    throw new SternaError('download', 'wrong answer to a range request', { file, got, expected: `bytes ${start}-` });
  }
  if (start === 0 && response.status === 416 && /^bytes \*\/0$/.test(contentRange ?? '')) {
    return { response, end: 0, total: 0 };
  }
  if (start === 0 && response.status === 200) {
    // The server ignores ranges: one stream, whose length must be told. A compressed one's length is not the file's.
    const length = response.headers.get('Content-Length');
    if (length !== null && response.headers.get('Content-Encoding') === null) {
      return { response, end: Number(length), total: Number(length) };
    }
    await response.body?.cancel();
    const facts = { file, got: 'neither', expected: 'Content-Range or Content-Length' };
    throw new SternaError('download', 'the server does not tell the size', facts);
  }
  throw await refusal(response, file, 'HTTP 206');
}

/** One GET. The narrow Accept keeps development servers from answering a missing file with their index page. */
async function request(url: string, file: string, accept: string, signal: AbortSignal, range?: string) {
  throwIfAborted(signal, file);
  // Ranges are many and large, and go to our own store: the browser's cache must not keep them a second time.
  const init: RequestInit = range
    ? { headers: { Accept: accept, Range: range }, cache: 'no-store', signal }
    : { headers: { Accept: accept }, signal };
  const response = await fetch(url, init).catch((error: unknown) => {
    throwIfAborted(signal, file);
    throw new SternaError('download', 'the server cannot be reached, or does not allow this page (CORS)', {
      file,
      got: `${error}`,
    });
  });
  return response;
}

/** Whether an answer means that there is no such file. Static hosts say so with 404, with 403 (S3), or with their page. */
const isMissing = ({ status, headers }: Response): boolean =>
  status === 404 || status === 403 || (status === 200 && !!headers.get('Content-Type')?.startsWith('text/html'));

async function refusal(response: Response, file: string, expected: string): Promise<SternaError> {
  await response.body?.cancel();
  const got = `HTTP ${response.status} ${response.statusText}`.trim();
  return new SternaError('download', 'the server refused', { file, got, expected });
}

/** The pieces of a body, which must have `length` bytes if that is given. Aborts at once, and cleans up. */
async function* readBody(response: Response, file: string, length: number | undefined, signal: AbortSignal) {
  if (!response.body) return;
  const reader = response.body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  signal.addEventListener('abort', cancel);
  let received = 0;
  try {
    while (received <= (length ?? received)) {
      throwIfAborted(signal, file);
      const { done, value } = await reader.read().catch((error: unknown) => {
        throwIfAborted(signal, file);
        const facts = { file, got: `${received} bytes, then ${error}`, expected: length ?? 'the whole file' };
        throw new SternaError('download', 'the connection was cut', facts);
      });
      throwIfAborted(signal, file);
      if (done) break;
      received += value.length;
      if (received <= (length ?? received)) yield value;
    }
  } finally {
    signal.removeEventListener('abort', cancel);
    cancel();
  }
  if (received !== (length ?? received)) {
    throw new SternaError('download', 'the server sent a wrong number of bytes', {
      file,
      got: received,
      expected: length,
    });
  }
}

async function joinText(chunks: AsyncIterable<Uint8Array>, file: string): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new SternaError('bad-file', 'damaged', { file, got: 'other bytes', expected: 'UTF-8 text' });
    }
  };
  const parts: string[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > textBytes) {
      throw new SternaError('bad-file', 'too long', { file, got: bytes, expected: `at most ${textBytes} bytes` });
    }
    parts.push(decode(chunk));
  }
  return parts.join('') + decode();
}

function throwIfAborted(signal: AbortSignal, file: string): void {
  if (signal.aborted) throw new SternaError('aborted', 'the load was aborted', { file });
}
