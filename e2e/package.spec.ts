/** The npm package, packed and installed: it chats from Vite, webpack, no bundler, another origin, and under a strict CSP. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, type Page, test } from '@playwright/test';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { build, createServer } from 'vite';
import webpack from 'webpack';
import { buildLibrary } from '../scripts/build-library.mjs';
import { sizes } from '../scripts/size.mjs';
import { linkPackages } from './link-packages';
import { isolation, type StaticServer, serveStatic } from './static-server';

const root = fileURLToPath(new URL('..', import.meta.url));
const models = join(root, 'demo/public/models/');
const work = mkdtempSync(join(tmpdir(), 'sterna-package-'));
/** A user's project, with the packed library installed. */
const project = join(work, 'project');
const installed = join(project, 'node_modules/sterna');
const servers: StaticServer[] = [];

/** What a user writes; the answer and the threads end up in the page. */
const chat = (options = '{}', sterna = 'sterna') => `
import { features, load } from '${sterna}';
const show = (text) => document.body.append(text);
try {
  const options = ${options};
  const { simd } = await features(options);
  const model = await load({ url: '/models/tiny-stories-ternary/' }, { threads: 2, ...options });
  const messages = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
  const { text } = await model.chat(messages, { temperature: 0, maxTokens: 20 }).result;
  const responseFormat = { type: 'regex', pattern: '(red|green) dog' };
  const formatted = (await model.chat(messages, { responseFormat }).result).text.replace(/^(red|green) dog$/, 'in a format');
  await model.dispose();
  show('simd ' + simd + ', ' + model.info.threads + ' threads, ' + formatted + ': ' + text);
} catch (error) {
  show('failed: ' + error);
}
`;
const html = (script: string) => `<!doctype html><meta charset="utf-8"><title>chat</title><body>${script}`;
const moduleScript = html('<script type="module" src="./main.js"></script>');
const story = 'Once upon a time, there was a little dog named Spot. Spot loved to play';

function write(folder: string, files: Record<string, string>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function checkTypes(folder: string, file: string, ...more: string[]): void {
  for (const resolution of ['bundler', 'nodenext']) {
    const kind = ['--module', resolution === 'bundler' ? 'esnext' : 'nodenext', '--moduleResolution', resolution];
    const flags = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,dom,dom.iterable', '--types', ''];
    const tsc = spawnSync(join(root, 'node_modules/.bin/tsc'), [...flags, ...kind, ...more, file], { cwd: folder });
    expect(String(tsc.stdout)).toBe('');
    expect(tsc.status).toBe(0);
  }
}

async function serve(folder: string, headers: Record<string, string> = isolation): Promise<StaticServer> {
  const server = await serveStatic({ '/': folder, '/models/': models }, headers);
  servers.push(server);
  return server;
}

async function chats(page: Page, url: string, threads = 2): Promise<void> {
  const strange: string[] = [];
  page.on('console', (message) => {
    const icon = message.location().url.endsWith('/favicon.ico'); // there is none
    if (message.type() === 'error' && !icon) strange.push(message.text());
  });
  await page.goto(url);
  await expect(page.locator('body')).toHaveText(/threads, |failed: /);
  await expect(page.locator('body')).toContainText(`simd true, ${threads} threads, in a format: ${story}`);
  expect(strange).toEqual([]);
}

test.beforeAll(async () => {
  await buildLibrary();
  const npm = (folder: string, ...args: string[]) => execFileSync('npm', args, { cwd: folder, encoding: 'utf8' });
  const packed = JSON.parse(npm(root, 'pack', '--ignore-scripts', '--json', '--pack-destination', work));
  write(project, { 'package.json': '{ "private": true, "type": "module" }' });
  npm(project, 'install', '--offline', '--no-audit', '--no-fund', join(work, packed[0].filename));
});

test.afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});
test.afterAll(() => rmSync(work, { recursive: true, force: true }));

test('is what publint asks for, and brings nothing else along', async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true });
  expect(messages.map((message) => formatMessage(message, pkg as Record<string, unknown>, { color: false }))).toEqual(
    [],
  );
  const lock = JSON.parse(readFileSync(join(project, 'node_modules/.package-lock.json'), 'utf8'));
  expect(Object.keys(lock.packages)).toEqual(['node_modules/sterna']);
  const licences = readFileSync(join(installed, 'dist/licences.txt'), 'utf8');
  for (const name of ['comlink', '@huggingface/jinja', '@huggingface/tokenizers', 'hash-wasm', 'idb-keyval']) {
    expect(licences).toContain(`${name} `);
  }
});

