/** A model repository on the Hugging Face hub, pinned to one commit. Listed by the hub's client, read in plain ranges. */
import { listFiles, modelInfo } from '@huggingface/hub';
import { SternaError } from '../errors';
import type { HubSource } from '../protocol/load-types';
import { type ByteSource, remoteSource } from './download';
import type { Folder, Listing, Opening } from './origin';
import {
  ask,
  type Call,
  firstContact,
  joinPieces,
  MOST_TEXT_BYTES,
  refusal,
  Transient,
  throwIfAborted,
  withRetries,
} from './request';

const HUB = 'https://huggingface.co';
/** Listings of the largest repositories are a few MB. */
const MOST_API_BYTES = 64 * 2 ** 20;
/** Entries of a listing, folders among them. No repository with a model has near as many. */
const MOST_ENTRIES = 100_000;

/**
 * Opens a repository: resolves the revision to a commit, and lists that. From then on every byte is of this commit.
 * The token goes to the hub alone: browsers drop it when the hub redirects to another host, as it does for large files
 * (Fetch standard, HTTP-redirect fetch), and the host that is redirected to wants none.
 * @throws SternaError `bad-input`, `offline`, `aborted`; `download` if there is no such repository or revision, or if the
 * token does not open it; `bad-file` if there is no such `file`, or more than 100,000 files
 */
