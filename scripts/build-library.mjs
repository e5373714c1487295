// Builds the npm package into dist/: the library as ES modules with everything it needs inside, its types, and beside it in
// assets/ the workers and kernels, each a file of its own that bundlers copy as it is.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { buildWasm } from './build-wasm.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What users import: `sterna` is index, `sterna/name` any other. */
export const entries = { index: 'src/index.ts', 'ai-sdk': 'src/ai-sdk.ts' };
const workers = ['engine.worker', 'kernel.worker', 'formats'];
const kernels = ['shared-relaxed', 'shared-baseline', 'single-relaxed', 'single-baseline'];

/**
 * An import with `?url` becomes a URL beside the importing script, in the form that Vite and webpack know and browsers
 * understand as it is.
 */
const assetUrls = (folder) => ({
  name: 'asset-urls',
  resolveId: {
    filter: { id: /[?&]url\b/ },
    handler(id) {
      const file = id.split('/').at(-1).split('?')[0];
      return `\0asset:${workers.includes(file) ? `${file}.js` : file}`;
    },
  },
  load: {
    filter: { id: /^\0asset:/ },
    handler: (id) => `export default new URL('${folder}${id.split(':')[1]}', import.meta.url).href;`,
  },
});

/** What other entries take from the main one stays an import of it. */
const mainEntry = {
  name: 'main-entry',
  resolveId: { filter: { id: /^\.\.?\/index$/ }, handler: () => ({ id: './index.js', external: 'relative' }) },
};

/** Of the hub client only the listing is used; these do something at import that keeps them from being dropped. */
const unused = /@huggingface\/(blake3-jit|xetchunk-wasm)\//;

async function bundle(input, folder, minify) {
  const build = await rolldown({
    cwd: root,
    input,
    plugins: [mainEntry, assetUrls(folder)],
    platform: 'browser',
    treeshake: { moduleSideEffects: [{ test: unused, sideEffects: false }] },
  });
  const { output } = await build.generate({
    format: 'es',
    minify,
    codeSplitting: Object.keys(input).length > 1,
    chunkFileNames: '[name].js',
  });
  await build.close();
  return output;
}

/**
 * The scripts of the package.
 * @param {boolean | undefined} minify undefined: workers only, since no bundler of a user's will do it
 * @returns {Promise<{ fileName: string, code: string, moduleIds: string[] }[]>}
 */
export async function scripts(minify) {
  const library = await bundle(entries, './assets/', minify ?? false);
  const parts = await Promise.all(
    workers.map((name) => bundle({ [name]: `workers/${name}.ts` }, './', minify ?? true)),
  );
  const inAssets = parts.flat().map((chunk) => ({ ...chunk, fileName: `assets/${chunk.fileName}` }));
  return [...library, ...inAssets].map(({ fileName, code, moduleIds }) => ({ fileName, code, moduleIds }));
}

/** Kernel binaries, by name. */
export async function binaries() {
  await buildWasm();
  return kernels.map((name) => ({ fileName: `assets/${name}.wasm`, path: join(root, `src/generated/${name}.wasm`) }));
}

/** Licence texts of what is inside the scripts. */
function licences(moduleIds) {
  const folders = new Set(moduleIds.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []));
  return [...folders].sort().map((folder) => {
    const { name, version, license, author, repository } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8'),
    );
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const by = typeof author === 'object' ? author.name : author;
    const text = file ? readFileSync(join(folder, file), 'utf8').trim() : `${by ?? ''} ${repository?.url ?? ''}`.trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
}

/** Declarations of what the entries reach, with the file endings that Node's resolution asks for. */
function types(out) {
  const all = join(out, 'all-types');
  const options = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', all, '--rootDir', root];
  const { status, stdout } = spawnSync('npx', ['tsc', '-p', 'scripts/tsconfig.library.json', ...options], {
    cwd: root,
  });
  if (status !== 0) throw new Error(`tsc: ${stdout}`);
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const from = join(all, file);
    const text = readFileSync(from, 'utf8').replaceAll(
      /(from |import\()(['"])(\.{1,2}\/[^'"]+)\2/g,
      (_, how, quote, path) => {
        const target = relative(all, join(dirname(from), path));
        if (!existsSync(join(all, `${target}.d.ts`))) throw new Error(`${file}: no declarations of ${path}`);
        visit(`${target}.d.ts`);
        return `${how}${quote}${path}.js${quote}`;
      },
    );
    const to = join(out, 'types', relative('src', file));
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, text);
  };
  for (const entry of Object.values(entries)) visit(entry.replace(/\.ts$/, '.d.ts'));
  rmSync(all, { recursive: true });
}

/** @param {string} out a folder, which is made anew */
export async function buildLibrary(out = join(root, 'dist')) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, 'assets'), { recursive: true });
  const files = await scripts();
  for (const { fileName, code } of files) writeFileSync(join(out, fileName), code);
  for (const { fileName, path } of await binaries()) cpSync(path, join(out, fileName));
  writeFileSync(
    join(out, 'licences.txt'),
    licences(files.flatMap(({ moduleIds }) => moduleIds)).join(`\n${'-'.repeat(78)}\n\n`),
  );
  types(out);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildLibrary();
