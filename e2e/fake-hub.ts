/**
 * A Hugging Face hub in small: the endpoints, headers and statuses that a download meets, from repositories given by a
 * test. Large files are redirected to a second host, as the hub does. Everything may be fetched from any origin.
 * (https://huggingface.co/docs/hub/api, and what the clients @huggingface/hub and huggingface_hub read.)
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  describeFile,
  type Entry,
  type FakeFile,
  type Faults,
  inLfs,
  type Requested,
  sendFile,
  strikes,
} from './fake-files';

export interface FakeRepo {
  /** By path, of branch `main`. */
  files: Record<string, FakeFile>;
  /** The token that reads the files; the listing is public. */
  gated?: string;
  /** The token that sees the repository at all. */
  private?: string;
  /** Further files that are kept in LFS, as .gitattributes may say. */
  lfs?: RegExp;
}

export interface FakeHubOptions {
  /** Entries of one page of a listing. Default 1000, as the hub. */
  pageSize?: number;
  /** Tokens that the hub knows, beside those that open a repository. */
  tokens?: string[];
}

export interface FakeHub {
  /** What `hubUrl` is set to. */
  readonly url: string;
  /** Where large files come from. */
  readonly cdnUrl: string;
  /** Every request but preflights, in order. Clear it with `length = 0`. */
  readonly requests: Requested[];
  /** What goes wrong: by `owner/name/path` with a file, by `owner/name` with the API. May be changed at any time. */
  readonly faults: Map<string, Faults>;
  /** Whether connections are taken. Setting it to false also breaks those that there are. */
  reachable: boolean;
  /** Requests that came while it was not reachable. */
  readonly turnedAway: number;
  /** The commit of a branch. */
  commitOf(repo: string, branch?: string): string;
  /** Puts new files on a branch, which may be new; the older commits stay. Returns the new commit. */
  commit(repo: string, files: Record<string, FakeFile>, branch?: string): string;
  /** Takes a commit away, as a rewritten history does. */
  forget(repo: string, commit: string): void;
  close(): Promise<void>;
}

interface Commit {
  files: Map<string, FakeFile>;
  /** Made when first asked for: digests take a while. */
  entries: () => Map<string, Entry>;
}

interface Repo extends Omit<FakeRepo, 'files'> {
  name: string;
  branches: Map<string, string>;
  commits: Map<string, Commit>;
}

interface State {
  url: string;
  cdnUrl: string;
  pageSize: number;
  repos: Map<string, Repo>;
  faults: Map<string, Faults>;
  /** Authorization headers that are valid. */
  known: Set<string>;
  /** What the CDN was told to serve, by signature. */
  signed: Map<string, { key: string; file: FakeFile; etag: string }>;
}

/** One request on its way to an answer. */
interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  log: Requested;
}

const EXPOSED = [
  ...['Content-Range', 'ETag', 'Link', 'Accept-Ranges', 'Retry-After', 'X-Error-Code', 'X-Error-Message'],
  ...['X-Linked-Size', 'X-Linked-ETag', 'X-Repo-Commit', 'X-Xet-Hash', 'X-Request-Id'],
].join(', ');

/** Starts both hosts on free ports. The addresses say `localhost`, which browsers trust as they trust https. */
export async function startFakeHub(repos: Record<string, FakeRepo>, options: FakeHubOptions = {}): Promise<FakeHub> {
  const { pageSize = 1000, tokens = [] } = options;
  const opening = Object.values(repos).flatMap((repo) => [repo.gated, repo.private]);
  const state: State = {
    url: '',
    cdnUrl: '',
    pageSize,
    repos: new Map(),
    faults: new Map(),
    known: new Set([...tokens, ...opening].map((token) => `Bearer ${token}`)),
    signed: new Map(),
  };
  for (const [name, { files, ...access }] of Object.entries(repos)) {
    state.repos.set(name, { name, ...access, branches: new Map(), commits: new Map() });
    addCommit(state.repos.get(name)!, files, 'main');
  }

  const requests: Requested[] = [];
  let reachable = true;
  let turnedAway = 0;
  const serverOf = (host: 'hub' | 'cdn') =>
    createServer((request, response) => {
      if (!reachable) {
        turnedAway++;
        request.socket.destroy();
      } else serve(state, host, request, response, requests);
    });
  const servers = [serverOf('hub'), serverOf('cdn')];
  const urls = servers.map(async (server) => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://localhost:${(server.address() as AddressInfo).port}`;
  });
  [state.url, state.cdnUrl] = (await Promise.all(urls)) as [string, string];
  return {
    url: state.url,
    cdnUrl: state.cdnUrl,
    requests,
    faults: state.faults,
    get reachable() {
      return reachable;
    },
    set reachable(now: boolean) {
      reachable = now;
      if (!now) for (const server of servers) server.closeAllConnections();
    },
    get turnedAway() {
      return turnedAway;
    },
    commitOf: (repo, branch = 'main') => state.repos.get(repo)!.branches.get(branch)!,
    commit: (repo, files, branch = 'main') => addCommit(state.repos.get(repo)!, files, branch),
    forget: (repo, commit) => void state.repos.get(repo)!.commits.delete(commit),
    async close() {
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      for (const server of servers) server.closeAllConnections();
      await Promise.all(closed);
    },
  };
}

