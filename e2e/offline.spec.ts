/** The built page on a plain static host, under a sub path and without a single header: isolated, offline, updated. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, type Page, test } from '@playwright/test';
import { build, type Plugin } from 'vite';
import { isolation, type StaticServer, serveStatic } from './static-server';

test.use({ serviceWorkers: 'allow' });

const root = fileURLToPath(new URL('..', import.meta.url));
const path = '/people/somebody/';
const story = /^Once upon a time, there was a little dog named Spot\./;
const greedy = { temperature: '0', maxTokens: '20' };
let site = '';
let server: StaticServer;

test.beforeEach(async () => {
  site = mkdtempSync(join(tmpdir(), 'sterna-site-'));
  cpSync(join(root, 'dist-demo'), site, { recursive: true });
  server = await serveStatic({ [path]: site });
});
test.afterEach(async () => {
  await server.close();
  rmSync(site, { recursive: true, force: true });
});

const ready = (page: Page) => expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');

/** The worker of the page has everything and answers for it. */
const kept = (page: Page) =>
  expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller?.state)).toBe('activated');

async function ask(page: Page): Promise<string> {
  await page.getByTestId('settings').click();
  for (const [name, value] of Object.entries(greedy)) await page.getByTestId(`setting-${name}`).fill(value);
  await page.getByTestId('settings-close').click();
  await page.getByTestId('composer').fill('Tell me a story about a dog and a ball.');
  await page.getByTestId('send').click();
  const answer = page.getByTestId('message-assistant').last();
  await expect(answer).toHaveAttribute('data-done', 'true');
  return (await answer.locator('.prose').textContent()) ?? '';
}

test('a first visit ends isolated; without the host, page and model are still there @firefox', async ({ page }) => {
  const strange: string[] = [];
  page.on('pageerror', (error) => strange.push(String(error)));
  let visits = 0;
  page.on('domcontentloaded', () => visits++);
  await page.goto(server.origin + path);
  await ready(page);
  expect(await page.evaluate(() => crossOriginIsolated && navigator.serviceWorker.controller !== null)).toBe(true);
  expect(visits).toBe(2);
  // the model came once: the page began anew before it was asked for
  expect(server.asked.filter((each) => each.endsWith('/config.json')).length).toBe(1);
  await expect(page.getByTestId('notice-isolation')).toHaveCount(0);
  await expect(page.getByTestId('update')).toHaveCount(0);
  expect(await ask(page)).toMatch(story);

  await server.close();
  await page.reload();
  await ready(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await ask(page)).toMatch(story);
  // another way in: the name of the file, and a question in the address
  await page.goto(`${server.origin}${path}index.html?from=home`);
  await ready(page);
  expect(visits).toBe(4);
  expect(strange).toEqual([]);
});

test('a new build is noticed, and taken when the visitor says so', async ({ page, context }) => {
  await page.goto(server.origin + path);
  await ready(page);
  await kept(page);
  const other = await context.newPage(); // a tab that is not asked
  await other.goto(server.origin + path);
  await ready(other);

  const next = 'html[data-build=next]';
  const marked: Plugin = {
    name: 'marked',
    transformIndexHtml: (html) => html.replace('<html ', '<html data-build="next" '),
  };
  const out = { outDir: site, emptyOutDir: true };
  await build({ configFile: join(root, 'vite.config.ts'), logLevel: 'error', plugins: [marked], build: out });

  // what a browser does when it is time, or the tab is looked at again
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await expect(page.getByTestId('update')).toContainText('A new version is ready');
  await expect(other.getByTestId('update')).toBeVisible();
  await expect(page.locator(next)).toHaveCount(0);
  await page.reload();
  await ready(page);
  await expect(page.locator(next), 'not before it is asked for').toHaveCount(0);

  await page.getByTestId('update-reload').click();
  await expect(page.locator(next)).toHaveCount(1);
  await ready(page);
  await expect(page.getByTestId('update')).toHaveCount(0);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  // the other tab goes on as it was, and may follow
  await expect(other.locator(next)).toHaveCount(0);
  await other.getByTestId('update-reload').click();
  await expect(other.locator(next)).toHaveCount(1);
  const names = await page.evaluate(() => caches.keys());
  expect(names.length).toBe(2); // this build and the last one
});

test('a host that sends half of a new build does not break the old one', async ({ page }) => {
  await page.goto(server.origin + path);
  await ready(page);
  await kept(page);
  const worker = readFileSync(join(site, 'sw.js'), 'utf8');
  // the new worker is there, its page is not yet
  writeFileSync(
    join(site, 'sw.js'),
    worker.replace(/("index\.html": "sha256-)./, '$1_').replace(/version = './, "version = '_"),
  );
  const failed = page.evaluate(async () => {
    const { installing } = await navigator.serviceWorker
      .getRegistration()
      .then((registration) => registration!.update());
    return new Promise<string>((resolve) => {
      installing!.onstatechange = () => resolve(installing!.state);
    });
  });
  expect(await failed).toBe('redundant');
  await page.reload();
  await ready(page);
  await expect(page.getByTestId('update')).toHaveCount(0);
});

test('says that there is no connection', async ({ page, context }) => {
  await page.goto(server.origin + path);
  await ready(page);
  await expect(page.getByTestId('offline')).toHaveCount(0);
  await context.setOffline(true);
  await expect(page.getByTestId('offline')).toBeVisible();
  await context.setOffline(false);
  await expect(page.getByTestId('offline')).toHaveCount(0);
});

test('where the host isolates, nothing is loaded twice', async ({ page }) => {
  await server.close();
  server = await serveStatic({ [path]: site }, isolation);
  let visits = 0;
  page.on('domcontentloaded', () => visits++);
  await page.goto(server.origin + path);
  await ready(page);
  await kept(page);
  expect(visits).toBe(1);
});

test('where the worker cannot be had, the page goes on with one thread', async ({ page }) => {
  rmSync(join(site, 'sw.js'));
  let visits = 0;
  page.on('domcontentloaded', () => visits++);
  await page.goto(server.origin + path);
  await ready(page);
  expect(visits).toBe(1);
  await expect(page.getByTestId('badge')).toContainText('1 thread');
});

test('where the worker takes long to come, the page does not wait for it; the next visit is isolated', async ({
  page,
}) => {
  server.slow.set(`${path}sw.js`, 9000);
  let visits = 0;
  page.on('domcontentloaded', () => visits++);
  await page.goto(server.origin + path);
  await ready(page);
  await expect(page.getByTestId('badge')).toContainText('1 thread');
  expect(visits).toBe(1);
  await kept(page);
  expect(visits, 'nobody is interrupted').toBe(1);
  await page.reload();
  await ready(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
});

test('can be installed: a manifest that Chromium takes, icons of the sizes it names', async ({ page, context }) => {
  await page.goto(server.origin + path);
  await ready(page);
  const devtools = await context.newCDPSession(page);
  const { errors, url } = await devtools.send('Page.getAppManifest');
  expect(url).toBe(`${server.origin}${path}manifest.webmanifest`);
  expect(errors).toEqual([]);
  const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors');
  // the test's own profile is a private one
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito')).toEqual([]);
  const { icons } = JSON.parse(readFileSync(join(site, 'manifest.webmanifest'), 'utf8'));
  for (const { src, sizes } of icons as { src: string; sizes: string }[]) {
    const png = readFileSync(join(site, src));
    expect(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`, src).toBe(sizes);
  }
});
