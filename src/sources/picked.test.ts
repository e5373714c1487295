import { describe, expect, test } from 'vitest';
import { failure, longBytes, MB, never, readAll, same } from '../../e2e/source-checks';
import { openOrigin } from './origin';

const weights = new Uint8Array(longBytes(0, 9 * MB + 5));
const open = (files: File[], signal = never) => openOrigin(files, signal);
const inFolder = (path: string, text: string) =>
  Object.defineProperty(new File([text], path.split('/').at(-1)!), 'webkitRelativePath', { value: path });

describe('picked files', () => {
  test('are listed, found by name and read in slices', async () => {
    const origin = await open([new File(['{"a": 1}'], 'config.json'), new File([weights], 'w.gguf')]);
    expect(origin).toMatchObject({
      name: 'files',
      address: 'the 2 files given',
      key: '',
      version: '',
      file: undefined,
    });
    expect(origin.files).toEqual([
      { path: 'config.json', size: 8 },
      { path: 'w.gguf', size: weights.length },
    ]);
    expect(await origin.json('config.json')).toEqual({ a: 1 });
    const file = await origin.open('w.gguf');
    expect(file).toMatchObject({ name: 'w.gguf', size: weights.length });
    expect(same(await readAll(file), weights)).toBe(true);
    expect(same(await readAll(file, 5, 8 * MB), weights.subarray(5, 8 * MB))).toBe(true);
    expect(same(await file!.read(MB, MB + 100, never), weights.subarray(MB, MB + 100))).toBe(true);
    expect(same(await file!.read(weights.length - 3, 2 * weights.length, never), weights.subarray(-3))).toBe(true);
    expect(await origin.open('x')).toBeNull();
    expect(await origin.text('x')).toBeUndefined();
    expect(await (await open([])).open('x')).toBeNull();
  });

  test('may be one weight file', async () => {
    const origin = await open([new File([weights], 'tiny.gguf')]);
    expect(origin).toMatchObject({ name: 'tiny.gguf', files: [{ path: 'tiny.gguf', size: weights.length }] });
  });

  test('of a folder: paths begin in it, and of equal names the one nearest to the top is meant', async () => {
    const files = [inFolder('m/old/a.json', '1'), inFolder('m/a.json', '2'), inFolder('m/old/b.json', '3')];
    const origin = await open(files);
    expect(origin.name).toBe('m');
    expect(origin.files?.map(({ path }) => path)).toEqual(['old/a.json', 'a.json', 'old/b.json']);
    expect(await origin.json('a.json')).toBe(2);
    expect(await origin.json('old/a.json')).toBe(1);
    expect(await origin.json('b.json')).toBe(3);
    expect(await origin.json('son')).toBeUndefined();
  });

  test('that are damaged or cannot be read', async () => {
    const broken = await open([new File(['{'], 'config.json'), new File([new Uint8Array([0xff])], 'a.txt')]);
    expect(await failure(() => broken.json('config.json'))).toMatchObject({ code: 'bad-file', expected: 'JSON' });
    expect(await failure(() => broken.text('a.txt'))).toMatchObject({ code: 'bad-file', expected: 'UTF-8 text' });
    const gone = new File(['{'], 'config.json');
    gone.slice = () => Object.assign(new Blob(), { arrayBuffer: () => Promise.reject(new Error('NotReadableError')) });
    const error = await failure(async () => (await open([gone])).json('config.json'));
    expect(error).toMatchObject({ code: 'bad-file', file: 'config.json', got: 'Error: NotReadableError' });
  });

  test('end with the signal', async () => {
    const stop = new AbortController();
    const source = await (await open([new File([weights], 'w')])).open('w');
    const error = await failure(async () => {
      for await (const _ of source!.stream(0, weights.length, stop.signal)) stop.abort();
    });
    expect(error).toMatchObject({ code: 'aborted', file: 'w' });
  });
});
