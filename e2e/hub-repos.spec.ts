/** What a repository may hold and who may read it: tokens, revisions, shards, GGUF files; and `inspect`, before anything large. */

import { randomWeights } from '../bench/random-weights';
import { small } from '../bench/shapes';
import { checkpointFiles, type Format } from '../bench/synthesize';
import type { HubSource } from '../src/index';
import {
  firstLoadBytes,
  folderUrl,
  hubSource,
  inMemory,
  inspectAt,
  mustLoad,
  rangesOf,
  storedFolders,
  storedModels,
  TINY,
  takeSent,
  test,
  tiny,
  tryLoad,
  WEIGHTS,
  withJson,
} from './hub-lab';
import { expect } from './lab';

const weights = tiny[WEIGHTS]!;
const token = 'hf_open';
const made = (format: Format, parts = 1, shape = small.bitnet!) =>
  inMemory(checkpointFiles(randomWeights(shape), { format, parts }));

test.describe('who may read', () => {
  test('a gated repository: said without a token, loaded with it; the token goes to the hub alone, and is not kept', async ({
    lab,
    startHub,
  }) => {
    const hub = await startHub({ [TINY]: { files: tiny, gated: token } }, { tokens: ['hf_else'] });
    for (const given of [{}, { token: 'hf_else' }]) {
      const { error } = await tryLoad(lab, { ...hubSource(hub), ...given });
      expect(error).toMatchObject({ code: 'download', file: 'config.json', expected: 'a token with access' });
      expect(error!.message).toContain(`${hub.url}/${TINY}`);
    }
    expect((await tryLoad(lab, { ...hubSource(hub), token: 'hf_unknown' })).error).toMatchObject({
      code: 'download',
      message: expect.stringContaining('does not know this token'),
    });
    expect(takeSent(hub)).toEqual({});
    await mustLoad(lab, { ...hubSource(hub), token });
    const toCdn = hub.requests.filter(({ host }) => host === 'cdn');
    expect(toCdn.length).toBeGreaterThan(1);
    expect(toCdn.filter(({ authorization }) => authorization)).toEqual([]);
    const [stored] = await storedModels(lab);
    expect(stored!.source).toEqual(hubSource(hub));
    expect(JSON.stringify(stored)).not.toContain(token);
    takeSent(hub);
    await mustLoad(lab, hubSource(hub)); // the listing is public, and the rest is here
    expect(takeSent(hub)).toEqual({});
  });

  test('a private repository', async ({ lab, startHub }) => {
    const hub = await startHub({ [TINY]: { files: tiny, private: token } });
    const { error } = await tryLoad(lab, hubSource(hub));
    expect(error).toMatchObject({
      code: 'download',
      message: expect.stringContaining('no such repository, or a private'),
    });
    await mustLoad(lab, { ...hubSource(hub), token });
  });

  test('no such repository, revision or file; another branch', async ({ lab, hub }) => {
    const codes = async (source: Partial<HubSource>) => (await tryLoad(lab, { ...hubSource(hub), ...source })).error;
    expect(await codes({ repo: 'lab/none' })).toMatchObject({ code: 'download', file: 'lab/none' });
    expect(await codes({ revision: 'v9' })).toMatchObject({ code: 'download', got: expect.stringContaining('v9') });
    expect(await codes({ file: 'other.gguf' })).toMatchObject({ code: 'bad-file', file: 'other.gguf' });
    expect(await codes({ repo: 'a/b/c' })).toMatchObject({ code: 'bad-input', got: 'a/b/c' });
    hub.commit(TINY, tiny, 'v9');
    const { info } = await mustLoad(lab, { ...hubSource(hub), revision: 'v9' });
    takeSent(hub);
    const pinned = await mustLoad(lab, { ...hubSource(hub), revision: hub.commitOf(TINY) });
    expect(pinned.info.version).toBe(info.version); // the same files
    expect((await storedModels(lab)).map(({ outdated }) => outdated)).toEqual([false, false]);
  });
});

