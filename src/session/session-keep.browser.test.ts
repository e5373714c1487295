/** Sessions in the browser's real storage: saved, restored in another model, damaged, of another model. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { failure } from '../../e2e/failure';
import { bitDifference, openMachine, someTokens } from '../../e2e/machine';
import { hfPacked, syntheticModel, tinyStories } from '../../e2e/reading';
import { clearAll, everything, getRecord, loseRecord, putRecord, someBytes, storeIn } from '../../e2e/store-host';
import { listModels, storageFacts } from '../api/cached-models';
import { deleteSession, listSessions } from '../api/cached-sessions';
import { load, type Model } from '../api/model';
import { append, cachePieces, copySession, logitsView, prefill, rowsOf, type Session } from '../generate/session';
import type { CacheKind } from '../model/memory';
import type { LoadOptions } from '../protocol/load-types';
import type { RestoreProgress } from '../protocol/session-types';
import { withLock } from '../store/store-lock';
import type { StoredModel } from '../store/store-manifest';
import { SESSION } from '../store/store-manifest';
import { readPieces, writePieces } from './session-keep';

const source = { url: tinyStories };
const system = 'You tell short stories for children. Every story has a beginning and an end.';
const warm = { temperature: 1, topP: 0.9, seed: 7, repetitionPenalty: 1.2, maxTokens: 24 };
/** A file of the embedded model, picked as a visitor would. */
const picked = async (name: string): Promise<File> => new File([await (await fetch(tinyStories + name)).blob()], name);

beforeEach(clearAll);
afterAll(clearAll);

/** Manifests of what is saved under an id. */
const manifests = async (id: string): Promise<StoredModel[]> =>
  (await (await storeIn(undefined)).manifests()).filter(({ key }) => key === SESSION + id);

describe.each([
  ['bf16, 2 threads', { kvCache: 'bf16', threads: 2 }],
  ['f32, 1 thread', { kvCache: 'f32', threads: 1 }],
  ['int8, 2 threads', { kvCache: 'int8', threads: 2 }],
  ['int8, 1 thread', { kvCache: 'int8', threads: 1 }],
] as [string, LoadOptions][])('%s', (_, options) => {
  test('a session goes on in another model as if it had never left', async () => {
    const model = await load(source, { ...options, contextLength: 300 });
    const session = model.session({ system, whenFull: 'drop-oldest' });
    await session.chat('Tell me about a dog.', warm).result;
    await session.chat('Was he happy?', warm).result;
    const written: number[] = [];
    const id = await session.save(undefined, { onProgress: (done, total) => written.push(done / total) });
    expect(written.at(-1)).toBe(1);
    const { messages, ids } = session;
    const stayed = await session.chat('Go on.', warm).result;
    await model.dispose();

    // another length of the context and another place in the cache: what is kept does not depend on either
    const other = await load(source, { ...options, contextLength: 400, sequences: 2 });
    const busy = other.session();
    await busy.chat('Tell me about a cat.', warm).result;
    const progress: RestoreProgress[] = [];
    const back = await other.restoreSession(id, { onProgress: (one) => progress.push(one) });
    expect(back.restored).toMatchObject({ from: 'cache', why: undefined });
    expect(progress.every(({ phase }) => phase === 'cache')).toBe(true);
    expect(progress.at(-1)?.done).toBe(progress.at(-1)?.total);
    expect([back.messages, back.ids, back.whenFull]).toEqual([messages, ids, 'drop-oldest']);
    const gone = await back.chat('Go on.', warm).result;
    expect(gone.usage).toEqual(stayed.usage);
    expect(gone.usage.cachedTokens).toBe(ids.length - 1);
    expect([gone.tokens, gone.text]).toEqual([stayed.tokens, stayed.text]);
    await other.dispose();
  });
});

