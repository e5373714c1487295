/** The page's side of an embedding: its input checked and posted, the vectors taken apart. */
import { proxy } from 'comlink';
import { SternaError } from '../errors';
import type { EmbedOptions, EmbedResult, PrefillProgress } from '../protocol/generate-types';
import type { Engine } from './link';
import { createListener } from './listener';

type Text = string | number[];

const isIds = (value: unknown): boolean => Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value);

/** One text of the input: a string with something in it, or ids as a plain array. */
function toText(value: unknown, name: string): Text {
  const expected = 'a text, or an array of token ids';
  if (value === '') throw new SternaError('bad-input', name, { got: 'an empty text', expected });
  if (typeof value === 'string') return value;
  if (isIds(value)) return Array.from(value as number[]);
  throw new SternaError('bad-input', name, { got: value === null ? 'null' : typeof value, expected });
}

/** The texts of an input: one, or an array of them. An array of numbers is the ids of one. */
function toTexts(input: unknown): Text[] {
  if (!Array.isArray(input) || typeof input[0] === 'number') return [toText(input, 'input')];
  return input.map((each, index) => toText(each, `input ${index}`));
}

/** Asks for embeddings. */
export async function startEmbedding(
  { api, abortable }: Engine,
  input: string | string[] | number[] | number[][],
  { signal, onProgress, ...settings }: EmbedOptions,
): Promise<EmbedResult> {
  const texts = toTexts(input);
  const listener = createListener(onProgress);
  const report = proxy((progress: PrefillProgress) => listener.tell(progress));
  try {
    const { vectors, promptTokens } = await abortable(signal, (id) => api.embed(id, texts, settings, report));
    const width = vectors.length / texts.length;
    const embeddings = texts.map((_, index) => vectors.slice(index * width, (index + 1) * width));
    return { embeddings, usage: { promptTokens } };
  } finally {
    listener.end();
  }
}
