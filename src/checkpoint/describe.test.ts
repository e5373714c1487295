import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { randomWeights } from '../../bench/random-weights';
import { checkpointFiles } from '../../bench/synthesize';
import { failure, hasty, never } from '../../e2e/source-checks';
import { openOrigin } from '../sources/origin';
import { describe, versionOf } from './describe';
import { createReport } from './progress';

/** A web server with these files. A file has the state (ETag or Last-Modified) that the test gives its path. */
async function serve(files: ReturnType<typeof checkpointFiles>['files'], states: Map<string, Record<string, string>>) {
  const server = createServer((request, response) => {
    const path = request.url!.slice('/model/'.length);
    const file = states.has('gone') && states.get('gone')!.path === path ? undefined : files[path];
    if (!file) return void response.writeHead(404).end();
    for (const [name, value] of Object.entries(states.get(path) ?? {})) response.setHeader(name, value);
    const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')?.map(Number) ?? [];
    if (from === undefined) return void response.writeHead(200).end(file.read(0, file.size));
    const to = Math.min(last! + 1, file.size);
    response.writeHead(206, { 'Content-Range': `bytes ${from}-${to - 1}/${file.size}` }).end(file.read(from, to));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/model` };
}

const small = { hidden: 256, ffn: 256, layers: 2, heads: 2, kvHeads: 1, vocab: 512, family: 'bitnet' } as const;

test.each([
  ['i2_s', '/model-00002-of-00002.gguf'],
  ['multiply', '/'],
] as const)('the version of a model at a URL in parts is told by all of them: %s', async (format, named) => {
  const { files } = checkpointFiles(randomWeights(small), { format, parts: 2 });
  const parts = Object.keys(files).filter((path) => /-of-00002/.test(path));
  expect(parts).toHaveLength(2);
  const modified = 'Mon, 02 Nov 2026 10:00:00 GMT';
  const states = new Map<string, Record<string, string>>([
    [parts[0]!, { ETag: 'W/"a"' }],
    [parts[1]!, { 'Last-Modified': modified }],
  ]);
  const { server, url } = await serve(files, states);
  const open = () => openOrigin({ url: url + named }, never, undefined, hasty);
  const version = async () => versionOf(await open());

  const origin = await open();
  const first = await versionOf(origin);
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  const { description } = await describe(
    origin,
    never,
    createReport(() => {}),
  );
  expect(description.version).toBe(first);
  expect(description.format).toBe(format === 'i2_s' ? 'GGUF I2_S' : 'packed safetensors');
  expect(description.files.map(({ path, tag }) => [path, tag])).toEqual([
    [parts[0], '"a"'],
    [parts[1], modified],
  ]);
  const texts = Object.entries(files).filter(([path]) => path.endsWith('.json'));
  expect(description.textBytes).toBe(texts.reduce((sum, [, { size }]) => sum + size, 0));

  states.set('config.json', { ETag: '"other"' });
  states.set('model.safetensors.index.json', { ETag: '"other"' });
  expect(await version()).toBe(first);
  for (const part of parts) {
    const right = states.get(part)!;
    for (const state of [{ ETag: '"b"' }, {}] as Record<string, string>[]) {
      states.set(part, state);
      expect(await version()).not.toBe(first);
    }
    states.set(part, right);
    expect(await version()).toBe(first);
    states.set('gone', { path: part });
    expect(await failure(version)).toMatchObject({ code: 'bad-file', file: part, got: 'nothing' });
    states.delete('gone');
  }
  server.close();
});

test('picked files have no version', async () => {
  expect(await versionOf(await openOrigin([new File(['x'], 'model.gguf')], never))).toBe('');
});
