/** The product in real browsers: the built pages, served with the isolation headers by `vite preview`. */
import { fileURLToPath } from 'node:url';
import { defineConfig, type Project } from '@playwright/test';
import { hasBrowser, systemBrowser } from '../scripts/browsers.mjs';

/** Two checkouts on one machine may be tested at once. */
const port = process.env.STERNA_TEST_PORT ?? '4173';

const root = fileURLToPath(new URL('..', import.meta.url));
const [chromium, firefox] = [systemBrowser('chromium'), systemBrowser('firefox')];

const projects: Project[] = [
  {
    name: 'chromium',
    use: {
      browserName: 'chromium',
      // chromiumSandbox: no --no-sandbox would keep root from starting it
      launchOptions: { ...(chromium && { executablePath: chromium }), chromiumSandbox: false },
    },
  },
];
if (hasBrowser('firefox')) {
  // a system Firefox is driven over WebDriver BiDi
  const launchOptions = firefox ? { executablePath: firefox } : {};
  projects.push({
    name: 'firefox',
    grep: /@firefox/,
    use: { browserName: 'firefox', ...(firefox && { channel: 'moz-firefox' }), launchOptions },
  });
}

export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.ts',
  outputDir: '../test-results',
  workers: 2, // two files at a time: a test waits for pages, stores and servers more than it computes
  // what is waited for comes, but the machine may be busy
  timeout: 180_000,
  expect: { timeout: 30_000 },
  reporter: 'list',
  // the page's own worker would answer before the tests' routes; e2e/offline.spec.ts is about it
  use: { baseURL: `http://localhost:${port}`, serviceWorkers: 'block' },
  projects,
  webServer: {
    command: `npx vite build --logLevel warn && npx vite preview --port ${port} --strictPort`,
    cwd: root,
    url: `http://localhost:${port}/lab.html`,
    timeout: 300_000,
  },
});
