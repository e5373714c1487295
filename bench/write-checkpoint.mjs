// Writes a checkpoint of random weights to a folder: node bench/write-checkpoint.mjs OUT [options]
//   --model 2b4t        a published shape (shapes.ts); default: the widths of BitNet b1.58 2B4T, 3 layers, 4096 tokens
//   --layers 3, --vocab 4096, --hidden, --ffn, ...   any size of `ModelShape` (families.ts), over those of the model
//   --family llama, --gate silu, --lmHead untied, --group 64
//   --format i2_s       multiply, divide, master (safetensors); i2_s, i2_s-arm, tq1_0, tq2_0, q2_0-64, q2_0-128 (GGUF)
//   --embedding Q6_K    type of embedding and lm_head; in safetensors of all floats
//   --parts 3           several weight files
//   --name, --arch, --pre, --scaleTensors            of GGUF files
//   --tokenizer FOLDER  tokenizer files of another model
//   --from FOLDER       the weights of an existing packed checkpoint in place of random ones
//   --seed 1
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';

const sizes = ['hidden', 'ffn', 'layers', 'heads', 'kvHeads', 'headDim', 'vocab', 'maxPositions', 'group', 'bos'];
const numbers = [...sizes, 'ropeTheta', 'rmsNormEps', 'seed', 'parts'];
const words = ['model', 'family', 'gate', 'lmHead', 'format', 'embedding', 'name', 'arch', 'pre', 'tokenizer', 'from'];
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    ...Object.fromEntries([...numbers, ...words].map((name) => [name, { type: 'string' }])),
    scaleTensors: { type: 'boolean' },
  },
});
const [out] = positionals;
if (!out) throw new Error('Name the folder to write to.');
for (const name of numbers) {
  if (!(name in values)) continue;
  if (Number.isNaN(Number(values[name]))) throw new Error(`--${name} ${values[name]} is not a number.`);
  values[name] = Number(values[name]);
}
const { model, embedding, format = 'multiply', seed, parts, tokenizer, from, name, arch, pre, scaleTensors } = values;
const options = { format, parts, name, arch, pre, scaleTensors, ...(embedding ? { floats: embedding } : {}) };
for (const [key, value] of Object.entries(options)) if (value === undefined) delete options[key];

const here = async (file) =>
  (await runnerImport(fileURLToPath(new URL(file, import.meta.url)), { configFile: false })).module;
const { checkpointFiles, ggufForms, safetensorsForms, shape2B4T } = await here('synthesize.ts');
const { published } = await here('shapes.ts');
const { pieces } = await here('byte-file.ts');
if (![...safetensorsForms, ...ggufForms].includes(format)) throw new Error(`There is no format ${format}.`);

const json = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined);
const tokenizerFolder = tokenizer ?? from;
if (tokenizerFolder && existsSync(`${tokenizerFolder}/tokenizer.json`)) {
  options.tokenizer = {
    tokenizer: json(`${tokenizerFolder}/tokenizer.json`),
    config: json(`${tokenizerFolder}/tokenizer_config.json`),
  };
} else if (tokenizer) throw new Error(`There is no ${tokenizer}/tokenizer.json.`);

async function weights() {
  if (from) {
    const { packedWeights } = await here('packed-weights.ts');
    const [config, generation] = ['config', 'generation_config'].map((file) => json(`${from}/${file}.json`));
    return packedWeights(config, generation ?? {}, readFileSync(`${from}/model.safetensors`));
  }
  if (model && !published[model]) throw new Error(`Models: ${Object.keys(published).join(', ')}.`);
  const shape = { ...(model ? published[model] : shape2B4T) };
  for (const key of [...sizes, 'ropeTheta', 'rmsNormEps', 'family', 'gate', 'lmHead']) {
    if (key in values) shape[key] = values[key];
  }
  const { randomWeights } = await here('random-weights.ts');
  return randomWeights(shape, seed);
}

const { files } = checkpointFiles(await weights(), options);
mkdirSync(out, { recursive: true });
let written = 0;
const start = performance.now();
for (const [path, file] of Object.entries(files)) {
  const stream = createWriteStream(`${out}/${path}`);
  for (const piece of pieces(file)) if (!stream.write(piece)) await once(stream, 'drain');
  stream.end();
  await once(stream, 'finish');
  written += file.size;
}
const rate = written / 1e3 / (performance.now() - start);
console.log(`${out}: ${Object.keys(files).join(', ')}; ${(written / 1e6).toFixed(1)} MB at ${rate.toFixed(0)} MB/s`);
