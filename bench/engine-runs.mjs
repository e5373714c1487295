// What `npm run bench` measures below the public API, in pages/engine.html: configurations take turns within a round, so that
// other work on the machine hits all alike.
import { openPage } from './chromium.mjs';

/** Tokens decoded for one figure; the medians are over rounds. */
const DECODED = 16;
const CONTEXT = 4096;

/** Loads the model in a page of its own. `more`: of its load options. */
export async function openEngine(browser, address, { threads, kernel, prototype, ...more }) {
  const page = await openPage(browser, `${address}pages/bench/pages/engine.html`, 'engine');
  const options = { threads, kernel, contextLength: CONTEXT, ...more };
  const url = `${address}models/packed/`;
  const info = await page.call('open', { url, options, ...(prototype ? { prototype } : {}) });
  return { ...page, info, threads, kernel: info.kernel };
}

const add = (runs, name, figure) => {
  if (figure === undefined || figure === null) return;
  runs[name] ??= [];
  runs[name].push(figure);
};

/** One figure of one engine, into `runs`. */
async function take(engine, [what, size], runs) {
  if (what === 'decode') {
    // a plain read of the weights beside every decode: their ratio is of the same moment
    add(runs, 'stream ms', await engine.call('stream', 3));
    add(runs, `decode ${size} ms`, await engine.call('decode', size, DECODED));
  } else if (what === 'prototype') {
    add(runs, 'prototype ms', await engine.call('prototype', 3));
  } else if (what === 'steps') {
    add(runs, `steps ${size}`, await engine.call('steps', size, DECODED));
  } else {
    const { promptMs, firstTokenMs } = await engine.call('prefill', size);
    add(runs, `prefill ${size} ms`, promptMs);
    add(runs, `first token ${size} ms`, firstTokenMs);
  }
}

/**
 * Rounds of figures, `[what, size]` each, for which the engines take turns.
 * @param work once a round: something else that is measured by turns with them
 * @returns for each engine, every figure measured, by name
 */
export async function byTurns(rounds, engines, figures, work = async () => {}) {
  const runs = engines.map(() => ({}));
  for (let round = 0; round < rounds; round++) {
    await work();
    for (const figure of figures) for (const [i, engine] of engines.entries()) await take(engine, figure, runs[i]);
  }
  return runs;
}

/**
 * One worker three times as slow as its core: what the others do of its work. With static halves a token would take three
 * times as long; with the work shared out, ideally as long as `threads` less two thirds of a thread take.
 */
export async function unequalCores(engine, rounds, context) {
  const { threads } = engine;
  const slow = [...Array(threads - 2).fill(1), 3];
  const runs = { equal: [], slow: [] };
  for (let round = 0; round < rounds; round++) {
    for (const [name, slowness] of [
      ['equal', []],
      ['slow', slow],
    ]) {
      await engine.call('slow', slowness);
      runs[name].push(await engine.call('decode', context, DECODED));
    }
  }
  await engine.call('slow', []);
  return { threads, slowness: slow, ideal: threads / (threads - 2 / 3), ...runs };
}

/** Total rates of several answers at once; ms for a token of each. */
export async function batches(engine, rounds, counts, context) {
  const runs = Object.fromEntries(counts.map((n) => [n, []]));
  for (let round = 0; round < rounds; round++) {
    for (const n of counts) runs[n].push(await engine.call('batch', n, context, DECODED));
  }
  return { threads: engine.threads, kernel: engine.kernel, runs };
}

/** Answers that are known beforehand, with drafting and without: a text edited in places, and the text that follows it. */
export async function drafting(engine, rounds, text) {
  const [given, next] = [text.slice(0, 2000), text.slice(2000, 3200)];
  let word = 0;
  const edited = given.slice(0, 1200).replace(/\p{L}{4,}/gu, (found) => (++word % 12 === 0 ? 'something' : found));
  const kinds = { edit: [`Edit this text:\n${given}\nThe text:\n`, edited], 'free text': [given, next] };
  const results = [];
  for (const [kind, [prompt, answer]] of Object.entries(kinds)) {
    const result = { kind, on: [], off: [] };
    for (let round = 0; round < rounds; round++) {
      for (const draft of [true, false]) {
        const { tokenMs, ...counts } = await engine.call('scripted', prompt, answer, draft);
        result[draft ? 'on' : 'off'].push(tokenMs);
        if (draft) Object.assign(result, counts);
      }
    }
    results.push(result);
  }
  return results;
}