function addCommit({ lfs, branches, commits }: Repo, given: Record<string, FakeFile>, branch: string): string {
  const files = new Map(Object.entries(given));
  let entries: Map<string, Entry> | undefined;
  const describe = () => {
    const found = [...files].map(([path, file]) => {
      return [path, describeFile(path, file, inLfs(path, file) || !!lfs?.test(path))] as const;
    });
    entries = new Map(found);
    return entries;
  };
  const sha = randomBytes(20).toString('hex');
  commits.set(sha, { files, entries: () => entries ?? describe() });
  branches.set(branch, sha);
  return sha;
}

function serve(
  state: State,
  host: 'hub' | 'cdn',
  request: IncomingMessage,
  response: ServerResponse,
  requests: Requested[],
): void {
  response.setHeader('Access-Control-Allow-Origin', '*');
  response.setHeader('Access-Control-Expose-Headers', EXPOSED);
  if (request.method === 'OPTIONS') {
    response.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, POST');
    response.setHeader('Access-Control-Allow-Headers', 'Authorization, Range, Accept, Content-Type');
    response.writeHead(204).end();
    return;
  }
  const url = new URL(request.url!, host === 'hub' ? state.url : state.cdnUrl);
  const { range, authorization } = request.headers;
  const log: Requested = {
    host,
    method: request.method!,
    path: url.pathname,
    range,
    authorization,
    status: 0,
    sent: 0,
  };
  requests.push(log);
  const exchange = { request, response, url, log };
  if (host === 'cdn') answerCdn(state, exchange);
  else if (/^\/api\/models\//.test(url.pathname)) answerApi(state, exchange);
  else answerFile(state, exchange);
}

function answerJson({ response, log }: Exchange, status: number, body: unknown): void {
  log.status = status;
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

function refuse(exchange: Exchange, status: number, code: string, message: string): undefined {
  if (code) exchange.response.setHeader('X-Error-Code', code);
  exchange.response.setHeader('X-Error-Message', message);
  answerJson(exchange, status, { error: message });
}

/** Answers with a status as the test wants it, if it does. */
function refusedByFault(exchange: Exchange, faults: Faults | undefined, host: 'hub' | 'cdn'): boolean {
  const fault = faults?.refuse;
  if (!fault || (fault.host ?? 'hub') !== host || !strikes(fault)) return false;
  if (fault.retryAfter !== undefined) exchange.response.setHeader('Retry-After', fault.retryAfter);
  refuse(exchange, fault.status, '', 'as the test wants it');
  return true;
}

function refuseGated(exchange: Exchange, { name }: Repo, known: boolean): undefined {
  const start = `Access to model ${name} is restricted`;
  if (known) refuse(exchange, 403, 'GatedRepo', `${start} and you are not in the authorized list.`);
  // The hub says so to a token that it does not know, too.
  else refuse(exchange, 401, 'GatedRepo', `${start}. You must have access to it and be authenticated to access it.`);
}

/** The repository and commit that are asked for; undefined if that was answered with a refusal. */
function find(state: State, exchange: Exchange, id: string, revision: string, reading: boolean) {
  const authorization = exchange.request.headers.authorization;
  const known = authorization !== undefined && state.known.has(authorization);
  const repo = state.repos.get(id);
  if (reading && repo?.gated !== undefined && authorization !== `Bearer ${repo.gated}`) {
    return refuseGated(exchange, repo, known);
  }
  if (authorization !== undefined && !known) {
    return refuse(exchange, 401, '', 'Invalid credentials in Authorization header');
  }
  // Who may not know of a repository is told the same as where there is none.
  if (!repo || (repo.private !== undefined && authorization !== `Bearer ${repo.private}`)) {
    if (known) return refuse(exchange, 404, 'RepoNotFound', 'Repository not found');
    return refuse(exchange, 401, '', 'Invalid username or password.');
  }
  const sha = repo.branches.get(revision === 'HEAD' ? 'main' : revision) ?? revision;
  const commit = repo.commits.get(sha);
  if (!commit) return refuse(exchange, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  return { repo, sha, commit };
}

/** /api/models/OWNER/NAME, and under it revision/REV, tree/REV/FOLDER and paths-info/REV. */
function answerApi(state: State, exchange: Exchange): void {
  const { url, request } = exchange;
  const [owner, name, what = 'revision', revision = 'main', ...folder] = url.pathname
    .slice('/api/models/'.length)
    .split('/')
    .map(decodeURIComponent);
  const id = `${owner}/${name}`;
  if (refusedByFault(exchange, state.faults.get(id), 'hub')) return;
  const found = find(state, exchange, id, revision, false);
  if (!found) return;
  const { repo, sha, commit } = found;
  if (what === 'revision') answerJson(exchange, 200, infoOf(repo, sha, commit));
  else if (what === 'tree') answerTree(state, exchange, commit, `${state.url}/api/models/${id}/tree/${sha}`, folder);
  else if (what === 'paths-info' && request.method === 'POST') void answerPathsInfo(exchange, commit);
  else refuse(exchange, 404, '', 'Not Found');
}

/** The fields that the hub sends whatever `expand` asks for, and those that a download may ask for. */
function infoOf(repo: Repo, sha: string, { files }: Commit): Record<string, unknown> {
  return {
    _id: createHash('md5').update(repo.name).digest('hex').slice(0, 24),
    id: repo.name,
    sha,
    private: repo.private !== undefined,
    gated: repo.gated === undefined ? false : 'manual',
    downloads: 0,
    likes: 0,
    lastModified: '2026-01-01T00:00:00.000Z',
    siblings: [...files.keys()].map((rfilename) => ({ rfilename })),
  };
}

function answerTree(state: State, exchange: Exchange, commit: Commit, address: string, folder: string[]): void {
  const { searchParams } = exchange.url;
  const recursive = searchParams.get('recursive') === 'true';
  const under = folder.map((name) => `${name}/`).join('');
  const files = [...commit.entries().values()].filter(({ path }) => path.startsWith(under));
  const folders = new Set(
    files.flatMap(({ path }) => [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))),
  );
  const entries = [
    ...[...folders].map((path) => ({ type: 'directory', oid: '0'.repeat(40), size: 0, path })),
    ...files,
  ].filter(({ path }) => path.startsWith(under) && (recursive || !path.slice(under.length).includes('/')));
  const start = Number(searchParams.get('cursor') ?? 0);
  const end = start + state.pageSize;
  if (end < entries.length) {
    const next = new URL([address, ...folder].join('/'));
    next.search = String(new URLSearchParams({ recursive: String(recursive), cursor: String(end) }));
    exchange.response.setHeader('Link', `<${next}>; rel="next"`);
  }
  answerJson(exchange, 200, entries.slice(start, end));
}

async function answerPathsInfo(exchange: Exchange, commit: Commit): Promise<void> {
  const { paths } = JSON.parse(Buffer.concat(await exchange.request.toArray()).toString()) as { paths: string[] };
  const found = paths.map((path) => commit.entries().get(path)).filter((entry) => entry !== undefined);
  answerJson(exchange, 200, found);
}

/** /OWNER/NAME/resolve/REV/PATH: plain files after a redirect to the hub's own cache, LFS files on the CDN. */
function answerFile(state: State, exchange: Exchange): undefined {
  const { url, request, response, log } = exchange;
  const cached = url.pathname.startsWith('/api/resolve-cache/models/');
  const parts = url.pathname.split('/').slice(cached ? 4 : 1);
  if (cached) parts.splice(2, 0, 'resolve');
  const [owner, name, what, revision = '', ...rest] = parts.map(decodeURIComponent);
  const id = `${owner}/${name}`;
  const path = rest.join('/');
  log.file = `${id}/${path}`;
  const faults = state.faults.get(log.file) ?? {};
  if (refusedByFault(exchange, faults, 'hub')) return;
  if (what !== 'resolve') return refuse(exchange, 404, '', 'Not Found');
  const found = find(state, exchange, id, revision, true);
  if (!found) return;
  const file = found.commit.files.get(path);
  const entry = found.commit.entries().get(path);
  if (!file || !entry) return refuse(exchange, 404, 'EntryNotFound', 'Entry not found');
  response.setHeader('X-Repo-Commit', found.sha);
  const redirect = (status: number, location: string) => {
    log.status = status;
    response.writeHead(status, { Location: location }).end();
  };
  if (entry.lfs) {
    response.setHeader('X-Linked-Size', entry.size);
    response.setHeader('X-Linked-ETag', `"${entry.lfs.oid}"`);
    response.setHeader('X-Xet-Hash', entry.xetHash!);
    redirect(302, sign(state, log.file, file, entry.lfs.oid));
  } else if (cached) {
    void sendFile(request, response, file, `"${entry.oid}"`, faults, log);
  } else {
    const target = [id, found.sha, ...rest.map(encodeURIComponent)].join('/');
    redirect(307, `/api/resolve-cache/models/${target}?etag=${encodeURIComponent(`"${entry.oid}"`)}`);
  }
}

function sign(state: State, key: string, file: FakeFile, sha256: string): string {
  const signature = randomBytes(32).toString('hex');
  state.signed.set(signature, { key, file, etag: `"${sha256}"` });
  const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=${signature}&x-id=GetObject`;
  return `${state.cdnUrl}/xet-bridge-us/${sha256}?${query}`;
}

/** The store behind the hub: it knows signed addresses, and refuses a second way of authorization, as S3 does. */
function answerCdn(state: State, exchange: Exchange): undefined {
  const { url, request, response, log } = exchange;
  const order = state.signed.get(url.searchParams.get('X-Amz-Signature') ?? '');
  if (!order) return refuse(exchange, 403, '', 'AccessDenied');
  if (request.headers.authorization !== undefined) return refuse(exchange, 400, '', 'InvalidArgument');
  log.file = order.key;
  const faults = state.faults.get(order.key) ?? {};
  if (refusedByFault(exchange, faults, 'cdn')) return;
  void sendFile(request, response, order.file, order.etag, faults, log);
}
