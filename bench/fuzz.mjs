// Throws damaged files at the parsers (fuzz.ts): node bench/fuzz.mjs [options]
//   --count 100000    inputs, shared out evenly among the parsers
//   --seed 1
//   --parser NAME     only this one; may be given several times
//   --at N            only input N, printed whole
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { runnerImport } from 'vite';

const mostHeapMb = 512;
const mostSeconds = 10; // for one input, before it counts as one that never ends

const option = { type: 'string' };
const { values } = parseArgs({
  args: isMainThread ? undefined : workerData.args,
  options: { count: option, seed: option, at: option, parser: { ...option, multiple: true } },
});

function whole(name, fallback) {
  const value = Number(values[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} ${values[name]} is no whole number.`);
  return value;
}

/** Bytes as base64, so that an input can be kept as a test. */
const printed = (input) =>
  JSON.stringify(input, (_, value) =>
    value instanceof Uint8Array ? `base64:${Buffer.from(value).toString('base64')}` : value,
  );

async function work() {
  const file = fileURLToPath(new URL('fuzz.ts', import.meta.url));
  const { fuzz, targets, makeInput } = (await runnerImport(file, { configFile: false })).module;
  const parsers = values.parser ?? Object.keys(targets);
  const unknown = parsers.find((name) => !(name in targets));
  if (unknown) throw new Error(`There is no parser ${unknown}: ${Object.keys(targets).join(', ')}`);
  const seed = whole('seed', 1);
  const at = values.at === undefined ? undefined : whole('at');
  if (at !== undefined) {
    for (const parser of parsers) console.log(`${parser} ${at}: ${printed(makeInput(targets[parser](), seed, at))}`);
  }
  const start = performance.now();
  const { counts, slowest, failures } = await fuzz({
    ...{ seed, parsers, from: at ?? 0, count: at === undefined ? whole('count', 100_000) : parsers.length },
    onInput(parser, number) {
      const words = new Int32Array(workerData.progress);
      Atomics.store(words, 1, Object.keys(targets).indexOf(parser));
      Atomics.store(words, 2, number);
      Atomics.add(words, 0, 1);
    },
  });
  let sum = 0;
  for (const [parser, kinds] of Object.entries(counts)) {
    const total = Object.values(kinds).reduce((a, b) => a + b, 0);
    const list = Object.entries(kinds).map(([kind, n]) => `${kind} ${n}`);
    console.log(`${parser}: ${total} inputs, ${list.sort().join(', ')}; slowest ${slowest[parser].toFixed(1)} ms`);
    sum += total;
  }
  const kinds = new Map();
  for (const failure of failures) {
    const { parser, message } = failure;
    const where = message.split('\n').slice(0, 2).join(' ').replace(/\d+/g, 'N');
    const same = `${parser} ${where}`;
    kinds.set(same, [...(kinds.get(same) ?? []), failure]);
  }
  for (const [first, ...more] of kinds.values()) {
    const { parser, number, message, input } = first;
    console.log(
      `\n${parser}, --seed ${seed} --at ${number}${more.length ? ` and ${more.length} like it` : ''}: ${message}`,
    );
    const text = printed(input);
    console.log(text.length > 3000 ? `${text.slice(0, 3000)}... (${text.length} characters)` : text);
  }
  console.log(`${sum} inputs in ${((performance.now() - start) / 1000).toFixed(0)} s, ${failures.length} failures`);
  parentPort.postMessage({ failures: failures.length, names: Object.keys(targets) });
}

function watch() {
  const progress = new SharedArrayBuffer(12);
  const words = new Int32Array(progress);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { args: process.argv.slice(2), progress },
    resourceLimits: { maxOldGenerationSizeMb: mostHeapMb },
  });
  const where = () => `parser number ${words[1]}, --at ${words[2]}`;
  let [last, since] = [-1, 0];
  const timer = setInterval(() => {
    const now = Atomics.load(words, 0);
    if (now !== last || now === 0) [last, since] = [now, 0];
    else if (++since > mostSeconds) {
      console.error(`no end: ${where()}`);
      process.exit(1);
    }
  }, 1000);
  worker.on('message', ({ failures }) => {
    process.exitCode = failures ? 1 : 0;
  });
  worker.on('error', (error) => {
    console.error(error, error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? where() : '');
    process.exitCode = 1;
  });
  worker.on('exit', () => clearInterval(timer));
}

if (isMainThread) watch();
else await work();
