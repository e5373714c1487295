// `npm run bench -- --compare REV`: this checkout and a revision by turns, in one browser, through the public API of their own
// pages (demo/lab.html, which every revision has). A ratio below 1 means that this checkout takes less time.
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, say } from '../scripts/setup.mjs';
import { startChromium } from './chromium.mjs';
import { median } from './figures.mjs';
import { loadInLab } from './load-runs.mjs';
import { serve } from './serve.mjs';

const DECODED = 16;

/** A checkout of the revision, with the dependencies of its own lock file. */
function checkOut(revision, work) {
  const folder = join(work, 'revision');
  if (!run('git', ['worktree', 'add', '--detach', '--quiet', folder, revision])) {
    throw new Error(`git cannot check out ${revision}`);
  }
  const lock = (checkout) => readFileSync(join(checkout, 'package-lock.json'), 'utf8');
  if (lock(folder) === lock(root)) symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  else if (!run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder })) throw new Error('npm ci failed');
  return folder;
}

function build(checkout, outDir) {
  const args = ['vite', 'build', '--outDir', outDir, '--emptyOutDir', '--logLevel', 'warn'];
  if (!run('npx', args, { cwd: checkout })) throw new Error(`the pages of ${checkout} cannot be built`);
}

/** Ms a token and of the prompt, of an answer to a prompt of which `reused` leading tokens are always the same. */
const answer = async ({ evaluate }, promptTokens, reused, maxTokens) => {
  const { usage, timings } = await evaluate(`(() => {
    const fresh = Math.floor(Math.random() * 4000);
    const token = (i) => 3 + ((i * 7919 + (i < ${reused} ? 13 : fresh)) % 4000);
    const prompt = Array.from({ length: ${promptTokens} }, (_, i) => token(i));
    return model.complete(prompt, { temperature: 0, ignoreEos: true, maxTokens: ${maxTokens} }).result;
  })()`);
  return { promptMs: timings.promptMs, tokenMs: timings.decodeMs / (usage.completionTokens - 1) };
};

/** All figures of both pages with one number of threads, by turns. */
async function measure(pages, { rounds, contexts, prompts }) {
  const runs = pages.map(() => ({}));
  const add = (page, name, ms) => {
    runs[page][name] ??= [];
    runs[page][name].push(ms);
  };
  for (const page of pages) await answer(page, 64, 0, 8); // warm
  for (const size of contexts) {
    for (const page of pages) await answer(page, size, size, 1); // the context is filled once, and then reused
    for (let round = 0; round < rounds; round++) {
      for (const [i, page] of pages.entries()) {
        add(i, `decode at ${size}`, (await answer(page, size, size, DECODED + 1)).tokenMs);
      }
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const size of prompts) {
      for (const [i, page] of pages.entries()) {
        add(i, `prefill ${size}`, (await answer(page, size, 0, 1)).promptMs);
      }
    }
  }
  return runs;
}

/** @returns what was measured; prints the ratios */
export async function compare(revision, models, { work, rounds, threadCounts, contexts, prompts }) {
  say(`building this checkout and ${revision}`);
  const checkout = checkOut(revision, work);
  const servers = [];
  const report = { revision, rounds, results: [] };
  const browser = await startChromium(work);
  try {
    for (const [name, folder] of [
      ['this', root],
      ['revision', checkout],
    ]) {
      build(folder, join(work, `pages-${name}`));
      servers.push(await serve({ '/models/packed/': models.packed, '/': join(work, `pages-${name}`) }));
    }
    for (const threads of threadCounts) {
      say(`${threads} threads`);
      const pages = [];
      for (const { url } of servers) pages.push(await loadInLab(browser, url, 'lab.html', { threads }));
      const [ours, theirs] = await measure(pages, { rounds, contexts, prompts });
      const kernels = pages.map(({ info }) => info.kernel);
      report.results.push({ threads, kernels, ours, theirs });
      for (const page of pages) await page.close();
    }
  } finally {
    await browser.close();
    for (const server of servers) server.close();
    run('git', ['worktree', 'remove', '--force', checkout]);
  }
  const rows = report.results.flatMap(({ threads, kernels, ours, theirs }) =>
    Object.keys(ours).map((what) => {
      const [a, b] = [ours, theirs].map((runs) => median(runs[what]));
      return {
        what,
        threads,
        kernels: [...new Set(kernels)].join(' and '),
        'this, ms': Number(a.toFixed(1)),
        [`${revision}, ms`]: Number(b.toFixed(1)),
        ratio: Number((a / b).toFixed(3)),
      };
    }),
  );
  say(`times of this checkout and of ${revision}: medians of ${rounds} rounds`);
  console.table(rows);
  return report;
}
