/** The offline store where a browser must be had whole: no room, no storage, killed while it writes, another browser. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test as base, expect, type Page } from '@playwright/test';
import { build, type Rolldown } from 'vite';
import type { BackendName } from '../src/store/store-backend';
import { type Running, startChromium } from './killable';

const entry = fileURLToPath(new URL('./store-page.ts', import.meta.url));

/** A server with a page that has the store, which no page of the demo shows as it is. */
const test = base.extend<object, { origin: string }>({
  origin: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures it depends on here
    async ({}, use) => {
      const { output } = (await build({
        configFile: false,
        logLevel: 'warn',
        base: './',
        worker: { format: 'es' },
        build: { write: false, target: 'es2022', assetsInlineLimit: 0, rollupOptions: { input: entry } },
      })) as Rolldown.RolldownOutput;
      const main = output.find((file) => file.type === 'chunk' && file.isEntry)!.fileName;
      const files = new Map(
        output.map((file) => [`/${file.fileName}`, file.type === 'chunk' ? file.code : file.source]),
      );
      const server = createServer(({ url = '' }, response) => {
        const body =
          files.get(url) ?? `<!doctype html><title>store</title><script type="module" src="/${main}"></script>`;
        response.setHeader('Content-Type', files.has(url) ? 'text/javascript' : 'text/html');
        response.setHeader('Access-Control-Allow-Origin', '*');
        response.end(body);
      });
      await new Promise<void>((resolve) => server.listen(0, resolve));
      await use(`http://localhost:${(server.address() as AddressInfo).port}`);
      server.closeAllConnections();
      server.close();
    },
    { scope: 'worker' },
  ],
});

async function openPage(page: Page, origin: string): Promise<void> {
  await page.goto(origin);
  await page.waitForFunction(() => window.store !== undefined);
}

const kinds = [
  ['indexeddb', 'page'],
  ['opfs', 'page'],
  ['indexeddb', 'worker'],
  ['opfs', 'worker'],
] as [BackendName, string][];

for (const [backend, thread] of kinds) {
  test(`quota: typed; what was stored stays, and can go on; ${backend}, ${thread}`, async ({
    page,
    origin,
    context,
  }) => {
    await openPage(page, origin);
    const devtools = await context.newCDPSession(page);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 20e6 });
    const expected = 80e6;
    const seen = await page.evaluate(
      async ([backend, thread, expectedBytes]) => {
        const { storeIn, startHost, everything } = window.store;
        const store = await storeIn(thread === 'worker' ? startHost() : undefined, backend);
        window.opened = store;
        const noise = (length: number) => {
          const bytes = new Uint8Array(length);
          for (let at = 0; at < length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
          return bytes;
        };
        const model = await store.begin({
          key: 'a',
          version: '1',
          name: 'owner/name',
          expectedBytes,
          description: {},
          state: 0,
        });
        const errors: Record<string, unknown>[] = [];
        const attempt = async (work: () => Promise<unknown>) => {
          try {
            await work();
          } catch (error) {
            const { code, name, message, file, got, expected } = error as Record<string, unknown>;
            errors.push({ code, name, message, file, got, expected });
          }
        };
        await store.needRoom(10e6, 'owner/name');
        // Only in a worker does the browser let one try: its estimate knows nothing of the quota.
        const tried = await store.needRoom(25e6, 'owner/name').then(
          () => 'room',
          (error) => error.code as string,
        );
        const before = await everything();
        for (let n = 0; n < 10 && errors.length === 0; n++) {
          await attempt(() => store.append(model, noise(4e6), { file: 0, from: n, to: n + 1 }, n + 1));
        }
        const full = structuredClone(model);
        await attempt(() => store.append(model, noise(16e6), { file: 0, from: 0, to: 1 }, 99));
        await attempt(() => store.writeText(model, 'x'.repeat(24e6)));
        const kept = await store.find('a', '1');
        const check = await store.verify(model.id);
        const names = (await everything()).filter((name) => name.includes(`${model.id}/`));
        return { errors, tried, before, model, full, kept, check, names, text: await store.readText(model) };
      },
      [backend, thread, expected] as const,
    );
    console.log(`${seen.full.records.length} records of 4 MB in 20 MB`, JSON.stringify(seen.errors[0]));
    expect(seen.tried).toBe(backend === 'opfs' && thread === 'worker' ? 'quota' : 'room');
    expect(seen.before).toEqual([`model/${seen.model.id}`]);
    const count = seen.full.records.length;
    expect(count).toBeGreaterThanOrEqual(2);
    expect(count).toBeLessThanOrEqual(5);
    expect(seen.errors).toHaveLength(3);
    for (const error of seen.errors) {
      expect(error).toMatchObject({ code: 'quota', name: 'SternaError', file: 'owner/name' });
      expect(error.expected).toBe(expected - count * 4e6);
      expect(error.got).toBeDefined();
    }
    expect(seen.full).toMatchObject({ complete: false, state: count, bytes: count * 4e6 });
    expect(seen.model).toEqual(seen.full);
    expect(seen.kept).toEqual(seen.full);
    expect(seen.check).toEqual({ damaged: 0 });
    expect(seen.names).toHaveLength(count);
    expect(seen.text).toBeUndefined();

    await devtools.send('Storage.overrideQuotaForOrigin', { origin });
    const later = await page.evaluate(async () => {
      const store = window.opened;
      const model = (await store.find('a', '1'))!;
      const bytes = window.store.someBytes(4e6, 7);
      await store.append(model, bytes, { file: 0, from: 0, to: 1 }, undefined);
      await store.finish(model);
      return { records: model.records.length, check: await store.verify(model.id) };
    });
    expect(later).toEqual({ records: count + 1, check: { damaged: 0 } });
  });
}

