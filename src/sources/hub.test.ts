import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type FakeHub, startFakeHub } from '../../e2e/fake-hub';
import { failure, hasty, longBytes, longFile, MB, never, RANGE, readAll, same, until } from '../../e2e/source-checks';
import type { SternaError } from '../errors';
import type { HubSource } from '../protocol/load-types';
import { openOrigin } from './origin';
import type { RetryEvent } from './request';

vi.setConfig({ testTimeout: 60_000 }); // long files, on a busy machine

const weights = longFile(2 * RANGE + 12_345);
const tokenizer = Buffer.from(JSON.stringify({ vocab: 'ß'.repeat(1000) }));
const model = 'tern/tiny';
const files = {
  'config.json': Buffer.from('{"hidden": 64}'),
  'tokenizer.json': tokenizer,
  'model.safetensors': weights,
  'gguf/tiny #1.gguf': longFile(1000),
  'empty.txt': Buffer.alloc(0),
};

let hub: FakeHub;
let events: RetryEvent[] = [];

beforeAll(async () => {
  hub = await startFakeHub(
    {
      [model]: { files, lfs: /^tokenizer/ },
      'tern/gated': { files, gated: 'hf_opens' },
      'tern/private': { files, private: 'hf_sees' },
      'tern/moving': { files },
    },
    { tokens: ['hf_other'], pageSize: 3 },
  );
});
afterAll(() => hub.close());
beforeEach(() => {
  hub.reachable = true;
  hub.faults.clear();
  hub.requests.length = 0;
  events = [];
});

