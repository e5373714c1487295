// A Vite plugin: puts the list of the built files into demo/service-worker.js and adds it to the build as sw.js.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const demo = fileURLToPath(new URL('../demo/', import.meta.url));

/** Kept at first use only by the browser's own cache: pages for tests, and models, which the library keeps. */
const left = /^(lab\.html|assets\/lab-.*|models\/.*)$/;

const digest = (bytes, algorithm, encoding) => createHash(algorithm).update(bytes).digest(encoding);

function publicFiles() {
  const names = readdirSync(`${demo}public`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(`${demo}public/`.length));
  return names.filter((name) => !left.test(name)).map((name) => [name, readFileSync(`${demo}public/${name}`)]);
}

/** @returns {import('vite').Plugin} */
export function serviceWorker() {
  return {
    name: 'sterna-service-worker',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        const built = Object.values(bundle)
          .filter(({ fileName }) => !left.test(fileName))
          .map((file) => [file.fileName, file.type === 'chunk' ? file.code : file.source]);
        const files = [...built, ...publicFiles()]
          .map(([name, bytes]) => [name, `sha256-${digest(bytes, 'sha256', 'base64')}`])
          .sort(([a], [b]) => (a < b ? -1 : 1));
        const list = JSON.stringify(Object.fromEntries(files), null, 2);
        const source = readFileSync(`${demo}service-worker.js`, 'utf8')
          .replace("'__FILES__'", list)
          .replace('__VERSION__', digest(list, 'sha256', 'hex').slice(0, 12));
        this.emitFile({ type: 'asset', fileName: 'sw.js', source });
      },
    },
  };
}
