// Throws damaged files at the parsers (fuzz.ts): node bench/run-fuzz.mjs [options]
//   --count 100000    inputs, shared out evenly among the parsers
//   --seed 1
//   --parser NAME     only this one; may be given several times
//   --at N            only input N, printed whole
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';

const mostHeapMb = 512;
const mostSeconds = 30; // for one input, before it counts as one that never ends
const place = process.env.FUZZ_PLACE; // where the process at work notes which input it is at

/** Bytes as base64, so that an input can be kept as a test. */
const printed = (input) =>
  JSON.stringify(input, (_, value) =>
    value instanceof Uint8Array ? `base64:${Buffer.from(value).toString('base64')}` : value,
  );

async function work() {
  const option = { type: 'string' };
  const { values } = parseArgs({
    options: { count: option, seed: option, at: option, parser: { ...option, multiple: true } },
  });
  const whole = (name, fallback) => {
    const value = Number(values[name] ?? fallback);
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} ${values[name]} is no whole number.`);
    return value;
  };
  const file = fileURLToPath(new URL('fuzz.ts', import.meta.url));
  const { fuzz, targets, makeInput } = (await runnerImport(file, { configFile: false })).module;
  const parsers = values.parser ?? Object.keys(targets);
  const unknown = parsers.find((name) => !(name in targets));
  if (unknown) throw new Error(`There is no parser ${unknown}: ${Object.keys(targets).join(', ')}`);
  const seed = whole('seed', 1);
  const at = values.at === undefined ? undefined : whole('at');
  if (at !== undefined) {
    for (const parser of parsers)
      console.log(`${parser} ${at}: ${printed(makeInput(await targets[parser](), seed, at))}`);
  }
  const notes = openSync(place, 'w');
  const start = performance.now();
  const { counts, slowest, failures } = await fuzz({
    ...{ seed, parsers, from: at ?? 0, count: at === undefined ? whole('count', 100_000) : parsers.length },
    onInput: (parser, number) => writeSync(notes, `--parser ${parser} --seed ${seed} --at ${number}`.padEnd(80), 0),
  });
  let sum = 0;
  for (const [parser, kinds] of Object.entries(counts)) {
    const total = Object.values(kinds).reduce((a, b) => a + b, 0);
    const list = Object.entries(kinds).map(([kind, n]) => `${kind} ${n}`);
    console.log(`${parser}: ${total} inputs, ${list.sort().join(', ')}; slowest ${slowest[parser].toFixed(1)} ms`);
    sum += total;
  }
  const alike = new Map();
  for (const failure of failures) {
    const { parser, message } = failure;
    const key = `${parser} ${message.split('\n').slice(0, 2).join(' ').replace(/\d+/g, 'N')}`;
    alike.set(key, [...(alike.get(key) ?? []), failure]);
  }
  for (const [{ parser, number, message, input }, ...more] of alike.values()) {
    const others = more.length ? ` and ${more.length} like it` : '';
    console.log(`\n--parser ${parser} --seed ${seed} --at ${number}${others}: ${message}`);
    const text = printed(input);
    console.log(text.length > 3000 ? `${text.slice(0, 3000)}... (${text.length} characters)` : text);
  }
  console.log(`${sum} inputs in ${((performance.now() - start) / 1000).toFixed(0)} s, ${failures.length} failures`);
  process.exitCode = failures.length ? 1 : 0;
}

/** Runs the work in a process of its own: one that may never end, or run out of memory. */
function watch() {
  const folder = mkdtempSync(join(tmpdir(), 'sterna-'));
  const file = join(folder, 'place');
  writeFileSync(file, '');
  const args = [`--max-old-space-size=${mostHeapMb}`, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const child = spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, FUZZ_PLACE: file } });
  let [last, since] = ['', 0];
  const timer = setInterval(() => {
    const now = readFileSync(file, 'utf8').trim();
    since = now === last && now !== '' ? since + 1 : 0;
    last = now;
    if (since < mostSeconds) return;
    console.error(`no end: ${now}`);
    child.kill('SIGKILL');
  }, 1000);
  child.on('exit', (code, signal) => {
    clearInterval(timer);
    if (signal) console.error(`ended by ${signal}: ${readFileSync(file, 'utf8').trim()}`);
    rmSync(folder, { recursive: true });
    process.exitCode = code ?? 1;
  });
}

if (place) await work();
else watch();
