/** A file on a server, read in ranges: several in flight, each resumed at the byte where it was cut. */
import { SternaError } from '../errors';
import { type Answer, ask, type Call, countTries, joinPieces, refusal, Transient, throwIfAborted } from './request';

/** A file that is read in pieces, never as a whole. Offsets beyond its end mean its end. */
export interface ByteSource {
  /** Path of the file in its origin, as errors name it. */
  readonly name: string;
  /** Bytes of the whole file. */
  readonly size: number;
  /** Digest of the whole file in lower-case hex, where the origin tells it. Nothing here checks it. */
  readonly sha256?: string;
  /** ETag without `W/`, else Last-Modified: another one means another file. Only where the origin is a plain web server. */
  readonly tag?: string;
  /** The bytes from `from` to before `to`, in one array: for headers and other small parts. Throws as `stream`. */
  read(from: number, to: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The bytes from `from` to before `to`, in order, in pieces that the receiver may keep. Exactly these bytes arrive, or
   * it throws `download`, `offline`, `bad-file` (a File that cannot be read) or `aborted`.
   */
  stream(from: number, to: number, signal: AbortSignal): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** A file on a server: how to ask for it, and what the answers have told so far. */
export interface RemoteFile extends Call {
  url: string;
  headers: Record<string, string>;
  size: number;
  sha256?: string | undefined;
  /** ETag of the first answer. Another one later means another file. Null: not told. */
  etag: string | null;
  /** Last-Modified, where it stands for the ETag. Null: not told, or not to be compared. */
  modified: string | null;
  /** Whether the server keeps to ranges; undefined until it has answered. */
  ranged: boolean | undefined;
}

/** Bytes asked for in one request. */
const RANGE_BYTES = 8 * 2 ** 20;
/** Ranges read at once. */
const AHEAD = 3;
/**
 * Of each range so much is kept for the receiver, then the line has to wait: together with what the receiver holds this is
 * the heap that a download takes. Half a range: what the others may not send meanwhile, the first one can.
 */
const KEPT_BYTES = RANGE_BYTES / 2;

/** A file on a server as a source. Nothing is asked for before the first `read` or `stream`. */
export function remoteSource(remote: RemoteFile): ByteSource {
  const { file: name, size, sha256, etag, modified } = remote;
  const tag = etag ?? modified;
  return {
    name,
    size,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(tag === null ? {} : { tag }),
    read(from, to, signal) {
      const end = Math.min(to, size);
      return joinPieces(readRange(remote, from, end, signal), size, name);
    },
    stream: (from, to, signal) => streamRanges(remote, from, Math.min(to, size), signal),
  };
}

/** Reads ranges ahead while the first is given away. From a server that ignores ranges there is one range, the rest. */
async function* streamRanges(remote: RemoteFile, from: number, to: number, signal: AbortSignal) {
  const control = new AbortController();
  const abort = () => control.abort();
  signal.addEventListener('abort', abort);
  const queue: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>[] = [];
  let next = from;
  const readAhead = () => {
    // One until it is known that the server keeps to ranges: three whole files at once are no gain.
    while (next < to && queue.length < (remote.ranged ? AHEAD : 1)) {
      const end = remote.ranged === false ? to : Math.min(to, next + RANGE_BYTES);
      queue.push(readInto(readRange(remote, next, end, control.signal)).getReader());
      next = end;
    }
  };
  try {
    for (;;) {
      throwIfAborted(signal, remote.file);
      readAhead();
      const first = queue[0];
      if (!first) return;
      const { done, value } = await first.read();
      if (done) queue.shift();
      else {
        throwIfAborted(signal, remote.file);
        readAhead();
        yield value;
      }
    }
  } finally {
    signal.removeEventListener('abort', abort);
    control.abort();
    for (const reader of queue) reader.cancel().catch(() => {});
  }
}

/** A queue that fills itself. */
function readInto(pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const fill: UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> = {
    async pull(queue) {
      const { done, value } = await pieces.next();
      if (done) queue.close();
      else queue.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  };
  return new ReadableStream(fill, new ByteLengthQueuingStrategy({ highWaterMark: KEPT_BYTES }));
}

/** One range, asked for again from the byte that is missing whenever the transfer fails. */
async function* readRange(remote: RemoteFile, from: number, to: number, signal: AbortSignal) {
  const tries = countTries(remote, signal);
  for (let at = from; at < to; ) {
    try {
      for await (const piece of requestRange(remote, at, to, signal)) {
        at += piece.length;
        tries.progress();
        yield piece;
      }
    } catch (error) {
      await tries.again(error);
    }
  }
}

/** One request. A server may send less than was asked for, but at least a byte, and from where it was asked. */
async function* requestRange(remote: RemoteFile, at: number, to: number, signal: AbortSignal) {
  const { file, url } = remote;
  const headers = { ...remote.headers, Range: `bytes=${at}-${to - 1}` };
  const answer = await ask(url, { headers }, remote, signal);
  try {
    const end = checkRange(remote, answer, at, to);
    // A server that ignores ranges sends the file from its start: what is already here is read and dropped.
    const whole = answer.response.status === 200;
    let skip = whole ? at : 0;
    let left = end - at;
    for await (const piece of answer.pieces) {
      const skipped = Math.min(skip, piece.length);
      skip -= skipped;
      const rest = piece.subarray(skipped, whole ? skipped + left : piece.length);
      left -= rest.length;
      if (left < 0) {
        const facts = { file, got: end - at - left, expected: end - at };
        throw new SternaError('download', 'the server sent more bytes than its range', facts);
      }
      if (rest.length > 0) yield rest;
      if (left === 0 && whole) return;
    }
    if (left > 0) {
      const facts = { file, got: end - at - left, expected: end - at };
      throw new Transient(new SternaError('download', 'the server sent fewer bytes than its range', facts));
    }
  } finally {
    answer.close();
  }
}

/** Checks the answer to a range request; returns where its bytes end. */
function checkRange(remote: RemoteFile, { response }: Answer, at: number, to: number): number {
  const { file, size } = remote;
  const contentRange = response.headers.get('Content-Range');
  if (response.status === 404) {
    throw new SternaError('download', 'gone from the server', { file, got: 'HTTP 404', expected: 'HTTP 206' });
  }
  if (response.status === 416) throw changed(file, contentRange ?? 'HTTP 416', `bytes from ${at} of ${size}`);
  if (response.status !== 200 && response.status !== 206) throw refusal(response, 'HTTP 206', remote);
  checkTag(remote, response.headers);
  remote.ranged = response.status === 206;
  if (!remote.ranged) {
    const length = response.headers.get('Content-Length');
    // The length of a compressed body is not the file's.
    const plain = length !== null && response.headers.get('Content-Encoding') === null;
    if (plain && Number(length) !== size) throw changed(file, Number(length), size);
    return to;
  }
  const range = parseContentRange(contentRange);
  if (range && range.total !== size) throw changed(file, range.total, size);
  if (range?.from === at && range.to <= to) return range.to;
  const got = contentRange ?? 'no readable Content-Range';
  throw new SternaError('download', 'wrong answer to a range request', { file, got, expected: `bytes ${at}-` });
}

/** `bytes 0-4/10` as { from: 0, to: 5, total: 10 }; undefined if it is anything else, or cannot be. */
export function parseContentRange(header: string | null): { from: number; to: number; total: number } | undefined {
  const [, from = 0, last = 0, total = 0] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header ?? '')?.map(Number) ?? [];
  return last >= from && last < total ? { from, to: last + 1, total } : undefined;
}

/** The ETag of an answer without `W/`; null if the server does not tell it, or not to this page (CORS). */
export const etagOf = (headers: Headers): string | null => headers.get('ETag')?.replace(/^W\//, '') ?? null;

function checkTag(remote: RemoteFile, headers: Headers): void {
  const etag = etagOf(headers);
  const modified = headers.get('Last-Modified');
  if (remote.etag !== null && etag !== null) {
    if (etag !== remote.etag) throw changed(remote.file, `ETag ${etag}`, remote.etag);
  } else if (remote.modified !== null && modified !== null && modified !== remote.modified) {
    throw changed(remote.file, `Last-Modified ${modified}`, remote.modified);
  }
  remote.etag ??= etag;
}

function changed(file: string, got: string | number, expected: string | number): SternaError {
  return new SternaError('download', 'the file on the server changed during the download', { file, got, expected });
}
