/** Test data in the browser: fixture tensors, and checkpoints for the engine and for the reference model. */
import { type Checkpoint, checkpointBytes } from '../bench/synthesize';
import { parseHeader } from '../src/checkpoint/safetensors';
import { type ModelConfig, parseConfig } from '../src/model/config';
import type { ReferenceLayer, ReferenceModel } from '../src/model/reference';
import type { TernaryMatrix } from '../src/model/reference-kernels';

/** A model's files, as they can be posted to a worker. */
export interface ModelFiles {
  config: unknown;
  generation: unknown;
  weights: Uint8Array<ArrayBuffer>;
}

const here = import.meta.url; // under a name, so that Vite does not take the folders below for assets
export const fixtures = new URL('fixtures/', here).href;
export const tinyStories = new URL('../demo/public/models/tiny-stories-ternary/', here).href;
export const hfPacked = `${fixtures}hf-packed/`;

async function get(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return response;
}

export async function getJson<T>(url: string): Promise<T> {
  return (await get(url)).json() as Promise<T>;
}

/** The tensors of a safetensors file, by name; each in an aligned copy. */
export interface Tensors {
  names: string[];
  shape(name: string): number[];
  f32(name: string): Float32Array<ArrayBuffer>;
  i32(name: string): Int32Array<ArrayBuffer>;
  i8(name: string): Int8Array<ArrayBuffer>;
  /** BF16 as float32, exactly. */
  bf16(name: string): Float32Array<ArrayBuffer>;
  u8(name: string): Uint8Array<ArrayBuffer>;
  /** BF16 or F32 as float32, exactly. */
  floats(name: string): Float32Array<ArrayBuffer>;
}

function readTensors(bytes: Uint8Array<ArrayBuffer>, file: string): Tensors {
  const { tensors } = parseHeader(bytes, bytes.length, file);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const info = (name: string) => {
    const tensor = byName.get(name);
    if (!tensor) throw new Error(`${file} has no ${name}`);
    return tensor;
  };
  const copy = (name: string, wanted: string): ArrayBuffer => {
    const { begin, end, type } = info(name);
    if (type !== wanted) throw new Error(`${file}: ${name} is ${type}, not ${wanted}`);
    return bytes.buffer.slice(bytes.byteOffset + begin, bytes.byteOffset + end);
  };
  const f32 = (name: string) => new Float32Array(copy(name, 'F32'));
  const bf16 = (name: string) =>
    new Float32Array(Uint32Array.from(new Uint16Array(copy(name, 'BF16')), (half) => half << 16).buffer);
  return {
    names: [...byName.keys()],
    shape: (name) => info(name).shape,
    f32,
    i32: (name) => new Int32Array(copy(name, 'I32')),
    i8: (name) => new Int8Array(copy(name, 'I8')),
    u8: (name) => new Uint8Array(copy(name, 'U8')),
    bf16,
    floats: (name) => (info(name).type === 'F32' ? f32(name) : bf16(name)),
  };
}

export async function readFixture(file: string): Promise<Tensors> {
  return readTensors(new Uint8Array(await (await get(fixtures + file)).arrayBuffer()), file);
}

/** The files of a folder; its URL ends in a slash. */
export async function fetchModel(folder: string): Promise<ModelFiles> {
  const [config, generation, weights] = await Promise.all([
    getJson<unknown>(`${folder}config.json`),
    getJson<unknown>(`${folder}generation_config.json`),
    get(`${folder}model.safetensors`).then((response) => response.arrayBuffer()),
  ]);
  return { config, generation, weights: new Uint8Array(weights) };
}

export function syntheticModel(checkpoint: Checkpoint): ModelFiles {
  return { config: checkpoint.config, generation: checkpoint.generation, weights: checkpointBytes(checkpoint) };
}

/** The same as the files of a folder. */
export function asFiles({ config, generation, weights }: ModelFiles): Record<string, Uint8Array<ArrayBuffer>> {
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  return {
    'config.json': json(config),
    'generation_config.json': json(generation),
    'model.safetensors': weights,
  };
}

const configOf = ({ config, generation }: ModelFiles): ModelConfig => parseConfig(config, generation, 'config.json');

/** The trits of a packed matrix: byte row r holds rows r, r + rows / 4, ..., lowest bits first; code - 1 is the trit. */
function unpack(packed: Uint8Array, rows: number, cols: number): Int8Array {
  const trits = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const [byteRow, shift] = [r % (rows / 4), 2 * Math.floor(r / (rows / 4))];
    for (let c = 0; c < cols; c++) trits[r * cols + c] = ((packed[byteRow * cols + c]! >> shift) & 3) - 1;
  }
  return trits;
}

/** A checkpoint as src/model/reference.ts wants it; read by this code alone, not by the engine's. */
export function referenceModel(files: ModelFiles): ReferenceModel {
  const config = configOf(files);
  const tensors = readTensors(files.weights, 'model.safetensors');
  const gain = (name: string) => tensors.bf16(`${name}.weight`);
  const linear = (name: string): TernaryMatrix => {
    const [byteRows = 0, cols = 0] = tensors.shape(`${name}.weight`);
    const stored = tensors.floats(`${name}.weight_scale`)[0]!;
    const scale = config.scaleSense === 'divide' ? Math.fround(1 / stored) : stored;
    return { trits: unpack(tensors.u8(`${name}.weight`), byteRows * 4, cols), rows: byteRows * 4, cols, scale };
  };
  const layers = Array.from({ length: config.layers }, (_, index): ReferenceLayer => {
    const [attention, mlp] = [`model.layers.${index}.self_attn`, `model.layers.${index}.mlp`];
    return {
      inputNorm: gain(`model.layers.${index}.input_layernorm`),
      query: linear(`${attention}.q_proj`),
      key: linear(`${attention}.k_proj`),
      value: linear(`${attention}.v_proj`),
      attentionNorm: gain(`${attention}.attn_sub_norm`),
      output: linear(`${attention}.o_proj`),
      ffnInputNorm: gain(`model.layers.${index}.post_attention_layernorm`),
      gate: linear(`${mlp}.gate_proj`),
      up: linear(`${mlp}.up_proj`),
      ffnNorm: gain(`${mlp}.ffn_sub_norm`),
      down: linear(`${mlp}.down_proj`),
    };
  });
  return { config, embedding: tensors.bf16('model.embed_tokens.weight'), layers, finalNorm: gain('model.norm') };
}

/** The files of the embedded model with another chat template, as a visitor picks them. */
export async function filesWithTemplate(template: string): Promise<File[]> {
  const names = [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ];
  const files = names.map(async (name) => new File([await (await fetch(`${tinyStories}${name}`)).blob()], name));
  return [...(await Promise.all(files)), new File([template], 'chat_template.jinja')];
}
