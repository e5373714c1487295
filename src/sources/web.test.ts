import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { failure, hasty, longBytes, MB, never, RANGE, readAll, same, until } from '../../e2e/source-checks';
import type { SternaError } from '../errors';
import { type Origin, openOrigin } from './origin';
import type { RetryEvent } from './request';

vi.setConfig({ testTimeout: 60_000 }); // long files, on a busy machine

const weights = longBytes(0, 2 * RANGE + 12_345);

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** What the server does with a path; requests for another path get 404. */
const routes = new Map<string, Answer>();
const requests: { url: string; range: string | undefined; accept: string | undefined }[] = [];
const server = createServer((request, response) => {
  const { range, accept } = request.headers;
  requests.push({ url: request.url!, range, accept });
  const answer = routes.get(new URL(request.url!, 'http://x').pathname);
  if (answer) answer(request, response);
  else response.writeHead(404, { 'Content-Type': 'text/html' }).end('<h1>404</h1>');
});
let base = '';
let events: RetryEvent[] = [];

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
  events = [];
});

const openUrl = (url: string, signal = never) =>
  openOrigin({ url }, signal, (event) => events.push(event), { ...hasty, stall: 5000 });

/** A folder whose opening left no trace in the log. */
async function folder(path = '/model', signal = never): Promise<Origin> {
  const origin = await openUrl(base + path, signal);
  requests.length = 0;
  return origin;
}

/** A server that keeps ranges; `change` spoils the answers. */
function ranged(
  bytes: Uint8Array,
  change: { most?: number; shift?: number; headers?: Record<string, string> } = {},
): Answer {
  return (request, response) => {
    const [, from, asked] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!.map(Number);
    const to = Math.min(asked!, bytes.length - 1, from! + (change.most ?? RANGE) - 1);
    const shift = change.shift ?? 0;
    const range = `bytes ${from! + shift}-${to + shift}/${bytes.length}`;
    response.writeHead(206, { 'Content-Range': range, ...change.headers });
    response.end(bytes.subarray(from, to + 1));
  };
}

const fixed = (status: number, headers: Record<string, string | number>, body: string | Uint8Array): Answer => {
  return (_, response) => response.writeHead(status, headers).end(body);
};

