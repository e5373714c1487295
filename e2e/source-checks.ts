/** What the tests of downloads share. */
import { expect } from 'vitest';
import { SternaError } from '../src/errors';
import type { ByteSource } from '../src/sources/download';
import type { Patience } from '../src/sources/request';
import type { FakeFile } from './fake-files';

/** As many tries as in earnest, but short waits. */
export const hasty: Patience = {
  tries: 6,
  unreachableTries: 6,
  backOff: 2,
  longestBackOff: 8,
  longestRetryAfter: 5000,
  stall: 5000,
};

export const never = new AbortController().signal;
export const MB = 2 ** 20;
/** Bytes asked for in one request. */
export const RANGE = 8 * MB;

/** Its length shares no factor with a range: equal offsets in two ranges hold different bytes. */
const pattern = Buffer.from(Uint8Array.from({ length: 1_000_003 }, (_, i) => (i * 7 + (i >>> 8) * 13) & 255));

/** The bytes from `from` to before `to` of a long file. */
export function longBytes(from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  for (let at = from; at < to; ) {
    const start = at % pattern.length;
    at += pattern.copy(bytes, at - from, start, Math.min(pattern.length, start + to - at));
  }
  return bytes;
}

export const longFile = (size: number): FakeFile => ({ size, chunk: longBytes });

/** Reads a part of a file, by default all of it. */
export async function readAll(
  source: ByteSource | null,
  from = 0,
  to = source?.size ?? 0,
  signal = never,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source!.stream(from, to, signal)) {
    parts.push(part);
  }
  expect(Math.max(0, ...parts.map((part) => part.length))).toBeLessThanOrEqual(4 * MB);
  return Buffer.concat(parts);
}

export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** `expect.poll` for a busy machine. */
export const until = <T>(value: () => T) => expect.poll(value);

/** The SternaError that an action ends with. */
export async function failure(action: () => Promise<unknown>): Promise<SternaError> {
  const error = await action().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof SternaError) return error;
  throw error ?? new Error('nothing was thrown');
}
