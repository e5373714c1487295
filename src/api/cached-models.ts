/** The models in the browser's storage, for the page: what is there, whether it is whole, and how to get rid of it. */

import { SternaError } from '../errors';
import type { CachedModel, HubSource, StorageFacts } from '../protocol/load-types';
import { openStore, type Store } from '../store/store';
import { callOptions } from './call-options';
import { createListener } from './listener';

async function needStore(): Promise<Store> {
  const store = await openStore();
  if (store) return store;
  const facts = { got: 'none', expected: 'IndexedDB on a secure page' };
  throw new SternaError('unsupported', 'this browser gives the page no storage', facts);
}

/** The source that a key stands for (origin.ts). */
function sourceOf(key: string): CachedModel['source'] {
  const [, hub, repo, revision, file] = /^hub:(.+?)\/([^/@]+\/[^/@]+)@([^#]*)(?:#(.*))?$/.exec(key) ?? [];
  if (!hub || !repo || !revision) return { url: key.replace(/^url:/, '') };
  const source: HubSource = { repo };
  if (revision !== 'main') source.revision = revision;
  if (file !== undefined) source.file = file;
  if (hub !== 'https://huggingface.co') source.hubUrl = hub;
  return source;
}

/** The stored models, the last used first; none where the browser gives no storage. */
export async function listModels(): Promise<CachedModel[]> {
  const stored = (await (await openStore())?.list()) ?? [];
  return stored.map(({ key, savedAt, usedAt, ...model }) => ({
    ...model,
    source: sourceOf(key),
    savedAt: new Date(savedAt),
    usedAt: new Date(usedAt),
  }));
}

/**
 * Deletes a stored model, whole or partly downloaded. One that is not there counts as deleted.
 * @param id of `listModels()`
 * @throws SternaError `bad-input` for what is no id, `busy` while another tab loads or checks it
 */
export async function deleteModel(id: string): Promise<void> {
  if (typeof id !== 'string') {
    throw new SternaError('bad-input', 'id', { got: typeof id, expected: 'the id of a stored model' });
  }
  await (await openStore())?.remove(id);
}

/**
 * Reads every record of a stored model and compares it with its sha256. A damaged one is fetched again by the next load.
 * @param options onProgress: bytes checked, of how many
 * @throws SternaError `bad-input` if there is no such model, `busy` while another tab writes it, `aborted`
 */
export async function verifyModel(
  id: string,
  options: { onProgress?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<{ damaged: number }> {
  const { onProgress, signal } = callOptions(options);
  return (await needStore()).verify(id, createListener(onProgress).tell, signal);
}

/** What is taken and what is free. @throws SternaError `unsupported` where the browser gives no storage */
export async function storageFacts(): Promise<StorageFacts> {
  const { models, sessions, usage: used, quota, free, persisted } = await (await needStore()).estimate();
  return { models, sessions, used, quota, free, persisted };
}

/** Asks the browser not to evict this page's storage; browsers may ask the visitor, or decide by themselves. */
export async function persistStorage(): Promise<boolean> {
  return (await needStore()).persist();
}
