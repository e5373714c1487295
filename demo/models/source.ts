import type { HubSource, LoadOptions } from '../../src/index';

/** A source as the page holds it. */
export type PageSource = HubSource | { url: string } | File[];

const hubHome = 'https://huggingface.co';
const embeddedUrl = './models/tiny-stories-ternary/';

/** The model that comes with the page. */
export const embedded: PageSource = { url: embeddedUrl };

/** The model card of the model that comes with the page. */
export const embeddedCard = `${embeddedUrl}MODEL_CARD.md`;

export const isEmbedded = (source: PageSource): boolean => sameSource(source, embedded);

export const isRepository = (source: PageSource | undefined): source is HubSource =>
  source !== undefined && 'repo' in source;

/** The source, once its token has done its work. */
export const withoutToken = (source: PageSource): PageSource =>
  isRepository(source) ? { ...source, token: undefined } : source;

/** Where a model comes from, in words. */
export function originOf(source: PageSource): string {
  if (Array.isArray(source)) {
    return source.length === 1 ? `${source[0]?.name} on this device` : `${source.length} files on this device`;
  }
  if (isEmbedded(source)) return 'comes with the page';
  if ('url' in source) return source.url.replace(/^https?:\/\//, '');
  return [hostOf(source), source.repo, source.file].filter(Boolean).join('/');
}

/** A short name, for as long as the model's own is not known. */
export function nameOf(source: PageSource): string {
  if (Array.isArray(source)) return source[0]?.name ?? 'Files';
  if (isRepository(source)) return source.repo.split('/').at(-1)!;
  return source.url.split(/[?#]/)[0]!.split('/').filter(Boolean).at(-1) ?? source.url;
}

/** The server that a model is fetched from; empty for files, and for what comes from the page's own. */
export function hostOf(source: PageSource): string {
  if (Array.isArray(source)) return '';
  const { host } = new URL(isRepository(source) ? (source.hubUrl ?? hubHome) : source.url, document.baseURI);
  return host === location.host ? '' : host;
}

/** The page of a repository, for people. */
export const pageOf = ({ repo, hubUrl = hubHome }: HubSource): string => `${hubUrl}/${repo}`;

/** Without its query, which is not kept: it may hold a signature. */
const addressOf = (url: string): string => {
  const { origin, pathname } = new URL(url, document.baseURI);
  return (origin + pathname).replace(/\/$/, '');
};

/** Whether two sources name the same model. A file that only one of them names is no difference. */
export function sameSource(a: PageSource, b: PageSource): boolean {
  if (Array.isArray(a) || Array.isArray(b)) return a === b;
  if ('url' in a || 'url' in b) return 'url' in a && 'url' in b && addressOf(a.url) === addressOf(b.url);
  return (
    a.repo === b.repo &&
    (a.hubUrl ?? hubHome) === (b.hubUrl ?? hubHome) &&
    (a.revision ?? 'main') === (b.revision ?? 'main') &&
    (a.file ?? b.file) === (b.file ?? a.file)
  );
}

/**
 * A repository (`owner/name`, or the address of its page or of a file in it) or a URL; undefined where the text is
 * neither. `hub`: the hub that is asked, where it is another than Hugging Face's.
 */
export function parseSource(text: string, hub?: string): HubSource | { url: string } | undefined {
  const value = text.trim();
  const hubUrl = hub ? { hubUrl: hub } : {};
  if (/^\w[\w.-]*\/[\w.-]+$/.test(value)) return { repo: value, ...hubUrl };
  const onHub =
    /^https:\/\/(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+)(?:\/(?:tree|blob|resolve)\/([^/?#]+)(?:\/([^?#]+))?)?\/?(?:[?#].*)?$/;
  const [, repo, revision, file] = onHub.exec(value) ?? [];
  if (repo) {
    return { repo, ...(revision && revision !== 'main' && { revision }), ...(file && { file }), ...hubUrl };
  }
  return /^[a-z][a-z\d+.-]*:|^[./]/i.test(value) && URL.canParse(value, document.baseURI) ? { url: value } : undefined;
}

/** What the address of the page asks for. The library checks the load options. */
export interface Address {
  source: PageSource;
  options: LoadOptions;
  /** `?hub=`: another hub than Hugging Face's, for every repository. */
  hub: string | undefined;
}

/** `?model=` (repository or URL), `?file=`, `?revision=`, `?hub=` and load options. */
export function readAddress(search: string): Address {
  const query = new URLSearchParams(search);
  const word = (key: string) => query.get(key) || undefined;
  const number = (key: string) => (query.has(key) ? Number(query.get(key)) : undefined);
  const [model, file, revision] = ['model', 'file', 'revision'].map(word);
  const hub = word('hub')?.replace(/\/+$/, '');
  const named: PageSource = model ? (parseSource(model, hub) ?? { url: model }) : embedded;
  return {
    source: isRepository(named) ? { ...named, ...(file && { file }), ...(revision && { revision }) } : named,
    options: {
      threads: number('threads'),
      contextLength: number('contextLength'),
      kernel: word('kernel') as LoadOptions['kernel'],
      lmHead: word('lmHead') as LoadOptions['lmHead'],
      kvCache: word('kvCache') as LoadOptions['kvCache'],
    },
    hub,
  };
}

/** The page's query with `source` in it, so that the next visit begins with it; never a token. Files leave no trace. */
export function writeAddress(search: string, source: PageSource): string {
  const query = new URLSearchParams(search);
  for (const key of ['model', 'file', 'revision']) query.delete(key);
  if (!Array.isArray(source) && !isEmbedded(source)) {
    const { repo, file, revision, url } = { repo: '', file: '', revision: '', url: '', ...source };
    for (const [key, value] of Object.entries({ model: repo || url, file, revision })) if (value) query.set(key, value);
  }
  const text = query.toString().replaceAll('%2F', '/').replaceAll('%3A', ':');
  return text && `?${text}`;
}
