// Compiles wasm/kernels.ts into the four builds of src/generated/ (shared or single memory, relaxed or baseline SIMD).
// Used by the Vite plugin, by `npm start` and by `npm test`; skips the work when nothing has changed.
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('..', import.meta.url));
const config = JSON.parse(readFileSync(`${root}wasm/asconfig.json`, 'utf8'));

/** Newest change among the sources, against the oldest of the built files: true when nothing needs building. */
function upToDate(outFiles) {
  const names = readdirSync(`${root}wasm`).filter((name) => !name.endsWith('.test.ts'));
  const sources = names.map((name) => `${root}wasm/${name}`);
  try {
    const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs));
    return Math.min(...outFiles.map((file) => statSync(file).mtimeMs)) >= newest;
  } catch {
    return false;
  }
}

/**
 * @param {{ force?: boolean, text?: boolean }} options `text` writes a .wat beside each .wasm, to read what came out.
 * @returns {Promise<boolean>} true if something was built
 */
export async function buildWasm({ force = false, text = false } = {}) {
  const targets = Object.keys(config.targets);
  const outFile = (target) => `${root}src/generated/${target}.wasm`;
  if (!force && upToDate(targets.map(outFile))) return false;
  mkdirSync(`${root}src/generated`, { recursive: true });
  for (const target of targets) {
    const argv = ['wasm/kernels.ts', '--config', 'wasm/asconfig.json', '--target', target, '--baseDir', root];
    argv.push('--outFile', outFile(target));
    if (text) argv.push('--textFile', outFile(target).replace('.wasm', '.wat'));
    const { error, stderr } = await asc.main(argv);
    if (error) throw new Error(`asc, target ${target}: ${stderr.toString() || error.message}`);
  }
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = await buildWasm({ force: true, text: process.argv.includes('--text') });
  console.log(built ? 'kernels built' : 'kernels up to date');
}
