/** Downloads that end early and go on, the models in the store, and two tabs at one: in the production build, with a fake hub. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { randomWeights } from '../bench/random-weights';
import { checkpointFiles } from '../bench/synthesize';
import type { FakeHub } from './fake-hub';
import {
  damageRecord,
  damageText,
  firstLoadBytes,
  folderUrl,
  hubSource,
  inMemory,
  inspectAt,
  manifest,
  mustLoad,
  phasesOf,
  rangesOf,
  safetensors,
  storedModels,
  takeSent,
  test,
  tryLoad,
  verify,
  WEIGHTS,
  WIDE,
  waitForStored,
} from './hub-lab';
import { type Running, startChromium } from './killable';
import { expect, openLab } from './lab';

/** The model allows a million positions; these do. */
const context = { contextLength: 64 };
const WIDE_WEIGHTS = `${WIDE}/${WEIGHTS}`;
/** Two records of the store are full before this byte, not three. */
const LATE = 50_000_000;
const RECORD = 16 * 2 ** 20;

let right: string | undefined;
/** What every load of the wide model must give. */
async function rightHash(lab: Page, hub: FakeHub): Promise<string> {
  right ??= (await mustLoad(lab, folderUrl(hub, WIDE), { ...context, cache: false })).hash;
  takeSent(hub);
  return right;
}

/** Loads what is partly stored: what no record was made of is fetched, and nothing else. Returns the store's model. */
async function finishLoad(page: Page, hub: FakeHub, hash: string, weights: Buffer) {
  const before = await manifest(page);
  expect(before.complete).toBe(false);
  expect(before.records.length).toBeGreaterThanOrEqual(2);
  const { to } = before.records.at(-1)!;
  hub.faults.clear();
  takeSent(hub);
  const left = await inspectAt(page, hubSource(hub, WIDE), context);
  expect(left).toMatchObject({ cached: 'partly', downloadBytes: weights.length - to });
  const loaded = await mustLoad(page, hubSource(hub, WIDE), context);
  expect(loaded.hash).toBe(hash);
  expect(loaded.info.cached).toEqual({ before: false, now: true });
  expect(phasesOf(loaded)).toEqual(['config', 'cache', 'weights', 'warmup', 'ready']);
  expect(Math.min(...rangesOf(hub).map(([from]) => from))).toBe(to);
  expect(takeSent(hub)).toEqual({ [WEIGHTS]: weights.length - to });
  const after = await manifest(page);
  expect(after).toMatchObject({ id: before.id, complete: true, bytes: left.storedBytes });
  expect(await verify(page, after.id)).toEqual({ damaged: 0 });
}

