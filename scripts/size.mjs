// `npm run size`: bytes of what a user's page downloads, as built, minified and gzipped.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { binaries, entries, scripts } from './build-library.mjs';

/**
 * Bytes of each file of the package that runs, and of those that an isolated page loads (the last one).
 * @returns {Promise<{ file: string, raw: number, min: number, gzip: number }[]>}
 */
export async function sizes() {
  const [raw, min, wasm] = await Promise.all([scripts(false), scripts(true), binaries()]);
  const rows = raw.map(({ fileName: file, code }) => {
    const small = min.find(({ fileName }) => fileName === file).code;
    return { file, raw: Buffer.byteLength(code), min: Buffer.byteLength(small), gzip: gzipSync(small).length };
  });
  for (const { fileName: file, path } of wasm) {
    const bytes = readFileSync(path);
    rows.push({ file, raw: bytes.length, min: bytes.length, gzip: gzipSync(bytes).length });
  }
  const apart = Object.keys(entries).filter((name) => name !== 'index'); // entries of their own, on top of the main one
  const loaded = rows.filter(
    ({ file }) => !/single|baseline|formats/.test(file) && !apart.includes(file.replace('.js', '')),
  );
  const sum = (column) => loaded.reduce((total, row) => total + row[column], 0);
  return [...rows, { file: 'what an isolated page loads', raw: sum('raw'), min: sum('min'), gzip: sum('gzip') }];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const print = (name, columns) => console.log(name.padEnd(32), ...columns.map((each) => each.padStart(9)));
  print('bytes', ['raw', 'min', 'min+gzip']);
  for (const { file, ...bytes } of await sizes()) {
    print(
      file,
      Object.values(bytes).map((each) => each.toLocaleString('en')),
    );
  }
}
