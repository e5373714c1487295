/** Damaged tokenizer.json and tokenizer_config.json; a tokenizer that is accepted encodes and decodes a little. */

import { parseJson } from '../src/sources/origin';
import { templateOf } from '../src/text/chat-template';
import { createTokenizer, type Tokenizer } from '../src/text/tokenizer';
import { below, mutateJson } from './fuzz-mutate';
import { type Json, readJson } from './fuzz-seeds';
import type { Target } from './fuzz-target';

const texts = ['', ' ', 'Hello  world 12345!\n\n', 'naïve 日本語 🙂 <|eot_id|> ab</s>\0', 'a a a '.repeat(40)];

/** Encodes and decodes, and checks the kinds of the results. */
export function tryOut(tokenizer: Tokenizer): void {
  for (const text of texts) {
    for (const special of [false, true]) {
      const ids = tokenizer.encode(text, { bos: true, eos: true, special });
      if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0 && id < tokenizer.size)) {
        throw new Error(`ids ${ids.slice(0, 10)} of ${tokenizer.size}`);
      }
      if (ids.length > 100 + 50 * text.length) throw new Error(`${ids.length} ids of ${text.length} characters`);
      const back = tokenizer.decode(ids);
      if (typeof back !== 'string' || back.length > 1e6) throw new Error(`${back.length} characters`);
    }
  }
  if (tokenizer.size > 2 ** 20) throw new Error(`size ${tokenizer.size}`);
  for (const { id, content } of tokenizer.specials) if (tokenizer.tokenOf(id) === undefined) throw new Error(content);
}

/** The byte-level alphabet, and some words. */
function byteLevel(): Json {
  const { model, ...rest } = readJson('demo/public/models/tiny-stories-ternary/tokenizer.json') as Json & {
    model: Json;
  };
  const merges = (model.merges as unknown[]).slice(0, 40);
  const words = merges.map((pair) => (Array.isArray(pair) ? pair.join('') : String(pair).replace(' ', '')));
  const all = Object.entries(model.vocab as Record<string, number>);
  const vocab = Object.fromEntries(all.filter(([word, id]) => word.length === 1 || id < 3 || words.includes(word)));
  return { ...rest, model: { ...model, vocab, merges } };
}

/** SentencePiece's, as transformers writes it. */
const pieces = ['<unk>', '<s>', '</s>', '<0xE2>', '<0x82>', '<0xAC>', '▁', 'a', 'b', '▁a', 'ab', '▁ab'];
const sentencePiece: Json = {
  added_tokens: pieces.slice(0, 3).map((content, id) => ({ id, content, special: true, lstrip: id > 0 })),
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'BPE',
    unk_token: '<unk>',
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    merges: ['▁ a', 'a b', '▁a b'],
  },
};

/** Every kind of step before the model. */
function manySteps(base: Json): Json {
  const words =
    "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const steps = [
    { type: 'Split', pattern: { Regex: words }, behavior: 'Isolated', invert: false },
    { type: 'Digits', individual_digits: true },
    { type: 'Punctuation', behavior: 'Contiguous' },
    { type: 'FixedLength', length: 5 },
    { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: false },
  ];
  const normalizers = [
    { type: 'NFC' },
    { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
    { type: 'Lowercase' },
  ];
  return {
    ...base,
    normalizer: { type: 'Sequence', normalizers },
    pre_tokenizer: { type: 'Sequence', pretokenizers: steps },
    post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel' }, sentencePiece.post_processor] },
  };
}

export function tokenizerTarget(): Target {
  const base = byteLevel();
  const config = readJson('demo/public/models/tiny-stories-ternary/tokenizer_config.json');
  const pieceConfig = {
    bos_token: { content: '<s>' },
    eos_token: '</s>',
    chat_template: [{ name: 'default', template: 'x' }],
  };
  const originals: [Json, Json][] = [
    [base, config],
    [sentencePiece, pieceConfig],
    [manySteps(base), config],
  ];
  return {
    name: 'tokenizer',
    input(random) {
      const [json, config] = originals[below(random, originals.length)]!;
      if (random() < 0.2) return { json: JSON.stringify(json), config: mutateJson(config, random) };
      return { json: mutateJson(json, random), config: JSON.stringify(config) };
    },
    run(input) {
      const json = parseJson(input.json as string, 'tokenizer.json');
      const config = parseJson(input.config as string, 'tokenizer_config.json');
      templateOf(config);
      tryOut(createTokenizer(json, config));
    },
  };
}