test.describe('what cannot be loaded is said before anything large is fetched', () => {
  const gelu = withJson(tiny, 'config.json', { hidden_act: 'gelu' });
  const untied = withJson(tiny, 'config.json', { tie_word_embeddings: false });
  const { 'config.json': _, ...noConfig } = tiny;
  const twoGgufs = { 'a.gguf': Buffer.alloc(100), 'b.gguf': Buffer.alloc(200), 'README.md': Buffer.from('two') };
  const { 'model-00002-of-00003.safetensors': __, ...noShard } = made('multiply', 3);
  const { 'model-00002-of-00003.gguf': ___, ...noPart } = made('tq2_0', 3);
  for (const [what, files, right] of [
    ['no weights', { 'README.md': Buffer.from('nothing') }, { code: 'bad-file', file: WEIGHTS }],
    ['no config.json', noConfig, { code: 'bad-file', file: 'config.json' }],
    ['several GGUF files', twoGgufs, { code: 'bad-input', got: 'a.gguf, b.gguf' }],
    ['a shard is missing', noShard, { code: 'bad-file', file: 'model-00002-of-00003.safetensors' }],
    ['a part of a GGUF is missing', noPart, { code: 'bad-file', file: 'model-00002-of-00003.gguf' }],
    ['hidden_act', gelu, { code: 'unsupported', file: 'config.json', got: '"gelu"' }],
    ['a tensor is missing', untied, { code: 'bad-file', expected: 'lm_head.weight' }],
    ['no JSON', { ...tiny, 'config.json': Buffer.from('{') }, { code: 'bad-file', file: 'config.json' }],
  ] as const) {
    test(what, async ({ lab, startHub }) => {
      const hub = await startHub({ [TINY]: files as Record<string, Buffer> });
      const { error } = await tryLoad(lab, hubSource(hub));
      expect(error).toMatchObject({ isSternaError: true, name: 'SternaError', ...right });
      expect(error!.expected).toBeDefined();
      const inspected = await inspectAt(lab, hubSource(hub)).catch((caught: Error) => caught.message);
      expect(inspected).toContain(error!.message);
      const sent = takeSent(hub);
      for (const path of Object.keys(sent).filter((name) => /safetensors$|gguf$/.test(name))) {
        expect(sent[path]).toBeLessThanOrEqual(2 * 2 ** 18); // headers, twice
      }
      expect(await storedModels(lab)).toEqual([]);
    });
  }
});

test.describe('weights in several files', () => {
  test('shards: as one file; a scale may come before its matrix', async ({ lab, startHub }) => {
    const one = { ...small.bitnet!, layers: 1 };
    const each = made('multiply', 20, one); // every tensor in a file of its own
    const path = (i: number): string => `model-${String(i).padStart(5, '0')}-of-00020.safetensors`;
    const backwards: Record<string, Buffer> = { ...each };
    for (let i = 1; i <= 20; i++) backwards[path(i)] = each[path(21 - i)]!;
    const hub = await startHub({ 'lab/one': made('multiply', 1, one), 'lab/shards': each, 'lab/backwards': backwards });
    const { hash } = await mustLoad(lab, hubSource(hub, 'lab/one'));
    for (const repo of ['lab/shards', 'lab/backwards']) {
      expect((await mustLoad(lab, hubSource(hub, repo))).hash).toBe(hash);
      takeSent(hub);
      const again = await mustLoad(lab, hubSource(hub, repo));
      expect([again.hash, again.info.cached.before]).toEqual([hash, true]);
      expect(takeSent(hub)).toEqual({});
    }
  });

  test('shards: a download that ended in the second goes on there', async ({ lab, startHub }) => {
    const files = made('multiply', 3);
    const hub = await startHub({ 'lab/shards': files, 'lab/one': made('multiply') });
    const second = 'model-00002-of-00003.safetensors';
    hub.faults.set(`lab/shards/${second}`, {
      get refuse() {
        return rangesOf(hub, second).length > 1 ? { status: 403, host: 'cdn' as const } : undefined; // after the header
      },
    });
    const { error } = await tryLoad(lab, hubSource(hub, 'lab/shards'));
    expect(error).toMatchObject({ code: 'download', file: second });
    hub.faults.clear();
    takeSent(hub);
    const { hash } = await mustLoad(lab, hubSource(hub, 'lab/shards'));
    const sent = takeSent(hub);
    expect(sent).toEqual({ [second]: files[second]!.length, [second.replace('2', '3')]: expect.any(Number) });
    expect(hash).toBe((await mustLoad(lab, hubSource(hub, 'lab/one'))).hash);
  });

  test('a split GGUF, a GGUF among several, and one at a URL: as one file', async ({ lab, startHub }) => {
    const whole = made('tq2_0')['model.gguf']!;
    const hub = await startHub({
      'lab/one': { 'model.gguf': whole },
      'lab/split': made('tq2_0', 3),
      'lab/some': { 'x.gguf': whole, 'y.gguf': made('tq1_0')['model.gguf']!, 'mmproj.gguf': Buffer.alloc(9) },
      'lab/types': { 'm.tq2_0.gguf': whole, 'm.tq1_0.gguf': made('tq1_0')['model.gguf']! },
    });
    const { hash, info } = await mustLoad(lab, hubSource(hub, 'lab/one'));
    expect(info.format).toBe('GGUF TQ2_0');
    const hashOf = async (source: HubSource | { url: string }) => (await mustLoad(lab, source)).hash;
    expect(await hashOf(hubSource(hub, 'lab/split'))).toBe(hash);
    expect(await hashOf({ ...hubSource(hub, 'lab/split'), file: 'model-00002-of-00003.gguf' })).toBe(hash);
    expect(await hashOf({ ...hubSource(hub, 'lab/some'), file: 'x.gguf' })).toBe(hash);
    expect(await hashOf(hubSource(hub, 'lab/types'))).toBe(hash);
    expect(await hashOf({ url: `${hub.url}/lab/one/resolve/main/model.gguf` })).toBe(hash);
    takeSent(hub);
    expect(await hashOf({ url: `${hub.url}/lab/one/resolve/main/model.gguf` })).toBe(hash);
    expect(takeSent(hub)['model.gguf'] ?? 0).toBeLessThanOrEqual(1); // the byte that is asked for the version
  });
});