test('where the page may not store anything, there is no store @firefox', async ({ page, origin }) => {
  await openPage(page, origin);
  const seen = await page.evaluate(async () => {
    const src = (document.querySelector('script') as HTMLScriptElement).src;
    const frame = document.createElement('iframe');
    frame.sandbox.add('allow-scripts'); // an origin of its own, without storage
    frame.srcdoc = `<script type="module">
      import '${src}';
      const told = (answer) => parent.postMessage(answer, '*');
      window.store.openStore().then((store) => told(store === undefined ? 'none' : store.backend), (error) => told(String(error)));
    </script>`;
    const answer = new Promise((resolve) => window.addEventListener('message', ({ data }) => resolve(data)));
    document.body.append(frame);
    return [await answer, (await window.store.openStore())?.backend];
  });
  expect(seen).toEqual(['none', 'opfs']);
});

test('the page and two workers use one store, either backend @firefox', async ({ page, origin }) => {
  await openPage(page, origin);
  for (const backend of ['indexeddb', 'opfs'] as const) {
    const seen = await page.evaluate(async (backend) => {
      const { storeIn, startHost, someBytes, everything } = window.store;
      const page = await storeIn(undefined, backend);
      const workers = [await storeIn(startHost(), backend), await storeIn(startHost(), backend)];
      const model = await workers[0]!.begin({
        key: 'a',
        version: '1',
        name: 'a',
        expectedBytes: 0,
        description: {},
        state: 0,
      });
      const records = [1, 2, 3, 4].map((seed) => someBytes(2e6 + seed, seed));
      for (const [n, bytes] of records.entries()) {
        const store = n === 3 ? page : workers[n % 2]!;
        await store.append(model, bytes, { file: 0, from: n, to: n + 1 }, n);
      }
      await page.finish(model);
      const same = async (n: number, store = page) => {
        const bytes = await store.read(model, n);
        return bytes?.length === records[n]!.length && bytes.every((byte, i) => byte === records[n]![i]);
      };
      // all at once, the same records
      const reads = await Promise.all(
        [0, 1, 2, 3].flatMap((n) => [same(n), ...workers.map((worker) => same(n, worker))]),
      );
      const checks = await Promise.all([page, ...workers].map((store) => store.verify(model.id)));
      const found = await workers[1]!.find('a');
      await page.remove(model.id);
      return { reads, checks, same: JSON.stringify(found) === JSON.stringify(model), left: await everything() };
    }, backend);
    expect(seen).toEqual({ reads: Array(12).fill(true), checks: Array(3).fill({ damaged: 0 }), same: true, left: [] });
  }
});

