/** Builds the pages of the bench, and the lab of the demo, whose `window.sterna` is the public API. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { buildWasm } from '../scripts/build-wasm.mjs';

const page = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  base: './',
  publicDir: false,
  plugins: [
    {
      name: 'sterna-kernels',
      async buildStart() {
        await buildWasm();
      },
    },
  ],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    emptyOutDir: true,
    rollupOptions: { input: ['bench/pages/engine.html', 'bench/pages/peer.html', 'demo/lab.html'].map(page) },
  },
});
