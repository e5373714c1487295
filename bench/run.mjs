// `npm run bench`: decode and prefill speed in headless Chromium, of the embedded model and of a stack of layers of the
// 2B4T widths (projected to 30 layers from the difference between 3 layers and 1). Configurations take turns, and the
// median of several rounds is given: other work on the machine then hits all alike.
//   --rounds 5   --threads 1,2   --kernels dot32,dot16,lut8
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBrowser, ensureDependencies, ensureKernels, root, run, say } from '../scripts/setup.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '1,2' },
    kernels: { type: 'string', default: 'dot32,dot16,lut8' },
  },
});
const rounds = Number(values.rounds);
const threadCounts = values.threads.split(',').map(Number);
const kernels = values.kernels.split(',');

ensureDependencies();
await ensureBrowser();
await ensureKernels();
const { chromium } = await import('playwright');
const { createServer } = await import('vite');
const { systemBrowser } = await import('../scripts/browsers.mjs');
const models = mkdtempSync(join(tmpdir(), 'sterna-bench-'));
for (const layers of [1, 3]) {
  const tokenizer = join(root, 'demo/public/models/tiny-stories-ternary');
  run('node', [
    'bench/write-checkpoint.mjs',
    join(models, `stack${layers}`),
    '--layers',
    `${layers}`,
    '--tokenizer',
    tokenizer,
  ]);
}

/** Serves the synthetic checkpoints beside the demo, whole files only. */
const checkpoints = {
  name: 'bench-checkpoints',
  configureServer(server) {
    server.middlewares.use('/bench-models', (request, response) => {
      const path = join(models, new URL(request.url, 'http://local').pathname);
      response.statusCode = existsSync(path) ? 200 : 404;
      response.end(existsSync(path) ? readFileSync(path) : '');
    });
  },
};
const server = await createServer({
  configFile: fileURLToPath(new URL('../vite.config.ts', import.meta.url)),
  plugins: [checkpoints],
  server: { port: 0, hmr: false },
  logLevel: 'error',
});
await server.listen();
const address = server.resolvedUrls.local[0];
const browser = await chromium.launch({ executablePath: systemBrowser('chromium') });

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** Loads a model in a page of its own; gives what one round measures. */
async function open(url, options) {
  const page = await browser.newPage();
  await page.goto(`${address}lab.html`);
  await page.waitForFunction(() => globalThis.sterna !== undefined);
  const info = await page.evaluate(
    async ([source, loadOptions]) => {
      globalThis.model = await globalThis.sterna.load({ url: source }, loadOptions);
      return globalThis.model.info;
    },
    [url, options],
  );
  const measure = (promptLength, maxTokens) =>
    page.evaluate(
      async ([n, m]) => {
        const start = Math.floor(Math.random() * 4000); // no prefix to reuse
        const prompt = Array.from({ length: n }, (_, i) => ((start + i * 37) % 4000) + 3);
        const { usage, timings } = await globalThis.model.complete(prompt, {
          temperature: 0,
          ignoreEos: true,
          maxTokens: m,
        }).result;
        return { prefillMs: timings.promptMs, tokenMs: timings.decodeMs / (usage.completionTokens - 1) };
      },
      [promptLength, maxTokens],
    );
  await measure(64, 16);
  return { info, measure, close: () => page.close() };
}

const PROMPT = 512;
const table = [];
say(`embedded model: prompt of ${PROMPT} tokens, then 128 tokens`);
for (const threads of threadCounts) {
  const model = await open('models/tiny-stories-ternary/', { threads });
  const runs = [];
  for (let round = 0; round < rounds; round++) runs.push(await model.measure(PROMPT, 128));
  table.push({
    what: 'embedded',
    threads,
    kernel: model.info.kernel,
    'decode tok/s': Math.round(1000 / median(runs.map((r) => r.tokenMs))),
    'prefill tok/s': Math.round((PROMPT * 1000) / median(runs.map((r) => r.prefillMs))),
  });
  await model.close();
}
say('2B4T widths: ternary part and attention of 30 layers, projected');
for (const threads of threadCounts) {
  for (const kernel of kernels) {
    const options = { threads, kernel, contextLength: 1024 };
    const [one, three] = [await open('bench-models/stack1/', options), await open('bench-models/stack3/', options)];
    const runs = { one: [], three: [] };
    for (let round = 0; round < rounds; round++) {
      runs.one.push(await one.measure(PROMPT, 64));
      runs.three.push(await three.measure(PROMPT, 64));
    }
    const layer = (key) => median(runs.three.map((r, i) => (r[key] - runs.one[i][key]) / 2)); // both of one round
    table.push({
      what: 'stack x 30',
      threads,
      kernel,
      'decode ms': (layer('tokenMs') * 30).toFixed(1),
      'prefill tok/s': Math.round((PROMPT * 1000) / (layer('prefillMs') * 30)),
      'rates (weights/ns)': JSON.stringify(three.info.kernelRates),
    });
    await one.close();
    await three.close();
  }
}
console.table(table);
await browser.close();
await server.close();
rmSync(models, { recursive: true });
process.exit(0);