const open = (source: Partial<HubSource> = {}, signal = never) =>
  openOrigin({ repo: model, hubUrl: hub.url, ...source }, signal, (event) => events.push(event), hasty);

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('a repository', () => {
  test('is resolved to its commit and listed, over pages', async () => {
    const origin = await open();
    const commit = hub.commitOf(model);
    expect(origin).toMatchObject({
      name: model,
      address: `${hub.url}/${model}`,
      key: `hub:${hub.url}/${model}@main`,
      version: commit,
      file: undefined,
    });
    expect(origin.files?.every(({ oid }) => /^[0-9a-f]{40}$/.test(oid ?? ''))).toBe(true);
    expect(origin.files?.map(({ oid: _, ...file }) => file)).toEqual([
      { path: 'config.json', size: 14 },
      { path: 'tokenizer.json', size: tokenizer.length, sha256: digest(tokenizer) },
      { path: 'model.safetensors', size: 2 * RANGE + 12_345, sha256: digest(longBytes(0, 2 * RANGE + 12_345)) },
      { path: 'gguf/tiny #1.gguf', size: 1000, sha256: digest(longBytes(0, 1000)) },
      { path: 'empty.txt', size: 0 },
    ]);
    const tree = `/api/models/${model}/tree/${commit}`;
    expect(hub.requests.map(({ path }) => path)).toEqual([`/api/models/${model}/revision/main`, tree, tree]);
  });

  test('gives its weights from the commit, over the redirect', async () => {
    const origin = await open();
    hub.requests.length = 0;
    const source = await origin.open('model.safetensors');
    expect(source).toMatchObject({ name: 'model.safetensors', size: 2 * RANGE + 12_345 });
    expect(source?.sha256).toBe(origin.files?.[2]?.sha256);
    expect(hub.requests).toEqual([]);
    expect(same(await readAll(source), longBytes(0, source!.size))).toBe(true);
    expect(events).toEqual([]);
    const path = `/${model}/resolve/${hub.commitOf(model)}/model.safetensors`;
    const asked = hub.requests.filter(({ host }) => host === 'hub');
    expect(asked.map((request) => [request.path, request.status])).toEqual([
      [path, 302],
      [path, 302],
      [path, 302],
    ]);
    const sent = hub.requests.filter(({ host }) => host === 'cdn');
    const first = (range: string): number => Number(/\d+/.exec(range)![0]);
    const ranges = sent.map(({ range, status }) => `${range} ${status}`).sort((a, b) => first(a) - first(b));
    expect(ranges).toEqual([
      `bytes=0-${RANGE - 1} 206`,
      `bytes=${RANGE}-${2 * RANGE - 1} 206`,
      `bytes=${2 * RANGE}-${2 * RANGE + 12_344} 206`,
    ]);
    expect(sent.reduce((sum, request) => sum + request.sent, 0)).toBe(source!.size);
  });

  test('gives texts, empty files and files in folders; null and undefined for none', async () => {
    const origin = await open();
    expect(await origin.json('config.json')).toEqual({ hidden: 64 });
    expect(await origin.json('tokenizer.json')).toEqual({ vocab: 'ß'.repeat(1000) });
    expect(await origin.text('empty.txt')).toBe('');
    const inFolder = await origin.open('gguf/tiny #1.gguf');
    expect(same(await inFolder!.read(100, 200, never), longBytes(100, 200))).toBe(true);
    hub.requests.length = 0;
    expect(await origin.open('tokenizer_config.json')).toBeNull();
    expect(await origin.text('gguf')).toBeUndefined();
    expect(await origin.json('tokenizer_config.json')).toBeUndefined();
    expect(hub.requests).toEqual([]);
  });

  test('may be opened at a branch, a tag or a commit, and for one file', async () => {
    const first = hub.commitOf('tern/moving');
    const next = hub.commit('tern/moving', { 'config.json': Buffer.from('{"new": 1}') }, 'refs/pr/1');
    for (const [revision, commit] of [
      ['refs/pr/1', next],
      [first, first],
      [undefined, first],
    ] as const) {
      const origin = await open({ repo: 'tern/moving', ...(revision ? { revision } : {}) });
      expect(origin.version).toBe(commit);
      expect(origin.key).toBe(`hub:${hub.url}/tern/moving@${revision ?? 'main'}`);
      expect(await origin.json('config.json')).toEqual(commit === next ? { new: 1 } : { hidden: 64 });
    }
    const origin = await open({ file: 'gguf/tiny #1.gguf' });
    expect(origin.file).toBe('gguf/tiny #1.gguf');
    expect(origin.key).toBe(`hub:${hub.url}/${model}@main#gguf/tiny #1.gguf`);
    const error = await failure(() => open({ file: 'other.gguf' }));
    expect(error).toMatchObject({ code: 'bad-file', file: 'other.gguf', got: 'nothing' });
  });

  test('that moves on during the download is read to its end as it was', async () => {
    const origin = await open({ repo: 'tern/moving' });
    const source = await origin.open('model.safetensors');
    const start = await source!.read(0, 100, never);
    const commit = hub.commitOf('tern/moving');
    hub.commit('tern/moving', { 'model.safetensors': longFile(500) });
    const rest = await readAll(source, 100);
    expect(same(Buffer.concat([start, rest]), longBytes(0, source!.size))).toBe(true);
    expect(await origin.json('config.json')).toEqual({ hidden: 64 });

    hub.forget('tern/moving', commit);
    const gone = { code: 'download', file: 'model.safetensors', message: expect.stringMatching(/gone/) };
    expect(await failure(() => readAll(source))).toMatchObject(gone);
    expect((await failure(() => origin.text('config.json'))).code).toBe('download');
    expect((await open({ repo: 'tern/moving' })).files).toMatchObject([{ size: 500 }]);
  });

  test('ends with the signal, while it is listed or read', async () => {
    const stop = new AbortController();
    hub.faults.set(`${model}/config.json`, { stall: { at: 3 } });
    const origin = await open({}, stop.signal);
    const reading = failure(() => origin.text('config.json'));
    await until(() => hub.requests.at(-1)?.sent).toBe(3);
    stop.abort();
    expect(await reading).toMatchObject({ code: 'aborted', name: 'AbortError' });
    expect((await failure(() => open({}, stop.signal))).code).toBe('aborted');

    const late = new AbortController();
    hub.faults.set(model, { refuse: { status: 429, times: 9, retryAfter: 4 } });
    const opening = failure(() => open({}, late.signal));
    await until(() => events.length).toBe(1);
    late.abort();
    expect((await opening).code).toBe('aborted');
  });
});