describe('a folder on a server', () => {
  test('tells the state of its weights, with one byte of them, and keeps to that', async () => {
    const modified = 'Mon, 02 Nov 2026 10:00:00 GMT';
    for (const [headers, tag] of [
      [{ ETag: 'W/"v1"', 'Last-Modified': modified }, '"v1"'],
      [{ 'Last-Modified': modified }, modified],
      [{}, undefined],
    ] as const) {
      routes.set('/model/model.safetensors', ranged(weights, { headers }));
      const origin = await openUrl(`${base}/model`);
      const opened = await origin.open('model.safetensors');
      expect([opened?.size, opened?.tag]).toEqual([weights.length, tag]);
      expect(await origin.open('model.safetensors')).toBe(opened);
      expect(origin).toMatchObject({
        name: 'model',
        address: `${base}/model/`,
        key: `url:${base}/model/`,
        version: '',
        files: undefined,
        file: undefined,
      });
    }
    expect(requests.map(({ range }) => range)).toEqual(['bytes=0-0', 'bytes=0-0', 'bytes=0-0']);

    routes.set('/model/model.safetensors', ranged(weights, { headers: { ETag: '"v1"' } }));
    const source = await (await folder()).open('model.safetensors');
    expect(requests).toEqual([]);
    routes.set('/model/model.safetensors', ranged(weights, { headers: { ETag: '"v2"' } }));
    const error = await failure(() => source!.read(0, 10, never));
    expect(error).toMatchObject({ code: 'download', got: 'ETag "v2"', expected: '"v1"' });

    routes.set('/model/model.safetensors', ranged(weights, { headers: { 'Last-Modified': modified } }));
    const dated = await (await folder()).open('model.safetensors');
    expect(same(await dated!.read(0, 10, never), weights.subarray(0, 10))).toBe(true);
    const later = 'Mon, 02 Nov 2026 10:00:01 GMT';
    routes.set('/model/model.safetensors', ranged(weights, { headers: { 'Last-Modified': later } }));
    const other = await failure(() => dated!.read(0, 10, never));
    expect(other).toMatchObject({ code: 'download', got: `Last-Modified ${later}`, expected: modified });
  });

  test('gives files in ranges', async () => {
    routes.set('/model/w', ranged(weights));
    const source = await (await folder()).open('w');
    expect(source).toMatchObject({ name: 'w', size: weights.length });
    expect(same(await readAll(source), weights)).toBe(true);
    expect(requests.map(({ range }) => range)).toEqual([
      'bytes=0-0',
      `bytes=0-${RANGE - 1}`,
      `bytes=${RANGE}-${2 * RANGE - 1}`,
      `bytes=${2 * RANGE}-${weights.length - 1}`,
    ]);
    expect(same(await source!.read(7, 17, never), weights.subarray(7, 17))).toBe(true);
  });

  test('may give shorter ranges than asked', async () => {
    routes.set('/model/w', ranged(weights, { most: RANGE - 1_000_000 }));
    expect(same(await readAll(await (await folder()).open('w')), weights)).toBe(true);
    expect(requests).toHaveLength(1 + 2 + 2 + 1);
    expect(events).toEqual([]);
  });

  test('may ignore ranges: one request for all', async () => {
    routes.set('/model/w', fixed(200, { 'Content-Length': weights.length }, weights));
    const source = await (await folder()).open('w');
    expect(source?.size).toBe(weights.length);
    expect(same(await readAll(source), weights)).toBe(true);
    expect(requests).toHaveLength(2);
    expect(same(await readAll(source, 1000, 2000), weights.subarray(1000, 2000))).toBe(true);
  });

  test('may give an empty file', async () => {
    routes.set('/model/none', fixed(416, { 'Content-Range': 'bytes */0' }, ''));
    const source = await (await folder()).open('none');
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
  ])('what is not there is null or undefined: %s', async (_, answer) => {
    if (answer) for (const file of ['w', 'config.json', 'a.jinja']) routes.set(`/model/${file}`, answer);
    const origin = await folder();
    expect(await origin.open('w')).toBeNull();
    expect(await origin.json('config.json')).toBeUndefined();
    expect(await origin.text('a.jinja')).toBeUndefined();
    expect(events).toEqual([]);
  });

  test.each(['/model', '/model/', '/model?token=a%2Fb', '/model/?token=a%2Fb#part'])('%s', async (path) => {
    routes.set('/model/config.json', fixed(200, {}, '{"a": 1}'));
    const origin = await folder(path);
    expect(origin.name).toBe('model');
    expect(await origin.json('config.json')).toEqual({ a: 1 });
    expect(requests[0]?.url).toBe(`/model/config.json${path.includes('token') ? '?token=a%2Fb' : ''}`);
  });

  test('names are encoded, and may lie in a folder', async () => {
    routes.set('/model/sub/a%20%23b', fixed(200, {}, 'text'));
    expect(await (await folder()).text('sub/a #b')).toBe('text');
  });

  test('is asked so that development servers do not answer with their index page', async () => {
    const origin = await openUrl(`${base}/model`);
    await origin.json('config.json');
    await origin.open('w');
    expect(requests).toHaveLength(4);
    for (const { accept } of requests) expect(accept).not.toMatch(/text\/html|\*\/\*/);
  });
});

describe('one weight file on a server', () => {
  test.each([
    ['/model/tiny.gguf', 'tiny.gguf'],
    ['/model/TINY.GGUF', 'TINY.GGUF'],
    ['/model/tiny%20%231.safetensors?key=1', 'tiny #1.safetensors'],
  ])('%s', async (path, file) => {
    const url = base + path;
    routes.set(new URL(url).pathname, ranged(weights, { headers: { ETag: '"g"' } }));
    routes.set('/model/config.json', fixed(200, {}, '{"a": 1}'));
    const origin = await openUrl(url);
    expect(origin).toMatchObject({
      name: file,
      address: url.replace('?key=1', ''),
      key: `url:${url.replace('?key=1', '')}`,
      version: '',
      file,
    });
    expect(same(await (await origin.open(file))!.read(0, MB, never), weights.subarray(0, MB))).toBe(true);
    expect(requests.map((request) => request.url)).toEqual([path, path]);
    expect(await origin.json('config.json')).toEqual({ a: 1 });
  });

  test('that is not there', async () => {
    const origin = await openUrl(`${base}/model/tiny.gguf`);
    expect(origin).toMatchObject({ file: 'tiny.gguf', version: '' });
    expect(await origin.open('tiny.gguf')).toBeNull();
  });
});

