import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createTextDecoder, createTokenizer, encodeOn } from './tokenizer';

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));
const folder = 'demo/public/models/tiny-stories-ternary';
const json = read(`${folder}/tokenizer.json`);
const config = read(`${folder}/tokenizer_config.json`);
const golden = read('e2e/fixtures/tiny-stories-golden.json');
const stories: { text: string; ids: number[] }[] = read('e2e/fixtures/stories.json').stories;
const tokenizer = createTokenizer(json, config);
const [BOS, EOS, EOT] = [0, 1, 2];

/** Ids of the Rust `tokenizers` 0.23.2, with `encode_special_tokens` off (special: true) and on (special: false). */
const rust: { text: string; parsed: number[]; plain: number[] }[] = [
  {
    text: "a  b   c\t\r\n\r\nd's I'LL 1234567 «日本語» \u00a0x",
    // biome-ignore format: a table
    parsed: [67,223,267,223,223,280,200,204,201,204,201,70,385,346,9,46,46,223,19,20,21,22,23,24,25,223,129,107,165,248,101,165,253,108,167,106,255,129,122,223,129,257,90],
    // biome-ignore format: a table
    plain: [67,223,267,223,223,280,200,204,201,204,201,70,385,346,9,46,46,223,19,20,21,22,23,24,25,223,129,107,165,248,101,165,253,108,167,106,255,129,122,223,129,257,90],
  },
  {
    text: 'She said <|eot_id|> and <|begin_of_text|>User',
    parsed: [1306, 331, 223, 2, 269, 223, 0, 55, 1155],
    // biome-ignore format: a table
    plain: [1306,331,223,30,94,71,304,65,295,94,32,269,223,30,94,1022,73,272,65,81,72,65,86,3528,94,32,55,1155],
  },
  {
    text: ' <|eot_id|> x',
    parsed: [223, 2, 223, 90],
    plain: [223, 30, 94, 71, 304, 65, 295, 94, 32, 223, 90],
  },
  {
    text: '\ufeffbom \u0085 nel',
    parsed: [174, 122, 126, 68, 287, 223, 129, 230, 404, 78],
    plain: [174, 122, 126, 68, 287, 223, 129, 230, 404, 78],
  },
  { text: '', parsed: [], plain: [] },
];

