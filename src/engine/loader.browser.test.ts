/** What a load starts from, the source or the store: the browser's real storage, and servers with what a test gives them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { randomWeights } from '../../bench/random-weights';
import { checkpointFiles } from '../../bench/synthesize';
import { clearAll } from '../../e2e/store-host';
import { createReport } from '../checkpoint/progress';
import type { SternaError } from '../errors';
import type { LoadRequest } from '../protocol/protocol';
import { openStore } from '../store/store';
import { findModel } from './loader';

const report = createReport(() => {});
const { signal } = new AbortController();

/** Answers by the path of a request; every other path is refused with 404. */
let answers: (path: string, range: [from: number, to: number] | undefined) => Response | undefined;
beforeEach(async () => {
  await clearAll();
  vi.stubGlobal('fetch', async (input: string, init?: RequestInit) => {
    const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get('Range') ?? '') ?? [];
    const range: [number, number] | undefined = from === undefined ? undefined : [Number(from), Number(last) + 1];
    return answers(new URL(input).pathname, range) ?? new Response('none', { status: 404 });
  });
});
afterEach(() => vi.unstubAllGlobals());

/** Puts a model without weights into the store, as a load would find it. */
async function keep(key: string, version: string, complete = true) {
  const store = (await openStore())!;
  const description = { name: version, version, textVersion: '', files: [], noTokenizer: 'it has none' };
  const model = await store.begin({ key, version, name: 'm', expectedBytes: 1, description, state: undefined });
  if (complete) await store.finish(model);
}

const find = (source: LoadRequest['source']) => findModel(source, true, report, signal);
const codeOf = (source: LoadRequest['source']) =>
  find(source).then(
    () => 'found',
    (error: SternaError) => error.code,
  );

describe('a model at a URL', () => {
  const url = 'https://models.example/m/';
  const key = `url:${url}`;
  const html = { 'Content-Type': 'text/html' };

  test.each<[string, () => Response]>([
    ['404', () => new Response('none', { status: 404 })],
    ['403', () => new Response('no', { status: 403 })],
    ['a web page', () => new Response('<html>', { headers: html })],
  ])('starts from the store where the server answers with %s for the weights', async (_, answer) => {
    answers = answer;
    await keep(key, 'partly', false);
    expect(await codeOf({ url })).toBe('bad-file');
    await keep(key, 'whole');
    for (const address of [url, `${url}?signature=over`]) {
      expect((await find({ url: address })).description.version).toBe('whole');
    }
    for (const file of ['model.gguf', 'model-00001-of-00002.gguf']) {
      expect(await codeOf({ url: url + file })).toBe('bad-file');
      await keep(key + file, file);
      expect((await find({ url: url + file })).description.version).toBe(file);
    }
  });

  test('starts from the store where one of its parts is gone; from the server where all are there', async () => {
    const shape = { hidden: 256, ffn: 256, layers: 2, heads: 2, kvHeads: 1, vocab: 512 };
    const { files } = checkpointFiles(randomWeights(shape), { format: 'multiply', parts: 2 });
    let gone = '';
    answers = (path, range) => {
      const file = path === gone ? undefined : files[path.slice('/m/'.length)];
      if (!file) return undefined;
      const [from, to] = range ?? [0, file.size];
      const end = Math.min(to, file.size);
      const headers = { 'Content-Range': `bytes ${from}-${end - 1}/${file.size}` };
      const body = file.read(from, end) as Uint8Array<ArrayBuffer>;
      return new Response(body, range ? { status: 206, headers } : {});
    };
    await keep(key, 'whole');
    const now = (await find({ url })).description;
    expect(now.version).toMatch(/^[0-9a-f]{64}$/);
    expect(now.files).toHaveLength(2);
    for (const { path } of now.files) {
      gone = `/m/${path}`;
      expect((await find({ url })).description.version).toBe('whole');
    }
    gone = '';
    await keep(key, now.version);
    expect((await find({ url })).description).toMatchObject({ name: now.version });
  });
});

describe('a repository', () => {
  const hubUrl = 'https://hub.example';
  const source = { repo: 'tern/tiny', hubUrl };
  const key = `hub:${hubUrl}/tern/tiny@main`;
  const listing = (paths: string[]) => {
    const entries = paths.map((path) => ({ type: 'file', path, size: 9, oid: 'a'.repeat(40) }));
    answers = (path) => Response.json(path.includes('/tree/') ? entries : { sha: 'c'.repeat(40) });
  };

  test.each([
    ['has lost its weights', ['config.json', 'README.md'], 'bad-file'],
    ['has lost the parts of its weights', ['config.json', 'model.safetensors.index.json'], 'bad-file'],
    ['has lost a part of its GGUF', ['a-00001-of-00002.gguf'], 'bad-file'],
    ['has several GGUF files now', ['a.gguf', 'b.gguf'], 'bad-input'],
  ])('that %s starts from the store', async (_, paths, code) => {
    listing(paths);
    await keep(key, 'partly', false);
    expect(await codeOf(source)).toBe(code);
    await keep(key, 'whole');
    expect((await find(source)).description.version).toBe('whole');
    expect(await codeOf({ ...source, revision: 'other' })).toBe(code);
  });

  test('that has lost the file which the source names starts from the store', async () => {
    listing(['a.gguf']);
    const named = { ...source, file: 'b.gguf' };
    expect(await codeOf(named)).toBe('bad-file');
    await keep(`${key}#b.gguf`, 'whole');
    expect((await find(named)).description.version).toBe('whole');
  });
});
