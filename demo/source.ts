import type { LoadOptions, Source } from '../src/index';

const embeddedUrl = './models/tiny-stories-ternary/';

/** The model that comes with the page. */
export const embedded: Source = { url: embeddedUrl };

/** The model card of the model that comes with the page. */
export const embeddedCard = `${embeddedUrl}MODEL_CARD.md`;

export const isEmbedded = (source: Source): boolean => source === embedded;

/** Where a model comes from, in words. */
export function originOf(source: Source): string {
  if (!('url' in source))
    return source.length === 1 ? 'one file on this device' : `${source.length} files on this device`;
  return String(source.url).replace(/^https?:\/\//, '');
}

/** What the address of the page asks for: `?model=URL` and load options. The library checks the values. */
export function readAddress(search: string): { source: Source; options: LoadOptions } {
  const query = new URLSearchParams(search);
  const word = (key: string) => query.get(key) ?? undefined;
  const number = (key: string) => (query.has(key) ? Number(query.get(key)) : undefined);
  const model = query.get('model');
  return {
    source: model ? { url: model } : embedded,
    options: {
      threads: number('threads'),
      contextLength: number('contextLength'),
      kernel: word('kernel') as LoadOptions['kernel'],
      lmHead: word('lmHead') as LoadOptions['lmHead'],
      kvCache: word('kvCache') as LoadOptions['kvCache'],
    },
  };
}
