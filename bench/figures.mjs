// The tables of `npm run bench`: medians of what was measured, and the ratios that the project has set itself.

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const fixed = (number, digits = 1) => (number === undefined ? undefined : Number(number.toFixed(digits)));
const perSecond = (ms, count = 1) => (ms === undefined ? undefined : fixed((count * 1000) / ms));
/** Median of the figures of a name; undefined where there are none. */
export const middle = (runs, name) => (runs?.[name]?.length ? median(runs[name]) : undefined);

const sizesOf = (engines, kind) =>
  [...new Set(engines.flatMap(({ runs }) => Object.keys(runs)))]
    .map((name) => name.match(new RegExp(`^${kind} (\\d+) ms$`))?.[1])
    .filter(Boolean)
    .map(Number)
    .sort((a, b) => a - b);

/** Rows without what was not measured. */
const cleaned = (rows) =>
  rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)));

export function speedTable(engines) {
  const [contexts, prompts] = [sizesOf(engines, 'decode'), sizesOf(engines, 'prefill')];
  return cleaned(
    engines.map(({ threads, kernel, info, runs }) => {
      const stream = middle(runs, 'stream ms');
      return {
        threads,
        kernel,
        'read, ms': fixed(stream),
        'GB/s': stream && fixed(info.bytes.ternary / stream / 1e6),
        'dot32 prototype, ms': fixed(middle(runs, 'prototype ms')),
        ...Object.fromEntries(
          contexts.map((size) => [`decode at ${size}, tok/s`, perSecond(middle(runs, `decode ${size} ms`))]),
        ),
        ...Object.fromEntries(
          prompts.map((size) => [`prefill ${size}, tok/s`, perSecond(middle(runs, `prefill ${size} ms`), size)]),
        ),
        ...Object.fromEntries(
          prompts.map((size) => [`first token of ${size}, s`, fixed(middle(runs, `first token ${size} ms`) / 1000, 2)]),
        ),
      };
    }),
  );
}

/** A step with the wait for the others after it: what it takes of the token. */
const withWait = (steps) => steps.flatMap((step) => [step, `barrier ${step}`]);

const matrices = { 'q, k, v': 'qkv', output: 'output', 'gate, up': 'gate-up', down: 'down' };

/** One token of an engine by step, in ms: medians over rounds of each part. */
export function stepsOf({ runs }) {
  const [, all] = Object.entries(runs).find(([name]) => name.startsWith('steps ')) ?? [];
  if (!all) return undefined;
  const of = (names) => median(all.map((steps) => names.reduce((sum, name) => sum + (steps[name] ?? 0), 0)));
  const inputs = Object.keys(all[0]).filter((name) => name.endsWith('-input'));
  const parts = Object.fromEntries(Object.entries(matrices).map(([name, step]) => [name, of([step])]));
  const heads = Object.keys(all[0]).filter((name) => name.startsWith('head'));
  const barriers = Object.keys(all[0]).filter((name) => name.startsWith('barrier'));
  const known = [...Object.values(matrices), ...inputs, ...heads, 'embed', 'rope', 'attention', ...barriers];
  const ternary = of(Object.values(matrices));
  return {
    ...parts,
    'all ternary': ternary,
    attention: of(['rope', 'attention']),
    lm_head: of(heads),
    'norms, quantisation': of(['embed', ...inputs]),
    barriers: of(barriers),
    'ternary and its barriers': of(withWait(Object.values(matrices))),
    'sampling, other': median(all.map((steps) => steps.all - known.reduce((sum, name) => sum + (steps[name] ?? 0), 0))),
    'whole token': of(['all']),
  };
}

export const stepsTable = (engines) =>
  engines
    .map((engine) => [engine, stepsOf(engine)])
    .filter(([, steps]) => steps)
    .map(([{ threads, kernel }, steps]) => ({
      threads,
      kernel,
      ...Object.fromEntries(Object.entries(steps).map(([name, ms]) => [name, fixed(ms, 2)])),
    }));

/** Forced kernels beside the fastest one, in their own rounds. */
export const kernelTable = (others) =>
  others.map(({ threads, kernel, fastest, runs, beside }) => ({
    threads,
    kernel,
    'decode at 128, tok/s': perSecond(middle(runs, 'decode 128 ms')),
    'time against the fastest': fixed(middle(runs, 'decode 128 ms') / middle(beside, 'decode 128 ms'), 2),
    'prefill 128, tok/s': perSecond(middle(runs, 'prefill 128 ms'), 128),
    'prefill time against the fastest': fixed(middle(runs, 'prefill 128 ms') / middle(beside, 'prefill 128 ms'), 2),
    fastest,
  }));

