/** Two tabs at one stored model, and one stored model with both precisions of its head: in the production build. */
import type { Page } from '@playwright/test';
import {
  damageRecord,
  firstLoadBytes,
  folderUrl,
  hubSource,
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
import { expect, openLab } from './lab';

const short = { contextLength: 64 };
const int8 = { ...short, lmHead: 'int8' } as const;
const bf16 = { ...short, lmHead: 'bf16' } as const;
const WIDE_WEIGHTS = `${WIDE}/${WEIGHTS}`;
const RECORD = 16 * 2 ** 20;

async function openTab(lab: Page): Promise<Page> {
  const page = await lab.context().newPage();
  await openLab(page, '/lab.html');
  return page;
}

/** The code of the error of a call about a stored model. */
const codeOf = (page: Page, call: 'deleteModel' | 'verifyModel', id: string) =>
  page.evaluate(
    async ([call, id]) => {
      try {
        await window.sterna[call](id);
        return 'none';
      } catch (error) {
        return (error as { code: string }).code;
      }
    },
    [call, id] as const,
  );

test('two tabs load one model at once: it is fetched once, and one waits @firefox', async ({ lab, startHub, wide }) => {
  const hub = await startHub({ [WIDE]: wide });
  const { hash } = await mustLoad(lab, folderUrl(hub, WIDE), { ...short, cache: false });
  const other = await openTab(lab);
  takeSent(hub);
  hub.faults.set(WIDE_WEIGHTS, { bytesPerSecond: 20e6 });
  const loads = Promise.all([lab, other].map((page) => mustLoad(page, hubSource(hub, WIDE), short)));
  await waitForStored(lab, RECORD);
  const { id } = await manifest(lab);
  for (const page of [lab, other]) {
    expect(await codeOf(page, 'deleteModel', id)).toBe('busy');
    expect(await codeOf(page, 'verifyModel', id)).toBe('busy');
  }
  const both = await loads;
  expect(both.map((loaded) => loaded.hash)).toEqual([hash, hash]);
  expect(both.map(({ info }) => info.cached.before).sort()).toEqual([false, true]);
  const waiting = both.find(({ info }) => info.cached.before)!;
  expect(phasesOf(waiting)).toEqual(['config', 'tokenizer', 'waiting', 'cache', 'warmup', 'ready']);
  expect(phasesOf(both.find((loaded) => loaded !== waiting)!)).not.toContain('waiting');
  expect(takeSent(hub)[WEIGHTS]).toBe(firstLoadBytes(wide[WEIGHTS]!) + 2 ** 18); // either tab read the header
  expect(await verify(lab, id)).toEqual({ damaged: 0 });

  const readers = await Promise.all([lab, other].map((page) => mustLoad(page, hubSource(hub, WIDE), short)));
  for (const reader of readers) expect(phasesOf(reader)).toEqual(['config', 'cache', 'warmup', 'ready']);
  expect(takeSent(hub)).toEqual({});
  expect(await codeOf(other, 'deleteModel', id)).toBe('none');
  expect(await storedModels(lab)).toEqual([]);
});

test('a tab that waits goes on where the other one was closed; one that waits can be aborted', async ({
  lab,
  startHub,
  wide,
}) => {
  const hub = await startHub({ [WIDE]: wide });
  const { hash } = await mustLoad(lab, folderUrl(hub, WIDE), { ...short, cache: false });
  const other = await openTab(lab);
  hub.faults.set(WIDE_WEIGHTS, { stall: { at: 50_000_000, times: 99 } });
  const first = tryLoad(other, hubSource(hub, WIDE), short).catch(() => 'closed');
  await waitForStored(lab, 2 * RECORD);
  const aborted = await lab.evaluate(
    async (source) => {
      const controller = new AbortController();
      const phases = new Set<string>();
      const onProgress = ({ phase }: { phase: string }) => {
        phases.add(phase);
        if (phase === 'waiting') controller.abort();
      };
      const code = await window.sterna.load(source, { signal: controller.signal, onProgress }).then(
        () => 'none',
        (error) => error.code as string,
      );
      return { code, phases: [...phases] };
    },
    hubSource(hub, WIDE),
  );
  expect(aborted).toEqual({ code: 'aborted', phases: ['config', 'waiting'] });

  const { to } = (await manifest(lab)).records.at(-1)!;
  const second = mustLoad(lab, hubSource(hub, WIDE), short);
  await expect.poll(() => hub.requests.filter(({ path }) => path.includes('/tree/')).length).toBeGreaterThanOrEqual(3);
  hub.faults.clear();
  const waiting = () => lab.evaluate(async () => (await navigator.locks.query()).pending!.length);
  await expect.poll(waiting).toBeGreaterThan(0);
  takeSent(hub);
  await other.close();
  expect(await first).toBe('closed');
  const loaded = await second;
  expect(loaded.hash).toBe(hash);
  expect(phasesOf(loaded)).toEqual(['config', 'waiting', 'cache', 'weights', 'warmup', 'ready']);
  expect(Math.min(...rangesOf(hub).map(([from]) => from))).toBe(to);
  expect(await storedModels(lab)).toMatchObject([{ complete: true }]);
});

test('stored with an int8 head: exact rows are fetched alone, once, and kept beside', async ({
  lab,
  startHub,
  wide,
}) => {
  const hub = await startHub({ [WIDE]: wide });
  const source = hubSource(hub, WIDE);
  const fresh = async (options: typeof int8 | typeof bf16) =>
    (await mustLoad(lab, folderUrl(hub, WIDE), { ...options, cache: false })).hash;
  const [hash8, hash16] = [await fresh(int8), await fresh(bf16)];
  expect(hash8).not.toBe(hash16);
  expect((await mustLoad(lab, source, int8)).hash).toBe(hash8);
  const [begin, end] = safetensors(wide[WEIGHTS]!).tensor('model.embed_tokens.weight');
  const before = await inspectAt(lab, source, bf16);
  expect(before).toMatchObject({ cached: 'complete', downloadBytes: end - begin });
  const small = await inspectAt(lab, source, int8);
  expect(small.downloadBytes).toBe(0);
  expect(before.storedBytes - small.storedBytes).toBe(end - begin);

  takeSent(hub);
  hub.faults.set(WIDE_WEIGHTS, { stall: { at: begin + 18_000_000, times: 99 } });
  const other = await openTab(lab);
  const closed = tryLoad(other, source, bf16).catch(() => 'closed');
  await waitForStored(lab, small.storedBytes + RECORD);
  await other.close();
  expect(await closed).toBe('closed');
  hub.faults.clear();
  const { id, extra, complete } = await manifest(lab);
  expect([complete, extra.bf16!.length]).toEqual([true, 1]);
  const { to } = extra.bf16![0]!;
  takeSent(hub);
  expect((await inspectAt(lab, source, bf16)).downloadBytes).toBe(end - to);
  const loaded = await mustLoad(lab, source, bf16);
  expect(loaded.hash).toBe(hash16);
  expect(loaded.info).toMatchObject({ lmHead: 'bf16', cached: { before: true, now: true } });
  expect(rangesOf(hub)).toEqual([[to, end]]);
  expect(takeSent(hub)).toEqual({ [WEIGHTS]: end - to });
  expect(await inspectAt(lab, source, bf16)).toEqual({ ...before, downloadBytes: 0 });
  expect(await storedModels(lab)).toMatchObject([{ bytes: before.storedBytes, expectedBytes: before.storedBytes }]);

  expect((await mustLoad(lab, source, bf16)).hash).toBe(hash16);
  expect((await mustLoad(lab, source, int8)).hash).toBe(hash8);
  expect(takeSent(hub)).toEqual({});
  await damageRecord(lab, id, 'bf16.1', 'byte');
  expect((await mustLoad(lab, source, bf16)).hash).toBe(hash16);
  expect(takeSent(hub)).toEqual({ [WEIGHTS]: end - to });
  expect(await verify(lab, id)).toEqual({ damaged: 0 });
  hub.reachable = false;
  expect((await mustLoad(lab, source, bf16)).hash).toBe(hash16);
});

test('stored with a bf16 head: int8 rows are made of it; a part with int8 rows goes on, and exact rows come beside', async ({
  lab,
  startHub,
  wide,
}) => {
  const hub = await startHub({ [WIDE]: wide });
  const source = hubSource(hub, WIDE);
  const fresh = async (options: typeof int8 | typeof bf16) =>
    (await mustLoad(lab, folderUrl(hub, WIDE), { ...options, cache: false })).hash;
  const [hash, exact] = [await fresh(int8), await fresh(bf16)];
  const size = wide[WEIGHTS]!.length;
  const [begin, end] = safetensors(wide[WEIGHTS]!).tensor('model.embed_tokens.weight');
  expect((await tryLoad(lab, source, int8, 50e6)).error).toMatchObject({ code: 'aborted' });
  const { downloadBytes } = await inspectAt(lab, source, int8);
  expect(downloadBytes).toBeLessThan(size - RECORD);
  expect((await inspectAt(lab, source, bf16)).downloadBytes).toBe(downloadBytes + end - begin);
  takeSent(hub);
  expect((await mustLoad(lab, source, bf16)).hash).toBe(exact);
  expect(takeSent(hub)).toEqual({ [WEIGHTS]: downloadBytes + end - begin });
  expect((await mustLoad(lab, source, int8)).hash).toBe(hash);

  await lab.evaluate(async () => {
    for (const { id } of await window.sterna.listModels()) await window.sterna.deleteModel(id);
  });
  expect((await mustLoad(lab, source, bf16)).hash).toBe(exact);
  takeSent(hub);
  expect((await mustLoad(lab, source, int8)).hash).toBe(hash);
  expect(takeSent(hub)).toEqual({});
  expect(await storedModels(lab)).toHaveLength(1);
});

test('exact rows that changed on the way are not those of the int8 rows: nothing of them is kept', async ({
  lab,
  startHub,
  wide,
}) => {
  const hub = await startHub({ [WIDE]: wide });
  const source = hubSource(hub, WIDE);
  await mustLoad(lab, source, int8);
  const [begin, end] = safetensors(wide[WEIGHTS]!).tensor('model.embed_tokens.weight');
  // the sign of a number: its lowest bit is the one that turns, so in the byte of the exponent's upper bits
  hub.faults.set(WIDE_WEIGHTS, { flip: { at: begin + 5_000_001 } });
  takeSent(hub);
  const { error } = await tryLoad(lab, source, bf16);
  expect(error).toMatchObject({ isSternaError: true, code: 'bad-file' });
  expect(await manifest(lab)).toMatchObject({ complete: true, extra: { bf16: [] } });
  expect((await mustLoad(lab, source, bf16)).info.lmHead).toBe('bf16');
  expect(takeSent(hub)).toEqual({ [WEIGHTS]: 2 * (end - begin) });
});
