/** Models from a hub, in the production build: what is fetched and kept, and every fault that a hub or network can have. */
import { createHash } from 'node:crypto';
import type { Page } from '@playwright/test';
import type { Faults } from './fake-files';
import type { FakeHub } from './fake-hub';
import {
  damageRecord,
  firstLoadBytes,
  folderUrl,
  hubSource,
  manifest,
  mustLoad,
  phasesOf,
  rangesOf,
  safetensors,
  storedFolders,
  storedModels,
  TINY,
  takeSent,
  test,
  tiny,
  tryLoad,
  verify,
  WEIGHTS,
  withByte,
  withJson,
} from './hub-lab';
import { expect, openLab } from './lab';

const weights = tiny[WEIGHTS]!;
const { tensor, dataStart } = safetensors(weights);
const [embedding] = tensor('model.embed_tokens.weight');
const [upProjection] = tensor('model.layers.3.mlp.up_proj.weight');
const [upScale] = tensor('model.layers.3.mlp.up_proj.weight_scale');
const TINY_WEIGHTS = `${TINY}/${WEIGHTS}`;
/** A byte that may be any: the embedding has rows of 256 bf16 numbers, the low byte first. */
const inRow = (token: number): number => embedding + token * 512 + 20;
const other = { ...tiny, [WEIGHTS]: withByte(weights, inRow(5), (byte) => byte ^ 64) };

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const sentSoFar = ({ requests }: FakeHub): number =>
  requests.reduce((sum, { file, sent }) => sum + (file === TINY_WEIGHTS ? sent : 0), 0);

/** What a load of the embedded model must give; the hub's log is empty afterwards. */
async function rightHash(lab: Page, hub: FakeHub): Promise<string> {
  const { hash } = await mustLoad(lab, folderUrl(hub), { cache: false });
  takeSent(hub);
  return hash;
}

test('a repository is loaded and kept; then it needs the hub for nothing, and later not at all @firefox', async ({
  lab,
  hub,
}) => {
  const { hash } = await mustLoad(lab, folderUrl(hub), { cache: false });
  takeSent(hub);

  const first = await mustLoad(lab, hubSource(hub));
  expect(first.hash).toBe(hash);
  expect(first.info.cached).toEqual({ before: false, now: true });
  expect(phasesOf(first)).toEqual(['config', 'tokenizer', 'weights', 'warmup', 'ready']);
  const sizes = Object.entries(tiny).map(([path, file]) => [path, file.length]);
  expect(takeSent(hub)).toEqual({ ...Object.fromEntries(sizes), [WEIGHTS]: firstLoadBytes(weights) });

  const second = await mustLoad(lab, hubSource(hub));
  expect(second.hash).toBe(hash);
  expect(second.info.cached).toEqual({ before: true, now: true });
  expect(phasesOf(second)).toEqual(['config', 'cache', 'warmup', 'ready']);
  expect(hub.requests.map(({ path }) => path.split('/')[1])).toEqual(['api', 'api']);
  expect(takeSent(hub)).toEqual({});

  hub.reachable = false;
  await openLab(lab, '/lab.html');
  const offline = await mustLoad(lab, hubSource(hub));
  expect(offline.hash).toBe(hash);
  expect(offline.info).toMatchObject({ hasTokenizer: true, cached: { before: true, now: true } });
  expect(hub.requests).toEqual([]);

  hub.reachable = true;
  hub.commit(TINY, { ...tiny, 'README.md': Buffer.from('# New words') });
  expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
  expect(takeSent(hub)).toEqual({});
});

test('a new chat template costs no new weights', async ({ lab, hub }) => {
  await mustLoad(lab, hubSource(hub));
  const prompt = () =>
    lab.evaluate(async (source) => {
      const model = await window.sterna.load(source);
      const { text } = await model.applyChatTemplate([{ role: 'user', content: 'Hi' }]);
      await model.dispose();
      return [text, model.info.cached.before] as const;
    }, hubSource(hub));
  const [old] = await prompt();
  hub.commit(TINY, withJson(tiny, 'tokenizer_config.json', { chat_template: 'New: {{ messages[0].content }}' }));
  takeSent(hub);
  expect(await prompt()).toEqual(['New: Hi', true]);
  expect(old).not.toBe('New: Hi');
  expect(takeSent(hub)[WEIGHTS]).toBeLessThanOrEqual(2 ** 18);
  expect(await storedModels(lab)).toHaveLength(1);

  expect(await prompt()).toEqual(['New: Hi', true]);
  expect(takeSent(hub)).toEqual({});
  hub.reachable = false;
  expect(await prompt()).toEqual(['New: Hi', true]);
});

