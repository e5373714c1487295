/**
 * What a source holds, found out from its listing, its small files and the headers of its weight files: everything that
 * there is to know about a model but its weights. Plain data: the store keeps it beside the records.
 */

import { sha256 as digestOf } from 'hash-wasm';
import { SternaError } from '../errors';
import { generationDefaults, type ModelConfig, parseConfig } from '../model/config';
import type { GenerateOptions } from '../protocol/generate-types';
import type { ByteSource } from '../sources/download';
import type { Listing, Origin } from '../sources/origin';
import { templateOf } from '../text/chat-template';
import { withVocabulary } from '../text/tokenizer-file';
import { hasSeveralScales, probedTensor } from './block-scales';
import { free } from './free';
import { checkSplits, type GgufHeader, parseGguf } from './gguf';
import { configFromGguf, hasInterleavedHeads } from './gguf-config';
import { templateFromGguf, textFromGguf } from './gguf-text';
import type { NameStyle } from './names';
import type { Report } from './progress';
import { headerEnd, parseHeader } from './safetensors';
import type { WeightFile } from './tensors';
import { chooseWeights, shardsOf } from './weight-files';

export interface Description {
  name: string;
  /** Tells changed weights from the same ones: see `versionOf`. */
  version: string;
  textVersion: string;
  /** How the weights are written, in words. */
  format: string;
  config: ModelConfig;
  style: NameStyle;
  /** Rows of queries and keys have the two halves of a head in turn (GGUF of Llama's architecture). */
  interleaved: boolean;
  files: WeightFile[];
  /** Bytes of the text files that were read. */
  textBytes: number;
  defaults: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>;
  /** Why there is no tokenizer, where there is none. */
  noTokenizer?: string;
}

/** Tokenizer and template, as the files have them. */
export interface TextFiles {
  /** tokenizer.json, of `withVocabulary`. */
  tokenizer: unknown;
  config: unknown;
  template?: string;
}

export interface Described {
  description: Description;
  text: TextFiles | undefined;
  /** The first bytes of each weight file, up to its data. */
  heads: Uint8Array<ArrayBuffer>[];
}

/** Read at first; a longer header is read again, whole. */
const FIRST_BYTES = { safetensors: 2 ** 18, gguf: 2 ** 20 };

/** A file that a model cannot do without. */
async function required<T>(origin: Origin, file: string, opened: Promise<T | null | undefined>): Promise<T> {
  const value = await opened;
  if (value !== null && value !== undefined) return value;
  const facts = { file, got: 'nothing', expected: `a file in ${origin.address}` };
  throw new SternaError('bad-file', 'there is no such file, or it may not be read', facts);
}

/**
 * Reads everything but the weights.
 * @throws SternaError `bad-file`, `unsupported` (the field and its value), and what the origin throws
 */
export async function describe(origin: Origin, signal: AbortSignal, report: Report): Promise<Described> {
  const choice = chooseWeights(origin);
  if (choice?.kind === 'gguf') return describeGguf(origin, choice.paths, signal, report);
  report('config', 'config.json');
  const configJson = await required(origin, 'config.json', origin.json('config.json'));
  const generation = await origin.json('generation_config.json');
  const config = parseConfig(configJson, generation, 'config.json');
  const defaults = generationDefaults(generation);
  const paths = choice?.paths ?? (await shardsOf(origin));
  const { files, heads } = await readHeaders(origin, paths, async (source) => {
    const head = await readHead(source, FIRST_BYTES.safetensors, signal, (bytes) =>
      headerEnd(bytes, source.size, source.name),
    );
    const { tensors, dataStart } = parseHeader(head, source.size, source.name);
    return { head: head.subarray(0, dataStart), tensors };
  });
  const text = await readText(origin, report);
  const isOld = files.some(({ tensors }) => tensors.some(({ name }) => name.endsWith('.inner_attn_ln.weight')));
  const packed = files.some(({ tensors }) => tensors.some(({ type }) => type === 'U8'));
  const description: Description = {
    name: origin.name,
    version: await versionOf(origin, files),
    textVersion: await textVersionOf(origin),
    format: packed ? 'packed safetensors' : 'float safetensors, quantised here',
    config,
    style: isOld ? 'hf-1bitllm' : 'hf',
    interleaved: false,
    files,
    textBytes: origin.textBytes,
    defaults,
    ...(text ? {} : { noTokenizer: `${origin.address} has no tokenizer.json` }),
  };
  return { description, text, heads };
}

