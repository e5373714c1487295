// `npm run bench`: how fast Sterna is on this machine, in headless Chromium, on the full shape of BitNet b1.58 2B4T (random
// weights): against a plain read of its weights, against the prototype of its kernel where that lies beside the checkout, and
// against wllama. All of one run; configurations take turns, and medians over rounds are given. Some 12 minutes and 8 GB.
//   --what load,memory,decode,prefill,steps,kernels,peer,batch,drafting,cores   parts of it
//   --threads 1,2   --kernels dot32,dot16,lut8   --rounds 3
//   --contexts 128,1024,4000 (128,1024 with --compare)   --prompts 32,128,512,2048
//   --files FOLDER        keeps the weight files from run to run (default: under the system's temporary folder)
//   --json FILE           what was measured, every figure (default: test-results/bench.json)
//   --prototypes FOLDER   dot32.ts, the prototype (default: ../shared/spec/kernel-prototypes)
//   --compare REV         instead: this checkout and that revision by turns, through the public API
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem, type } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBrowser, ensureDependencies, ensureKernels, root, run, say } from '../scripts/setup.mjs';

const PARTS = ['load', 'memory', 'decode', 'prefill', 'steps', 'kernels', 'peer', 'batch', 'drafting', 'cores'];
const { values } = parseArgs({
  options: {
    what: { type: 'string', default: PARTS.join() },
    threads: { type: 'string', default: '1,2' },
    kernels: { type: 'string', default: 'dot32,dot16,lut8' },
    rounds: { type: 'string', default: '3' },
    contexts: { type: 'string' },
    prompts: { type: 'string', default: '32,128,512,2048' },
    files: { type: 'string', default: join(tmpdir(), 'sterna-bench-files') },
    json: { type: 'string', default: 'test-results/bench.json' },
    prototypes: { type: 'string', default: join(root, '../shared/spec/kernel-prototypes') },
    compare: { type: 'string' },
  },
});
const words = (text) => text.split(',').filter(Boolean);
const numbers = (text) => words(text).map(Number);
const what = new Set(words(values.what));
const [rounds, threadCounts] = [Number(values.rounds), numbers(values.threads)];
const contexts = numbers(values.contexts ?? '128,1024,4000');
const prompts = numbers(values.prompts);
for (const part of what) if (!PARTS.includes(part)) throw new Error(`--what ${part}: there are ${PARTS.join()}`);

ensureDependencies();
await ensureBrowser();
await ensureKernels();
const work = mkdtempSync(join(tmpdir(), 'sterna-bench-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

const { benchModels } = await import('./bench-models.mjs');
const { startChromium } = await import('./chromium.mjs');
const { batches, byTurns, drafting, openEngine, unequalCores } = await import('./engine-runs.mjs');
const { batchTable, checks, draftTable, kernelTable, loadTable, peerTable, speedTable, stepsTable } = await import(
  './figures.mjs'
);
const { loadInLab, loadRounds, peakMemory } = await import('./load-runs.mjs');
const { peerRounds } = await import('./peer-runs.mjs');
const { serve } = await import('./serve.mjs');

/** The compiled prototype; undefined where its source is not there. */
async function buildPrototype() {
  const source = join(values.prototypes, 'dot32.ts');
  if (!existsSync(source)) {
    say(`no ${source}: the line of the dot32 prototype is left out`);
    return undefined;
  }
  const { default: asc } = await import('assemblyscript/asc');
  const flags = ['--runtime', 'stub', '-O3', '--converge', '--noAssert', '--importMemory', '--noExportMemory'];
  const memory = ['--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536', '--use', 'abort='];
  const features = ['simd', 'threads', 'relaxed-simd'].flatMap((name) => ['--enable', name]);
  const place = ['--baseDir', dirname(source), '--outFile', join(work, 'dot32.wasm')];
  const { error, stderr } = await asc.main(['dot32.ts', ...flags, ...memory, ...features, ...place]);
  if (error) throw new Error(`asc, ${source}: ${stderr.toString() || error.message}`);
  return join(work, 'dot32.wasm');
}

const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim();

function save(report) {
  const path = resolve(values.json);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(report, null, 1)}\n`);
  say(`every figure: ${path}`);
}

if (values.compare) {
  const { compare } = await import('./compare.mjs');
  const ownModels = await benchModels(resolve(values.files), work, false);
  const given = { rounds, threadCounts, contexts: numbers(values.contexts ?? '128,1024'), prompts };
  save(await compare(values.compare, ownModels, { work, ...given }));
  process.exit(0);
}

say('building the pages');
if (
  !run('npx', [
    'vite',
    'build',
    '--config',
    'bench/vite.config.ts',
    '--outDir',
    join(work, 'pages'),
    '--logLevel',
    'warn',
  ])
) {
  process.exit(1);
}
const models = await benchModels(resolve(values.files), work, what.has('peer'));
const prototype = what.has('steps') ? await buildPrototype() : undefined;
const server = await serve({
  '/pages/': join(work, 'pages'),
  '/models/packed/': models.packed,
  '/models/peer/': models.peer,
  '/prototype/': prototype ? { 'dot32.wasm': prototype } : {},
});
const lab = 'pages/demo/lab.html';
const report = {
  at: new Date().toISOString(),
  revision: `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') ? ' and changes' : ''}`,
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, bytes: totalmem(), system: `${type()} ${release()}` },
  options: values,
};

