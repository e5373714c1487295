/**
 * What a tokenizer.json has to look like before `@huggingface/tokenizers` gets it: the library trusts its file, and
 * stumbles, or never returns, where a field is not what it expects.
 */
import { SternaError } from '../errors';
import { isObject, type Json } from '../json';
import type { SpecialToken } from './tokenizer';
import { isVocabulary, type Merge, type Vocabulary, vocabularyOf } from './vocabulary';

/** What is read of tokenizer.json; the rest is for the library. */
export interface TokenizerFile {
  added_tokens: (SpecialToken & { special: boolean })[];
  decoder: Json;
  /** Without its vocabulary and merges, which are in `vocabulary`. */
  model: Json & { unk_token: string | null };
  vocabulary: Vocabulary;
  [part: string]: unknown;
}

/** As many ids as a model may have. */
const mostIds = 1_000_000;
/** Characters of all added tokens together: each is an object of the library. */
const mostAddedText = 2 ** 18;
const longestPattern = 4096;
/** Repetitions without an end in one alternative of a pattern: the time goes with this power of a text's length. */
const mostRepeats = 3;
/** How many times as long a text may become before it is cut into tokens. */
const mostGrowth = 64;
const mostSteps = 16;

export const kindOf = (value: unknown) => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);
const isId = (value: unknown) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < mostIds;
const isAddedToken = (value: unknown): value is Json & { id: number; content: string } =>
  isObject(value) && isId(value.id) && typeof value.content === 'string' && value.content !== '';
const isMerge = (value: unknown): value is Merge =>
  typeof value === 'string' ||
  (Array.isArray(value) && value.length === 2 && value.every((x) => typeof x === 'string'));

const isVocab = (value: unknown): value is Record<string, number> =>
  isObject(value) && Object.values(value).every(isId);
const areMerges = (value: unknown): value is Merge[] => Array.isArray(value) && value.every(isMerge);

/**
 * A parsed tokenizer.json with `model.vocabulary` in place of `model.vocab` and `model.merges`: smaller, and much quicker
 * to read back. What has not the shape for that is given back as it is; `checkTokenizerFile` refuses it.
 */
export function withVocabulary(json: unknown): unknown {
  if (!isObject(json) || !isObject(json.model)) return json;
  const { vocab, merges, ...model } = json.model;
  if (!isVocab(vocab) || !areMerges(merges)) return json;
  return { ...json, model: { ...model, vocabulary: vocabularyOf(vocab, merges) } };
}

/**
 * Checks a parsed tokenizer.json, also one of `withVocabulary`, `file` its name in errors. What is left out is there in the result, as null or empty.
 * @throws SternaError `bad-file` for another shape, `unsupported` for another kind of tokenizer, or one that may take
 * without end
 */
export function checkTokenizerFile(json: unknown, file: string): TokenizerFile {
  const need = (ok: boolean, field: string, expected: string, value: unknown) => {
    if (!ok) throw new SternaError('bad-file', `bad ${field}`, { file, expected, got: kindOf(value) });
  };
  const only = (field: string, part: unknown, type: string) => {
    const got = isObject(part) ? shortly(part.type) : kindOf(part);
    if (got !== type) throw new SternaError('unsupported', `${field} of this kind`, { file, expected: type, got });
  };
  need(isObject(json), 'tokenizer', 'an object', json);
  const { model, decoder, added_tokens = [], normalizer = null, pre_tokenizer = null, ...rest } = json as Json;
  need(isObject(model), 'model', 'an object', model);
  only('model.type', model, 'BPE');
  const pieces = isObject(decoder) && decoder.type === 'Sequence' && (model as Json).byte_fallback === true;
  if (!pieces) only('decoder.type', decoder, 'ByteLevel');
  else checkPieceDecoder(decoder, file);
  const { vocab, merges, unk_token: unknown, vocabulary: kept, ...others } = model as Json;
  const ids = `whole numbers from 0 to ${mostIds - 1}`;
  const packed = vocab === undefined && isVocabulary(kept, isId) ? kept : undefined;
  if (!packed) {
    need(isObject(vocab), 'model.vocab', 'an object', vocab);
    need(isVocab(vocab), 'model.vocab', ids, 'something else');
    need(areMerges(merges), 'model.merges', 'an array of pairs', merges);
  }
  need(Array.isArray(added_tokens) && added_tokens.every(isAddedToken), 'added_tokens', '{id, content}s', added_tokens);
  const added = (added_tokens as (Json & SpecialToken)[]).map((token) => ({
    ...token,
    special: token.special === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
  }));
  const text = added.reduce((sum, { content }) => sum + content.length, 0);
  if (text > mostAddedText) throw unbounded('added_tokens', text, `at most ${mostAddedText} characters`, file);
  const growth = checkSteps('normalizer', 'normalizers', normalizer, file);
  if (growth * checkSteps('pre_tokenizer', 'pretokenizers', pre_tokenizer, file) > mostGrowth) {
    throw unbounded('normalizer', 'texts that grow', `at most ${mostGrowth} times as long`, file);
  }
  // an unknown token that is none would be an id that is none
  const vocabulary = packed ?? vocabularyOf(vocab as Record<string, number>, merges as Merge[]);
  const known = typeof unknown === 'string' && (vocabulary.texts.includes(unknown) || hasContent(added, unknown));
  return {
    post_processor: null,
    ...rest,
    normalizer,
    pre_tokenizer,
    decoder: decoder as Json,
    model: { ...others, unk_token: known ? unknown : null },
    vocabulary,
    added_tokens: added,
  };
}

