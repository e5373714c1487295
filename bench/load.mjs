// `npm run bench:load`: what loading costs, of models of real sizes from a fake hub in a process of its own, in headless
// Chromium with a profile on disk. For each model and place to keep it, by turns: a load from the hub into an empty profile,
// then loads of what was kept by a browser started anew, with the system's page cache dropped (where that is allowed) and
// without. Then once the memory that the first load takes, and an answer after the hub has gone.
//   --models packed,i2_s,tq2_0,bonsai   --backends opfs,indexeddb   --rounds 3   --kernel auto
//   --pages FOLDER,FOLDER   built pages that take turns (default: this checkout's, built first)
//   --files FOLDER          keeps the models between runs
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBrowser, ensureDependencies, ensureKernels, root, say } from '../scripts/setup.mjs';

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'packed,i2_s,tq2_0,bonsai' },
    backends: { type: 'string', default: 'opfs,indexeddb' },
    rounds: { type: 'string', default: '3' },
    kernel: { type: 'string', default: 'auto' },
    pages: { type: 'string' },
    files: { type: 'string' },
    trace: { type: 'string' },
  },
});
const list = (text) => text.split(',').filter(Boolean);
const rounds = Number(values.rounds);

ensureDependencies();
await ensureBrowser();
await ensureKernels();
const { chromium } = await import('playwright');
const { build, preview, runnerImport } = await import('vite');
const { systemBrowser } = await import('../scripts/browsers.mjs');
const ownModule = async (name) =>
  (await runnerImport(fileURLToPath(new URL(name, import.meta.url)), { configFile: false })).module;
const { startBrowser } = await ownModule('devtools.ts');
const { heapsBeforeCollection, processMemory, sampleHeaps } = await ownModule('browser-memory.ts');
const executable = systemBrowser('chromium') ?? chromium.executablePath();
const work = mkdtempSync(join(tmpdir(), 'sterna-load-'));
const modelFiles = values.files ? resolve(values.files) : join(work, 'files');
const configFile = join(root, 'vite.config.ts');

/** Serves built pages; every profile belongs to one address. */
async function serve(outDir) {
  const server = await preview({
    configFile,
    build: { outDir: resolve(outDir) },
    preview: { port: 0 },
    logLevel: 'error',
  });
  return { name: outDir, url: server.resolvedUrls.local[0], close: () => server.close() };
}

/** A hub with one model; it goes for good with `kill`. */
async function startHub(model) {
  const child = fork(fileURLToPath(new URL('load-hub.mjs', import.meta.url)), [modelFiles, model]);
  const gone = new Promise((done) => child.once('exit', done));
  const { url } = await new Promise((done, fail) => {
    child.once('message', done);
    child.once('exit', () => fail(new Error('the hub did not start')));
  });
  const kill = () => {
    child.kill();
    return gone;
  };
  return { url, kill };
}

