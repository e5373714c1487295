/** A host of static files: as they are, with the headers it is told to send and no others. */
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
};

export const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export interface StaticServer {
  /** Its origin, without a slash at the end. */
  origin: string;
  /** Paths that were asked for. */
  asked: string[];
  /** Milliseconds that an answer takes, by path. */
  slow: Map<string, number>;
  close(): Promise<void>;
}

/**
 * @param folders by the path that they are served under, such as `/models/`; the longest that fits is taken
 * @param headers sent with every answer
 */
export async function serveStatic(
  folders: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<StaticServer> {
  const mounts = Object.entries(folders).sort(([a], [b]) => b.length - a.length);
  const asked: string[] = [];
  const slow = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    asked.push(path);
    await new Promise((resolve) => setTimeout(resolve, slow.get(path) ?? 0));
    const [mount, folder] = mounts.find(([prefix]) => path.startsWith(prefix)) ?? [];
    let file = join(folder ?? '', path.slice(mount?.length));
    if (path.endsWith('/')) file = join(file, 'index.html');
    if (folder === undefined || !file.startsWith(folder) || !statSync(file, { throwIfNoEntry: false })?.isFile()) {
      response.writeHead(404, headers).end();
      return;
    }
    const bytes = readFileSync(file);
    const type = { 'Content-Type': types[extname(file)] ?? 'application/octet-stream', ...headers };
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    if (from === undefined) {
      response.writeHead(200, type).end(bytes);
      return;
    }
    const end = Math.min(to ? Number(to) : bytes.length - 1, bytes.length - 1);
    const range = { 'Content-Range': `bytes ${from}-${end}/${bytes.length}` };
    response.writeHead(206, { ...type, ...range }).end(bytes.subarray(Number(from), end + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    asked,
    slow,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
