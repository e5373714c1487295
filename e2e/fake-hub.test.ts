/** The fake hub against calls of the real client that the product does not make: it should hold for those as well. */
import { downloadFile, fileDownloadInfo, listFiles, modelInfo, pathsInfo } from '@huggingface/hub';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FakeHub, startFakeHub } from './fake-hub';
import { longBytes, longFile, same } from './source-checks';

const repo = 'tern/tiny';
const files = { 'config.json': Buffer.from('{}'), 'a/b/w.gguf': longFile(300_000), 'a/c.txt': Buffer.from('c') };
let hub: FakeHub;
beforeAll(async () => {
  hub = await startFakeHub({ [repo]: { files, gated: 'hf_opens' } });
});
afterAll(() => hub.close());
const call = () => ({ repo, hubUrl: hub.url, accessToken: 'hf_opens' });

test('information about a model and its paths', async () => {
  const { sha, gated } = await modelInfo({ name: repo, hubUrl: hub.url, additionalFields: ['sha'] });
  expect([sha, gated]).toEqual([hub.commitOf(repo), 'manual']);
  const paths = await pathsInfo({ ...call(), paths: ['a/b/w.gguf', 'none'] });
  expect(paths).toMatchObject([{ path: 'a/b/w.gguf', size: 300_000, lfs: { size: 300_000 } }]);
});

test('HEAD: the redirect tells size and digest, what it leads to sends no body', async () => {
  const init = { method: 'HEAD', headers: { Authorization: 'Bearer hf_opens' } };
  const url = `${hub.url}/${repo}/resolve/main/a/b/w.gguf`;
  const { status, headers } = await fetch(url, { ...init, redirect: 'manual' });
  expect(status).toBe(302);
  expect(headers.get('X-Linked-Size')).toBe('300000');
  expect(headers.get('X-Repo-Commit')).toBe(hub.commitOf(repo));
  const end = await fetch(url, init);
  expect([end.status, end.url.startsWith(hub.cdnUrl)]).toEqual([200, true]);
  expect(end.headers.get('Content-Length')).toBe('300000');
  expect(end.headers.get('ETag')).toBe(headers.get('X-Linked-ETag'));
  expect(hub.requests.at(-1)).toMatchObject({ method: 'HEAD', file: `${repo}/a/b/w.gguf`, sent: 0 });
});

test('lists of one folder, and of all', async () => {
  const list = async (path: string, recursive: boolean) => {
    const found: string[] = [];
    for await (const entry of listFiles({ ...call(), path, recursive })) found.push(`${entry.type} ${entry.path}`);
    return found;
  };
  expect(await list('', false)).toEqual(['directory a', 'file config.json']);
  expect(await list('a', false)).toEqual(['directory a/b', 'file a/c.txt']);
  expect(await list('a', true)).toEqual(['directory a/b', 'file a/b/w.gguf', 'file a/c.txt']);
});

test('downloads with the client’s own reader', async () => {
  const info = await fileDownloadInfo({ ...call(), path: 'a/b/w.gguf' });
  expect(info).toMatchObject({ size: 300_000 });
  const blob = await downloadFile({ ...call(), path: 'a/b/w.gguf', downloadInfo: info!, xet: false });
  const part = new Uint8Array(await blob!.slice(1000, 2000).arrayBuffer());
  expect(same(part, longBytes(1000, 2000))).toBe(true);
  expect(await fileDownloadInfo({ ...call(), path: 'none' })).toBeNull();
});
