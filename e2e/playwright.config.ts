/** The product in real browsers: the built pages, served with the isolation headers by `vite preview`. */
import { fileURLToPath } from 'node:url';
import { defineConfig, type Project } from '@playwright/test';
import { hasBrowser, systemBrowser } from '../scripts/browsers.mjs';

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
  workers: 1, // the engine under test takes every core
  timeout: 60_000,
  reporter: 'list',
  use: { baseURL: 'http://localhost:4173' },
  projects,
  webServer: {
    command: 'npx vite build --logLevel warn && npx vite preview --port 4173 --strictPort',
    cwd: root,
    url: 'http://localhost:4173/lab.html',
    timeout: 120_000,
  },
});
