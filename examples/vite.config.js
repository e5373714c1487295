import { readdirSync } from 'node:fs';

// the two headers without which a page has one thread
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const here = import.meta.dirname;
const pages = readdirSync(here, { recursive: true }).filter((file) => /^[\w-]+[\\/]index\.html$/.test(file));

export default {
  root: here,
  publicDir: '../demo/public', // the small model
  optimizeDeps: { exclude: ['sterna'] }, // its workers are files beside it
  server: { headers },
  preview: { headers },
  build: { target: 'es2022', rolldownOptions: { input: pages.map((page) => `${here}/${page}`) } },
};