test('bytes in records, cut where they are full, go to other places', async () => {
  const store = (await storeIn(undefined))!;
  const [from, to] = [0, 1].map(() => new WebAssembly.Memory({ initial: 640, maximum: 640, shared: true }));
  const sizes = [10_000_001, 9, 20_000_000, 0, 5_000_000];
  const pieces = sizes.map((bytes, i) => ({ at: 1000 + 64 * i + sizes.slice(0, i).reduce((a, b) => a + b, 0), bytes }));
  const moved = pieces.map((piece) => ({ ...piece, at: piece.at + 77 }));
  const bytes = new Uint8Array(from!.buffer);
  for (let i = 0; i < bytes.length; i += 4096) bytes.set(someBytes(37, i), i);
  const model = await store.begin({
    key: 'session:x',
    version: '',
    name: '',
    expectedBytes: 0,
    description: {},
    state: 0,
  });
  const dones: number[] = [];
  await writePieces(store, model, from!, pieces, async (done) => void dones.push(done));
  expect(model.records.map((record) => record.bytes)).toEqual([2 ** 24, 2 ** 24, 35_000_010 - 2 ** 25]);
  expect(dones).toEqual([0, 2 ** 24, 2 ** 25, 35_000_010]);
  expect(await readPieces(store, model, to!, moved, async () => {})).toBe(true);
  const there = new Uint8Array(to!.buffer);
  for (const [i, piece] of pieces.entries()) {
    const wrong = bytes
      .subarray(piece.at, piece.at + piece.bytes)
      .findIndex((byte, k) => there[moved[i]!.at + k] !== byte);
    expect(wrong).toBe(-1);
  }
  expect(await readPieces(store, model, to!, moved.slice(1), async () => {})).toBe(false);
  expect(await readPieces(store, model, to!, [{ at: 1000, bytes: 100 }], async () => {})).toBe(false);
  await store.discard(model);
});

describe.each([
  ['bf16', 37],
  ['f32', 37],
  ['int8', 37],
  ['int8', 36],
] as [CacheKind, number][])('%s keys and values of %i positions', (kvCache, count) => {
  test('have the same bits in another memory, where nothing else is', async () => {
    const files = syntheticModel(packedCheckpoint({ ...shapeOdd, layers: 3 }));
    const tokens = someTokens(60, shapeOdd.vocab);
    const shape = { kernel: 'dot32', maxRows: 16, kvCache } as const;
    const here = await openMachine(files, { ...shape, contextLength: 64 });
    const session: Session = { tokens: [], sequence: 0 };
    await prefill(here.pool, session, tokens.slice(0, count), async () => true);
    const store = (await storeIn(undefined))!;
    const model = await store.begin({
      key: 'session:x',
      version: '',
      name: '',
      expectedBytes: 0,
      description: {},
      state: 0,
    });
    await writePieces(store, model, here.memory, cachePieces(here.plan, 0, 0, count), async () => {});

    const there = await openMachine(files, { ...shape, contextLength: 77, sequences: 3 });
    there.poison();
    const back: Session = { tokens: tokens.slice(0, count), sequence: 2 };
    expect(await readPieces(store, model, there.memory, cachePieces(there.plan, 2, 0, count), async () => {})).toBe(
      true,
    );
    for (const token of tokens.slice(count)) {
      const logits = [];
      for (const [{ pool, memory, plan }, one] of [
        [here, session],
        [there, back],
      ] as const) {
        await append(pool, one, rowsOf(one, [token]), 0);
        logits.push(logitsView(memory, plan, 0).slice());
      }
      expect(bitDifference(logits[1]!, logits[0]!, shapeOdd.vocab)).toBe('');
    }
    // and a part of a timeline, copied within one memory
    const copy: Session = { tokens: [], sequence: 1 };
    copySession(there.memory, there.plan, back, copy, count - 6);
    await append(there.pool, copy, rowsOf(copy, tokens.slice(count - 6, count + 1)), 6);
    const copied = logitsView(there.memory, there.plan, 0).slice();
    const right = await here.logits([[{ sequence: 0, position: count, token: tokens[count]! }]]);
    expect(bitDifference(copied, right, shapeOdd.vocab)).toBe('');
  });
});