/** Takes the system's copy of what is on disk from memory; false where only root may. */
function dropPageCache() {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

const start = (profile, backend, more = {}) =>
  startBrowser({
    executable,
    profile,
    ...more,
    // a worker that has no files keeps models in IndexedDB
    ...(backend === 'opfs'
      ? {}
      : {
          workerPrelude: "Object.defineProperty(globalThis, 'FileSystemFileHandle', { value: undefined })",
        }),
  });

/** Loads a model in a new page; what the page says of it. */
async function load(browser, pages, hub, model, kernel = values.kernel) {
  const page = await browser.open(`${pages.url}lab.html`);
  await browser.evaluate(page, 'sternaReady.then(() => true)');
  const info = await browser.evaluate(page, loading(hub, model, kernel));
  return { page, info };
}

const loading = (hub, model, kernel) => `
  sterna.load(${JSON.stringify({ repo: `bench/${model}`, hubUrl: hub.url })}, { kernel: '${kernel}' }).then((model) => {
    window.model = model;
    const { loadMs, loadTimes, cached, bytes, kernel, threads, i2sOrder } = model.info;
    return { times: { loadMs, ...loadTimes }, cached: cached.before, kept: cached.now, bytes, kernel, threads, i2sOrder };
  })`;

/** What the store has written of its one model. */
const storedManifest = `new Promise((resolve, reject) => {
  const opening = indexedDB.open('sterna');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const all = opening.result.transaction('models').objectStore('models').getAll(IDBKeyRange.bound('model/', 'model/~'));
    all.onsuccess = () => {
      const [{ backend, bytes, records, text, description }] = all.result;
      const rows = records.reduce((sum, record) => sum + record.bytes, 0);
      resolve({ backend, bytes, rows, text: text?.bytes ?? 0, records: records.length, tables: description.tables });
    };
  };
})`;

async function timedLoad(profile, backend, pages, hub, model) {
  const browser = await start(profile, backend);
  const { page, info } = await load(browser, pages, hub, model);
  const manifest = await browser.evaluate(page, storedManifest);
  await browser.close();
  if (manifest.backend !== backend) throw new Error(`kept in ${manifest.backend}`);
  return { ...info, stored: manifest };
}

/** The largest of what a first load takes, in bytes. Measuring slows it down. */
async function memoryOfLoad(profile, backend, pages, hub, model, { kernel, bytes }) {
  let log = '';
  const more = { args: ['--js-flags=--trace-gc'], onOutput: (text) => (log += text) };
  const browser = await start(profile, backend, more);
  const heaps = sampleHeaps(browser, 100);
  const processes = [];
  const timer = setInterval(() => processes.push(processMemory(browser.process.pid, bytes.memory)), 300);
  await load(browser, pages, hub, model, kernel);
  clearInterval(timer);
  heaps.stop();
  await browser.close();
  const most = (of) => Math.max(...of);
  const largest = heaps.samples.reduce((a, b) => (b.total > a.total ? b : a));
  return {
    heap: largest.total,
    objects: largest.objects,
    buffers: largest.buffers,
    embedder: largest.embedder,
    atMs: largest.at,
    loaded: heaps.samples.at(-1).total,
    collected: heapsBeforeCollection(log),
    renderer: most(processes.map(({ pss }) => pss.renderer ?? 0)),
    browser: most(processes.map(({ pss }) => pss.browser ?? 0)),
    others: most(processes.map(({ pss }) => Object.values(pss).reduce((a, b) => a + b, 0))),
    wasm: most(processes.map(({ wasm }) => wasm)),
    samples: heaps.samples,
    processes,
  };
}

/** A page loaded anew, a model that cannot be reached any more, and its first tokens. */
async function offlineAnswer(profile, backend, pages, hub, model) {
  const browser = await start(profile, backend);
  const { page } = await load(browser, pages, hub, model);
  await hub.kill();
  await browser.reload(page);
  const seen = await browser.evaluate(
    page,
    `sternaReady.then(async () => {
      const info = await ${loading(hub, model, values.kernel)};
      const ids = [1, 2, 3, 4, 5, 6, 7, 8];
      const generation = window.model.complete(ids, { maxTokens: 4, temperature: 0, ignoreEos: true });
      let first;
      for await (const chunk of generation) first ??= performance.now();
      const { tokens } = await generation.result;
      return { ...info, firstToken: first, tokens };
    })`,
  );
  await browser.close();
  return seen;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const seconds = (ms) => ms.map((each) => each / 1000);
const spread = (ms) => {
  const all = seconds(ms);
  return `${median(all).toFixed(2)} (${Math.min(...all).toFixed(2)}-${Math.max(...all).toFixed(2)})`;
};
const MB = (bytes) => (bytes / 1e6).toFixed(1);

const folders = values.pages ? list(values.pages) : [join(work, 'pages')];
if (!values.pages) await build({ configFile, build: { outDir: folders[0] }, logLevel: 'error' });
const served = await Promise.all(folders.map(serve));
const report = { times: [], memory: [], offline: [] };
for (const model of list(values.models)) {
  say(`${model}: starting the hub`);
  const hub = await startHub(model);
  const configurations = list(values.backends).flatMap((backend) =>
    served.map((pages) => ({ backend, pages, runs: [] })),
  );
  let dropped = true;
  const profile = join(work, 'profile');
  const clean = () => rmSync(profile, { recursive: true, force: true });
  for (let round = 0; round < rounds; round++) {
    for (const { backend, pages, runs } of configurations) {
      clean();
      const cold = await timedLoad(profile, backend, pages, hub, model);
      dropped = dropPageCache();
      const cached = await timedLoad(profile, backend, pages, hub, model);
      const warm = await timedLoad(profile, backend, pages, hub, model);
      if (cold.cached || !cached.cached || !warm.cached) throw new Error('a load was not what it should be');
      runs.push({ cold, cached, warm });
      say(
        `${model} ${backend} ${pages.name}: ${spread([cold.times.loadMs])} ${spread([cached.times.loadMs])} ${spread([warm.times.loadMs])}`,
      );
    }
  }
  for (const { backend, pages, runs } of configurations) {
    const place = { model, backend, ...(served.length > 1 ? { pages: pages.name } : {}) };
    for (const how of ['cold', 'cached', 'warm']) {
      const keys = Object.keys(runs[0][how].times);
      const times = keys.map((key) => [key, spread(runs.map((run) => run[how].times[key]))]);
      report.times.push({
        ...place,
        load: how === 'cached' && !dropped ? 'cached*' : how,
        ...Object.fromEntries(times),
      });
    }
    clean();
    const memory = await memoryOfLoad(profile, backend, pages, hub, model, runs[0].cold);
    const { samples, processes, ...largest } = memory;
    const inMB = Object.entries(largest).map(([key, bytes]) => [key, key === 'atMs' ? Math.round(bytes) : MB(bytes)]);
    report.memory.push({
      ...place,
      stored: runs[0].cold.storedBytes,
      plan: MB(runs[0].cold.bytes.memory),
      ...Object.fromEntries(inMB),
    });
    if (values.trace) writeFileSync(values.trace, JSON.stringify({ samples, processes }));
  }
  const [{ backend, pages }] = configurations;
  clean();
  const { times, firstToken, tokens } = await offlineAnswer(profile, backend, pages, hub, model);
  report.offline.push({
    model,
    backend,
    'load, s': (times.loadMs / 1000).toFixed(2),
    'page to first token, s': (firstToken / 1000).toFixed(2),
    tokens: tokens.length,
  });
  clean();
}
say('seconds: median (range); network, pack, hash, store and read overlap in part');
console.table(report.times);
say('MB: the largest at one moment');
console.table(report.memory);
say('the hub gone, the page loaded anew');
console.table(report.offline);
for (const server of served) await server.close();
rmSync(work, { recursive: true, force: true });
process.exit(0);