test('new weights are a new version beside the old one, which can be deleted', async ({ lab, hub }) => {
  const { hash } = await mustLoad(lab, hubSource(hub));
  const [old] = await storedModels(lab);
  expect(old).toMatchObject({ name: TINY, complete: true, outdated: false, source: hubSource(hub) });
  hub.commit(TINY, other);
  takeSent(hub);
  const next = await mustLoad(lab, hubSource(hub));
  expect(next.info.cached).toEqual({ before: false, now: true });
  expect(takeSent(hub)[WEIGHTS]).toBe(firstLoadBytes(weights));
  expect(next.hash).not.toBe(hash);
  expect(next.hash).toBe(await rightHash(lab, hub));
  const both = await storedModels(lab);
  expect(both.map(({ id, outdated }) => [id === old!.id, outdated])).toEqual([
    [false, false],
    [true, true],
  ]);
  await lab.evaluate((id) => window.sterna.deleteModel(id), old!.id);
  expect(await storedFolders(lab)).toEqual([(await manifest(lab)).id]);
  expect((await mustLoad(lab, hubSource(hub))).hash).toBe(next.hash);
  expect(takeSent(hub)).toEqual({});
});

test.describe('bytes that change on the way', () => {
  test('once: the file is fetched again by itself', async ({ lab, hub }) => {
    const hash = await rightHash(lab, hub);
    hub.faults.set(TINY_WEIGHTS, { flip: { at: inRow(2000), mask: 64 } });
    expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
    expect(takeSent(hub)[WEIGHTS]).toBe(firstLoadBytes(weights) + weights.length + dataStart);
    const { id, complete } = await manifest(lab);
    expect(complete).toBe(true);
    expect(await verify(lab, id)).toEqual({ damaged: 0 });
    expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
    expect(takeSent(hub)).toEqual({});
  });

  test('always: a typed error, nothing is kept as whole, and a later load ends well', async ({ lab, hub }) => {
    const hash = await rightHash(lab, hub);
    hub.faults.set(TINY_WEIGHTS, { flip: { at: inRow(2000), times: 9 } });
    const { error } = await tryLoad(lab, hubSource(hub));
    const hex = expect.stringMatching(/^[0-9a-f]{64}$/);
    expect(error).toMatchObject({ code: 'bad-file', file: WEIGHTS, got: hex, expected: sha256(weights) });
    expect(error!.got).not.toBe(error!.expected);
    expect(await storedModels(lab)).toMatchObject([{ complete: false }]);
    hub.faults.clear();
    takeSent(hub);
    const { hash: later, info } = await mustLoad(lab, hubSource(hub));
    expect([later, info.cached.before]).toEqual([hash, false]);
    expect(takeSent(hub)).toEqual({ [WEIGHTS]: weights.length });
  });

  test('while a damaged record is mended: a typed error, and the next load mends it', async ({ lab, hub }) => {
    const { hash } = await mustLoad(lab, hubSource(hub));
    const { id, records } = await manifest(lab);
    await damageRecord(lab, id, 'weights.0', 'byte');
    hub.faults.set(TINY_WEIGHTS, { flip: { at: inRow(2000) } });
    const { error } = await tryLoad(lab, hubSource(hub));
    expect(error).toMatchObject({ code: 'bad-file', file: TINY, expected: records[0]!.sha256 });
    expect(await verify(lab, id)).toEqual({ damaged: 1 });
    expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
    expect(await verify(lab, id)).toEqual({ damaged: 0 });
  });

  for (const [what, flip, right] of [
    ['weights that are no trits', { at: upProjection + 1000, mask: weights[upProjection + 1000]! ^ 0xff }, 'code 3'],
    ['a scale below 0', { at: upScale + 1, mask: 0x80 }, expect.stringMatching(/^-/)],
    ['a header that is no JSON', { at: 9, mask: 1 }, undefined],
    ['a header that reads as well', { at: weights.indexOf('"pt"') + 1, mask: 1 }, /^[0-9a-f]{64}$/],
  ] as const) {
    test(`${what}: a typed error, and the next load ends well`, async ({ lab, hub }) => {
      const hash = await rightHash(lab, hub);
      hub.faults.set(TINY_WEIGHTS, { flip });
      const { error } = await tryLoad(lab, hubSource(hub));
      expect(error).toMatchObject({ isSternaError: true, code: 'bad-file', file: WEIGHTS });
      if (right !== undefined)
        expect(error!.got).toEqual(right instanceof RegExp ? expect.stringMatching(right) : right);
      const next = await mustLoad(lab, hubSource(hub));
      expect(next.hash).toBe(hash);
      expect(next.info.cached).toEqual({ before: false, now: true });
    });
  }
});