describe('encode', () => {
  it('gives the ids of the golden prompts', () => {
    const plain = golden.prompts.filter((prompt: { kind: string }) => prompt.kind === 'plain');
    expect(plain.length).toBeGreaterThan(1);
    for (const { prompt, input_ids } of plain) expect(tokenizer.encode(prompt, { bos: true })).toEqual(input_ids);
  });

  it('gives the ids of all 24 stories, and back', () => {
    expect(stories).toHaveLength(24);
    for (const { text, ids } of stories) {
      expect(tokenizer.encode(text, { bos: true, eos: true })).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  it.each(rust)('agrees with the Rust tokenizers on $text', ({ text, parsed, plain }) => {
    expect(tokenizer.encode(text, { special: true })).toEqual(parsed);
    expect(tokenizer.encode(text)).toEqual(plain);
    expect(tokenizer.decode(plain)).toBe(text);
  });

  it('adds BOS and EOS only when asked, once', () => {
    const ids = tokenizer.encode('Once');
    expect(ids).not.toContain(BOS);
    expect(tokenizer.encode('Once', { bos: true, eos: true })).toEqual([BOS, ...ids, EOS]);
    expect(tokenizer.encode('<|begin_of_text|>Once', { special: true })).toEqual([BOS, ...ids]);
  });

  it('gives no special id for ordinary text even if the vocabulary holds it as one word', () => {
    // Without the split regex "<|eot_id|>" is one word, and ignore_merges finds it in the vocabulary.
    const whole = createTokenizer({ ...json, pre_tokenizer: { type: 'ByteLevel', use_regex: false } }, config);
    expect(whole.encode('<|eot_id|>', { special: true })).toEqual([EOT]);
    const ids = whole.encode('<|eot_id|>');
    expect(ids).not.toContain(EOT);
    expect(whole.decode(ids)).toBe('<|eot_id|>');
  });

  it('reads added tokens that are not special in any text', () => {
    const added_tokens = [...json.added_tokens, { id: 4096, content: '<thé>', special: false }];
    const thinking = createTokenizer({ ...json, added_tokens }, config);
    expect(thinking.size).toBe(4097);
    expect(thinking.encode('<thé><|eot_id|>')).toEqual([4096, ...tokenizer.encode('<|eot_id|>')]);
    expect(thinking.decode([EOT, 4096])).toBe('<thé>');
  });
});

describe('tokens', () => {
  it('names ids, BOS, EOS and special tokens', () => {
    expect(tokenizer).toMatchObject({ bos: BOS, eos: EOS, bosToken: '<|begin_of_text|>', eosToken: '<|end_of_text|>' });
    expect(tokenizer.size).toBe(4096);
    expect(tokenizer.addsBos).toBe(true);
    expect(createTokenizer({ ...json, post_processor: null }, config).addsBos).toBe(false);
    expect(tokenizer.idOf('<|eot_id|>')).toBe(EOT);
    expect(tokenizer.tokenOf(EOT)).toBe('<|eot_id|>');
    expect(tokenizer.idOf('no such token')).toBeUndefined();
    expect(tokenizer.tokenOf(4096)).toBeUndefined();
    expect(tokenizer.specials.map((token) => token.id)).toEqual([BOS, EOS, EOT]);
    expect([BOS, EOS, EOT, 3].map(tokenizer.special)).toEqual([true, true, true, false]);
  });

  it('has no BOS or EOS without tokenizer_config.json', () => {
    const bare = createTokenizer(json, undefined);
    expect(bare).toMatchObject({ bos: null, eos: null, bosToken: '', eosToken: '', addsBos: false });
    expect(bare.encode('Once', { bos: true, eos: true })).toEqual(tokenizer.encode('Once'));
  });

  it('takes token names as objects', () => {
    expect(createTokenizer(json, { bos_token: { content: '<|eot_id|>' }, eos_token: null })).toMatchObject({
      bos: EOT,
      eos: null,
    });
  });

  it('knows the bytes of tokens: all 256 single bytes, a leading space, none for special tokens', () => {
    const singles = Array.from({ length: tokenizer.size }, (_, id) => tokenizer.bytesOf(id)).filter(
      (b) => b.length === 1,
    );
    expect(new Set(singles.map(([byte]) => byte)).size).toBe(256);
    expect([...tokenizer.bytesOf(tokenizer.idOf('Ġt')!)]).toEqual([0x20, 0x74]);
    for (const id of [BOS, EOS, EOT, -1, 4096]) expect(tokenizer.bytesOf(id)).toHaveLength(0);
  });

  it('never cleans up spaces', () => {
    const text = "It 's here , is n't it ? Yes ! ";
    const cleaning = createTokenizer(json, { ...config, clean_up_tokenization_spaces: true });
    expect(cleaning.decode(cleaning.encode(text))).toBe(text);
  });
});

describe('the incremental decoder', () => {
  const text = 'Hi 🙂, naïve 日本語 \u{1F469}\u200D\u{1F467} — done\ufeff!';

  it('never shows half a character, and joins to the whole text', () => {
    const ids = tokenizer.encode(text);
    const decoder = createTextDecoder(tokenizer);
    const pieces = ids.map(decoder.push);
    expect(pieces.filter((piece) => piece === '').length).toBeGreaterThan(10); // characters are split here
    for (const piece of pieces) expect(piece).not.toMatch(/\ufffd|[\ud800-\udbff]$|^[\udc00-\udfff]/);
    expect(pieces.join('') + decoder.end()).toBe(text);
  });

  it('cut at every position, shows whole characters and then one U+FFFD for the open one', () => {
    const ids = tokenizer.encode(text);
    for (let length = 0; length <= ids.length; length++) {
      const decoder = createTextDecoder(tokenizer);
      const shown = ids.slice(0, length).map(decoder.push).join('');
      expect(text.startsWith(shown)).toBe(true);
      const bytes = ids.slice(0, length).reduce((sum, id) => sum + tokenizer.bytesOf(id).length, 0);
      const open = bytes > new TextEncoder().encode(shown).length;
      expect(decoder.end()).toBe(open ? '\ufffd' : '');
      expect(tokenizer.decode(ids.slice(0, length))).toBe(shown + (open ? '\ufffd' : ''));
    }
  });

  it('is not disturbed by special tokens inside a character', () => {
    const ids = tokenizer.encode('🙂');
    expect(ids.length).toBeGreaterThan(1);
    const decoder = createTextDecoder(tokenizer);
    const pieces = ids.flatMap((id) => [EOT, id, EOS]).map(decoder.push);
    expect(pieces.join('')).toBe('🙂');
  });

  it('keeps a byte order mark at the beginning', () => {
    expect(tokenizer.decode(tokenizer.encode('\ufeffx'))).toBe('\ufeffx');
  });
});

describe('bad files', () => {
  const { model } = json;
  it.each([
    ['null', null],
    ['a list', []],
    ['no model', { ...json, model: undefined }],
    ['no vocabulary', { ...json, model: { ...model, vocab: undefined } }],
    ['an id that is text', { ...json, model: { ...model, vocab: { a: '1' } } }],
    ['merges that are numbers', { ...json, model: { ...model, merges: [1] } }],
    ['an added token without id', { ...json, added_tokens: [{ content: 'x' }] }],
    ['an empty added token', { ...json, added_tokens: [{ id: 1, content: '' }] }],
  ])('throws bad-file for %s', (_, bad) => {
    const create = () => createTokenizer(bad, config, { tokenizer: 'x/tokenizer.json', config: 'c' });
    expect(create).toThrow(expect.objectContaining({ code: 'bad-file', file: 'x/tokenizer.json' }));
  });

  it('throws bad-file, naming the configuration, for a BOS that is not in the vocabulary', () => {
    const error = { code: 'bad-file', file: 'tokenizer_config.json' };
    expect(() => createTokenizer(json, { bos_token: '<nope>' })).toThrow(expect.objectContaining(error));
    expect(() => createTokenizer(json, { bos_token: 7 })).toThrow(expect.objectContaining(error));
    expect(() => createTokenizer(json, 'text')).toThrow(expect.objectContaining(error));
  });

  it.each([
    ['decoder.type', 'Metaspace', { ...json, decoder: { type: 'Metaspace' } }],
    ['decoder.type', 'undefined', { ...json, decoder: undefined }],
    ['model.type', 'Unigram', { ...json, model: { ...model, type: 'Unigram' } }],
    ['Normalizer', undefined, { ...json, normalizer: { type: 'Nonsense' } }],
  ])('throws unsupported, naming %s', (field, got, bad) => {
    const create = () => createTokenizer(bad, config);
    expect(create).toThrow(
      expect.objectContaining({ code: 'unsupported', got, message: expect.stringContaining(field) }),
    );
  });
});

describe('files that would not end, or take all memory', () => {
  const steps = (...pretokenizers: object[]) => ({ ...json, pre_tokenizer: { type: 'Sequence', pretokenizers } });
  const split = (Regex: string) => steps({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
  const replace = (content: string, times: number) => ({
    ...json,
    normalizer: {
      type: 'Sequence',
      normalizers: Array.from({ length: times }, () => ({ type: 'Replace', pattern: { String: 'a' }, content })),
    },
  });
  it.each([
    ['pieces of length 0', 'bad-file', steps({ type: 'FixedLength', length: 0 })],
    ['pieces of length -1', 'bad-file', steps({ type: 'FixedLength', length: -1 })],
    ['an id of 2^31', 'bad-file', { ...json, added_tokens: [{ id: 2 ** 31, content: 'x' }] }],
    ['a word of id 2^31', 'bad-file', { ...json, model: { ...json.model, vocab: { a: 2 ** 31 } } }],
    ['a token of a million letters', 'unsupported', { ...json, added_tokens: [{ id: 1, content: 'x'.repeat(1e6) }] }],
    ['texts that double 16 times', 'unsupported', replace('aa', 16)],
    ['a text a hundred times as long', 'bad-file', replace('a'.repeat(100), 1)],
    ['a repeated group', 'unsupported', split('(a+)+$')],
    ['a repeated alternative', 'unsupported', split('(?:a|a)*b')],
    ['a group counted', 'unsupported', split('(?:a{1,3}){100}')],
    ['many repetitions', 'unsupported', split('a*a*a*a*a*b')],
    ['a behaviour that is a number', 'bad-file', steps({ type: 'Split', pattern: { String: 'a' }, behavior: 7 })],
    ['a pattern that is none', 'bad-file', steps({ type: 'Split', pattern: { Regex: 7 } })],
    ['a prefix that is none', 'bad-file', { ...json, normalizer: { type: 'Prepend' } }],
    ['a Sequence in a Sequence', 'bad-file', steps({ type: 'Sequence', pretokenizers: [] })],
  ])('are refused: %s', (_, code, bad) => {
    expect(() => createTokenizer(bad, config)).toThrow(expect.objectContaining({ code, file: 'tokenizer.json' }));
  });

  it('gives no id that is none for an unknown token that is none', () => {
    const model = { ...json.model, vocab: { a: 0, b: 1 }, merges: [], unk_token: '<unk>' };
    expect(createTokenizer({ ...json, model, added_tokens: [], post_processor: null }, {}).encode('abc')).toEqual([
      0, 1,
    ]);
  });

  it('does not apply a post-processor that drops the text, or takes it twice', () => {
    const sequence = { Sequence: { id: 'A', type_id: 0 } };
    for (const single of [[], [sequence, sequence]]) {
      const post_processor = { type: 'TemplateProcessing', single, pair: [] };
      const ids = createTokenizer({ ...json, post_processor }, config).encode('Once <|eot_id|>', { special: true });
      expect(ids).toEqual(tokenizer.encode('Once <|eot_id|>', { special: true }));
    }
  });
});

describe('a SentencePiece vocabulary as tokenizer.json', () => {
  const blanks = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  const decoders = [
    blanks,
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  const words = ['<unk>', '<s>', '</s>', '<0xE2>', '<0x82>', '<0xAC>', '▁', 'a', 'b', '▁a', 'ab', '▁ab'];
  const llama2 = {
    added_tokens: words.slice(0, 3).map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges: ['▁ a', 'a b', '▁a b'],
    },
  };
  const pieces = createTokenizer(llama2, { bos_token: '<s>', eos_token: '</s>' });

  it('puts a blank in front, falls back to bytes, and takes the blank off again', () => {
    expect(pieces.encode('ab', { bos: true })).toEqual([1, 11]);
    expect(pieces.encode(' ab a')).toEqual([6, 11, 9]);
    expect(pieces.encode('a€')).toEqual([9, 3, 4, 5]);
    for (const text of ['ab', ' ab a', 'a€', '']) expect(pieces.decode(pieces.encode(text))).toBe(text);
    expect(pieces.decode([1, 9, 2])).toBe('a');
    expect([...pieces.bytesOf(4)]).toEqual([0x82]);
    expect(pieces.encode('</s>')).not.toContain(2);
  });

  it('is decoded bit by bit without losing the blank', () => {
    const decoder = createTextDecoder(pieces);
    expect([9, 3, 4, 5, 6].map(decoder.push)).toEqual([' a', '', '', '€', ' ']);
    expect(decoder.end()).toBe('');
  });

  it('encodes what goes on with a text without a blank in front', () => {
    expect(encodeOn(pieces, 'ab')).toEqual([10]);
    expect(encodeOn(pieces, ' ab')).toEqual([11]);
    expect(encodeOn(pieces, 'a€')).toEqual([7, 3, 4, 5]);
    const decoder = createTextDecoder(pieces);
    expect(encodeOn(pieces, ' ab a€b').map(decoder.push).join('')).toBe(' ab a€b');
  });

  it('keeps every blank where none is put in front', () => {
    const { normalizer: _, ...rest } = llama2;
    const bare = createTokenizer({ ...rest, decoder: { type: 'Sequence', decoders: decoders.slice(0, 3) } }, undefined);
    expect(bare.encode('ab')).toEqual([10]);
    expect(bare.decode([9, 9])).toBe(' a a');
  });

  it.each([
    ['no byte fallback', { ...llama2, model: { ...llama2.model, byte_fallback: false } }],
    [
      'other blanks',
      { ...llama2, decoder: { type: 'Sequence', decoders: [{ ...blanks, content: '_' }, ...decoders.slice(1)] } },
    ],
    ['another order', { ...llama2, decoder: { type: 'Sequence', decoders: decoders.toReversed() } }],
    ['no list', { ...llama2, decoder: { type: 'Sequence' } }],
    ['too few', { ...llama2, decoder: { type: 'Sequence', decoders: [blanks] } }],
  ])('is refused with %s', (_, file) => {
    expect(() => createTokenizer(file, undefined)).toThrow(expect.objectContaining({ code: 'unsupported' }));
  });
});