describe('a token', () => {
  test('opens a gated repository, and is not sent on to the CDN', async () => {
    const origin = await open({ repo: 'tern/gated', token: 'hf_opens' });
    const source = await origin.open('model.safetensors');
    expect(same(await source!.read(5, 10, never), longBytes(5, 10))).toBe(true);
    expect(await origin.json('config.json')).toEqual({ hidden: 64 });
    for (const { host, authorization } of hub.requests) {
      expect(authorization).toBe(host === 'hub' ? 'Bearer hf_opens' : undefined);
    }
    expect(hub.requests.map(({ host }) => host)).toContain('cdn');
  });

  test('is not led elsewhere by the address of the next page', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serverOf((request, response) => {
      seen.push(request.headers.authorization);
      response.setHeader('Content-Type', 'application/json');
      response.end('[]');
    });
    const start = await serverOf((request, response) => {
      seen.push(request.headers.authorization);
      response.setHeader('Link', `<${other.url}/more>; rel="next"`);
      response.setHeader('Content-Type', 'application/json');
      response.end(request.url?.includes('/tree/') ? '[]' : JSON.stringify({ sha: 'a'.repeat(40) }));
    });
    await open({ hubUrl: start.url, token: 'hf_secret' });
    expect(seen).toEqual(['Bearer hf_secret', 'Bearer hf_secret', undefined]);
    for (const { server } of [start, other]) server.close();
  });

  test.each<[string, Partial<HubSource>, RegExp, Partial<SternaError>]>([
    ['gated, without one', { repo: 'tern/gated' }, /granted on .*\/tern\/gated; then it takes a token/, {}],
    ['gated, with one that is unknown', { repo: 'tern/gated', token: 'hf_false' }, /does not know this token/, {}],
    ['gated, with one without access', { repo: 'tern/gated', token: 'hf_other' }, /granted on/, {}],
    ['private, without one', { repo: 'tern/private' }, /no such repository, or a private one/, {}],
    ['private, with another', { repo: 'tern/private', token: 'hf_other' }, /no such repository/, {}],
    ['no such repository', { repo: 'tern/none' }, /no such repository/, { file: 'tern/none' }],
    ['unknown token', { token: 'hf_false' }, /does not know this token/, { expected: 'a valid token' }],
    ['no such revision', { revision: 'v9' }, /no revision v9 of/, { expected: 'a branch, a tag or a commit' }],
  ])('%s', async (_, source, message, facts) => {
    const error = await failure(async () => (await open(source)).text('config.json'));
    expect(error).toMatchObject({ code: 'download', message: expect.stringMatching(message), ...facts });
    expect(error.got).toMatch(/^HTTP 40[134]/);
    expect(events).toEqual([]);
  });

  test('the hub is quoted', async () => {
    const error = await failure(async () => (await open({ repo: 'tern/gated' })).text('config.json'));
    expect(error.got).toMatch(/^HTTP 401, GatedRepo, Access to model tern\/gated is restricted/);
    const weights = await (await open({ repo: 'tern/gated', token: 'hf_other' })).open('model.safetensors');
    const other = await failure(() => readAll(weights));
    expect(other).toMatchObject({ file: 'model.safetensors', expected: 'a token with access' });
    expect(other.got).toMatch(/^HTTP 403, GatedRepo, .* not in the authorized list/);
  });

  test('opens a private repository', async () => {
    expect((await open({ repo: 'tern/private', token: 'hf_sees' })).files).toHaveLength(5);
  });
});