describe('a faulty server', () => {
  test.each<[string, Answer, Partial<SternaError>]>([
    ['HTTP 401', fixed(401, {}, ''), { got: 'HTTP 401 Unauthorized', expected: 'HTTP 206' }],
    ['HTTP 416 of a file with bytes', fixed(416, { 'Content-Range': 'bytes */7' }, ''), { expected: 'HTTP 206' }],
    ['206 without Content-Range', fixed(206, {}, 'abc'), { got: 'no readable Content-Range' }],
    ['unknown total', fixed(206, { 'Content-Range': 'bytes 0-2/*' }, 'abc'), { got: 'bytes 0-2/*' }],
    ['another range', ranged(weights, { shift: 1 }), { expected: 'bytes 0-', got: `bytes 1-1/${weights.length}` }],
    ['a range past the end', fixed(206, { 'Content-Range': 'bytes 0-9/5' }, 'abc'), { got: 'bytes 0-9/5' }],
    ['200 without length', (_, response) => void response.write('a', () => response.end('b')), { got: 'neither' }],
  ])('%s, at open', async (_, answer, facts) => {
    routes.set('/model/w', answer);
    const error = await failure(async () => (await folder()).open('w'));
    expect(error).toMatchObject({ code: 'download', file: 'w', ...facts });
    expect(error.expected).toBeDefined();
    expect(events).toEqual([]);
  });

  const total = weights.length;
  test.each<[string, Answer, Partial<SternaError>]>([
    ['another range', ranged(weights, { shift: 1 }), { expected: 'bytes 0-', got: `bytes 1-100/${total}` }],
    ['more than asked', fixed(206, { 'Content-Range': `bytes 0-999/${total}` }, ''), { expected: 'bytes 0-' }],
    ['more bytes', fixed(206, { 'Content-Range': `bytes 0-99/${total}` }, weights.subarray(0, 101)), { expected: 100 }],
    ['another size', fixed(206, { 'Content-Range': 'bytes 0-99/777' }, ''), { got: 777, expected: total }],
    ['HTTP 416', fixed(416, { 'Content-Range': 'bytes */50' }, ''), { got: 'bytes */50' }],
    ['HTTP 404', fixed(404, {}, ''), { got: 'HTTP 404' }],
    ['HTTP 403', fixed(403, {}, ''), { got: 'HTTP 403 Forbidden', expected: 'HTTP 206' }],
  ])('%s, while reading', async (_, answer, facts) => {
    routes.set('/model/w', ranged(weights));
    const source = await (await folder()).open('w');
    routes.set('/model/w', answer);
    const error = await failure(() => source!.read(0, 100, never));
    expect(error).toMatchObject({ code: 'download', file: 'w', ...facts });
    expect(events).toEqual([]);
  });

  test.each<[string, Answer, Partial<SternaError>]>([
    ['a web page', fixed(200, {}, '<html>'), { code: 'bad-file', got: '"<html>"', expected: 'JSON' }],
    ['half a file', fixed(200, {}, '{"a": [1, 2'), { code: 'bad-file', expected: 'JSON' }],
    ['bytes', fixed(200, {}, new Uint8Array([0x7b, 0xff])), { code: 'bad-file', expected: 'UTF-8 text' }],
    ['HTTP 401', fixed(401, {}, ''), { code: 'download', got: 'HTTP 401 Unauthorized', expected: 'HTTP 200' }],
  ])('%s, for JSON', async (_, answer, facts) => {
    routes.set('/model/config.json', answer);
    const error = await failure(async () => (await folder()).json('config.json'));
    expect(error).toMatchObject({ file: 'config.json', ...facts });
    expect(events).toEqual([]);
  });

  const cutText: Answer = (_, response) => {
    response.writeHead(200, { 'Content-Length': 1000 });
    response.write('{"a": ', () => response.destroy());
  };
  test.each<[string, Answer]>([
    ['HTTP 503', fixed(503, {}, '')],
    ['HTTP 429', fixed(429, {}, '')],
    ['a cut connection', cutText],
    ['no answer', (request) => request.socket.destroy()],
  ])('%s is tried again: files and texts', async (_, answer) => {
    let left = 5;
    const later =
      (right: Answer): Answer =>
      (request, response) =>
        (left-- > 0 ? answer : right)(request, response);
    routes.set('/model/config.json', later(fixed(200, {}, '{"a": 1}')));
    const origin = await folder();
    expect(await origin.json('config.json')).toEqual({ a: 1 });
    expect(requests).toHaveLength(6);
    left = 99;
    expect((await failure(() => origin.json('config.json'))).code).toMatch(/download|offline/);
    expect(requests).toHaveLength(12);
  });

  test('that is none: offline, after a second try', async () => {
    const error = await failure(() => openUrl('http://127.0.0.1:1/model'));
    expect(error).toMatchObject({ code: 'offline', file: 'model.safetensors' });
    expect(events).toMatchObject([{ attempt: 2, tries: 2 }]);
  });

  test('whose weights are refused or silent at the start: two tries', async () => {
    routes.set('/model/model.safetensors', fixed(503, {}, ''));
    expect(await failure(() => openUrl(`${base}/model`))).toMatchObject({ code: 'download', expected: 'HTTP 206' });
    expect(requests).toHaveLength(2);
    routes.set('/model/model.safetensors', () => {});
    const opening = openOrigin({ url: `${base}/model` }, never, undefined, { ...hasty, stall: 50 });
    expect(await failure(() => opening)).toMatchObject({ code: 'download', got: 'nothing for 0.05 s' });
    expect(requests).toHaveLength(4);
  });

  test('that never answers', async () => {
    routes.set('/model/config.json', () => {});
    const origin = await openOrigin({ url: `${base}/model` }, never, undefined, { ...hasty, tries: 2, stall: 50 });
    const error = await failure(() => origin.json('config.json'));
    expect(error).toMatchObject({ code: 'download', message: expect.stringMatching(/stalled/) });
  });

  test.each([['model'], ['/model'], [''], ['data:text/plain,a'], ['http://host/%zz.gguf']])(
    'bad address: %s',
    async (url) => {
      expect(await failure(() => openUrl(url))).toMatchObject({ code: 'bad-input', got: url });
    },
  );
});