test.describe('a download that ends early goes on at its last record', () => {
  test('cut for good', async ({ lab, startHub, wide }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    hub.faults.set(WIDE_WEIGHTS, { cut: { at: LATE, times: 99 } });
    const { error, progress } = await tryLoad(lab, hubSource(hub, WIDE), context);
    expect(error).toMatchObject({ isSternaError: true, code: 'download', file: WEIGHTS, expected: 'the rest' });
    const retries = progress.flatMap(({ retry }) => retry ?? []);
    expect(retries.at(-1)).toMatch(/try 6 of 6/);
    await finishLoad(lab, hub, hash, wide[WEIGHTS]!);
  });

  test('aborted', async ({ lab, startHub, wide }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    const { error } = await tryLoad(lab, hubSource(hub, WIDE), context, LATE);
    expect(error).toMatchObject({ isSternaError: true, code: 'aborted', name: 'AbortError' });
    await finishLoad(lab, hub, hash, wide[WEIGHTS]!);
  });

  test('a float master, whose units are whole matrices', async ({ lab, startHub }) => {
    const shape = { hidden: 1024, ffn: 4096, layers: 4, heads: 8, kvHeads: 8, vocab: 512 };
    const files = inMemory(checkpointFiles(randomWeights(shape, 1), { format: 'master' }));
    const hub = await startHub({ [WIDE]: files });
    const size = files[WEIGHTS]!.length;
    const { hash } = await mustLoad(lab, folderUrl(hub, WIDE), { cache: false });
    for (const at of [70_000_000, 120_000_000]) {
      hub.faults.set(WIDE_WEIGHTS, { cut: { at, times: 99 } });
      expect((await tryLoad(lab, hubSource(hub, WIDE))).error).toMatchObject({ code: 'download' });
    }
    hub.faults.clear();
    takeSent(hub);
    const { to } = (await manifest(lab)).records.at(-1)!;
    expect(to).toBeGreaterThan(60_000_000);
    expect((await mustLoad(lab, hubSource(hub, WIDE))).hash).toBe(hash);
    expect(takeSent(hub)).toEqual({ [WEIGHTS]: size - to });
    hub.reachable = false;
    expect((await mustLoad(lab, hubSource(hub, WIDE))).hash).toBe(hash);
  });

  test('the page was closed', async ({ lab, startHub, wide, context: browser }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    hub.faults.set(WIDE_WEIGHTS, { stall: { at: LATE, times: 99 } });
    const closed = tryLoad(lab, hubSource(hub, WIDE), context).catch(() => 'closed');
    await waitForStored(lab, 2 * RECORD);
    await lab.close();
    expect(await closed).toBe('closed');
    const page = await browser.newPage();
    await openLab(page, '/lab.html');
    await finishLoad(page, hub, hash, wide[WEIGHTS]!);
  });

  test('the browser was killed', async ({ lab, startHub, wide, baseURL }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    const profile = mkdtempSync(join(tmpdir(), 'sterna-profile-'));
    let running: Running | undefined;
    try {
      running = await startChromium(profile);
      await openLab(running.page, `${baseURL}/lab.html`);
      hub.faults.set(WIDE_WEIGHTS, { stall: { at: LATE, times: 99 } });
      tryLoad(running.page, hubSource(hub, WIDE), context).catch(() => {});
      await waitForStored(running.page, 2 * RECORD);
      await running.kill();
      running = undefined;
      running = await startChromium(profile);
      await openLab(running.page, `${baseURL}/lab.html`);
      await finishLoad(running.page, hub, hash, wide[WEIGHTS]!);
    } finally {
      await running?.kill();
      rmSync(profile, { recursive: true, force: true });
    }
  });

  test('and a byte that had changed before it ended is still found', async ({ lab, startHub, wide }) => {
    const weights = wide[WEIGHTS]!;
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    const [embedding] = safetensors(weights).tensor('model.embed_tokens.weight');
    hub.faults.set(WIDE_WEIGHTS, { flip: { at: embedding + 4_000_000 } });
    await tryLoad(lab, hubSource(hub, WIDE), context, LATE);
    const { to } = (await manifest(lab)).records.at(-1)!;
    takeSent(hub);
    expect((await mustLoad(lab, hubSource(hub, WIDE), context)).hash).toBe(hash);
    const { dataStart } = safetensors(weights);
    expect(takeSent(hub)).toEqual({ [WEIGHTS]: weights.length - to + dataStart + weights.length });
    const { id, complete } = await manifest(lab);
    expect([complete, await verify(lab, id)]).toEqual([true, { damaged: 0 }]);
  });
});

