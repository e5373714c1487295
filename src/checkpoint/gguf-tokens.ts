/** What a GGUF file says of single tokens: their texts and kinds, and which begin and end a text. */

import { SternaError } from '../errors';
import { idsAt } from '../model/config';
import { endOfTurn } from '../text/end-of-turn';
import type { GgufMetadata } from './gguf';

/** Kinds of tokens, `tokenizer.ggml.token_type` (llama.h, llama_token_type). */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 };

export interface GgufTokens {
  /** By id; no texts at all where the file has no vocabulary. A token without a text is named as llama.cpp does. */
  texts: string[];
  /** A `tokenTypes` value for each token. */
  types: ArrayLike<number>;
  bos: number | null;
  /** The file's own EOS, null if it names none, and every token that ends an answer. */
  eos: number | null;
  ends: number[];
}

function list<T>(metadata: GgufMetadata, key: string, is: (value: unknown) => value is T, file: string): T | undefined {
  const value = metadata[key];
  if (value === undefined || is(value)) return value;
  throw new SternaError('bad-file', `bad ${key}`, { file, got: typeof value, expected: 'an array' });
}

/** The strings at `key`, undefined if there are none. Throws `bad-file` for anything else. */
export function stringsAt(metadata: GgufMetadata, key: string, file: string): string[] | undefined {
  return list(metadata, key, (value): value is string[] => Array.isArray(value), file);
}

/** The numbers at `key`, `count` of them at least, undefined if there are none. Throws `bad-file` for anything else. */
export function numbersAt(
  metadata: GgufMetadata,
  key: string,
  count: number,
  file: string,
): ArrayLike<number> | undefined {
  const isNumbers = (value: unknown): value is ArrayLike<number> & ArrayBufferView => ArrayBuffer.isView(value);
  const numbers = list(metadata, key, isNumbers, file);
  if (numbers && numbers.length < count) {
    throw new SternaError('bad-file', `bad ${key}`, { file, got: numbers.length, expected: `${count} numbers` });
  }
  return numbers;
}

/**
 * The tokens of the file; ids are below `vocab`. Throws `bad-file` for more tokens, ids outside, and lists that are none.
 */
export function readTokens(metadata: GgufMetadata, vocab: number, file: string): GgufTokens {
  const given = stringsAt(metadata, 'tokenizer.ggml.tokens', file) ?? [];
  const texts = given.map((text, index) => text || `[EMPTY_${index}]`);
  if (texts.length > vocab) {
    const facts = { file, got: texts.length, expected: `at most ${vocab}, the rows of the embedding` };
    throw new SternaError('bad-file', 'more tokens than the model has', facts);
  }
  const id = (name: string) => idsAt(metadata, `tokenizer.ggml.${name}_token_id`, vocab, file)?.[0];
  // where the file is silent, SentencePiece's own (llama.cpp, src/llama-vocab.cpp)
  const pieces = metadata['tokenizer.ggml.model'] === 'llama' && texts.length > 2;
  const bos = id('bos') ?? (pieces ? 1 : null);
  const eos = id('eos') ?? (pieces ? 2 : null);
  const named = [eos, id('eot'), id('eom')].filter((end) => typeof end === 'number');
  const found = [...texts.keys()].filter((index) => endOfTurn.includes(texts[index]!));
  const ends = [...new Set([...named, ...found])];
  return { texts, types: readTypes(metadata, texts, [bos, ...ends], file), bos, eos, ends };
}

/** The file's types, corrected: BOS and what ends an answer are control tokens, whatever the file says. */
function readTypes(metadata: GgufMetadata, texts: string[], control: (number | null)[], file: string): Uint8Array {
  const given = numbersAt(metadata, 'tokenizer.ggml.token_type', texts.length, file);
  const types = new Uint8Array(texts.length).fill(tokenTypes.normal);
  if (given) for (const index of types.keys()) types[index] = given[index]!;
  // A file without any control token was made by a converter that does not know of them.
  if (!types.includes(tokenTypes.control)) {
    for (const [index, text] of texts.entries()) if (/^<\|\w+\|>$/.test(text)) types[index] = tokenTypes.control;
  }
  for (const id of control) if (id !== null && id < types.length) types[id] = tokenTypes.control;
  return types;
}
