/** The files of the fake hub, and how they are sent: whole, in ranges, and with every fault that a network has. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** A file in memory, or one that is made while it is read: `chunk` gives the bytes from `from` to before `to`. */
export type FakeFile = Buffer | { size: number; chunk(from: number, to: number): Buffer; sha256?: string };

/** What goes wrong with a file, or with the API of a repository (there: `refuse`). `times`: how often; default once. */
export interface Faults {
  /** The connection breaks before this byte of the file, in answers that reach it. */
  cut?: { at: number; times?: number };
  /** Nothing more is sent from this byte on, but the connection stays open. */
  stall?: { at: number; times?: number };
  /** This byte arrives with the bits of the mask turned, by default the lowest. */
  flip?: { at: number; mask?: number; times?: number };
  /** A status instead of an answer, with Retry-After in seconds if given. On the CDN host if that is named. */
  refuse?: { status: number; times?: number; retryAfter?: number | string; host?: 'cdn' };
  bytesPerSecond?: number;
  /** So many bytes at the end of each answer are not sent; Content-Length agrees, Content-Range does not. */
  lack?: number;
  /** The size that the answers tell in place of the true one. */
  size?: number;
  /** The ETag in place of the true one. */
  etag?: string;
  /** Range requests are answered with 200 and the whole file. */
  ignoreRange?: boolean;
}

/** One line of the request log. */
export interface Requested {
  host: 'hub' | 'cdn';
  method: string;
  /** Path of the URL, without its query. */
  path: string;
  /** `owner/name/path` of the file that was asked for. */
  file?: string;
  range: string | undefined;
  authorization: string | undefined;
  status: number;
  /** Bytes of the file that went out. */
  sent: number;
}

const PIECE_BYTES = 256 * 1024;

const sizeOf = (file: FakeFile): number => (Buffer.isBuffer(file) ? file.length : file.size);

const bytesOf = (file: FakeFile, from: number, to: number): Buffer =>
  Buffer.isBuffer(file) ? file.subarray(from, to) : file.chunk(from, to);

/** What the hub's listing says of a file. */
export interface Entry {
  type: 'file';
  /** The object's name in git: of the file, or of its LFS pointer. */
  oid: string;
  size: number;
  path: string;
  lfs?: { oid: string; size: number; pointerSize: number };
  xetHash?: string;
}

/** The hub keeps weights and large files in LFS, where they have a sha256; others are plain git objects. */
export const inLfs = (path: string, file: FakeFile): boolean =>
  /\.(safetensors|gguf|bin)$/.test(path) || sizeOf(file) > 10 * 2 ** 20;

export function describeFile(path: string, file: FakeFile, lfs: boolean): Entry {
  const size = sizeOf(file);
  const gitObject = (length: number) => createHash('sha1').update(`blob ${length}\0`);
  if (!lfs) {
    const oid = gitObject(size);
    return { type: 'file', oid: feed(oid, file).digest('hex'), size, path };
  }
  const sha256 = (!Buffer.isBuffer(file) && file.sha256) || feed(createHash('sha256'), file).digest('hex');
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
  return {
    type: 'file',
    oid: gitObject(pointer.length).update(pointer).digest('hex'),
    size,
    path,
    lfs: { oid: sha256, size, pointerSize: pointer.length },
    xetHash: createHash('sha256').update(`xet ${sha256}`).digest('hex'),
  };
}

function feed(hash: ReturnType<typeof createHash>, file: FakeFile): ReturnType<typeof createHash> {
  for (let at = 0; at < sizeOf(file); at += 4 * 2 ** 20) {
    hash.update(bytesOf(file, at, Math.min(sizeOf(file), at + 4 * 2 ** 20)));
  }
  return hash;
}

/** Whether a fault strikes now; it is one time less then. */
export function strikes(fault: { times?: number } | undefined): boolean {
  if (!fault) return false;
  fault.times = (fault.times ?? 1) - 1;
  return fault.times >= 0;
}

/** Answers GET or HEAD of a file. */
export async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: FakeFile,
  etag: string,
  faults: Faults,
  log: Requested,
): Promise<void> {
  const size = sizeOf(file);
  const [, first, last] = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '') ?? [];
  const ranged = first !== undefined && !faults.ignoreRange;
  const from = ranged ? Number(first) : 0;
  const to = Math.min(size, ranged && last !== undefined ? Number(last) + 1 : size);
  const told = faults.size ?? size;
  response.setHeader('ETag', faults.etag ?? etag);
  response.setHeader('Accept-Ranges', faults.ignoreRange ? 'none' : 'bytes');
  response.setHeader('Content-Type', 'application/octet-stream');
  if (ranged && from >= size) {
    log.status = 416;
    response.writeHead(416, { 'Content-Range': `bytes */${told}` }).end();
    return;
  }
  const end = Math.max(from, to - (faults.lack ?? 0));
  log.status = ranged ? 206 : 200;
  response.writeHead(log.status, {
    'Content-Length': ranged ? end - from : told,
    ...(ranged ? { 'Content-Range': `bytes ${from}-${to - 1}/${told}` } : {}),
  });
  response.flushHeaders();
  if (request.method === 'HEAD') response.end();
  else await sendBody(response, file, from, end, faults, log);
}

async function sendBody(
  response: ServerResponse,
  file: FakeFile,
  from: number,
  to: number,
  faults: Faults,
  log: Requested,
): Promise<void> {
  const closed = new AbortController();
  response.on('close', () => closed.abort());
  const inside = <T extends { at: number }>(fault: T | undefined): fault is T =>
    !!fault && fault.at >= from && fault.at < to;
  const cut = inside(faults.cut) && strikes(faults.cut) ? faults.cut.at : undefined;
  const stall = inside(faults.stall) && strikes(faults.stall) ? faults.stall.at : undefined;
  const flip = inside(faults.flip) && strikes(faults.flip) ? faults.flip : undefined;
  const end = Math.min(cut ?? to, stall ?? to);
  for (let at = from; at < end && !response.destroyed; ) {
    const { bytesPerSecond } = faults;
    const step = bytesPerSecond === undefined ? PIECE_BYTES : Math.max(1, Math.round(bytesPerSecond / 20));
    const next = Math.min(end, at + step);
    let piece = bytesOf(file, at, next);
    if (flip && flip.at >= at && flip.at < next) {
      piece = Buffer.from(piece);
      piece[flip.at - at]! ^= flip.mask ?? 1;
    }
    const more = response.write(piece, (error) => {
      if (!error) log.sent += piece.length;
    });
    if (!more) await once(response, 'drain', { signal: closed.signal }).catch(() => {});
    if (bytesPerSecond !== undefined) await sleep(50, undefined, { signal: closed.signal }).catch(() => {});
    at = next;
  }
  // What was written still goes out; then the connection ends too early.
  if (cut === end) response.socket?.end();
  else if (stall !== end) response.end();
}
