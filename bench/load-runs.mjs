// Start-up through the public API: loads of what the browser keeps, by a browser started anew, and the memory of it all.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';
import { openPage, startChromium } from './chromium.mjs';

const { processMemory } = (
  await runnerImport(fileURLToPath(new URL('browser-memory.ts', import.meta.url)), { configFile: false })
).module;

/** Takes the system's copy of what is on disk from memory; false where only root may. */
export function dropPageCache() {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

/** Loads the model in a new page of the lab; what the page says of it. */
export async function loadInLab(browser, address, lab, options = {}) {
  const page = await openPage(browser, `${address}${lab}`, 'sternaReady');
  await page.evaluate('sternaReady.then(() => true)');
  const info = await page.evaluate(`
    sterna.load({ url: '${address}models/packed/' }, ${JSON.stringify(options)}).then((model) => {
      window.model = model;
      return model.info;
    })`);
  return { ...page, info };
}

/**
 * Rounds of loads from one backend, the page cache dropped and warm by turns; the first load, which fills it, and the time
 * from a new page to the first token of a short prompt.
 */
export async function loadRounds(work, address, lab, backend, rounds) {
  const runs = { first: [], cold: [], warm: [], 'page to first token': [] };
  let dropped = true;
  for (let round = 0; round < rounds; round++) {
    for (const how of round === 0 ? ['first', 'cold', 'warm'] : ['cold', 'warm']) {
      if (how === 'cold') dropped = dropPageCache();
      const browser = await startChromium(work, backend);
      const page = await loadInLab(browser, address, lab);
      if (page.info.cached.before !== (how !== 'first')) throw new Error(`a ${how} load was not what it should be`);
      runs[how].push({ all: page.info.loadMs, ...page.info.loadTimes });
      if (how === 'warm') {
        runs['page to first token'].push(
          await page.evaluate(`(async () => {
            const generation = model.complete([1, 2, 3, 4, 5, 6, 7, 8], { maxTokens: 2, temperature: 0, ignoreEos: true });
            let first;
            for await (const chunk of generation) first ??= performance.now();
            return first;
          })()`),
        );
      }
      await browser.close();
    }
  }
  return { backend, dropped, runs };
}

/** The largest of all processes of the browser together, in bytes, from its start to an answer to a long prompt. */
export async function peakMemory(work, address, lab) {
  const browser = await startChromium(work);
  const samples = [];
  const timer = setInterval(() => samples.push(processMemory(browser.process.pid)), 200);
  const { info, evaluate } = await loadInLab(browser, address, lab);
  await evaluate(`
    model.complete(Array.from({ length: 256 }, (_, i) => i + 3), { maxTokens: 16, temperature: 0, ignoreEos: true })
      .result.then(() => true)`);
  clearInterval(timer);
  await browser.close();
  const sum = ({ pss }) => Object.values(pss).reduce((all, bytes) => all + bytes, 0);
  return { all: Math.max(...samples.map(sum)), wasm: info.bytes.memory, ternary: info.bytes.ternary };
}
