import { afterEach, expect, test, vi } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { type ErrorRecord, SternaError } from '../errors';
import { type AssetUrls, locateAssets } from './assets';
import { features } from './features';
import { load } from './model';
import { startWorker } from './start-worker';

afterEach(() => void vi.restoreAllMocks());

const names = [
  'engine.worker.js',
  'kernel.worker.js',
  'shared-relaxed.wasm',
  'shared-baseline.wasm',
  'formats.js',
  'single-relaxed.wasm',
  'single-baseline.wasm',
];

test('every asset is beside the library unless named otherwise', () => {
  const found = locateAssets();
  expect(Object.keys(found).sort()).toEqual([...names].sort());
  for (const url of Object.values(found)) expect(new URL(url).origin).toBe(location.origin);

  const named = locateAssets({
    'kernel.worker.js': '/kernel.js',
    'single-relaxed.wasm': new URL('https://cdn.example/k'),
  });
  expect(named).toEqual({
    ...found,
    'kernel.worker.js': `${location.origin}/kernel.js`,
    'single-relaxed.wasm': 'https://cdn.example/k',
  });
});

test('a folder holds all under their own names; relative to the page', () => {
  for (const folder of [
    'https://cdn.example/sterna',
    'https://cdn.example/sterna/',
    new URL('https://cdn.example/sterna'),
  ]) {
    expect(locateAssets(folder)).toEqual(
      Object.fromEntries(names.map((name) => [name, `https://cdn.example/sterna/${name}`])),
    );
  }
  expect(locateAssets('lib')['engine.worker.js']).toBe(new URL('lib/engine.worker.js', document.baseURI).href);
});

test.each([
  [{ 'engine.js': '/engine.js' }, 'engine.js'],
  [{ 'engine.worker.js': 'http://' }, 'http://'],
  [{ 'engine.worker.js': 7 }, '7'],
  ['http://', 'http://'],
  [7, 'number'],
  [null, 'null'],
])('%j is refused', async (assets, got) => {
  const refused = { code: 'bad-input', got };
  const error = await load({ url: '/models/tiny-stories-ternary/' }, { assets: assets as AssetUrls }).catch((e) => e);
  expect(error).toBeInstanceOf(SternaError);
  expect(error).toMatchObject(got === 'null' ? { code: 'bad-input' } : refused);
  await expect(features({ assets: assets as AssetUrls })).rejects.toMatchObject({ code: 'bad-input' });
});

test('assets that are not there: an error that names the file', async () => {
  const missing = { assets: { 'engine.worker.js': '/nowhere/engine.worker.js' } };
  await expect(load({ url: '/models/tiny-stories-ternary/' }, missing)).rejects.toMatchObject({
    code: 'worker',
    file: `${location.origin}/nowhere/engine.worker.js`,
  });
});

test('formats that are not there: an error with the first answer that has one, and the next answer is as ever', async () => {
  const model = await load({ url: tinyStories }, { assets: { 'formats.js': '/nowhere/formats.js' } });
  const messages = [{ role: 'user', content: 'Hello' }];
  const formatted = model.chat(messages, { responseFormat: { type: 'json_object' } });
  await expect(formatted.result).rejects.toMatchObject({
    code: 'download',
    file: `${location.origin}/nowhere/formats.js`,
  });
  expect((await model.chat(messages, { maxTokens: 3 }).result).tokens).toHaveLength(3);
  await model.dispose();
});

test('a browser that starts no workers: an error, not silence', async () => {
  vi.stubGlobal('Worker', function refuse() {
    throw new DOMException('no workers here', 'SecurityError');
  });
  try {
    startWorker(`${location.origin}/engine.worker.js`);
    expect.unreachable();
  } catch (error) {
    expect(error as ErrorRecord).toMatchObject({ code: 'worker', got: expect.stringContaining('no workers here') });
  } finally {
    vi.unstubAllGlobals();
  }
});