test('damage in the store: a load fetches what it needs to mend it, and no more @firefox', async ({
  lab,
  startHub,
  wide,
}) => {
  const hub = await startHub({ [WIDE]: wide });
  const { hash } = await mustLoad(lab, hubSource(hub, WIDE), context);
  expect(hash).toBe(await rightHash(lab, hub));
  const { id, records } = await manifest(lab);
  expect(records.length).toBeGreaterThanOrEqual(4);
  const heal = async (fetched: Record<string, number>) => {
    expect(await verify(lab, id)).toEqual({ damaged: 1 });
    takeSent(hub);
    const { hash: healed, info } = await mustLoad(lab, hubSource(hub, WIDE), context);
    expect([healed, info.hasTokenizer, info.cached.before]).toEqual([hash, true, true]);
    const sent = takeSent(hub);
    expect(sent).toEqual(fetched);
    expect(await verify(lab, id)).toEqual({ damaged: 0 });
    await mustLoad(lab, hubSource(hub, WIDE), context);
    expect(takeSent(hub)).toEqual({});
  };
  const size = (n: number): number => records[n]!.to - records[n]!.from;
  await damageRecord(lab, id, 'weights.1', 'byte');
  await heal({ [WEIGHTS]: size(1) });
  await damageRecord(lab, id, 'weights.0', 'lost');
  await heal({ [WEIGHTS]: size(0) });
  await damageRecord(lab, id, `weights.${records.length - 1}`, 'cut');
  await heal({ [WEIGHTS]: size(records.length - 1) });
  await damageText(lab, id);
  const { [WEIGHTS]: _, ...texts } = wide;
  const textSizes = Object.entries(texts).map(([path, { length }]) => [path, length]);
  await heal({ ...Object.fromEntries(textSizes), [WEIGHTS]: 2 ** 18 });

  await damageRecord(lab, id, 'weights.2', 'byte');
  await damageText(lab, id);
  hub.reachable = false;
  expect((await tryLoad(lab, hubSource(hub, WIDE), context)).error).toMatchObject({ code: 'offline' });
  hub.reachable = true;
  await mustLoad(lab, hubSource(hub, WIDE), context);
  await damageRecord(lab, id, 'weights.2', 'byte');
  hub.reachable = false;
  const { error } = await tryLoad(lab, hubSource(hub, WIDE), context);
  expect(error).toMatchObject({ code: 'offline', file: WEIGHTS });
});

test.describe('storage', () => {
  test('too small: said before anything large is fetched; without the store it loads', async ({
    lab,
    startHub,
    wide,
    context: browser,
    baseURL,
  }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    const { storedBytes } = await inspectAt(lab, hubSource(hub, WIDE), context);
    takeSent(hub);
    const devtools = await browser.newCDPSession(lab);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: baseURL!, quotaSize: 40e6 });
    const { error } = await tryLoad(lab, hubSource(hub, WIDE), context);
    expect(error).toMatchObject({ code: 'quota', file: WIDE, got: expect.anything(), expected: storedBytes });
    expect(takeSent(hub)[WEIGHTS]).toBe(2 ** 18);
    expect(await storedModels(lab)).toEqual([]);
    const { hash: got, info } = await mustLoad(lab, hubSource(hub, WIDE), { ...context, cache: false });
    expect([got, info.cached]).toEqual([hash, { before: false, now: false }]);
    expect(takeSent(hub)[WEIGHTS]).toBe(firstLoadBytes(wide[WEIGHTS]!));
    expect(await storedModels(lab)).toEqual([]);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: baseURL! });
    expect((await mustLoad(lab, hubSource(hub, WIDE), context)).info.cached.now).toBe(true);
  });

  test('gone while it loads: typed; what was stored stays, and goes on', async ({
    lab,
    startHub,
    wide,
    context: browser,
    baseURL,
  }) => {
    const hub = await startHub({ [WIDE]: wide });
    const hash = await rightHash(lab, hub);
    hub.faults.set(WIDE_WEIGHTS, { bytesPerSecond: 10e6 }); // of each of three ranges
    const load = tryLoad(lab, hubSource(hub, WIDE), context);
    await waitForStored(lab, RECORD);
    const devtools = await browser.newCDPSession(lab);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: baseURL!, quotaSize: 40e6 });
    expect((await load).error).toMatchObject({ code: 'quota', file: WIDE });
    expect(await verify(lab, (await manifest(lab)).id)).toEqual({ damaged: 0 });
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: baseURL! });
    await finishLoad(lab, hub, hash, wide[WEIGHTS]!);
  });
});
