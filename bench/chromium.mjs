// Chromium for the bench: one profile on disk, pages whose workers are never slowed down for being out of sight.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { runnerImport } from 'vite';
import { systemBrowser } from '../scripts/browsers.mjs';

const ownModule = async (name) =>
  (await runnerImport(fileURLToPath(new URL(name, import.meta.url)), { configFile: false })).module;
const { startBrowser } = await ownModule('devtools.ts');

const args = [
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
];

/** Models are kept in files, or, where a worker is given none, in IndexedDB. */
const noFiles = "Object.defineProperty(globalThis, 'FileSystemFileHandle', { value: undefined })";

/** @param {'opfs' | 'indexeddb'} backend where models are kept */
export const startChromium = (work, backend = 'opfs') =>
  startBrowser({
    executable: systemBrowser('chromium') ?? chromium.executablePath(),
    profile: join(work, `profile-${backend}`),
    args,
    ...(backend === 'indexeddb' ? { workerPrelude: noFiles } : {}),
  });

/** Opens a page and waits until it has set a global; `call` is then one call of a function of it. */
export async function openPage(browser, url, name) {
  const page = await browser.open(url);
  const there = `new Promise((found) => {
    const look = () => (globalThis.${name} ? found(true) : setTimeout(look, 10));
    look();
  })`;
  await browser.evaluate(page, there);
  const evaluate = (expression) => browser.evaluate(page, expression);
  return {
    evaluate,
    call: (method, ...given) => evaluate(`globalThis.${name}.${method}(${given.map((one) => JSON.stringify(one))})`),
    close: () => browser.call('Page.close', {}, page.session),
  };
}