const hasContent = (added: { content: string }[], text: string): boolean =>
  added.some(({ content }) => content === text);

const shortly = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 60) : kindOf(value));

function unbounded(part: string, got: string | number, expected: string, file: string): SternaError {
  return new SternaError('unsupported', `${part} of this size`, { file, got, expected });
}

/** The decoders of a tokenizer.json with SentencePiece's "▁" and byte tokens, as transformers writes them. */
const pieceDecoders = ['Replace', 'ByteFallback', 'Fuse', 'Strip'];

function checkPieceDecoder({ decoders }: Json, file: string): void {
  const all = (Array.isArray(decoders) ? decoders : []).map((one: unknown) => (isObject(one) ? one : {}));
  const types = all.map(({ type }) => shortly(type));
  const [blanks = {}] = all;
  const plain = blanks.content === ' ' && isObject(blanks.pattern) && blanks.pattern.String === '▁';
  const wanted = pieceDecoders.slice(0, types.length);
  if (plain && types.length > 2 && types.join() === wanted.join()) return;
  const facts = { file, expected: `${pieceDecoders.join(', ')} of "▁"`, got: types.slice(0, 8).join(', ') || 'none' };
  throw new SternaError('unsupported', 'decoder of this kind', facts);
}

/**
 * Checks the fields of the steps that texts go through, one or a Sequence of them; the library knows their types.
 * Returns how many times as long a text may become.
 */
function checkSteps(part: string, listKey: string, step: unknown, file: string): number {
  if (step === null) return 1;
  const bad = (field: string, got: unknown, expected: string) =>
    new SternaError('bad-file', `bad ${part} ${field}`, { file, got: shortly(got), expected });
  if (!isObject(step)) throw bad('step', step, 'an object');
  const steps = step.type === 'Sequence' ? (step[listKey] ?? []) : [step];
  if (!Array.isArray(steps) || steps.length > mostSteps) throw bad(listKey, steps, `at most ${mostSteps} steps`);
  let growth = 1;
  for (const one of steps as unknown[]) {
    if (!isObject(one) || one.type === 'Sequence') throw bad('step', one, 'an object, and no Sequence in a Sequence');
    const { type, pattern, length } = one;
    for (const key of ['content', 'prepend', 'replacement', 'str_rep', 'behavior', 'prepend_scheme']) {
      const text = one[key];
      if (text === undefined || (text === null && key !== 'prepend')) continue;
      if (typeof text !== 'string' || text.length > mostGrowth) throw bad(key, text, 'a short text');
      if (key !== 'behavior' && key !== 'prepend_scheme' && key !== 'prepend') growth *= Math.max(1, text.length);
    }
    if (type === 'Prepend' && one.prepend === undefined) throw bad('prepend', undefined, 'a text');
    if (type === 'FixedLength' && !(Number.isInteger(length) && Number(length) > 0)) {
      throw bad('length', length, 'a whole number from 1');
    }
    if (type === 'Split' || type === 'Replace') checkPattern(pattern, part, file);
  }
  return growth;
}

function checkPattern(pattern: unknown, part: string, file: string): void {
  const { Regex: regex, String: text } = isObject(pattern) ? pattern : {};
  if (typeof regex !== 'string' && (regex !== undefined || typeof text !== 'string')) {
    throw new SternaError('bad-file', `bad ${part} pattern`, {
      file,
      got: kindOf(pattern),
      expected: 'Regex or String',
    });
  }
  if (typeof regex !== 'string') return;
  if (regex.length > longestPattern)
    throw unbounded(`${part} pattern`, regex.length, `at most ${longestPattern}`, file);
  const why = isSlow(regex);
  if (why) throw new SternaError('unsupported', `${part} pattern: ${why}`, { file, got: regex.slice(0, 60) });
}

/**
 * Why a pattern may take for ages, if it may: JavaScript's matcher goes back and tries again, exponentially often where
 * a group is repeated. No tokenizer needs that.
 */
function isSlow(regex: string): string | undefined {
  let repeats = 0;
  // classes and escapes as wholes, then what repeats, then the rest
  for (const [token] of regex.matchAll(/\\.|\[(?:\\.|[^\]\\])*\]|\)?(?:[*+]|\{\d*,?\d*\})|[\s\S]/g)) {
    if (token === '|') repeats = 0;
    else if (token.startsWith(')') && token.length > 1) return 'a repeated group';
    else if (token === '*' || token === '+' || /^\{\d*,(\d{3,})?\}$/.test(token)) repeats++;
    if (repeats > mostRepeats) return 'too many repetitions';
  }
  return undefined;
}