test.describe('trouble that passes', () => {
  for (const [what, faults] of [
    ['slow', { bytesPerSecond: 2_000_000 }],
    ['cut', { cut: { at: 1_000_000 } }],
    ['cut twice', { cut: { at: 2_000_000, times: 2 } }],
    ['ranges ignored', { ignoreRange: true }],
    ['ranges ignored, and cut', { ignoreRange: true, cut: { at: 2_500_000, times: 2 } }], // the header is read from such an answer too
    ['429 from the hub', { refuse: { status: 429, retryAfter: 1 } }],
    ['429 from the other host', { refuse: { status: 429, retryAfter: 1, host: 'cdn' } }],
    ['500 twice', { refuse: { status: 500, times: 2 } }],
  ] as [string, Faults][]) {
    test(what, async ({ lab, hub }) => {
      const hash = await rightHash(lab, hub);
      hub.faults.set(TINY_WEIGHTS, faults);
      const { hash: got, progress } = await mustLoad(lab, hubSource(hub));
      expect(got).toBe(hash);
      const retries = progress.filter(({ retry }) => retry).map(({ retry, file }) => `${file}: ${retry}`);
      if (faults.refuse) {
        expect(retries).toHaveLength(hub.requests.filter(({ status }) => status === faults.refuse!.status).length);
        expect(retries[0]).toMatch(new RegExp(`^${WEIGHTS}: .*HTTP ${faults.refuse.status}.*try 2 of 6`));
      }
      if (faults.cut) expect(retries[0]).toMatch(/the connection was cut.*try 2 of 6/);
    });
  }

  test('500 from the API', async ({ lab, hub }) => {
    hub.faults.set(TINY, { refuse: { status: 500 } });
    const { progress } = await mustLoad(lab, hubSource(hub));
    expect(progress.filter(({ retry }) => retry)).toHaveLength(1);
  });

  test('answers that lack their end, for a while', async ({ lab, hub }) => {
    const hash = await rightHash(lab, hub);
    let short = 3;
    const faults: Faults = {
      get lack() {
        return short-- > 0 ? 1000 : 0;
      },
    };
    hub.faults.set(TINY_WEIGHTS, faults);
    expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
    expect(short).toBeLessThan(0);
  });

  test('a hub that is gone for a moment', async ({ lab, hub }) => {
    const hash = await rightHash(lab, hub);
    hub.faults.set(TINY_WEIGHTS, { bytesPerSecond: 1_500_000 });
    const load = mustLoad(lab, hubSource(hub));
    await expect.poll(() => sentSoFar(hub)).toBeGreaterThan(800_000);
    hub.reachable = false;
    await expect.poll(async () => (await storedModels(lab)).length).toBe(1); // the page is well meanwhile
    await expect.poll(() => hub.turnedAway).toBeGreaterThan(0);
    hub.reachable = true;
    const { hash: got, progress } = await load;
    expect(got).toBe(hash);
    expect(progress.some(({ retry }) => retry)).toBe(true);
  });

  test('progress: bytes only grow, with a rate, and say why it waits', async ({ lab, hub }) => {
    hub.faults.set(TINY_WEIGHTS, { bytesPerSecond: 2_000_000, cut: { at: 1_500_000 } });
    const loaded = await mustLoad(lab, hubSource(hub));
    expect(phasesOf(loaded)).toEqual(['config', 'tokenizer', 'weights', 'warmup', 'ready']);
    const during = loaded.progress.filter(({ phase }) => phase === 'weights');
    expect(during.length).toBeGreaterThan(5);
    for (const [i, { loaded: bytes, total, file, retry }] of during.entries()) {
      expect(bytes).toBeGreaterThanOrEqual(during[i - 1]?.loaded ?? 0);
      expect([total, file]).toEqual([weights.length, WEIGHTS]);
      if (retry) expect(bytes).toBeGreaterThan(1_000_000);
    }
    expect(during.filter(({ retry }) => retry)).toHaveLength(1);
    expect(during.at(-1)!.loaded).toBe(weights.length);
    const rates = during.map(({ rate }) => rate).filter((rate) => rate !== 0);
    expect(rates.length).toBeGreaterThan(3);
    expect(Math.min(...rates)).toBeGreaterThan(0);
  });
});

