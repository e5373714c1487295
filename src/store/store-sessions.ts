/**
 * Saved sessions in the store: a manifest that says what the session belongs to, a text with its messages and tokens, and
 * records of its keys and values. A session is saved anew beside what is there, which goes when all is written: at any
 * moment, also after a crash or for want of room, the last one that was saved whole is there.
 */
import { SternaError } from '../errors';
import { isObject } from '../json';
import type { Store } from './store';
import { withFreeLock } from './store-lock';
import { SESSION, type StoredModel } from './store-manifest';

/** Version of what is described and how the records are laid out. */
const LAYOUT = 1;

/** What the manifest says. */
export interface SessionDescription {
  layout: typeof LAYOUT;
  model: ModelMark;
  cache: CacheMark;
  /** How many messages, tokens, and leading tokens whose keys and values are in the records. */
  messages: number;
  tokens: number;
  positions: number;
}

/** Which weights a session was computed with. */
export interface ModelMark {
  name: string;
  /** As in ModelInfo; empty for picked files. */
  version: string;
  /** Digest of what tells weights apart where there is no version; else empty. */
  weights: string;
}

/** What keys and values depend on beside the weights and the tokens. */
export interface CacheMark {
  kvCache: string;
  /** How the embedding is kept, whose rows are the input. */
  embedding: string;
  i2sOrder: string;
  /** Digest of the frequencies of RoPE, which for some models depend on the length of the context. */
  rope: string;
}

export type StoredSession = StoredModel & { description: SessionDescription };

const keyOf = (id: string): string => `${SESSION}${id}`;
export const sessionId = ({ key }: StoredModel): string => key.slice(SESSION.length);

const isReadable = (model: StoredModel | undefined): model is StoredSession =>
  model?.complete === true && isObject(model.description) && model.description.layout === LAYOUT;

export interface NewSession {
  id: string;
  name: string;
  description: Omit<SessionDescription, 'layout'>;
  text: string;
  /** Bytes of the records. */
  cacheBytes: number;
}

/**
 * Saves a session, in place of what is saved under its id.
 * @param write appends the records
 * @returns the bytes that it takes
 * @throws SternaError `quota` (what was saved before stays), `busy` while another tab saves or reads it; what `write` throws
 */
export function saveSession(
  store: Store,
  { id, name, description, text, cacheBytes }: NewSession,
  write: (model: StoredModel) => Promise<void>,
): Promise<number> {
  const key = keyOf(id);
  return withFreeLock(key, name, 'exclusive', async () => {
    const expectedBytes = cacheBytes + new TextEncoder().encode(text).length;
    await store.needRoom(expectedBytes, name);
    const earlier = await allOf(store, id);
    const version = crypto.randomUUID(); // of this save: the one before must not be taken for it
    const described: SessionDescription = { layout: LAYOUT, ...description };
    const model = await store.begin({ key, version, name, expectedBytes, description: described, state: undefined });
    try {
      await store.writeText(model, text);
      await write(model);
      await store.finish(model);
    } catch (error) {
      await store.discard(model).catch(() => {}); // what is left is removed when sessions are listed
      throw error;
    }
    for (const old of earlier) await store.discard(old);
    return model.bytes;
  });
}

/**
 * Works with a saved session while no other tab changes it.
 * @throws SternaError `bad-input` if there is no such session, `busy` while another tab saves or deletes it
 */
export function withSession<T>(store: Store, id: string, work: (session: StoredSession) => Promise<T>): Promise<T> {
  return withFreeLock(keyOf(id), 'session', 'shared', async () => {
    const found = await store.find(keyOf(id));
    if (isReadable(found)) return work(found);
    throw new SternaError('bad-input', 'no such session is saved', { got: id, expected: 'an id of listSessions()' });
  });
}

/** The saved sessions, the last used first. What a crash left of others is removed, unless another tab is at work on it. */
export async function storedSessions(store: Store): Promise<StoredSession[]> {
  const all = (await store.manifests()).filter(({ key }) => key.startsWith(SESSION));
  const newest = new Map<string, StoredSession>();
  for (const session of all.sort((a, b) => a.usedAt - b.usedAt)) {
    if (isReadable(session)) newest.set(session.key, session);
  }
  for (const { key, name } of all.filter((session) => !newest.has(session.key) && !session.complete)) {
    const clear = async (): Promise<void> => {
      for (const left of await allOf(store, key.slice(SESSION.length))) if (!left.complete) await store.discard(left);
    };
    await withFreeLock(key, name, 'exclusive', clear).catch(() => {}); // next time
  }
  return [...newest.values()].reverse();
}

/**
 * Deletes a saved session. One that is not there counts as deleted.
 * @throws SternaError `busy` while another tab saves or reads it
 */
export async function removeSession(store: Store, id: string): Promise<void> {
  await withFreeLock(keyOf(id), 'session', 'exclusive', async () => {
    for (const session of await allOf(store, id)) await store.discard(session);
  });
}

async function allOf(store: Store, id: string): Promise<StoredModel[]> {
  return (await store.manifests()).filter(({ key }) => key === keyOf(id));
}