export function batchTable({ threads, runs }) {
  const one = median(runs[1]);
  return Object.entries(runs).map(([n, ms]) => ({
    threads,
    'answers at once': Number(n),
    'ms for a token of each': fixed(median(ms)),
    'tokens/s, all': perSecond(median(ms), Number(n)),
    'times one': fixed((Number(n) * one) / median(ms), 2),
  }));
}

export const draftTable = (drafting) =>
  drafting.map(({ kind, on, off, tokens, drafted, accepted }) => ({
    answer: kind,
    tokens,
    drafted,
    accepted,
    'on, ms': fixed(median(on)),
    'off, ms': fixed(median(off)),
    'times as fast': fixed(median(off) / median(on), 2),
  }));

export const peerTable = (peers) =>
  cleaned(
    peers.map(({ build, threads, problem, runs, ours }) => {
      if (problem) return { build, threads, problem };
      const [decode, prefill] = [middle(runs, 'decode ms'), middle(runs, 'prefill ms')];
      return {
        build,
        threads,
        'decode, tok/s': fixed(1000 / decode, 2),
        'prefill, tok/s': fixed(1000 / prefill, 2),
        'ours: decode': perSecond(middle(ours, 'decode 128 ms')),
        'ours: prefill 128': perSecond(middle(ours, 'prefill 128 ms'), 128),
        'decode, times': fixed(decode / middle(ours, 'decode 128 ms')),
        'prefill, times': fixed((prefill * 128) / middle(ours, 'prefill 128 ms')),
      };
    }),
  );

const seconds = (ms) =>
  `${(median(ms) / 1000).toFixed(2)} (${(Math.min(...ms) / 1000).toFixed(2)}-${(Math.max(...ms) / 1000).toFixed(2)})`;

export const loadTable = (loads) =>
  loads.flatMap(({ backend, dropped, runs }) => [
    ...['first', 'cold', 'warm'].map((how) => ({
      'kept in': backend,
      load:
        how === 'cold' && !dropped
          ? 'kept (page cache not dropped)'
          : { first: 'first', cold: 'kept, page cache dropped', warm: 'kept, warm' }[how],
      ...Object.fromEntries(Object.keys(runs[how][0]).map((key) => [key, seconds(runs[how].map((run) => run[key]))])),
    })),
    { 'kept in': backend, load: 'page to first token, warm', all: seconds(runs['page to first token']) },
  ]);

/** What was to be reached, for as much of it as this run has measured: a ratio, its bound, and whether it holds. */
export function checks({ engines = [], others = [], peers = [], batch, cores }) {
  const rows = [];
  const check = (what, threads, ratio, bound, atLeast) => {
    if (!Number.isFinite(ratio)) return;
    const holds = atLeast ? ratio >= bound : ratio <= bound;
    rows.push({ what, threads, ratio: fixed(ratio, 2), must: `${atLeast ? 'at least' : 'at most'} ${bound}`, holds });
  };
  for (const engine of engines) {
    const { threads, runs } = engine;
    const [near, far] = [128, 4000].map((size) => middle(runs, `decode ${size} ms`));
    check(
      'ternary part of a token / dot32 prototype',
      threads,
      stepsOf(engine)?.['ternary and its barriers'] / middle(runs, 'prototype ms'),
      1.15,
      false,
    );
    check('whole token at 128 / plain read', threads, near / middle(runs, 'stream ms'), 2.3, false);
    check('rate at 4000 / rate at 128', threads, near / far, 0.5, true);
    check(
      'prefill rate of 512 / decode rate at 128',
      threads,
      (512 * near) / middle(runs, 'prefill 512 ms'),
      1.9,
      true,
    );
  }
  for (const threads of new Set(peers.map((peer) => peer.threads))) {
    const all = peerTable(peers).filter((peer) => peer.threads === threads && !peer.problem);
    const least = (key) => Math.min(...all.map((peer) => peer[key])); // its better build
    check('decode against wllama', threads, least('decode, times'), 15, true);
    check('prefill against wllama', threads, least('prefill, times'), 30, true);
  }
  const forced = (threads, kernel) => {
    const other = others.find((one) => one.threads === threads && one.kernel === kernel);
    if (other) return middle(other.runs, 'decode 128 ms');
    return middle(engines.find((one) => one.threads === threads && one.kernel === kernel)?.runs, 'decode 128 ms');
  };
  for (const threads of new Set(others.map((other) => other.threads))) {
    check('lut8 decode / dot32 decode', threads, forced(threads, 'lut8') / forced(threads, 'dot32'), 2.1, false);
  }
  const eight = batch && batchTable(batch).at(-1);
  if (eight) check('8 answers at once, rate / rate of one', eight.threads, eight['times one'], 1.3, true);
  if (cores)
    check('token with a slow worker / without', cores.threads, median(cores.slow) / median(cores.equal), 2, false);
  return rows;
}