test.describe('inspect', () => {
  const textBytes = Object.values(tiny).reduce((sum, { length }) => sum + length, 0) - weights.length;

  test('before and after a load: what it fetches, and what the store then has', async ({ lab, hub }) => {
    const before = await inspectAt(lab, hubSource(hub));
    expect(before).toMatchObject({ name: TINY, cached: 'no', hasTokenizer: true, obstacles: [] });
    expect(before).toMatchObject({ downloadBytes: before.totalBytes, totalBytes: weights.length + textBytes });
    expect(takeSent(hub)[WEIGHTS]).toBe(2 ** 18);
    expect(await storedModels(lab)).toEqual([]);

    const { info } = await mustLoad(lab, hubSource(hub));
    const sent = Object.values(takeSent(hub)).reduce((a, b) => a + b);
    expect(sent).toBe(before.downloadBytes + firstLoadBytes(weights) - weights.length);
    expect(info).toMatchObject({ version: before.version, parameters: before.parameters, format: before.format });
    expect(info.bytes.memory).toBe(before.memoryBytes);
    const [stored] = await storedModels(lab);
    expect(stored).toMatchObject({ bytes: before.storedBytes, expectedBytes: before.storedBytes });

    const after = await inspectAt(lab, hubSource(hub));
    expect(after).toEqual({ ...before, cached: 'complete', downloadBytes: 0 });
    expect(takeSent(hub)).toEqual({});
    const past = await inspectAt(lab, hubSource(hub), { cache: false });
    expect(past).toEqual(before);
    hub.reachable = false;
    expect(await inspectAt(lab, hubSource(hub))).toEqual(after);
  });

  test('a GGUF has its texts in the file', async ({ lab, startHub }) => {
    const files = inMemory(
      checkpointFiles(randomWeights({ ...small.bitnet!, vocab: 4096 }), {
        format: 'tq2_0',
        tokenizer: { tokenizer: JSON.parse(tiny['tokenizer.json']!.toString()) as unknown },
      }),
    );
    const hub = await startHub({ 'lab/gguf': files });
    const before = await inspectAt(lab, hubSource(hub, 'lab/gguf'));
    expect(before).toMatchObject({ hasTokenizer: true, totalBytes: files['model.gguf']!.length, obstacles: [] });
    await mustLoad(lab, hubSource(hub, 'lab/gguf'));
    expect((await storedModels(lab))[0]!.bytes).toBe(before.storedBytes);
  });

  test('a URL', async ({ lab, hub }) => {
    const before = await inspectAt(lab, folderUrl(hub));
    expect(before).toMatchObject({ cached: 'no', totalBytes: weights.length + textBytes, obstacles: [] });
    await mustLoad(lab, folderUrl(hub));
    expect(await inspectAt(lab, folderUrl(hub))).toEqual({ ...before, cached: 'complete', downloadBytes: 0 });
  });

  test('obstacles: memory and storage; the load says the same', async ({ lab, context, startHub, baseURL }) => {
    const hub = await startHub({ [TINY]: withJson(tiny, 'config.json', { max_position_embeddings: 2 ** 23 }) });
    const huge = await inspectAt(lab, hubSource(hub), { contextLength: 2 ** 23 });
    expect(huge.memoryBytes).toBeGreaterThan(2 ** 32);
    const words = `${(huge.memoryBytes / 1e9).toFixed(2)} GB`;
    expect(huge.obstacles).toEqual([`memory: the browser does not give ${words}`]);
    const { error } = await tryLoad(lab, hubSource(hub), { contextLength: 2 ** 23 });
    expect(error).toMatchObject({ code: 'out-of-memory' });
    const devtools = await context.newCDPSession(lab);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: baseURL!, quotaSize: 1_000_000 });
    const full = await inspectAt(lab, hubSource(hub));
    expect(full.obstacles).toEqual([
      expect.stringMatching(`^storage: ${(full.storedBytes / 1e6).toFixed(1)} MB are needed`),
    ]);
    const { error: quota } = await tryLoad(lab, hubSource(hub));
    expect(quota).toMatchObject({ code: 'quota', file: TINY, expected: full.storedBytes, got: expect.anything() });
    expect(takeSent(hub)[WEIGHTS]).toBe(4 * 2 ** 18); // four headers
    expect([await storedModels(lab), await storedFolders(lab)]).toEqual([[], []]);
  });
});
