/**
 * Checkpoints of any family in any input format, of random weights or of those of an existing checkpoint, made while
 * they are read: a fake hub serves ranges of a file of 1.2 GB that is nowhere. Nothing depends on anything but the seed.
 */
import { type ByteFile, fileOfJson, pieces } from './byte-file';
import type { FloatType } from './encode-floats';
import type { ModelShape, Weights } from './families';
import type { TokenizerFiles } from './gguf-tokenizer';
import { configJson, generationJson } from './hf-config';
import { randomWeights } from './random-weights';
import { type GgufOptions, ggufFiles } from './write-gguf';
import { type SafetensorsOptions, safetensorsFiles } from './write-safetensors';

/** multiply, divide: packed safetensors with either sense of weight_scale. master: floats. The others are GGUF. */
export type Format = SafetensorsOptions['form'] | GgufOptions['ternary'];

export const safetensorsForms = ['multiply', 'divide', 'master'] as const;
export const ggufForms = ['i2_s', 'i2_s-arm', 'tq1_0', 'tq2_0', 'q2_0-64', 'q2_0-128'] as const;

export interface WriteOptions extends Partial<Pick<GgufOptions, 'name' | 'arch' | 'scaleTensors' | 'pre' | 'more'>> {
  format: Format;
  /** Type of embedding and lm_head; in safetensors of all floats, and one of the first three. Default BF16, GGUF F16. */
  floats?: FloatType;
  /** Weight files. Default 1. */
  parts?: number;
  tokenizer?: TokenizerFiles;
}

export interface Repository {
  /** By path, all files of it. A GGUF repository has no JSON files: everything is in the GGUF. */
  files: Record<string, ByteFile>;
  /** config.json and generation_config.json, also where they are not among the files. */
  config: Record<string, unknown>;
  generation: Record<string, unknown>;
}

/** A whole repository of these weights. Throws for what a format cannot hold. */
export function checkpointFiles(weights: Weights, options: WriteOptions): Repository {
  const { format, parts = 1, tokenizer } = options;
  const { model } = weights;
  const generation = generationJson(model);
  const form = safetensorsForms.find((one) => one === format);
  if (!form) {
    const { floats = 'F16', name = 'model' } = options;
    const ternary = format as GgufOptions['ternary'];
    const files = ggufFiles(weights, { ...options, ternary, floats, parts, name });
    return { files, config: configJson(model, undefined), generation };
  }
  const { floats = 'BF16' } = options;
  if (floats !== 'BF16' && floats !== 'F16' && floats !== 'F32') throw new Error(`safetensors have no ${floats}`);
  const config = configJson(model, form, floats);
  return {
    files: {
      'config.json': fileOfJson(config),
      'generation_config.json': fileOfJson(generation),
      ...(tokenizer ? { 'tokenizer.json': fileOfJson(tokenizer.tokenizer) } : {}),
      ...(tokenizer?.config ? { 'tokenizer_config.json': fileOfJson(tokenizer.config) } : {}),
      ...safetensorsFiles(weights, { form, floats, parts }),
    },
    config,
    generation,
  };
}

/** A shape to be written as one packed file. */
export interface Shape extends ModelShape {
  /** How `weight_scale` is stored: the multiplier (autobitlinear, the default) or its reciprocal (bitlinear). */
  scaleSense?: 'multiply' | 'divide';
  /** Same seed, same bytes. Default 1. */
  seed?: number;
}

/** A packed checkpoint in one file. */
export interface Checkpoint {
  config: Record<string, unknown>;
  generation: Record<string, unknown>;
  /** Bytes of model.safetensors. */
  size: number;
  /** model.safetensors from the start, in pieces of at most 1 MB; each call starts anew with the same bytes. */
  chunks(): Generator<Uint8Array<ArrayBuffer>>;
}

/** The widths of BitNet b1.58 2B4T, with the 4,096 tokens of tiny-stories-ternary instead of 128,256. */
export const shape2B4T = { hidden: 2560, ffn: 6912, layers: 3, heads: 20, kvHeads: 5, headDim: 128, vocab: 4096 };

/** A shape that fits no tile of 8, 16, 32 or 128, for tests. */
export const shapeOdd = { hidden: 72, ffn: 100, layers: 2, heads: 3, kvHeads: 1, headDim: 24, vocab: 37 };

/** Random weights of `shape` in packed form. Throws for rows that are no multiple of 4. */
export function packedCheckpoint({ scaleSense = 'multiply', seed, ...shape }: Shape): Checkpoint {
  const { files, config, generation } = checkpointFiles(randomWeights(shape, seed), { format: scaleSense });
  const file = files['model.safetensors']!;
  return { config, generation, size: file.size, chunks: () => pieces(file) };
}

/** The whole of model.safetensors in one buffer, for small checkpoints. */
export function checkpointBytes({ size, chunks }: Checkpoint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks()) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
