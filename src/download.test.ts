import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ByteSource, openSource } from './download';
import { SternaError } from './errors';

const range = 16 * 2 ** 20;
/** Two whole ranges and a part: every byte differs from its neighbours and from the bytes a range away. */
const weights = new Uint8Array(2 * range + 12_345).map((_, i) => (i * 7 + (i >>> 8) * 13 + (i >>> 20) * 101) & 255);

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** What the server does with a path; requests for another path get 404. */
const routes = new Map<string, Answer>();
const requests: { url: string; range: string | undefined; accept: string | undefined }[] = [];
const server = createServer((request, response) => {
  const { range: asked, accept } = request.headers;
  requests.push({ url: request.url!, range: asked, accept });
  const answer = routes.get(new URL(request.url!, 'http://x').pathname);
  if (answer) answer(request, response);
  else response.writeHead(404, { 'Content-Type': 'text/html' }).end('<h1>404</h1>');
});
let base = '';

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  routes.clear();
  requests.length = 0;
});

function askedRange(request: IncomingMessage): [number, number] {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!;
  return [Number(from), Number(to)];
}

/** A server that keeps ranges; `change` spoils the answers. */
function ranged(bytes: Uint8Array, change: { [Key in 'most' | 'shift' | 'total' | 'lack']?: number } = {}): Answer {
  return (request, response) => {
    const [from, asked] = askedRange(request);
    const to = Math.min(asked, bytes.length - 1, from + (change.most ?? range) - 1);
    const shift = change.shift ?? 0;
    const total = from > 0 ? (change.total ?? bytes.length) : bytes.length;
    response.writeHead(206, { 'Content-Range': `bytes ${from + shift}-${to + shift}/${total}` });
    response.end(bytes.subarray(from, to + 1 - (change.lack ?? 0)));
  };
}

const fixed = (status: number, headers: Record<string, string | number>, body: string | Uint8Array): Answer => {
  return (_, response) => response.writeHead(status, headers).end(body);
};

const signal = new AbortController().signal;
const folder = (path = '/model') => openSource({ url: base + path }, signal);

/** Reads to the end; checks that no piece is a whole file. */
async function readAll(source: ByteSource | null, start = 0, by = signal): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source!.stream(start, by)) parts.push(part);
  expect(Math.max(0, ...parts.map((part) => part.length))).toBeLessThanOrEqual(4 * 2 ** 20);
  return Buffer.concat(parts);
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

async function failure(action: () => Promise<unknown>): Promise<SternaError> {
  const error = await action().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof SternaError) return error;
  throw error ?? new Error('nothing was thrown');
}

describe('a file on a server', () => {
  test('is read in ranges of 16 MB; the first one tells the size', async () => {
    routes.set('/model/w', ranged(weights));
    const source = await folder().open('w');
    expect(source).toMatchObject({ name: 'w', size: weights.length });
    expect(same(await readAll(source), weights)).toBe(true);
    expect(requests.map((request) => request.range)).toEqual([
      `bytes=0-${range - 1}`,
      `bytes=${range}-${2 * range - 1}`,
      `bytes=${2 * range}-${3 * range - 1}`,
    ]);
  });

  test('is read again from the start, and from the middle', async () => {
    routes.set('/model/w', ranged(weights));
    const source = await folder().open('w');
    expect(same(await readAll(source, range + 5), weights.subarray(range + 5))).toBe(true);
    expect(same(await readAll(source), weights)).toBe(true);
    expect(await readAll(source, weights.length)).toHaveLength(0);
    expect(requests).toHaveLength(1 + 2 + 3);
  });

  test('may come in shorter ranges than asked', async () => {
    routes.set('/model/w', ranged(weights, { most: 9_000_000 }));
    expect(same(await readAll(await folder().open('w')), weights)).toBe(true);
    expect(requests).toHaveLength(4);
  });

  test('is read in one stream if the server ignores ranges', async () => {
    routes.set('/model/w', fixed(200, { 'Content-Length': weights.length }, weights));
    const source = await folder().open('w');
    expect(source?.size).toBe(weights.length);
    expect(same(await readAll(source), weights)).toBe(true);
    expect(requests).toHaveLength(1);
    const error = await failure(() => readAll(source, 1000));
    expect(error).toMatchObject({ code: 'download', file: 'w', got: 'HTTP 200 OK', expected: 'HTTP 206' });
  });

  test('may be empty', async () => {
    routes.set('/model/none', fixed(416, { 'Content-Range': 'bytes */0' }, ''));
    const source = await folder().open('none');
    expect(source?.size).toBe(0);
    expect(await readAll(source)).toHaveLength(0);
  });

  test.each<[string, Answer | undefined]>([
    ['404', undefined],
    ['403, as some stores say', fixed(403, {}, 'no')],
    [
      'the index page, as hosts of single-page applications send',
      fixed(200, { 'Content-Type': 'text/html; charset=utf-8' }, '<html>'),
    ],
  ])('that is not there is null or undefined: %s', async (_, answer) => {
    if (answer) for (const file of ['w', 'config.json', 'a.jinja']) routes.set(`/model/${file}`, answer);
    expect(await folder().open('w')).toBeNull();
    expect(await folder().json('config.json')).toBeUndefined();
    expect(await folder().text('a.jinja')).toBeUndefined();
  });

  test.each(['/model', '/model/', '/model?token=a%2Fb', '/model/?token=a%2Fb#part'])('in folder %s', async (path) => {
    routes.set('/model/config.json', fixed(200, {}, '{"a": 1}'));
    const source = folder(path);
    expect(source.name).toBe('model');
    expect(await source.json('config.json')).toEqual({ a: 1 });
    expect(requests[0]?.url).toBe(`/model/config.json${path.includes('token') ? '?token=a%2Fb' : ''}`);
  });

  test('has its name encoded, and may lie in a folder', async () => {
    routes.set('/model/sub/a%20%23b', fixed(200, {}, 'text'));
    expect(await folder().text('sub/a #b')).toBe('text');
  });

  test('is asked for so that development servers do not answer with their index page', async () => {
    await folder().json('config.json');
    await folder().open('w');
    for (const { accept } of requests) expect(accept).not.toMatch(/text\/html|\*\/\*/);
  });
});