if (what.has('load')) {
  report.loads = [];
  for (const backend of ['opfs', 'indexeddb']) {
    say(`loads from the browser's storage: ${backend}`);
    report.loads.push(await loadRounds(work, server.url, lab, backend, rounds));
    if (backend !== 'opfs') rmSync(join(work, `profile-${backend}`), { recursive: true, force: true });
  }
} else {
  say('a first load, so that the next ones come from the browser');
  const browser = await startChromium(work);
  await loadInLab(browser, server.url, lab);
  await browser.close();
}
if (what.has('memory')) report.memory = await peakMemory(work, server.url, lab);

const browser = await startChromium(work);
report.browser = (await browser.call('Browser.getVersion')).product;
const open = (threads, kernel) =>
  openEngine(browser, server.url, { threads, kernel, prototype: prototype && `${server.url}prototype/dot32.wasm` });
const engines = [];
if (['decode', 'prefill', 'steps', 'kernels', 'peer', 'drafting', 'cores'].some((part) => what.has(part))) {
  say(`opening ${threadCounts.map((threads) => `${threads} threads`).join(', ')}`);
  for (const threads of threadCounts) engines.push(await open(threads, 'auto'));
}
say(`${rounds} rounds of the fastest kernel`);
const figures = [
  ...(what.has('decode') ? contexts.map((size) => ['decode', size]) : []),
  ...(what.has('steps') ? [['prototype'], ['steps', 128]] : []),
  ...(what.has('prefill') ? prompts.map((size) => ['prefill', size]) : []),
];
const mainRuns = await byTurns(rounds, engines, figures);
const short = [
  ['decode', 128],
  ['prefill', 128],
];
if (what.has('kernels')) {
  report.others = [];
  for (const main of engines) {
    for (const kernel of words(values.kernels).filter((name) => name !== main.kernel)) {
      say(`${kernel}, ${main.threads} threads`);
      const other = await open(main.threads, kernel);
      const [runs, beside] = await byTurns(rounds, [other, main], short);
      report.others.push({ threads: main.threads, kernel, fastest: main.kernel, runs, beside });
      await other.close();
    }
  }
}
if (what.has('peer')) {
  report.peers = [];
  for (const main of engines) {
    for (const build of ['compat', 'mem64']) {
      say(`wllama, ${build}, ${main.threads} threads`);
      report.peers.push(
        await peerRounds(browser, server.url, { build, threads: main.threads }, main, Math.min(rounds, 2), short),
      );
    }
  }
}
if (what.has('batch')) {
  say('several answers at once');
  const options = { threads: Math.max(...threadCounts), kernel: 'auto', sequences: 8, contextLength: 256 };
  const engine = await openEngine(browser, server.url, options);
  report.batch = await batches(engine, rounds, [1, 2, 4, 8], 128);
  await engine.close();
}
if (what.has('drafting')) {
  say('drafting');
  const most = engines.reduce((a, b) => (b.threads > a.threads ? b : a));
  report.drafting = await drafting(most, rounds, readFileSync(join(root, 'docs/decisions.md'), 'utf8'));
}
if (what.has('cores')) {
  const most = engines.reduce((a, b) => (b.threads > a.threads ? b : a));
  if (most.threads > 1) report.cores = await unequalCores(most, rounds, 128);
}
await browser.close();
server.close();

report.engines = engines.map(({ threads, kernel, info }, i) => ({ threads, kernel, info, runs: mainRuns[i] }));
report.checks = checks(report);
const table = (title, rows) => {
  if (!rows?.length) return;
  say(title);
  console.table(rows);
};
table(
  'speed: medians; "read": a plain v128.load pass over the ternary weights by the same workers',
  speedTable(report.engines),
);
table('one token, ms (thread 0; barriers: waiting for others)', stepsTable(report.engines));
table('each kernel', kernelTable(report.others ?? []));
table('several answers at once', report.batch && batchTable(report.batch));
table('drafting: ms a token of answers that are known beforehand', draftTable(report.drafting ?? []));
table('wllama 3.8.1, TQ2_0 and Q6_K embedding, by turns with ours', peerTable(report.peers ?? []));
table('loads, seconds: median (range)', loadTable(report.loads ?? []));
if (report.memory) {
  const [all, wasm, ternary] = ['all', 'wasm', 'ternary'].map((key) => Math.round(report.memory[key] / 1e6));
  say(
    `peak memory of the whole browser: ${all} MB, of it planned WebAssembly memory ${wasm} MB, ternary weights ${ternary} MB`,
  );
}
if (report.cores) {
  const [equal, slow] = ['equal', 'slow'].map((key) => Math.min(...report.cores[key]));
  say(
    `a worker three times as slow: token time ${slow.toFixed(1)} ms against ${equal.toFixed(1)} ms (ideal: ${report.cores.ideal.toFixed(2)} times)`,
  );
}
table('what must be reached', report.checks);
save(report);
process.exit(0);