describe('trouble', () => {
  test.each<Partial<HubSource>>([
    { repo: 'https://huggingface.co/a/b' },
    { repo: 'a/b/c' },
    { repo: '../a' },
    { repo: '' },
    { repo: 'gpt2' },
    { revision: '' },
    { file: '' },
    { token: 'secret' },
    { token: 'hf_a b' },
    { hubUrl: 'huggingface.co' },
    { hubUrl: 'ftp://hub' },
    { hubUrl: 'https://someone:secret@hub' },
    { hubUrl: 'https://secret@hub' },
  ])('bad input: %o', async (source) => {
    const error = await failure(() => open(source));
    expect(error.code).toBe('bad-input');
    expect(error.message).not.toContain('secret');
    expect(hub.requests).toEqual([]);
  });

  test.each([429, 500, 503])('HTTP %d for a while, of the list, the hub and the CDN', async (status) => {
    hub.faults.set(model, { refuse: { status } });
    const origin = await open();
    expect(events).toMatchObject([{ file: model, attempt: 2, tries: 2 }]);
    expect(events[0]?.reason).toContain(`HTTP ${status}`);
    for (const host of [{}, { host: 'cdn' }] as const) {
      hub.faults.set(`${model}/model.safetensors`, { refuse: { status, times: 5, ...host } });
      expect(same(await readAll(await origin.open('model.safetensors'), 7, 70), longBytes(7, 70))).toBe(true);
    }
    expect(events).toHaveLength(11);
  });

  test('without end: two tries at the start, six later', async () => {
    const origin = await open();
    hub.requests.length = 0;
    const always = { refuse: { status: 503, times: 99 } };
    hub.faults.set(model, always);
    const error = await failure(open);
    expect(error).toMatchObject({ code: 'download', got: 'HTTP 503 Service Unavailable', expected: 'HTTP 200' });
    expect(hub.requests).toHaveLength(2);
    hub.faults.set(`${model}/config.json`, always);
    expect(await failure(() => origin.text('config.json'))).toMatchObject({ code: 'download', expected: 'HTTP 206' });
    expect(hub.requests).toHaveLength(8);
  });

  test('Retry-After is kept to, but for very long ones', async () => {
    hub.faults.set(model, { refuse: { status: 429, retryAfter: 1 } });
    await open();
    expect(events).toMatchObject([{ waitMs: 1000 }]);
    hub.faults.set(model, { refuse: { status: 429, retryAfter: new Date(Date.now() + 3000).toUTCString() } });
    const stop = new AbortController();
    const opening = failure(() => open({}, stop.signal));
    await until(() => events.length).toBe(2);
    stop.abort();
    await opening;
    expect(events[1]?.waitMs).toBeGreaterThan(1000);
    expect(events[1]?.waitMs).toBeLessThanOrEqual(3000);
    hub.faults.set(model, { refuse: { status: 429, retryAfter: 5 } });
    expect(await failure(open)).toMatchObject({ code: 'download', got: 'HTTP 429 Too Many Requests' });
    expect(events).toHaveLength(2);
  });

  test('a hub that cannot be reached: offline, after a second try', async () => {
    hub.reachable = false;
    expect(await failure(open)).toMatchObject({ code: 'offline', file: model });
    expect(events).toMatchObject([{ attempt: 2, tries: 2 }]);
    expect((await failure(() => open({ hubUrl: 'http://localhost:1' }))).code).toBe('offline');
  });

  test('a network that fails during the download: offline, after six tries; then it goes on', async () => {
    const source = await (await open()).open('model.safetensors');
    const received: Uint8Array[] = [];
    const length = () => received.reduce((sum, part) => sum + part.length, 0);
    const error = await failure(async () => {
      for await (const part of source!.stream(0, source!.size, never)) {
        received.push(part);
        if (hub.reachable) hub.reachable = false;
      }
    });
    expect(error).toMatchObject({ code: 'offline', file: 'model.safetensors' });
    expect(Math.max(...events.map(({ attempt }) => attempt))).toBe(6);
    hub.reachable = true;
    received.push(await readAll(source, length()));
    expect(same(Buffer.concat(received), longBytes(0, source!.size))).toBe(true);
  });

  test('a text with a digest is asked for again if it comes damaged; in the end it is refused', async () => {
    hub.faults.set(`${model}/tokenizer.json`, { flip: { at: 500 } });
    const origin = await open();
    expect(await origin.text('tokenizer.json')).toBe(tokenizer.toString());
    expect(events).toMatchObject([{ file: 'tokenizer.json', attempt: 2 }]);
    hub.faults.set(`${model}/tokenizer.json`, { flip: { at: 500, times: 99 } });
    const error = await failure(() => origin.text('tokenizer.json'));
    expect(error).toMatchObject({ code: 'download', file: 'tokenizer.json', expected: digest(tokenizer) });
  });

  test('a text that is cut goes on where it was cut', async () => {
    hub.faults.set(`${model}/tokenizer.json`, { cut: { at: 700 } });
    expect(await (await open()).text('tokenizer.json')).toBe(tokenizer.toString());
    const sent = hub.requests.filter(({ host }) => host === 'cdn');
    expect(sent.map(({ range }) => range)).toEqual([
      `bytes=0-${tokenizer.length - 1}`,
      `bytes=700-${tokenizer.length - 1}`,
    ]);
  });

  test.each([
    ['no JSON', '<html>'],
    ['no commit', '{"id": "a/b"}'],
    ['nothing', ''],
  ])('a hub that answers %s', async (_, body) => {
    const { server, url } = await serverOf((_, response) => void response.end(body));
    const error = await failure(() => open({ hubUrl: url }));
    expect(error).toMatchObject({ code: 'download', message: expect.stringMatching(/cannot be read/) });
    server.close();
  });

  test('a listing without end', async () => {
    let pages = 0;
    const { server, url } = await serverOf((request, response) => {
      const isTree = request.url!.includes('/tree/');
      if (isTree) response.setHeader('Link', `<${url}${request.url}>; rel="next"`);
      const entry = (_: unknown, n: number) => ({ type: 'file', path: `${pages}/${n}`, size: 1, oid: 'a'.repeat(40) });
      if (isTree) pages++;
      response.end(JSON.stringify(isTree ? Array.from({ length: 30_000 }, entry) : { sha: 'a'.repeat(40) }));
    });
    const error = await failure(() => open({ hubUrl: url }));
    expect(error).toMatchObject({ code: 'bad-file', file: model, expected: 'at most 100000 files and folders' });
    expect(pages).toBe(4);
    server.close();
  });

  test('a file that is too long for a text', async () => {
    const size = 300 * MB;
    hub.commit('tern/moving', { 'tokenizer.json': { size, chunk: longBytes, sha256: 'f'.repeat(64) } });
    const origin = await open({ repo: 'tern/moving' });
    expect(await failure(() => origin.text('tokenizer.json'))).toMatchObject({ code: 'bad-file', got: size });
  });
});

async function serverOf(answer: Parameters<typeof createServer>[1]): Promise<{ server: Server; url: string }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