for (const backend of ['indexeddb', 'opfs'] as const) {
  test(`a browser that is killed while it writes keeps what it said it kept: ${backend}`, async ({ origin }) => {
    const profile = mkdtempSync(join(tmpdir(), 'sterna-profile-'));
    let running: Running | undefined;
    const counts: string[] = [];
    try {
      let acknowledged = 0;
      for (const [round, delay] of [10, 80, 160, 40, 0].entries()) {
        running = await startChromium(profile);
        await openPage(running.page, origin);
        const before = await running.page.evaluate(check, backend);
        counts.push(`${acknowledged} -> ${before.records}`);
        expect(before).toMatchObject({ damaged: 0, state: before.records, bytes: before.records * 16e6 });
        expect(before.records).toBeGreaterThanOrEqual(acknowledged);
        expect(before.records).toBeLessThanOrEqual(acknowledged + 1);
        expect(before.files).toBeLessThanOrEqual(before.records + 1); // the one that was being written
        if (round === 4) break;

        const until = before.records + 2 + round;
        const reached = new Promise<void>((resolve) => {
          running!.page.on('console', (message) => {
            acknowledged = Number(message.text());
            if (acknowledged === until) resolve();
          });
        });
        // never comes back: the browser dies under it
        running.page.evaluate(appendForever, backend).catch(() => {});
        await reached;
        await new Promise((resolve) => setTimeout(resolve, delay));
        await running.kill();
        running = undefined;
      }
      const finished = await running!.page.evaluate(async (backend) => {
        const store = await window.store.storeIn(window.store.startHost(), backend);
        const model = (await store.find('a', '1'))!;
        await store.append(model, window.store.someBytes(16e6, 1), { file: 0, from: 0, to: 1 }, undefined);
        await store.finish(model);
        return { records: model.records.length, ...(await store.verify(model.id)) };
      }, backend);
      expect(finished.records).toBeGreaterThan(acknowledged);
      expect(finished.damaged).toBe(0);
      console.log(`${backend}: records acknowledged -> found after the kill: ${counts.slice(1).join(', ')}`);
    } finally {
      await running?.kill();
      rmSync(profile, { recursive: true, force: true });
    }
  });
}

/** What a page finds of the model that is being stored. */
async function check(backend: BackendName) {
  const store = await window.store.storeIn(window.store.startHost(), backend);
  const model = await store.find('a', '1');
  if (!model) return { records: 0, damaged: 0, state: 0, bytes: 0, files: 0 };
  const files = (await window.store.everything()).filter((name) => name.includes(`${model.id}/`)).length;
  const { damaged } = await store.verify(model.id);
  return { records: model.records.length, damaged, state: model.state, bytes: model.bytes, files };
}

/** Appends records of 16 MB to the model, hardly a moment between them, and says on the console how many there are. */
async function appendForever(backend: BackendName) {
  const store = await window.store.storeIn(window.store.startHost(), backend);
  const begin = { key: 'a', version: '1', name: 'a', expectedBytes: 1e9, description: {}, state: 0 };
  const model = (await store.find('a', '1')) ?? (await store.begin(begin));
  const bytes = window.store.someBytes(16e6, 1);
  for (;;) {
    const n = model.records.length;
    bytes[n] = 255 - bytes[n]!;
    await store.append(model, bytes, { file: 0, from: n, to: n + 1 }, n + 1);
    console.log(String(n + 1));
  }
}
