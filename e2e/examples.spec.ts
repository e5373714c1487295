/** The examples, built with Vite on the package as users import it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, type Page, test } from '@playwright/test';
import { build } from 'vite';
import { buildLibrary } from '../scripts/build-library.mjs';
import { type FakeOpenAI, serveOpenAI } from './large-model';
import { isolation, type StaticServer, serveStatic } from './static-server';

test.describe.configure({ timeout: 120_000 }); // builds

const examples = fileURLToPath(new URL('../examples/', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'sterna-examples-'));
const [library, out] = [join(work, 'library'), join(work, 'pages')]; // package.spec.ts may build dist/ meanwhile
const answering = { timeout: 30_000 };
const words = /(\w+\W+){5}/; // the examples name no seed
let pages: StaticServer;
let large: FakeOpenAI;

test.beforeAll(async () => {
  await buildLibrary(library);
  const alias = { 'sterna/ai-sdk': join(library, 'ai-sdk.js'), sterna: join(library, 'index.js') };
  await build({
    root: examples,
    configFile: join(examples, 'vite.config.js'),
    logLevel: 'error',
    resolve: { alias },
    build: { outDir: out, emptyOutDir: true },
  });
  pages = await serveStatic({ '/': out }, isolation);
  large = await serveOpenAI(['From ', 'the ', 'server.']);
});
test.afterAll(async () => {
  await pages?.close();
  await large?.close();
  rmSync(work, { recursive: true, force: true });
});

async function open(page: Page, example: string): Promise<void> {
  await page.goto(`${pages.origin}/${example}/`);
}

test('chat: an answer streams in, the next one knows of it, and can be stopped', async ({ page }) => {
  await open(page, 'chat');
  const send = page.getByRole('button', { name: 'Send' });
  const answer = page.locator('#messages p').nth(1);
  await send.click();
  await expect(answer).toHaveText(words, answering);
  await expect(page.locator('output')).toContainText('tokens a second', answering);
  // the page itself stops the second answer at its first word: the test might be too late
  await page.evaluate(() => {
    const stop = document.querySelector<HTMLButtonElement>('#stop')!;
    const watch = new MutationObserver(() => {
      if (document.querySelectorAll('#messages p')[3]?.textContent) stop.click();
    });
    watch.observe(document.querySelector('#messages')!, { childList: true, subtree: true });
  });
  await send.click();
  await expect(page.locator('output')).toContainText('abort', answering);
  await expect(send).toBeEnabled();
});

test('structured: an object of the schema, shown as it comes', async ({ page }) => {
  await open(page, 'structured');
  await page.getByRole('button', { name: 'Make one' }).click(answering);
  await expect(page.locator('output')).toHaveText('finishReason: stop', answering);
  const pet = JSON.parse((await page.locator('pre').textContent()) ?? '');
  expect(['dog', 'cat', 'bird']).toContain(pet.kind);
  await expect(page.locator('dt')).toHaveText(['kind', 'name', 'age', 'likes']);
  await expect(page.locator('dd').nth(2)).toHaveText(String(pet.age));
});

test('ai-sdk: the page answers; the large model does when the visitor asks for it', async ({ page }) => {
  await open(page, 'ai-sdk');
  await page.getByLabel('Server').fill(large.baseURL);
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('output')).toContainText('from tiny-stories-ternary', answering);
  await expect(page.locator('#answer')).toHaveText(words);
  expect(large.asked).toEqual([]); // nothing has left the page
  await page.getByLabel('Ask the large model').check();
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('output')).toHaveText('3 tokens from large-model');
  await expect(page.locator('#answer')).toHaveText('From the server.');
  expect(large.asked).toMatchObject([{ model: 'large-model', max_tokens: 200, messages: [{ role: 'user' }] }]);
});

test('ai-sdk: where the model cannot be had, the large one answers', async ({ page }) => {
  await page.route('**/models/**', (route) => route.fulfill({ status: 404 }));
  await open(page, 'ai-sdk');
  await page.getByLabel('Server').fill(large.baseURL);
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('#answer')).toHaveText('From the server.', answering);
});
