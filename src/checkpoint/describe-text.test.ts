import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { ByteFile } from '../../bench/byte-file';
import type { Family } from '../../bench/families';
import { randomWeights } from '../../bench/random-weights';
import { checkpointFiles } from '../../bench/synthesize';
import { openOrigin } from '../sources/origin';
import { withVocabulary } from '../text/tokenizer-file';
import { describe } from './describe';
import { bitnetChatTemplate } from './gguf-text';
import { createReport } from './progress';

const json = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../demo/public/models/tiny-stories-ternary/${name}.json`, import.meta.url), 'utf8'),
  );
const tokenizer = { tokenizer: json('tokenizer'), config: json('tokenizer_config') };
const shape = { hidden: 256, ffn: 256, layers: 1, heads: 2, kvHeads: 1, vocab: 4096 } as const;
const { signal } = new AbortController();
const quiet = createReport(() => {});

function fileOf(name: string, { size, read }: ByteFile): File {
  return new File([read(0, size)], name);
}

function ggufFile(family: Family, pre = 'qwen2'): File {
  const { files } = checkpointFiles(randomWeights({ ...shape, family }), {
    format: family === 'bitnet' ? 'i2_s' : 'q2_0-128',
    tokenizer,
    pre,
  });
  return fileOf('model.gguf', files['model.gguf']!);
}

const jsonFile = (name: string, value: unknown) => new File([JSON.stringify(value)], name);
const jinja = new File(['of the jinja file'], 'chat_template.jinja');

async function textOf(files: File[]) {
  return (await describe(await openOrigin(files, signal), signal, quiet)).text;
}

test('a GGUF file alone brings its tokenizer and its chat template', async () => {
  const text = await textOf([ggufFile('qwen3')]);
  expect(text?.template).toBe(tokenizer.config.chat_template);
  expect(Object.keys(text!).sort()).toEqual(['config', 'template', 'tokenizer']);
});

test('a tokenizer.json beside a GGUF file goes before its own; the chat template stays if the folder has none', async () => {
  const beside = { ...tokenizer.tokenizer, version: 'of the folder' };
  const { chat_template, ...bare } = tokenizer.config;
  const folder = [jsonFile('tokenizer.json', beside), jsonFile('tokenizer_config.json', bare)];
  for (const gguf of [ggufFile('qwen3'), ggufFile('qwen3', 'unknown here')]) {
    const text = await textOf([gguf, ...folder]);
    expect(text).toEqual({ tokenizer: withVocabulary(beside), config: bare, template: chat_template });
  }
  expect((await textOf([ggufFile('bitnet'), folder[0]!]))?.template).toBe(bitnetChatTemplate);
  expect((await textOf([ggufFile('qwen3'), ...folder, jinja]))?.template).toBe('of the jinja file');
});

test('chat_template.jinja goes before tokenizer_config.json', async () => {
  const { files } = checkpointFiles(randomWeights({ ...shape, family: 'bitnet' }), { format: 'multiply', tokenizer });
  const all = Object.entries(files).map(([name, file]) => fileOf(name, file));
  expect((await textOf(all))?.template).toBe(tokenizer.config.chat_template);
  expect((await textOf([...all, jinja]))?.template).toBe('of the jinja file');
});

test('where nothing can be listed, chat_template.jinja is asked for only without another template', async () => {
  const { files } = checkpointFiles(randomWeights({ ...shape, family: 'bitnet' }), { format: 'multiply', tokenizer });
  const asked: string[] = [];
  let config = tokenizer.config;
  const server = createServer((request, response) => {
    const name = request.url!.slice(1);
    asked.push(name);
    const own: Record<string, string> = {
      'tokenizer_config.json': JSON.stringify(config),
      'chat_template.jinja': 'of the jinja file',
    };
    const file = files[name];
    const body = own[name] ?? (file && Buffer.from(file.read(0, file.size)));
    const [from, to] =
      /bytes=(\d+)-(\d+)/
        .exec(request.headers.range ?? '')
        ?.slice(1)
        .map(Number) ?? [];
    if (body === undefined) response.writeHead(404).end();
    else if (to === undefined) response.writeHead(200).end(body);
    else {
      const range = { 'content-range': `bytes ${from}-${Math.min(to, body.length - 1)}/${body.length}`, etag: '"1"' };
      response.writeHead(206, range).end(body.slice(from, to + 1));
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  const read = async () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return (await describe(await openOrigin({ url }, signal), signal, quiet)).text?.template;
  };
  expect(await read()).toBe(tokenizer.config.chat_template);
  expect(asked).not.toContain('chat_template.jinja');
  config = { ...tokenizer.config, chat_template: undefined };
  expect(await read()).toBe('of the jinja file');
});