describe('a faulty server', () => {
  test.each<[string, Answer, Partial<SternaError>]>([
    ['HTTP 500', fixed(500, {}, 'oh'), { got: 'HTTP 500 Internal Server Error', expected: 'HTTP 206' }],
    ['HTTP 401', fixed(401, {}, ''), { got: 'HTTP 401 Unauthorized' }],
    ['HTTP 416 of a file with bytes', fixed(416, { 'Content-Range': 'bytes */7' }, ''), { expected: 'HTTP 206' }],
    ['206 without Content-Range', fixed(206, {}, 'abc'), { got: 'no readable Content-Range' }],
    ['unknown total', fixed(206, { 'Content-Range': 'bytes 0-2/*' }, 'abc'), { got: 'bytes 0-2/*' }],
    [
      'another range',
      ranged(weights, { shift: 1 }),
      { expected: 'bytes 0-', got: `bytes 1-${range}/${weights.length}` },
    ],
    ['a later start', fixed(206, { 'Content-Range': 'bytes 1-2/3' }, 'bc'), { got: 'bytes 1-2/3' }],
    ['a range past the end', fixed(206, { 'Content-Range': 'bytes 0-9/5' }, 'abc'), { got: 'bytes 0-9/5' }],
    ['200 without length', (_, response) => void response.write('a', () => response.end('b')), { got: 'neither' }],
  ])('%s, at open', async (_, answer, facts) => {
    routes.set('/model/w', answer);
    const error = await failure(() => folder().open('w'));
    expect(error).toMatchObject({ code: 'download', file: 'w', ...facts });
    expect(error.expected).toBeDefined();
  });

  const cut: Answer = (_, response) => {
    response.writeHead(206, { 'Content-Range': 'bytes 0-999/1000', 'Content-Length': 1000 });
    response.write(weights.subarray(0, 400), () => response.destroy());
  };
  const cutText: Answer = (_, response) => {
    response.writeHead(200, { 'Content-Length': 1000 });
    response.write('{"a": ', () => response.destroy());
  };
  const gone: Answer = (request, response) => {
    if (askedRange(request)[0] === 0) ranged(weights)(request, response);
    else response.writeHead(404).end();
  };
  const long = fixed(206, { 'Content-Range': 'bytes 0-999/1000' }, weights.subarray(0, 1001));
  test.each<[string, Answer, Partial<SternaError>]>([
    ['a cut connection', cut, { expected: 1000 }],
    ['fewer bytes than its range', ranged(weights, { lack: 10 }), { got: range - 10, expected: range }],
    ['more bytes than its range', long, { got: 1001, expected: 1000 }],
    ['another size later', ranged(weights, { total: 99_999_999 }), { got: 99_999_999, expected: weights.length }],
    ['gone later', gone, { got: 'HTTP 404', expected: 'HTTP 206' }],
  ])('%s, while reading', async (_, answer, facts) => {
    routes.set('/model/w', answer);
    const source = await folder().open('w');
    const error = await failure(() => readAll(source));
    expect(error).toMatchObject({ code: 'download', file: 'w', ...facts });
  });

  test.each<[string, Answer, Partial<SternaError>]>([
    ['a web page as JSON', fixed(200, {}, '<html>'), { code: 'bad-file', got: '"<html>"', expected: 'JSON' }],
    ['half a file', fixed(200, {}, '{"a": [1, 2'), { code: 'bad-file', expected: 'JSON' }],
    ['bytes', fixed(200, {}, new Uint8Array([0x7b, 0xff])), { code: 'bad-file', expected: 'UTF-8 text' }],
    ['HTTP 503', fixed(503, {}, ''), { code: 'download', got: 'HTTP 503 Service Unavailable', expected: 'HTTP 200' }],
    ['a cut connection', cutText, { code: 'download' }],
  ])('%s, for JSON', async (_, answer, facts) => {
    routes.set('/model/config.json', answer);
    const error = await failure(() => folder().json('config.json'));
    expect(error).toMatchObject({ file: 'config.json', ...facts });
  });

  test('that is none', async () => {
    const source = openSource({ url: 'http://127.0.0.1:1/model' }, signal);
    expect(await failure(() => source.open('w'))).toMatchObject({ code: 'download', file: 'w' });
  });

  test.each([['model'], ['/model'], [''], ['data:text/plain,a']])('bad address: %s', (url) => {
    expect(() => openSource({ url }, signal)).toThrow(expect.objectContaining({ code: 'bad-input', got: url }));
  });
});

