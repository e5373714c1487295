/** Small sound models of every family, as the originals of damaged ones: their small files and their headers. */
import { readFileSync } from 'node:fs';
import { parseGguf } from '../src/checkpoint/gguf';
import { headerEnd, parseHeader } from '../src/checkpoint/safetensors';
import type { WeightFile } from '../src/checkpoint/tensors';
import type { ByteFile } from './byte-file';
import type { Family, ModelShape } from './families';
import { randomWeights } from './random-weights';
import { checkpointFiles, type WriteOptions } from './synthesize';

export type Json = Record<string, unknown>;

const root = new URL('../', import.meta.url);
const readText = (path: string): string => readFileSync(new URL(path, root), 'utf8');
export const readJson = (path: string): Json => JSON.parse(readText(path)) as Json;

export interface Header {
  /** The file's first bytes, up to its data. */
  bytes: Uint8Array<ArrayBuffer>;
  fileSize: number;
}

export interface SafetensorsModel extends Header {
  config: Json;
  generation: Json;
  file: WeightFile;
}

const shape: ModelShape = { hidden: 256, ffn: 512, layers: 2, heads: 4, kvHeads: 2, vocab: 320, maxPositions: 2048 };

function safetensorsModel(family: Family, format: WriteOptions['format']): SafetensorsModel {
  const { files, config, generation } = checkpointFiles(randomWeights({ ...shape, family }), { format });
  const source = files['model.safetensors']!;
  const path = 'model.safetensors';
  const bytes = source.read(0, headerEnd(source.read(0, 8), source.size, path));
  return { config, generation, bytes, fileSize: source.size, file: safetensorsFile(bytes, source.size) };
}

/** The table of a safetensors file, as the loader keeps it. */
export function safetensorsFile(bytes: Uint8Array, size: number): WeightFile {
  const path = 'model.safetensors';
  const { tensors, dataStart } = parseHeader(bytes, size, path);
  return { path, size, headSha256: '', dataStart, tensors };
}

export const safetensorsModels = (): SafetensorsModel[] => [
  safetensorsModel('bitnet', 'multiply'),
  safetensorsModel('bitnet', 'divide'),
  safetensorsModel('bitnet', 'master'),
  safetensorsModel('1bitllm', 'master'),
  safetensorsModel('llama', 'divide'),
];

function headOf({ size, read }: ByteFile): Header {
  for (let length = 2 ** 16; ; length *= 2) {
    const bytes = read(0, Math.min(size, length));
    const header = parseGguf(bytes, size, 'model.gguf');
    if (!('needs' in header)) return { bytes: bytes.slice(0, header.dataStart), fileSize: size };
  }
}

function ggufModel(family: Family, options: WriteOptions, changes: Partial<ModelShape> = {}): Header {
  const { files } = checkpointFiles(randomWeights({ ...shape, family, ...changes }), { ...options, name: 'model' });
  return headOf(files['model.gguf']!);
}

/** Every family and type of weights; some with a tokenizer. */
export function ggufModels(): Header[] {
  const fixtures = ['i2_s', 'tq1_0', 'tq2_0'].map((name): Header => {
    const bytes = new Uint8Array(readFileSync(new URL(`e2e/fixtures/gguf/${name}.gguf`, root)));
    return headOf({ size: bytes.length, read: (from, to) => bytes.slice(from, to) });
  });
  return [
    ...fixtures,
    ggufModel('bitnet', { format: 'i2_s' }),
    ggufModel('llama', { format: 'tq2_0' }),
    ggufModel('qwen3', { format: 'q2_0-128' }),
    ggufModel('qwen3', { format: 'q2_0-64' }, { group: 64 }),
    ggufModel('minicpm', { format: 'tq1_0' }),
  ];
}
