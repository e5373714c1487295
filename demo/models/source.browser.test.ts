import { expect, it } from 'vitest';
import { knownModel, knownModels } from './known-models';
import { embedded, isEmbedded, nameOf, parseSource, readAddress, sameSource, writeAddress } from './source';

it.each([
  ['owner/name', { repo: 'owner/name' }],
  [' Owner-1/na.me_2 ', { repo: 'Owner-1/na.me_2' }],
  ['https://huggingface.co/owner/name', { repo: 'owner/name' }],
  ['https://huggingface.co/owner/name/', { repo: 'owner/name' }],
  ['https://hf.co/owner/name/tree/main', { repo: 'owner/name' }],
  ['https://huggingface.co/owner/name/tree/v2', { repo: 'owner/name', revision: 'v2' }],
  [
    'https://huggingface.co/owner/name/blob/v2/a/b.gguf?download=true',
    { repo: 'owner/name', revision: 'v2', file: 'a/b.gguf' },
  ],
  ['https://huggingface.co/owner/name/resolve/main/b.gguf', { repo: 'owner/name', file: 'b.gguf' }],
  ['https://example.org/models/x/', { url: 'https://example.org/models/x/' }],
  ['./models/x/', { url: './models/x/' }],
  ['../x', { url: '../x' }],
  ['/models/x', { url: '/models/x' }],
  ['.hidden/x', { url: '.hidden/x' }],
])('%s is understood', (text, source) => {
  expect(parseSource(text)).toEqual(source);
});

it.each(['', 'name', 'a/b/c', 'owner/na me', 'https://', 'what is this'])('%s names no model', (text) => {
  expect(parseSource(text)).toBeUndefined();
});

it('reads the address of the page', () => {
  expect(readAddress('').source).toBe(embedded);
  expect(readAddress('?model=http://localhost:1/x/').source).toEqual({ url: 'http://localhost:1/x/' });
  expect(readAddress('?model=models').source).toEqual({ url: 'models' });
  expect(readAddress('?model=a/b&file=c.gguf&revision=v1&hub=http://localhost:2/&contextLength=512')).toMatchObject({
    source: { repo: 'a/b', file: 'c.gguf', revision: 'v1', hubUrl: 'http://localhost:2' },
    options: { contextLength: 512 },
    hub: 'http://localhost:2',
  });
});

it('writes the address so that it reads the same, and never a token or a file of this device', () => {
  for (const source of [
    { repo: 'a/b' },
    { repo: 'a/b', file: 'd/c.gguf', revision: 'v1' },
    { url: 'http://h:1/x/?y=1&z' },
  ]) {
    const search = writeAddress('?threads=2&model=old&file=old.gguf', source);
    expect(readAddress(search).source).toEqual(source);
    expect(readAddress(search).options.threads).toBe(2);
  }
  expect(writeAddress('?model=a/b&file=c', embedded)).toBe('');
  expect(writeAddress('?model=a/b', { repo: 'a/b', token: 'hf_secret' })).toBe('?model=a/b');
  expect(writeAddress('?model=a/b', [new File([], 'x.gguf')])).toBe('');
});

it('knows the same model again', () => {
  expect(isEmbedded({ url: new URL('./models/tiny-stories-ternary', document.baseURI).href })).toBe(true);
  expect(sameSource({ repo: 'a/b' }, { repo: 'a/b', revision: 'main', hubUrl: 'https://huggingface.co' })).toBe(true);
  expect(sameSource({ repo: 'a/b' }, { repo: 'a/b', file: 'c' })).toBe(true);
  expect(sameSource({ repo: 'a/b', file: 'd' }, { repo: 'a/b', file: 'c' })).toBe(false);
  expect(sameSource({ repo: 'a/b' }, { repo: 'a/b', revision: 'v1' })).toBe(false);
  expect(sameSource({ repo: 'a/b' }, { repo: 'a/b', hubUrl: 'http://localhost:1' })).toBe(false);
  expect(sameSource({ repo: 'a/b' }, { url: 'https://huggingface.co/a/b' })).toBe(false);
  const files = [new File([], 'x.gguf')];
  expect(sameSource(files, files)).toBe(true);
  expect(sameSource(files, [...files])).toBe(false);
  for (const known of knownModels) expect(knownModel({ ...known.source, token: 'hf_x' })).toBe(known);
  expect(nameOf({ url: 'https://example.org/models/x/?y' })).toBe('x');
});