describe('what is saved', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load(source, { contextLength: 300, sequences: 2, cache: false });
  });
  afterAll(() => model.dispose());

  async function spoken() {
    const session = model.session({ system });
    await session.chat('Tell me about a dog.', warm).result;
    return session;
  }

  test('is listed, counted, saved again in place, deleted', async () => {
    expect(await listSessions()).toEqual([]);
    const session = await spoken();
    const id = await session.save();
    const [first] = await listSessions();
    const { name, version } = model.info;
    expect(first).toMatchObject({ id, name: 'Tell me about a dog.', model: { name, version }, messages: 3 });
    expect(first!.tokens).toBe(session.tokens.used);
    // keys and values of two bytes: layers, key/value heads, elements of a head
    expect(first!.bytes).toBeGreaterThan((session.tokens.used - 1) * 2 * 2 * 5 * 2 * 64);
    expect(await storageFacts()).toMatchObject({ models: 0, sessions: first!.bytes });
    expect(await listModels()).toEqual([]);
    await session.chat('Was he happy?', warm).result;
    expect(await session.save('dog')).toBe(id);
    const [second, ...others] = await listSessions();
    expect(others).toEqual([]);
    expect(second).toMatchObject({ id, name: 'dog', messages: 5, tokens: session.tokens.used });
    expect(await manifests(id)).toHaveLength(1);
    const fork = session.fork();
    const forkId = await fork.save();
    expect(forkId).not.toBe(id);
    expect((await listSessions()).map((one) => one.id)).toEqual([forkId, id]);
    await deleteSession(id);
    await deleteSession(id);
    expect((await listSessions()).map((one) => one.id)).toEqual([forkId]);
    expect((await failure(model.restoreSession(id))).code).toBe('bad-input');
    await session.chat('Go on.', warm).result; // a session goes on without what was saved of it
    await deleteSession(forkId);
    expect(await everything()).toEqual([]);
  });

  test('a session that has lost its slot is computed again, and saved whole', async () => {
    const session = await spoken();
    const others = [model.session(), model.session()];
    for (const other of others) await other.chat('Tell me about a cat.', warm).result;
    const id = await session.save();
    const stayed = await session.fork().chat('Go on.', warm).result;
    const back = await model.restoreSession(id);
    expect(back.restored?.from).toBe('cache');
    expect((await back.chat('Go on.', warm).result).tokens).toEqual(stayed.tokens);
  });

  test('one that has said nothing yet', async () => {
    const id = await model.session({ system }).save('new');
    const back = await model.restoreSession(id);
    expect([back.messages, back.tokens.used]).toEqual([[{ role: 'system', content: system }], 0]);
    expect(back.restored?.from).toBe('cache');
    expect((await back.chat('Tell me about a dog.', warm).result).finishReason).toBe('length');
  });

  test.each(['a flipped bit', 'a record that is missing'])('%s: computed from the tokens', async (damage) => {
    const session = await spoken();
    const id = await session.save();
    const stayed = await session.chat('Go on.', warm).result;
    const [stored] = await manifests(id);
    if (damage === 'a flipped bit') {
      const bytes = await getRecord(stored!, 'weights', 0);
      bytes[bytes.length >> 1]! ^= 4;
      await putRecord(stored!, 'weights', 0, bytes);
    } else await loseRecord(stored!, 'weights', 0);
    const phases = new Set<string>();
    const back = await model.restoreSession(id, { onProgress: ({ phase }) => phases.add(phase) });
    expect(back.restored).toMatchObject({ from: 'prefill', why: expect.stringMatching(/damaged/) });
    expect(phases.has('prefill')).toBe(true);
    const gone = await back.chat('Go on.', warm).result;
    expect(gone.tokens).toEqual(stayed.tokens);
    await back.save(); // mended
    expect((await model.restoreSession(id)).restored?.from).toBe('cache');
  });

  test('another kind of cache or embedding: computed from the tokens', async () => {
    const session = await spoken();
    const id = await session.save();
    for (const [options, why] of [
      [{ kvCache: 'int8' }, /kvCache is int8 here, and was bf16/],
      [{ lmHead: 'int8' }, /embedding is int8 here/],
      [{ contextLength: 20 }, undefined],
    ] as [LoadOptions, RegExp | undefined][]) {
      const other = await load(source, { contextLength: 300, cache: false, ...options });
      if (why) {
        const back = await other.restoreSession(id);
        expect(back.restored).toMatchObject({ from: 'prefill', why: expect.stringMatching(why) });
        expect(back.ids).toEqual(session.ids);
        const { usage } = await back.chat('Go on.', warm).result;
        expect(usage.cachedTokens).toBeGreaterThanOrEqual(session.ids.length);
      } else expect((await failure(other.restoreSession(id))).code).toBe('context-full');
      await other.dispose();
    }
  });

  test('of another model, or of other weights: refused', async () => {
    const session = await spoken();
    const id = await session.save();
    const other = await load({ url: hfPacked }, { cache: false });
    expect(await failure(other.restoreSession(id))).toMatchObject({
      code: expect.stringMatching(/bad-input|no-tokenizer/),
    });
    await other.dispose();
    const files = await Promise.all(
      ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'].map(picked),
    );
    const own = await load(files);
    const error = await failure(own.restoreSession(id)); // files say nothing of a version
    expect(error).toMatchObject({ code: 'bad-input', message: expect.stringMatching(/another/) });
    const mine = own.session({ system });
    await mine.chat('Tell me about a dog.', warm).result;
    const ownId = await mine.save();
    await own.dispose();
    const again = await load(files);
    expect((await again.restoreSession(ownId)).restored?.from).toBe('cache');
    await again.dispose();
    // the same files, but one norm is another
    const weights = new Uint8Array(await files[3]!.arrayBuffer());
    const header = JSON.parse(
      new TextDecoder().decode(weights.subarray(8, 8 + new DataView(weights.buffer).getUint32(0, true))),
    );
    const [begin] = header['model.norm.weight'].data_offsets;
    const at = 8 + new DataView(weights.buffer).getUint32(0, true) + begin;
    weights[at]! ^= 1;
    const changed = await load([...files.slice(0, 3), new File([weights], 'model.safetensors')]);
    expect(await failure(changed.restoreSession(ownId))).toMatchObject({
      code: 'bad-input',
      message: expect.stringMatching(/other weights/),
    });
    await changed.dispose();
  });

  test('damaged messages are told', async () => {
    const session = await spoken();
    const id = await session.save();
    const [stored] = await manifests(id);
    const { set } = await import('idb-keyval');
    const { database } = await import('../../e2e/store-host');
    await set(`text/${stored!.id}`, new Blob(['{}']), database);
    expect(await failure(model.restoreSession(id))).toMatchObject({ code: 'bad-file' });
    await deleteSession(id);
  });

  test('an abort leaves what was saved before', async () => {
    const session = await spoken();
    const id = await session.save('first');
    const before = await everything();
    await session.chat('Was he happy?', warm).result;
    const controller = new AbortController();
    const saving = session.save('second', { signal: controller.signal, onProgress: () => controller.abort() });
    expect((await failure(saving)).code).toBe('aborted');
    expect(await everything()).toEqual(before);
    expect(await listSessions()).toMatchObject([{ id, name: 'first', messages: 3 }]);
    const back = await model.restoreSession(id);
    expect(back.messages).toHaveLength(3);
  });

  test('another tab at the same session: busy; what a crash left is removed', async () => {
    const session = await spoken();
    const id = await session.save();
    await withLock(SESSION + id, undefined, async () => {
      expect((await failure(session.save())).code).toBe('busy');
      expect((await failure(model.restoreSession(id))).code).toBe('busy');
      expect((await failure(deleteSession(id))).code).toBe('busy');
    });
    const [whole] = await manifests(id);
    const store = await storeIn(undefined);
    const left = await store.begin({
      key: `${SESSION}half`,
      version: 'v',
      name: 'half',
      expectedBytes: 1,
      description: whole!.description,
      state: undefined,
    });
    expect(await manifests('half')).toHaveLength(1);
    await withLock(`${SESSION}half`, undefined, async () => {
      expect(await listSessions()).toHaveLength(1); // another tab may still be at it
      expect(await manifests('half')).toHaveLength(1);
    });
    expect(await listSessions()).toHaveLength(1);
    expect((await everything()).some((key) => key.includes(left.id))).toBe(false);
    expect((await model.restoreSession(id)).restored?.from).toBe('cache');
  });
});