test('a query is sent, and in no address, key or error; a user in the URL is refused', async () => {
  const signed = `${base}/model?X-Amz-Signature=s3cret`;
  const origin = await openUrl(signed);
  expect(requests[0]?.url).toContain('s3cret');
  expect(origin).toMatchObject({ address: `${base}/model/`, key: `url:${base}/model/` });
  routes.set('/model/w', fixed(401, {}, ''));
  expect((await failure(() => origin.open('w'))).message).not.toContain('s3cret');
  requests.length = 0;
  for (const user of ['someone:s3cret@', 's3cret@', ':s3cret@']) {
    const error = await failure(() => openUrl(base.replace('//', `//${user}`)));
    expect(error).toMatchObject({ code: 'bad-input', expected: 'a URL without' });
    expect(error.message).not.toContain('s3cret');
  }
  expect(requests).toEqual([]);
});

test('abort while waiting for an answer', async () => {
  for (const file of ['w', 'config.json']) routes.set(`/model/${file}`, () => {});
  const stop = new AbortController();
  const origin = await folder('/model', stop.signal);
  const both = [failure(() => origin.open('w')), failure(() => origin.json('config.json'))];
  await until(() => requests.length).toBe(2);
  stop.abort(new Error('my reason'));
  for (const error of await Promise.all(both)) expect(error).toMatchObject({ code: 'aborted', name: 'AbortError' });
  expect((await failure(() => origin.open('w'))).code).toBe('aborted');
  expect(requests).toHaveLength(2);
});

test('a receiver that leaves early closes the connection', async () => {
  let closed = () => {};
  const closing = new Promise<void>((resolve) => {
    closed = resolve;
  });
  routes.set('/model/w', (request, response) => {
    if (request.headers.range === 'bytes=0-0') return ranged(weights)(request, response);
    response.on('close', () => closed());
    response.writeHead(206, { 'Content-Range': `bytes 0-${RANGE - 1}/${weights.length}` });
    response.write(weights.subarray(0, 400));
  });
  const source = await (await folder()).open('w');
  for await (const _ of source!.stream(0, weights.length, never)) break;
  await closing;
});
