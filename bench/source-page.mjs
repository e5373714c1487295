// The lab page, served from the sources, in headless Chromium: for benches that need no build of the pages.
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { createServer } from 'vite';
import { systemBrowser } from '../scripts/browsers.mjs';

/** Starts server and browser: `newPage()` opens the page, in a tab of its own. */
export async function openSources() {
  const server = await createServer({
    configFile: fileURLToPath(new URL('../vite.config.ts', import.meta.url)),
    server: { port: 0, hmr: false },
    logLevel: 'error',
  });
  await server.listen();
  const browser = await chromium.launch({ executablePath: systemBrowser('chromium') });
  return {
    async newPage() {
      const page = await browser.newPage();
      page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
      await page.goto(`${server.resolvedUrls.local[0]}lab.html`);
      return page;
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