describe('abort', () => {
  const headOnly: Answer = (_, response) => {
    response.writeHead(206, { 'Content-Range': 'bytes 0-999/1000', 'Content-Length': 1000 });
    response.write(weights.subarray(0, 400));
  };
  const never: Answer = () => {};

  async function timed(action: Promise<unknown>): Promise<{ error: SternaError; ms: number }> {
    const start = performance.now();
    const error = await failure(() => action);
    return { error, ms: performance.now() - start };
  }

  test.each(['the signal of the stream', 'the signal of the folder'])(
    'in the middle of a body, by %s',
    async (whose) => {
      routes.set('/model/w', headOnly);
      const stop = new AbortController();
      const both = whose.endsWith('folder');
      const source = await openSource({ url: `${base}/model` }, both ? stop.signal : signal).open('w');
      let received = 0;
      const reading = (async () => {
        for await (const part of source!.stream(0, stop.signal)) received += part.length;
      })();
      setTimeout(() => stop.abort(), 50);
      const { error, ms } = await timed(reading);
      expect(error).toMatchObject({ code: 'aborted', name: 'AbortError', file: 'w' });
      expect(received).toBe(400);
      expect(ms).toBeLessThan(1000);
    },
  );

  test('while waiting for an answer, of a file or a text', async () => {
    routes.set('/model/w', never);
    const stop = new AbortController();
    const source = openSource({ url: `${base}/model` }, stop.signal);
    setTimeout(() => stop.abort(new Error('my reason')), 50);
    const both = await Promise.all([timed(source.open('w')), timed(source.json('w'))]);
    for (const { error, ms } of both) {
      expect(error.code).toBe('aborted');
      expect(ms).toBeLessThan(1000);
    }
    expect((await failure(() => source.open('w'))).code).toBe('aborted');
    expect(requests).toHaveLength(2);
  });

  test('a reader that stops early closes the connection', async () => {
    let closed = () => {};
    const closing = new Promise<void>((resolve) => {
      closed = resolve;
    });
    routes.set('/model/w', (request, response) => {
      response.on('close', () => closed());
      headOnly(request, response);
    });
    const source = await folder().open('w');
    for await (const _ of source!.stream(0, signal)) break;
    await closing;
  });

  test('of files', async () => {
    const stop = new AbortController();
    const source = await openSource([new File([weights], 'w')], signal).open('w');
    const reading = (async () => {
      for await (const _ of source!.stream(0, stop.signal)) stop.abort();
    })();
    expect((await failure(() => reading)).code).toBe('aborted');
  });
});

describe('picked files', () => {
  const inFolder = (path: string, text: string) =>
    Object.defineProperty(new File([text], path.split('/').at(-1)!), 'webkitRelativePath', { value: path });

  test('are found by name and read in slices', async () => {
    const source = openSource([new File(['{"a": 1}'], 'config.json'), new File([weights], 'w')], signal);
    expect(source.name).toBe('files');
    expect(await source.json('config.json')).toEqual({ a: 1 });
    const file = await source.open('w');
    expect(file).toMatchObject({ name: 'w', size: weights.length });
    expect(same(await readAll(file), weights)).toBe(true);
    expect(same(await readAll(file, range + 5), weights.subarray(range + 5))).toBe(true);
    expect(await source.open('x')).toBeNull();
    expect(await source.text('x')).toBeUndefined();
    expect(await openSource([], signal).open('x')).toBeNull();
  });

  test('of a folder: the one nearest to the top is meant', async () => {
    const files = [inFolder('m/old/a.json', '1'), inFolder('m/a.json', '2'), inFolder('m/old/b.json', '3')];
    const source = openSource(files, signal);
    expect(source.name).toBe('m');
    expect(await source.json('a.json')).toBe(2);
    expect(await source.json('old/a.json')).toBe(1);
    expect(await source.json('b.json')).toBe(3);
    expect(await source.json('son')).toBeUndefined();
  });

  test('that are damaged or cannot be read', async () => {
    const broken = new File(['{'], 'config.json');
    expect(await failure(() => openSource([broken], signal).json('config.json'))).toMatchObject({ code: 'bad-file' });
    const gone = new File(['{'], 'config.json');
    gone.slice = () => Object.assign(new Blob(), { arrayBuffer: () => Promise.reject(new Error('NotReadableError')) });
    const error = await failure(() => openSource([gone], signal).json('config.json'));
    expect(error).toMatchObject({ code: 'bad-file', file: 'config.json', got: 'Error: NotReadableError' });
  });
});
