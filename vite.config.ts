import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { playwright } from '@vitest/browser-playwright';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { systemBrowser } from './scripts/browsers.mjs';
import { buildWasm } from './scripts/build-wasm.mjs';
import { serviceWorker } from './scripts/service-worker.mjs';

/** Cross-origin isolation: without these headers a page gets no shared memory, hence one thread. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

const wasmFolder = fileURLToPath(new URL('./wasm/', import.meta.url));

/** Builds the kernels at start, again on each change of wasm/, and reloads the page. */
function kernels(): Plugin {
  return {
    name: 'sterna-kernels',
    async buildStart() {
      await buildWasm();
    },
    configureServer(server) {
      server.watcher.add(wasmFolder);
    },
    async hotUpdate({ file }) {
      if (this.environment.name !== 'client' || !file.startsWith(wasmFolder) || file.endsWith('.test.ts')) return;
      try {
        await buildWasm();
        this.environment.hot.send({ type: 'full-reload' });
      } catch (error) {
        this.environment.hot.send({ type: 'error', err: { message: String(error), stack: '' } });
      }
      return [];
    },
  };
}

const chromium = systemBrowser('chromium');

export default defineConfig({
  root: 'demo',
  base: './',
  plugins: [kernels(), serviceWorker()],
  worker: { format: 'es' },
  // found only inside workers and lazy imports; a late discovery would reload the page
  optimizeDeps: {
    include: [
      'comlink',
      '@huggingface/hub',
      '@huggingface/jinja',
      '@huggingface/tokenizers',
      'marked',
      'dompurify',
      'lit',
    ],
  },
  server: { headers: isolation, port: 5173, fs: { allow: ['..'] } },
  // a port that no other project has by default: the page's service worker stays with its origin
  preview: { headers: isolation, port: 5183 },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    outDir: '../dist-demo',
    emptyOutDir: true,
    rollupOptions: {
      input: ['index.html', 'lab.html', 'bench.html'].map((page) =>
        fileURLToPath(new URL(`./demo/${page}`, import.meta.url)),
      ),
    },
  },
  test: {
    root: fileURLToPath(new URL('.', import.meta.url)),
    maxWorkers: Math.max(2, availableParallelism() - 1), // of Node, and as many pages of the browser
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          include: ['**/*.test.ts'],
          exclude: ['**/*.browser.test.ts', '**/node_modules/**'],
          testTimeout: 180_000, // the machine may be busy
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        optimizeDeps: { include: ['ai', 'zod'] },
        // within one run no file changes: the many workers take their modules from the browser's cache
        server: {
          headers: process.argv.includes('run') ? { ...isolation, 'Cache-Control': 'max-age=3600' } : isolation,
        },
        test: {
          name: 'chromium',
          include: ['**/*.browser.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions: chromium ? { executablePath: chromium } : {} }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
    ],
  },
});
