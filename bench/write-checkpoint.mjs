// Writes a synthetic checkpoint to a folder: node bench/write-checkpoint.mjs OUT [--layers 3] [--vocab 4096] [--seed 1] ...
// Every size of `Shape` in synthesize.ts is an option; the default is the width of BitNet b1.58 2B4T with 3 layers.
// --tokenizer FOLDER copies the tokenizer files of another model beside it.
import { once } from 'node:events';
import { copyFileSync, createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';

const { module } = await runnerImport(fileURLToPath(new URL('synthesize.ts', import.meta.url)), { configFile: false });
const { packedCheckpoint, shape2B4T } = module;
const sizes = ['hidden', 'ffn', 'layers', 'heads', 'kvHeads', 'headDim', 'vocab', 'maxPositions', 'seed'];
const words = ['gate', 'scaleSense', 'tokenizer'];
const options = Object.fromEntries([...sizes, ...words].map((name) => [name, { type: 'string' }]));
const { positionals, values } = parseArgs({ allowPositionals: true, options });
const [out] = positionals;
if (!out) throw new Error('Name the folder to write to.');

const { tokenizer, ...given } = values;
const shape = { ...shape2B4T };
for (const [name, value] of Object.entries(given)) {
  shape[name] = sizes.includes(name) ? Number(value) : value;
  if (Number.isNaN(shape[name])) throw new Error(`--${name} ${value} is not a number.`);
}
const checkpoint = packedCheckpoint(shape);
mkdirSync(out, { recursive: true });
writeFileSync(`${out}/config.json`, JSON.stringify(checkpoint.config, null, 2));
writeFileSync(`${out}/generation_config.json`, JSON.stringify(checkpoint.generation, null, 2));
for (const file of tokenizer ? ['tokenizer.json', 'tokenizer_config.json'] : []) {
  copyFileSync(`${tokenizer}/${file}`, `${out}/${file}`);
}
const stream = createWriteStream(`${out}/model.safetensors`);
for (const chunk of checkpoint.chunks()) if (!stream.write(chunk)) await once(stream, 'drain');
stream.end();
await once(stream, 'finish');
console.log(`${out}: ${(checkpoint.size / 1e6).toFixed(1)} MB, ${shape.layers} layers`);
