/**
 * The two checksums of a record. XXH64 (10 times as fast: docs/speed.md) finds damage each time a record is loaded;
 * SHA-256 says that bytes fetched again are the ones that were stored.
 */
import { createXXHash64, type IHasher } from 'hash-wasm';

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

let hasher: Promise<IHasher> | undefined;

export async function xxh64(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  hasher ??= createXXHash64();
  return (await hasher).init().update(bytes).digest(); // without a pause: others use it too
}
