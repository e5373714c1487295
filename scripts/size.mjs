// `npm run size`: bytes of what a user's page downloads, as built, minified and gzipped.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { binaries, scripts } from './build-library.mjs';

const [raw, min, wasm] = await Promise.all([scripts(false), scripts(true), binaries()]);
const rows = raw.map(({ fileName, code }) => {
  const small = min.find((file) => file.fileName === fileName).code;
  return { fileName, raw: Buffer.byteLength(code), min: Buffer.byteLength(small), gzip: gzipSync(small).length };
});
for (const { fileName, path } of wasm) {
  const bytes = readFileSync(path);
  rows.push({ fileName, raw: bytes.length, min: bytes.length, gzip: gzipSync(bytes).length });
}

const print = (name, ...bytes) =>
  console.log(name.padEnd(32), ...bytes.map((each) => each.toLocaleString('en').padStart(9)));
console.log('bytes'.padEnd(32), ...['raw', 'min', 'min+gzip'].map((word) => word.padStart(9)));
for (const { fileName, raw, min, gzip } of rows) print(fileName, raw, min, gzip);
const loaded = rows.filter(({ fileName }) => !/single|baseline/.test(fileName));
const sum = (which) => loaded.reduce((total, row) => total + row[which], 0);
print('what an isolated page loads', sum('raw'), sum('min'), sum('gzip'));
