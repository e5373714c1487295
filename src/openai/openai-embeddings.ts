/** Embeddings in OpenAI's shape. */
import type { EmbedResult } from '../protocol/generate-types';
import { bad, givenIn, unsupported } from './openai-request';
import type { EmbeddingParams, EmbeddingResponse } from './openai-types';

const KNOWN = {
  what: 'embeddings',
  read: ['input', 'encoding_format', 'dimensions'],
  idle: ['model', 'user'],
  refused: {},
  same: false,
};

/**
 * Reads a request. What is wrong with the input is said by the model.
 * @param width of the model's hidden state
 * @throws SternaError `bad-input`, `unsupported` for other dimensions
 */
export function readEmbeddingRequest(
  params: unknown,
  width: number,
): { input: EmbeddingParams['input']; base64: boolean } {
  const { input, encoding_format: format = 'float', dimensions = width } = givenIn(params, KNOWN);
  if (format !== 'float' && format !== 'base64') return bad('encoding_format', 'float or base64', format);
  if (dimensions !== width) return unsupported('dimensions', `${width}, those of the model`, dimensions);
  return { input: input as EmbeddingParams['input'], base64: format === 'base64' };
}

/** The bytes of float32, little-endian as all browsers are. */
function toBase64({ buffer, byteOffset, byteLength }: Float32Array): string {
  let bytes = '';
  for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

export function embeddingResponseOf(
  model: string,
  { embeddings, usage }: EmbedResult,
  base64: boolean,
): EmbeddingResponse<number[] | string> {
  const { promptTokens: tokens } = usage;
  const data = embeddings.map((vector, index) => ({
    object: 'embedding' as const,
    index,
    embedding: base64 ? toBase64(vector) : [...vector],
  }));
  return { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}
