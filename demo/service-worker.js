/**
 * Keeps the built page in the browser, so that it starts without a connection, and answers with the headers of cross-origin
 * isolation, so that static hosts that send none get threads too. Models are none of its business: the library keeps them.
 * The build puts in what is to be kept (scripts/service-worker.mjs).
 */

/** The files of this build, with their digests; and one word for all of them. */
const files = new Map(Object.entries('__FILES__'));
const version = '__VERSION__';

const { scope } = self.registration;
/** An origin may have other pages of this kind, under other paths. */
const prefix = `sterna ${scope} `;

const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

function isolated(response) {
  const headers = { 'Content-Type': response.headers.get('Content-Type') ?? '', ...isolation };
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** Exactly the files of one build: while a host changes over, it may still send some of the last one. */
async function keep() {
  const cache = await caches.open(prefix + version);
  const get = async ([file, integrity]) => {
    const response = await fetch(new Request(scope + file, { integrity, cache: 'no-cache' }));
    if (!response.ok) throw new Error(`${file}: HTTP ${response.status}`);
    await cache.put(scope + file, isolated(response));
  };
  await Promise.all([...files].map(get));
}

/** The last build stays too: tabs that still show it may ask for more of its files. */
async function forget() {
  const ours = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== prefix + version);
  await Promise.all(ours.slice(0, -1).map((name) => caches.delete(name)));
}

/** From this build, else the last one, else the network. */
async function find(url) {
  const others = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== prefix + version);
  for (const cacheName of [prefix + version, ...others]) {
    const kept = await caches.match(url, { cacheName });
    if (kept) return kept;
  }
  return isolated(await fetch(url));
}

self.addEventListener('install', (event) => event.waitUntil(keep()));
self.addEventListener('activate', (event) => event.waitUntil(forget().then(() => self.clients.claim())));
// asked for by the page, once the visitor wants the new version
self.addEventListener('message', ({ data }) => data === 'activate' && self.skipWaiting());
self.addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  const address = url.replace(/[?#].*$/, '');
  if (method !== 'GET' || !address.startsWith(scope)) return;
  const file = address.slice(scope.length) || 'index.html';
  if (files.has(file) || file.startsWith('assets/')) event.respondWith(find(scope + file));
});
