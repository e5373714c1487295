/**
 * A model as safetensors (https://github.com/huggingface/safetensors, "Format"): packed, four rows of a ternary matrix
 * to a byte row with a scale beside it, or as a master of floats that absmean quantisation turns into the same trits.
 */
import { type ByteFile, bytesOf, fileOfJson, fileOfTensors, type PlacedTensor, type TensorBytes } from './byte-file';
import { floatTensor } from './encode-floats';
import { packFour } from './encode-ternary';
import { type Part, partsOf, scaleOf, type Weights } from './families';
import { masterRows } from './master';
import { cutTensors, partName } from './parts';

export interface SafetensorsOptions {
  /** multiply: weight_scale is the multiplier, BF16. divide: its reciprocal, F32. master: no scales, float matrices. */
  form: 'multiply' | 'divide' | 'master';
  /** Type of all that is not ternary. */
  floats: 'BF16' | 'F16' | 'F32';
  /** More than one: model-00001-of-0000N.safetensors and an index. */
  parts: number;
}

function packedTensors(weights: Weights, part: Part, form: 'multiply' | 'divide'): TensorBytes[] {
  const { hf, rows, cols } = part;
  if (rows % 4 !== 0) throw new Error(`${hf}: ${rows} rows are not a multiple of 4`);
  const row = () => new Uint8Array(cols);
  const four: [Uint8Array, Uint8Array, Uint8Array, Uint8Array] = [row(), row(), row(), row()];
  const make = (byteRow: number, out: Uint8Array) => {
    for (const [i, codes] of four.entries()) weights.codes(part, byteRow + (i * rows) / 4, codes);
    packFour(four, cols, out);
  };
  const scale = scaleOf(weights, part);
  const stored = (_: number, out: Float32Array) => out.fill(form === 'divide' ? 1 / scale : scale);
  return [
    { name: `${hf}.weight`, type: 'U8', shape: [rows / 4, cols], units: rows / 4, unitBytes: cols, make },
    floatTensor(`${hf}.weight_scale`, form === 'divide' ? 'F32' : 'BF16', [1], stored),
  ];
}

function tensorsOf(weights: Weights, { form, floats }: SafetensorsOptions): TensorBytes[] {
  const { group } = weights.model;
  if (group !== 0) throw new Error(`scales to ${group} columns: no safetensors form has them, only GGUF`);
  return partsOf(weights.model).flatMap((part) => {
    const { hf, kind, rows, cols } = part;
    if (kind === 'linear' && form !== 'master') return packedTensors(weights, part, form);
    const shape = kind === 'gain' ? [cols] : [rows, cols];
    const given = (row: number, out: Float32Array) => weights.floats(part, row, out);
    return [floatTensor(`${hf}.weight`, floats, shape, kind === 'linear' ? masterRows(weights, part) : given)];
  });
}

/** A file of these tensors, without gaps; its header is padded to a multiple of 8. */
function fileOf(tensors: TensorBytes[]): ByteFile {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += bytesOf(tensor);
    return [tensor.name, { dtype: tensor.type, shape: tensor.shape, data_offsets: [begin, end] }];
  });
  const json = JSON.stringify(Object.fromEntries([['__metadata__', { format: 'pt' }], ...entries]));
  const padded = new TextEncoder().encode(json.padEnd(8 * Math.ceil(json.length / 8)));
  const header = new Uint8Array(8 + padded.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded.length), true);
  header.set(padded, 8);
  let begin = header.length;
  const placed = tensors.map((tensor): PlacedTensor => {
    begin += bytesOf(tensor);
    return { ...tensor, begin: begin - bytesOf(tensor) };
  });
  return fileOfTensors(header, placed, begin);
}

/** The weight files and, with several, their index. */
export function safetensorsFiles(weights: Weights, options: SafetensorsOptions): Record<string, ByteFile> {
  const runs = cutTensors(tensorsOf(weights, options), options.parts);
  const named = runs.map((tensors, i) => ({ path: partName('model', i, runs.length, 'safetensors'), tensors }));
  const files = Object.fromEntries(named.map(({ path, tensors }) => [path, fileOf(tensors)]));
  if (runs.length === 1) return files;
  const total = runs.flat().reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const places = named.flatMap(({ path, tensors }) => tensors.map(({ name }) => [name, path]));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(places) };
  return { ...files, 'model.safetensors.index.json': fileOfJson(index) };
}
