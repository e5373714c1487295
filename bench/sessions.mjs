// `node bench/sessions.mjs`: a saved session restored, against a prefill of the same text, on the full shape of BitNet b1.58 2B4T
// (random weights), through the public API, in headless Chromium. The page is loaded anew before each restore. Some 4 GB.
//   --tokens 512,2048   --threads 2   --rounds 3   --kvCache bf16
//   --files FOLDER      keeps the weight file from run to run (default: as `npm run bench`)
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBrowser, ensureDependencies, ensureKernels, root, run, say } from '../scripts/setup.mjs';

const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '512,2048' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    kvCache: { type: 'string', default: 'bf16' },
    files: { type: 'string', default: join(tmpdir(), 'sterna-bench-files') },
  },
});
ensureDependencies();
await ensureBrowser();
await ensureKernels();
const work = mkdtempSync(join(tmpdir(), 'sterna-bench-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const { benchModels } = await import('./bench-models.mjs');
const { startChromium } = await import('./chromium.mjs');
const { loadInLab } = await import('./load-runs.mjs');
const { serve } = await import('./serve.mjs');

say('building the pages');
const build = ['vite', 'build', '--config', 'bench/vite.config.ts', '--outDir', join(work, 'pages')];
if (!run('npx', [...build, '--logLevel', 'warn'], { cwd: root })) process.exit(1);
const { packed } = await benchModels(resolve(values.files), work, false);
const server = await serve({ '/pages/': join(work, 'pages'), '/models/packed/': packed });
const lab = 'pages/demo/lab.html';
const options = { threads: Number(values.threads), kvCache: values.kvCache, contextLength: 4096 };
const median = (some) => [...some].sort((a, b) => a - b)[some.length >> 1];

/** Saves a session of so many tokens; what its next answer is, and what it took to read it. */
const save = (page, tokens) =>
  page.evaluate(`(async () => {
    const words = ${JSON.stringify('The tern flew over the grey sea and looked for small fish. ')};
    const one = (await model.tokenize(words)).length;
    const session = model.session();
    const start = performance.now();
    await session.append(words.repeat(Math.ceil(${tokens} / one)));
    const prefill = performance.now() - start;
    const saving = performance.now();
    const id = await session.save();
    const save = performance.now() - saving;
    const { tokens } = await session.chat('Go on.', { temperature: 0, maxTokens: 8, ignoreEos: true }).result;
    const [{ bytes }] = await sterna.listSessions();
    return { id, used: session.tokens.used, bytes, prefill, save, answer: tokens.join() };
  })()`);

const restore = (page, id) =>
  page.evaluate(`(async () => {
    const session = await model.restoreSession(${JSON.stringify(id)});
    const { tokens } = await session.chat('Go on.', { temperature: 0, maxTokens: 8, ignoreEos: true }).result;
    return { ...session.restored, answer: tokens.join() };
  })()`);

const rows = [];
for (const tokens of values.tokens.split(',').map(Number)) {
  const runs = { prefill: [], save: [], restore: [] };
  let last;
  for (let round = 0; round < Number(values.rounds); round++) {
    say(`${tokens} tokens, round ${round + 1}`);
    let browser = await startChromium(work);
    last = await save(await loadInLab(browser, server.url, lab, options), tokens);
    await browser.close();
    browser = await startChromium(work);
    const back = await restore(await loadInLab(browser, server.url, lab, options), last.id);
    await browser.close();
    if (back.from !== 'cache') throw new Error(`not restored from storage: ${back.why}`);
    if (back.answer !== last.answer) throw new Error(`another answer: ${back.answer} instead of ${last.answer}`);
    runs.prefill.push(last.prefill);
    runs.save.push(last.save);
    runs.restore.push(back.ms);
  }
  const [prefill, saved, restored] = [runs.prefill, runs.save, runs.restore].map(median);
  rows.push({
    tokens: last.used,
    MB: Math.round(last.bytes / 1e6),
    'prefill ms': Math.round(prefill),
    'save ms': Math.round(saved),
    'restore ms': Math.round(restored),
    'prefill / restore': Number((prefill / restored).toFixed(1)),
  });
}
server.close();
say('a session restored after a reload: medians; the next answer is the same, token for token');
console.table(rows);
process.exit(0);