test('is small: what a page loads stays below 150 kB', async () => {
  const { file, gzip } = (await sizes()).at(-1)!;
  expect(file).toMatch(/isolated page/);
  expect(gzip).toBeGreaterThan(50_000);
  expect(gzip).toBeLessThan(150_000);
});

test('can be imported on a server, where nothing of it runs', () => {
  const script = `import { load } from 'sterna'; import { sterna } from 'sterna/ai-sdk';
    console.log(typeof load, sterna('owner/name').modelId)`;
  const args = ['--input-type=module', '--eval', script];
  expect(execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' })).toBe('function owner/name\n');
});

test('the AI SDK entry takes the library from the main one, and nothing of its own along', async () => {
  const script = readFileSync(join(installed, 'dist/ai-sdk.js'), 'utf8');
  expect([...script.matchAll(/\bfrom "([^"]+)"/g)].map(([, from]) => from)).toEqual(['./index.js']);
  const { gzip } = (await sizes()).find(({ file }) => file === 'ai-sdk.js')!;
  expect(gzip).toBeLessThan(5_000);
});

test('its types hold in a project of either resolution, and know the API', () => {
  const user = `
import { type AssetUrls, load, type Model, SternaError } from 'sterna';
const assets: AssetUrls = { 'engine.worker.js': '/engine.js' };
export const model: Promise<Model> = load('owner/name', { assets });
export const text: Promise<string> = model.then((m) => m.chat([{ role: 'user', content: 'Hi' }]).result).then((r) => r.text);
export const code = (error: unknown): string | undefined => (error instanceof SternaError ? error.code : undefined);
// @ts-expect-error no such asset
load('owner/name', { assets: { 'engine.js': '' } });
`;
  write(project, { 'user.ts': user });
  checkTypes(project, 'user.ts');
});

test("its types fit the AI SDK's, where that is installed", () => {
  const user = `
import { streamText } from 'ai';
import { sterna, type SternaProviderOptions } from 'sterna/ai-sdk';
export const { textStream } = streamText({
  model: sterna('owner/name', { contextLength: 2048, onProgress: ({ loaded }) => console.log(loaded) }),
  prompt: 'Hi',
  providerOptions: { sterna: { minP: 0.1 } satisfies SternaProviderOptions },
});
// @ts-expect-error no such setting
sterna('owner/name', { mood: 'good' });
`;
  const app = write(join(project, 'ai-app'), { 'user.ts': user });
  linkPackages(app, ['ai', '@ai-sdk/provider']);
  checkTypes(app, 'user.ts', '--skipLibCheck');
});

test('chats in a Vite application, built', async ({ page }) => {
  const app = write(join(project, 'vite-app'), { 'index.html': moduleScript, 'main.js': chat() });
  await build({ root: app, configFile: false, logLevel: 'error', build: { target: 'es2022' } });
  await chats(page, (await serve(join(app, 'dist'))).origin);
});

test('chats in a Vite application, as it is developed', async ({ page }) => {
  const app = write(join(project, 'vite-dev'), { 'index.html': moduleScript, 'main.js': chat() });
  cpSync(models, join(app, 'public/models'), { recursive: true });
  const server = { port: 0, headers: isolation, host: '127.0.0.1' };
  const vite = await createServer({ root: app, configFile: false, logLevel: 'error', server });
  try {
    await vite.listen();
    const address = vite.httpServer!.address() as { port: number };
    await chats(page, `http://localhost:${address.port}/`);
  } finally {
    await vite.close();
  }
});

test('chats in a webpack application', async ({ page }) => {
  const app = write(join(project, 'webpack-app'), {
    'main.js': chat(),
    'dist/index.html': html('<script src="./main.js"></script>'),
  });
  const options: webpack.Configuration = {
    mode: 'production',
    context: app,
    entry: './main.js',
    output: { path: join(app, 'dist') },
    optimization: { minimize: false },
    performance: { hints: false }, // a worker of 250 kB is no surprise
  };
  await new Promise<void>((resolve, reject) => {
    webpack(options, (error, stats) => {
      if (error || stats?.hasErrors() || stats?.hasWarnings()) reject(error ?? new Error(stats?.toString()));
      else resolve();
    });
  });
  await chats(page, (await serve(join(app, 'dist'))).origin);
});

test('chats in a plain page, without a bundler @firefox', async ({ page }) => {
  const app = write(join(project, 'plain'), { 'index.html': moduleScript, 'main.js': chat('{}', '/sterna/index.js') });
  cpSync(join(installed, 'dist'), join(app, 'sterna'), { recursive: true });
  await chats(page, (await serve(app)).origin);
  // and on one thread, where no header isolates the page
  await chats(page, (await serve(app, {})).origin, 1);
});

/** A CDN: the package as it is, for every origin. */
const cdn = (): Promise<StaticServer> =>
  serve(installed, { 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin' });

test('chats from a CDN on another origin @firefox', async ({ page }) => {
  const { origin, asked } = await cdn();
  const app = write(join(project, 'from-cdn'), {
    'index.html': moduleScript,
    'main.js': chat('{}', `${origin}/dist/index.js`),
  });
  await chats(page, (await serve(app)).origin);
  for (const file of ['engine.worker.js', 'kernel.worker.js', 'formats.js', 'shared-relaxed.wasm']) {
    expect(asked).toContain(`/dist/assets/${file}`);
  }
});

/** Nothing inline, no eval, no blob. What a worker imports counts as a worker. */
const strict = (from = '') => ({
  ...isolation,
  'Content-Security-Policy': [
    "default-src 'none'",
    `script-src 'self' 'wasm-unsafe-eval' ${from}`,
    `worker-src 'self' ${from}`,
    `connect-src 'self' ${from}`,
    "base-uri 'none'",
  ].join('; '),
});

test('chats under a strict Content-Security-Policy', async ({ page }) => {
  const app = write(join(project, 'strict'), { 'index.html': moduleScript, 'main.js': chat('{}', '/sterna/index.js') });
  cpSync(join(installed, 'dist'), join(app, 'sterna'), { recursive: true });
  await chats(page, (await serve(app, strict())).origin);
});

test('chats from a CDN under a CSP without blobs: workers of the own origin import those of the CDN', async ({
  page,
}) => {
  const { origin } = await cdn();
  const app = write(join(project, 'strict-cdn'), {
    'index.html': moduleScript,
    'main.js': chat(
      "{ assets: { 'engine.worker.js': './engine.js', 'kernel.worker.js': './kernel.js' } }",
      `${origin}/dist/index.js`,
    ),
    'engine.js': `import '${origin}/dist/assets/engine.worker.js';`,
    'kernel.js': `import '${origin}/dist/assets/kernel.worker.js';`,
  });
  await chats(page, (await serve(app, strict(origin))).origin);
});

test('chats from a CDN under a CSP that allows workers of the CDN and blobs', async ({ page }) => {
  const { origin } = await cdn();
  const app = write(join(project, 'blob-cdn'), {
    'index.html': moduleScript,
    'main.js': chat('{}', `${origin}/dist/index.js`),
  });
  const { 'Content-Security-Policy': policy, ...rest } = strict(origin);
  const blobs = policy.replace('worker-src', 'worker-src blob:');
  await chats(page, (await serve(app, { ...rest, 'Content-Security-Policy': blobs })).origin);
});

test('chats with the assets in a folder of their own', async ({ page }) => {
  const app = write(join(project, 'folder'), {
    'index.html': moduleScript,
    'main.js': chat("{ assets: '/files/sterna' }", '/library.js'),
  });
  cpSync(join(installed, 'dist/index.js'), join(app, 'library.js'));
  cpSync(join(installed, 'dist/assets'), join(app, 'files/sterna'), { recursive: true });
  await chats(page, (await serve(app)).origin);
});

test('a CSP that forbids the workers, or the kernels: an error that says so', async ({ page }) => {
  const app = write(join(project, 'forbidden'), {
    'index.html': moduleScript,
    'main.js': chat('{}', '/sterna/index.js'),
  });
  cpSync(join(installed, 'dist'), join(app, 'sterna'), { recursive: true });
  const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'none'";
  await page.goto((await serve(app, { ...isolation, 'Content-Security-Policy': policy })).origin);
  await expect(page.locator('body')).toContainText(/failed: SternaError: .*engine\.worker\.js.*worker/);
  const noWasm = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'";
  await page.goto((await serve(app, { ...isolation, 'Content-Security-Policy': noWasm })).origin);
  await expect(page.locator('body')).toContainText(/failed: SternaError: .*WebAssembly/);
});