async function describeGguf(origin: Origin, paths: string[], signal: AbortSignal, report: Report): Promise<Described> {
  report('config', paths[0]);
  const headers: GgufHeader[] = [];
  const { files, heads } = await readHeaders(origin, paths, async (source) => {
    let header: GgufHeader | undefined;
    const head = await readHead(source, FIRST_BYTES.gguf, signal, (bytes) => {
      const parsed = parseGguf(bytes, source.size, source.name);
      if ('needs' in parsed) return parsed.needs;
      header = parsed;
      return 0;
    });
    headers.push(header!);
    return { head: head.subarray(0, header!.dataStart), tensors: header!.tensors };
  });
  if (headers.length > 1) checkSplits(headers, paths);
  const { metadata } = headers[0]!;
  const tensors = files.flatMap((file) => file.tensors);
  const config = configFromGguf(metadata, tensors, paths[0]!);
  const probed = config.family === 'llama' ? probedTensor(tensors) : undefined;
  if (probed) {
    const holder = files.find((file) => file.tensors.includes(probed))!;
    const source = await required(origin, holder.path, origin.open(holder.path));
    if (await hasSeveralScales(source, probed, signal)) config.group = 128;
  }
  const inFile = textFromGguf(metadata, config.vocab, paths[0]!);
  const ofFile = 'json' in inFile ? { tokenizer: withVocabulary(inFile.json), config: inFile.config } : undefined;
  const found = (await readText(origin, report)) ?? ofFile;
  const template = templateFromGguf(metadata);
  const text = found && { ...(template === undefined ? {} : { template }), ...found };
  const generation = await origin.json('generation_config.json');
  const ternary = tensors.find(({ name }) => /blk\.0\.ffn_down\.weight/.test(name));
  const description: Description = {
    name: origin.name,
    version: await versionOf(origin, files),
    textVersion: await textVersionOf(origin),
    format: `GGUF ${ternary?.type}`,
    config,
    style: 'gguf',
    interleaved: hasInterleavedHeads(config),
    files,
    textBytes: origin.textBytes,
    defaults: generationDefaults(generation),
    ...('reason' in inFile && !text ? { noTokenizer: inFile.reason } : {}),
  };
  return { description, text, heads };
}

/** Opens each weight file and reads its table of tensors. */
async function readHeaders(
  origin: Origin,
  paths: string[],
  read: (source: ByteSource) => Promise<{ head: Uint8Array<ArrayBuffer>; tensors: WeightFile['tensors'] }>,
): Promise<{ files: WeightFile[]; heads: Uint8Array<ArrayBuffer>[] }> {
  const [files, heads]: [WeightFile[], Uint8Array<ArrayBuffer>[]] = [[], []];
  for (const path of paths) {
    const source = await required(origin, path, origin.open(path));
    const { head, tensors } = await read(source);
    const { size, sha256, tag } = source;
    const digests = { headSha256: await digestOf(head), ...(sha256 === undefined ? {} : { sha256 }) };
    files.push({ path, size, ...digests, ...(tag === undefined ? {} : { tag }), dataStart: head.length, tensors });
    heads.push(head);
  }
  return { files, heads };
}

