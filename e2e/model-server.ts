/**
 * A static server for what the preview server does not do: models that are damaged, slow, heavy or incomplete, and the
 * built pages without the isolation headers. Models may be fetched from any origin.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkpointBytes, packedCheckpoint, shape2B4T } from '../bench/synthesize';

const tinyStories = fileURLToPath(new URL('../demo/public/models/tiny-stories-ternary/', import.meta.url));
const pages = fileURLToPath(new URL('../dist-demo/', import.meta.url));
const weights = 'model.safetensors';

/** A file's bytes; undefined: there is none. */
type Folder = (file: string) => Buffer | undefined;

function from(folder: string): Folder {
  const files = new Map<string, Buffer | undefined>();
  return (file) => {
    if (!files.has(file)) {
      try {
        files.set(file, readFileSync(folder + file));
      } catch {
        files.set(file, undefined);
      }
    }
    return files.get(file);
  };
}

const whole = from(tinyStories);

/** The embedded model with one file changed, or without it. */
const but =
  (name: string | RegExp, change: (bytes: Buffer) => Buffer | undefined): Folder =>
  (file) => {
    const bytes = whole(file);
    return bytes && file.match(name) ? change(Buffer.from(bytes)) : bytes;
  };

const json = (change: (json: Record<string, unknown>) => void) => (bytes: Buffer) => {
  const value = JSON.parse(bytes.toString()) as Record<string, unknown>;
  change(value);
  return Buffer.from(JSON.stringify(value));
};

/** What an answer must not be able to do. Byte-level tokens write a space as U+0120. */
const hostile =
  '**bold** <img src="x" onerror="window.hacked=1"> <script>window.hacked=1</script> [link](javascript:window.hacked=1)';

/** Its first word in an answer to "Hello" is the token `Hello`; here that token reads otherwise. */
const hostileTokenizer = json((file) => {
  const model = file.model as { vocab: Record<string, number>; merges: (string | string[])[] };
  model.vocab[hostile.replaceAll(' ', '\u0120')] = model.vocab.Hello!;
  delete model.vocab.Hello;
  const joined = (merge: string | string[]) => (typeof merge === 'string' ? merge.replace(' ', '') : merge.join(''));
  model.merges = model.merges.filter((merge) => joined(merge) !== 'Hello');
});

/** Wide layers, so that an answer lasts, with the tokenizer of the embedded model. */
function heavyModel(): Folder {
  const checkpoint = packedCheckpoint({ ...shape2B4T, layers: 2 });
  const files = new Map<string, Buffer>();
  return (file) => {
    if (files.size === 0) {
      files.set('config.json', Buffer.from(JSON.stringify(checkpoint.config)));
      files.set('generation_config.json', Buffer.from(JSON.stringify(checkpoint.generation)));
      files.set(weights, Buffer.from(checkpointBytes(checkpoint).buffer));
    }
    return files.get(file) ?? (file.startsWith('tokenizer') ? whole(file) : undefined);
  };
}

const models: Record<string, Folder> = {
  whole,
  heavy: heavyModel(),
  truncated: but(weights, (bytes) => bytes.subarray(0, 2_000_000)),
  'damaged-header': but(weights, (bytes) => {
    bytes[40] = 0;
    return bytes;
  }),
  'damaged-length': but(weights, (bytes) => bytes.fill(0xff, 0, 8)),
  'no-trits': but(weights, (bytes) => {
    const header = JSON.parse(bytes.subarray(8, 8 + bytes.readUInt32LE(0)).toString());
    const [begin] = header['model.layers.3.mlp.up_proj.weight'].data_offsets;
    bytes[8 + bytes.readUInt32LE(0) + begin + 1000] = 0x57; // codes 3, 1, 1, 1
    return bytes;
  }),
  'no-weights': but(weights, () => undefined),
  'no-tokenizer': but(/^tokenizer/, () => undefined),
  gelu: but(
    /^config/,
    json((config) => Object.assign(config, { hidden_act: 'gelu' })),
  ),
  untied: but(
    /^config/,
    json((config) => Object.assign(config, { tie_word_embeddings: false })),
  ),
  hostile: but('tokenizer.json', hostileTokenizer),
  /** Never sends the second half of the weights: the connection is closed there. */
  cut: whole,
  /** Sends the weights at 100 kB/s. */
  slow: whole,
};

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
};

function answer(request: IncomingMessage, response: ServerResponse): void {
  const [, name = '', ...path] = new URL(request.url ?? '/', 'http://localhost').pathname.split('/');
  const file = path.join('/');
  const folder = name === 'unisolated' ? from(pages) : models[name];
  const bytes = file.includes('..') ? undefined : folder?.(file);
  response.setHeader('Access-Control-Allow-Origin', '*');
  response.setHeader('Access-Control-Expose-Headers', 'Content-Range');
  if (!bytes) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream');
  const [, from0, to = bytes.length - 1] = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '')?.map(Number) ?? [];
  const begin = from0 ?? 0;
  const body = bytes.subarray(begin, Math.min(to, bytes.length - 1) + 1);
  response.setHeader('Content-Length', body.length);
  if (from0 === undefined) response.writeHead(200);
  else response.writeHead(206, { 'Content-Range': `bytes ${begin}-${begin + body.length - 1}/${bytes.length}` });
  if (file === weights && name === 'cut') {
    response.flushHeaders();
    response.write(body.subarray(0, Math.max(0, bytes.length / 2 - begin)), () => response.destroy());
  } else if (file === weights && name === 'slow') drip(response, body);
  else response.end(body);
}

function drip(response: ServerResponse, body: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(sent, sent + 5000));
    sent += 5000;
    if (sent >= body.length) response.end();
  }, 50);
  response.on('close', () => clearInterval(timer));
}

export interface ModelServer {
  /** Address of a model, or of a page under `unisolated/`. */
  url(path: string): string;
  close(): Promise<void>;
}

export async function startModelServer(): Promise<ModelServer> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: (path) => `http://localhost:${port}/${path}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
