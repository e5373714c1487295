// A server of folders and files for the bench's pages: isolated pages, ranges of large files.
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const types = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/** The file that a path leads to: under a folder, or a file of its own. */
function fileAt(mounts, path) {
  const [prefix, place] = Object.entries(mounts).find(([start]) => path.startsWith(start)) ?? [];
  if (prefix === undefined) return undefined;
  const rest = normalize(path.slice(prefix.length));
  const file = typeof place === 'string' ? join(place, rest) : place[rest];
  const stat = !rest.startsWith('..') && file && statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() ? { file, size: stat.size, etag: `"${stat.size}-${stat.mtimeMs}"` } : undefined;
}

function answer(mounts, request, response) {
  const found = fileAt(mounts, decodeURIComponent(new URL(request.url, 'http://local').pathname));
  if (!found) {
    response.writeHead(404, isolation).end();
    return;
  }
  const { file, size, etag } = found;
  const headers = {
    ...isolation,
    'Content-Type': types[extname(file)] ?? 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ETag: etag,
  };
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(first ?? 0);
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  const part = first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end}/${size}` };
  response.writeHead(first === undefined ? 200 : 206, { ...headers, ...part, 'Content-Length': end - start + 1 });
  if (request.method === 'HEAD' || size === 0) response.end();
  else createReadStream(file, { start, end, highWaterMark: 2 ** 20 }).pipe(response);
}

/**
 * Serves on a port of its own.
 * @param {Record<string, string | Record<string, string>>} mounts by path prefix: a folder, or files by name
 */
export async function serve(mounts) {
  const server = createServer((request, response) => answer(mounts, request, response));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://localhost:${server.address().port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