test.describe('trouble that does not pass: a typed error, and the next load ends well', () => {
  for (const [what, faults] of [
    ['another size', { size: weights.length + 1 }],
    ['another size, ranges ignored', { size: weights.length - 1, ignoreRange: true }],
    ['access refused', { refuse: { status: 403, times: 9, host: 'cdn' } }],
  ] as [string, Faults][]) {
    test(what, async ({ lab, hub }) => {
      const hash = await rightHash(lab, hub);
      hub.faults.set(TINY_WEIGHTS, faults);
      const { error } = await tryLoad(lab, hubSource(hub));
      expect(error).toMatchObject({ isSternaError: true, code: 'download', file: WEIGHTS });
      expect([error!.got, error!.expected]).not.toContain(undefined);
      hub.faults.clear();
      expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
    });
  }

  test('the file changes between two of its answers', async ({ lab, hub }) => {
    const hash = await rightHash(lab, hub);
    const faults: Faults = {
      cut: { at: 2_000_000 },
      get etag() {
        return rangesOf(hub).length > 2 ? '"other"' : `"${sha256(weights)}"`; // header, body, rest of the body
      },
    };
    hub.faults.set(TINY_WEIGHTS, faults);
    const { error } = await tryLoad(lab, hubSource(hub));
    expect(error).toMatchObject({ code: 'download', got: 'ETag "other"', expected: `"${sha256(weights)}"` });
    hub.faults.clear();
    expect((await mustLoad(lab, hubSource(hub))).hash).toBe(hash);
  });
});

test('a new commit during the download: the old one is loaded, then the new one', async ({ lab, hub }) => {
  const hash = await rightHash(lab, hub);
  hub.faults.set(TINY_WEIGHTS, { bytesPerSecond: 2_000_000, cut: { at: 2_000_000 } });
  const load = mustLoad(lab, hubSource(hub));
  await expect.poll(() => sentSoFar(hub)).toBeGreaterThan(800_000);
  hub.commit(TINY, other);
  expect((await load).hash).toBe(hash);
  expect((await mustLoad(lab, hubSource(hub))).hash).toBe(await rightHash(lab, hub));
});

test('a commit that is gone during the download: a typed error, then the new one', async ({ lab, hub }) => {
  hub.faults.set(TINY_WEIGHTS, { bytesPerSecond: 2_000_000, cut: { at: 2_000_000 } });
  const load = tryLoad(lab, hubSource(hub));
  await expect.poll(() => sentSoFar(hub)).toBeGreaterThan(800_000);
  const old = hub.commitOf(TINY);
  hub.commit(TINY, other);
  hub.forget(TINY, old);
  expect((await load).error).toMatchObject({ isSternaError: true, code: 'download', file: WEIGHTS });
  hub.faults.clear();
  expect((await mustLoad(lab, hubSource(hub))).hash).toBe(await rightHash(lab, hub));
});