export async function openHub(source: HubSource, { signal, report, patience }: Opening): Promise<Folder> {
  const { repo, revision = 'main', file, token } = checked(source);
  const hubUrl = checkedHub(source.hubUrl ?? HUB);
  const explain = (response: Response, path: string) => explainRefusal(response, path, `${hubUrl}/${repo}`, revision);
  const callFor = (path: string): Call => ({ file: path, patience, report, explain });

  const api = { ...callFor(repo), patience: firstContact(patience) };
  const client = {
    hubUrl,
    fetch: clientFetch(hubUrl, api, signal),
    ...(token === undefined ? {} : { accessToken: token }),
  };
  const { commit, files } = await list(client, repo, revision);
  const byPath = new Map(files.map((listing) => [listing.path, listing]));
  if (file !== undefined && !byPath.has(file)) {
    const facts = { file, got: 'nothing', expected: `a file in ${hubUrl}/${repo}, revision ${revision}` };
    throw new SternaError('bad-file', 'there is no such file', facts);
  }

  const headers = { ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) };
  const sourceOf = ({ path, size, sha256 }: Listing) => {
    const url = `${hubUrl}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
    return remoteSource({
      ...callFor(path),
      url,
      headers,
      size,
      sha256,
      etag: null,
      modified: null,
      ranged: undefined,
    });
  };
  return {
    name: repo,
    address: `${hubUrl}/${repo}`,
    key: hubKey(source),
    version: commit,
    files,
    file,
    async open(path) {
      const listing = byPath.get(path);
      return listing ? sourceOf(listing) : null;
    },
    async bytes(path) {
      const listing = byPath.get(path);
      return listing && withRetries(callFor(path), signal, () => readChecked(listing, sourceOf, signal));
    },
  };
}

/** `hub:https://huggingface.co/owner/name@main`, with `#file` where the source names one. */
export function hubKey(source: HubSource): string {
  const { repo, revision = 'main', file } = checked(source);
  return `hub:${checkedHub(source.hubUrl ?? HUB)}/${repo}@${revision}${file === undefined ? '' : `#${file}`}`;
}

/** What every call of the hub's client is given. */
interface Client {
  hubUrl: string;
  fetch: typeof fetch;
  accessToken?: string;
}

/** The commit that a revision stands for now, and its files. */
async function list(client: Client, repo: string, revision: string): Promise<{ commit: string; files: Listing[] }> {
  try {
    const { sha: commit } = await modelInfo({ ...client, name: repo, revision, additionalFields: ['sha'] });
    if (!/^[0-9a-f]{40,64}$/.test(commit)) throw new Error(`no commit, but ${commit}`);
    const files: Listing[] = [];
    let seen = 0;
    const entries = listFiles({ ...client, repo: { type: 'model', name: repo }, revision: commit, recursive: true });
    for await (const { type, path, size, lfs, oid } of entries) {
      if (++seen > MOST_ENTRIES) {
        const facts = { file: repo, got: 'more', expected: `at most ${MOST_ENTRIES} files and folders` };
        throw new SternaError('bad-file', 'too many files', facts);
      }
      if (type === 'file') files.push({ path, size, oid, ...(lfs ? { sha256: lfs.oid } : {}) });
    }
    return { commit, files };
  } catch (error) {
    if (error instanceof SternaError) throw error;
    const facts = { file: repo, got: `${error}`, expected: 'a commit and a list of files' };
    throw new SternaError('download', 'an answer of the hub cannot be read', facts);
  }
}

/** `fetch` for the hub's client, with our retries, limits and errors; the client sees success only. */
function clientFetch(hubUrl: string, call: Call, signal: AbortSignal): typeof fetch {
  return (input, init) =>
    withRetries(call, signal, async () => {
      const url = new URL(String(input));
      const headers = new Headers(init?.headers);
      // The address of the next page of a list comes from the server: it must not lead the token elsewhere.
      if (url.origin !== new URL(hubUrl).origin) headers.delete('Authorization');
      const { response, pieces, close } = await ask(url.href, { ...init, headers }, call, signal);
      try {
        if (!response.ok) throw refusal(response, 'HTTP 200', call);
        const body = await joinPieces(pieces, MOST_API_BYTES, call.file);
        return new Response(body, { status: response.status, headers: response.headers });
      } finally {
        close();
      }
    });
}

/**
 * What the hub means by a status: `X-Error-Code` says it. Without a code, 401 stands for a private repository, one
 * that does not exist, or a wrong token (as the Python client huggingface_hub reads it, `hf_raise_for_status`).
 */
function explainRefusal(response: Response, file: string, page: string, revision: string): SternaError | undefined {
  const [code, message] = ['X-Error-Code', 'X-Error-Message'].map((name) => response.headers.get(name));
  const got = [`HTTP ${response.status}`, code, message].filter(Boolean).join(', ');
  if (code === 'GatedRepo') {
    const what = `access to this model is granted on ${page}; then it takes a token of that account`;
    return new SternaError('download', what, { file, got, expected: 'a token with access' });
  }
  if (code === 'RevisionNotFound') {
    const facts = { file, got, expected: 'a branch, a tag or a commit' };
    return new SternaError('download', `no revision ${revision} of ${page}`, facts);
  }
  if (message === 'Invalid credentials in Authorization header') {
    return new SternaError('download', 'the hub does not know this token', { file, got, expected: 'a valid token' });
  }
  if (code === 'RepoNotFound' || response.status === 401) {
    const what = `no such repository, or a private one that takes a token: ${page}`;
    return new SternaError('download', what, { file, got, expected: 'a repository' });
  }
  return undefined;
}

/** A whole file; its digest is checked where the listing has one. */
async function readChecked(listing: Listing, sourceOf: (listing: Listing) => ByteSource, signal: AbortSignal) {
  const { path: file, size, sha256: expected } = listing;
  throwIfAborted(signal, file);
  if (size > MOST_TEXT_BYTES) {
    throw new SternaError('bad-file', 'too long', { file, got: size, expected: `at most ${MOST_TEXT_BYTES} bytes` });
  }
  const bytes = await sourceOf(listing).read(0, size, signal);
  // Browsers have `subtle` on https and localhost only.
  if (expected === undefined || !globalThis.crypto?.subtle) return bytes;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const got = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (got === expected) return bytes;
  throw new Transient(
    new SternaError('download', 'damaged on the way: its sha256 is another', { file, got, expected }),
  );
}

function checked(source: HubSource): HubSource {
  const { repo, revision, file, token } = source;
  // The hub still redirects old names without an owner; keys need one, to be told from the address before them.
  const name = /^[\w-][\w.-]*\/[\w-][\w.-]*$/;
  if (typeof repo !== 'string' || !name.test(repo)) {
    throw new SternaError('bad-input', 'repo', { got: String(repo), expected: 'owner/name' });
  }
  for (const [key, value] of Object.entries({ revision, file })) {
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw new SternaError('bad-input', key, { got: JSON.stringify(value), expected: 'a text' });
    }
  }
  // What is not a token may be another secret, pasted by mistake: it is not repeated.
  if (token !== undefined && (typeof token !== 'string' || !/^hf_[\x21-\x7e]+$/.test(token))) {
    throw new SternaError('bad-input', 'token', { got: 'something else', expected: 'hf_...' });
  }
  return source;
}

function checkedHub(hubUrl: string): string {
  const url = URL.canParse(hubUrl) ? new URL(hubUrl) : undefined;
  if (url?.username || url?.password) {
    const facts = { got: `a user's name or password for ${url.host}`, expected: 'a URL without' };
    throw new SternaError('bad-input', 'hubUrl', facts);
  }
  if (url && /^https?:$/.test(url.protocol) && !url.search && !url.hash) return url.href.replace(/\/+$/, '');
  throw new SternaError('bad-input', 'hubUrl', { got: String(hubUrl), expected: 'the address of a hub' });
}