/** The first bytes of a file, as many as `needs` wants: it says 0 when they suffice. */
async function readHead(
  source: ByteSource,
  first: number,
  signal: AbortSignal,
  needs: (bytes: Uint8Array) => number,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer> = await source.read(0, Math.min(first, source.size), signal);
  for (;;) {
    const wanted = needs(bytes);
    if (wanted <= bytes.length) return bytes;
    // at least twice as much each time: a header of 10 MB is read in few steps
    const to = Math.min(source.size, Math.max(wanted, bytes.length * 2));
    const more = await source.read(bytes.length, to, signal);
    const joined = new Uint8Array(to);
    joined.set(bytes);
    joined.set(more, bytes.length);
    for (const part of [bytes, more]) free(part);
    bytes = joined;
  }
}

/** The tokenizer files of a folder; undefined without tokenizer.json. */
async function readText(origin: Origin, report: Report): Promise<TextFiles | undefined> {
  report('tokenizer', 'tokenizer.json');
  const tokenizer = await origin.json('tokenizer.json');
  if (tokenizer === undefined) return undefined;
  const config = await origin.json('tokenizer_config.json');
  const template = await readTemplate(origin, config);
  return { tokenizer: withVocabulary(tokenizer), config, ...(template === undefined ? {} : { template }) };
}

/** Where nothing can be listed, chat_template.jinja is asked for only if `config` has no template: few models have it. */
async function readTemplate(origin: Origin, config: unknown): Promise<string | undefined> {
  const asks = origin.files !== undefined || templateOf(config) === undefined;
  return templateOf(config, asks ? await origin.text('chat_template.jinja') : undefined);
}

/** Files that can change while the weights stay what they are. */
const TEXTS = ['generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'];

const isShard = ({ path }: Listing): boolean => path.endsWith('.safetensors');

/** What the server says of each weight file. */
async function openWeights(origin: Origin): Promise<Pick<WeightFile, 'path' | 'size' | 'tag'>[]> {
  const opened: Pick<WeightFile, 'path' | 'size' | 'tag'>[] = [];
  for (const path of chooseWeights(origin)?.paths ?? (await shardsOf(origin))) {
    const { size, tag } = await required(origin, path, origin.open(path));
    opened.push({ path, size, ...(tag === undefined ? {} : { tag }) });
  }
  return opened;
}

/**
 * Tells one state of a source from another by its weights and config.json: a commit that only changes the README is no new
 * version. A digest of what the listing says of them; without a listing, of what the server says of all weight
 * files. Empty for picked files.
 * @param files the weight files, where they are known; else those of a source without a listing are asked for
 * @throws SternaError as `chooseWeights` and `shardsOf`; `bad-file` if one of the weight files is not there
 */
export async function versionOf(origin: Origin, files?: WeightFile[]): Promise<string> {
  if (origin.key === '') return '';
  if (!origin.files) {
    const now = files ?? (await openWeights(origin));
    return digestOf(now.map(({ path, size, tag }) => `${path} ${size} ${tag ?? ''}`).join('\n'));
  }
  const choice = chooseWeights(origin);
  const isRead = (path: string): boolean =>
    path === 'config.json' || (choice ? choice.paths.includes(path) : path.includes('.safetensors'));
  const read = origin.files.filter(({ path }) => isRead(path));
  if (!choice) await required(origin, 'model.safetensors', Promise.resolve(read.find(isShard)));
  return digestOfListing(origin, read);
}

/** The same for tokenizer, templates and defaults: new ones cost no new weights. Empty without a listing. */
export async function textVersionOf(origin: Origin): Promise<string> {
  const read = origin.files?.filter(({ path }) => TEXTS.includes(path)) ?? [];
  return origin.files && origin.key !== '' ? digestOfListing(origin, read) : '';
}

function digestOfListing({ version }: Origin, files: Listing[]): Promise<string> {
  const line = ({ path, size, sha256, oid }: Listing): string => `${path} ${size} ${sha256 ?? oid ?? version}`;
  return digestOf(files.map(line).sort().join('\n'));
}
