/**
 * Which bytes of a checkpoint mean what to the plan: every tensor of the weight files, by its family's name, with the
 * shape and the data types that the engine takes, and how it is cut into units. A unit is what is packed in one go: a
 * row (or the rows that share bytes), or a whole small tensor. The stored form (docs/model.md) has the same units.
 */

import { SternaError } from '../errors';
import type { ModelConfig } from '../model/config';
import type { LayerPlan, Matrix, MemoryPlan, TableHead } from '../model/memory';
import {
  globalNames,
  type Linear,
  linears,
  type NameStyle,
  type Role,
  ropeTensors,
  scaleName,
  tensorNames,
} from './names';
import { blockOf, scaleGroup, type TensorInfo, type WeightFile } from './tensors';

/** What a tensor is to the plan. */
export type Place =
  /** Norm gain, to f32. `heads`: its elements lie in padded heads. */
  | { kind: 'gain'; at: number; heads: boolean }
  /** One multiplier of a matrix; `beside`: of weights that carry their own scale. `divide`: the file holds its reciprocal. */
  | { kind: 'scale'; matrix: Matrix; divide: boolean; factor: 'own' | 'beside' }
  /** The last 32 bytes of an I2_S tensor, which begin with its scale. */
  | { kind: 'tail'; matrix: Matrix }
  | { kind: 'ternary'; matrix: Matrix; rows: RowOrder; paddedHeads: boolean }
  | { kind: 'table'; table: TableHead }
  /** Divisors of the RoPE frequencies, to f32. */
  | { kind: 'ropeFactors'; at: number };

/** Where a row of the file lies in the matrix: as it is, by padded heads, or by heads whose halves are interleaved. */
export type RowOrder = 'plain' | 'heads' | 'interleaved';

export interface Part {
  file: number;
  name: string;
  type: string;
  /** Bytes of the file, absolute. */
  begin: number;
  end: number;
  units: number;
  /** Bytes of a unit in the file, and in the stored form. */
  unitBytes: number;
  storedBytes: number;
  /** Matrices and tables: rows of the tensor, rows to a unit, columns; columns to a scale in the file (Q2_0, else 0). */
  allRows: number;
  rows: number;
  cols: number;
  group: number;
  place: Place;
}

const FLOATS = ['BF16', 'F16', 'F32'];
const TABLES = [...FLOATS, 'Q8_0', 'Q6_K', 'Q4_K', 'Q4_0'];
const TERNARY = ['U8', 'I2_S', 'TQ1_0', 'TQ2_0', 'Q2_0', ...FLOATS];

/** Bytes of a base-3 row: 16 for 80 columns. */
export const base3Bytes = (cols: number): number => Math.ceil(cols / 80) * 16;

const product = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** A tensor the model consists of, before it is found in the files. */
interface Wanted {
  place: Place;
  shape: number[];
  types: string[];
  optional?: boolean;
}

function matrixShapes({ hidden, ffn, heads, kvHeads, headDim }: ModelConfig): Record<Linear, number[]> {
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  return {
    query: [queries, hidden],
    key: [keys, hidden],
    value: [keys, hidden],
    output: [hidden, queries],
    gate: [ffn, hidden],
    up: [ffn, hidden],
    down: [hidden, ffn],
  };
}

/** Every tensor that the plan needs, by its name in the files. */
function wantedTensors(plan: MemoryPlan, style: NameStyle, interleaved: boolean): Map<string, Wanted> {
  const { config } = plan;
  const { hidden, ffn, heads, headDim, vocab, subNorms, qkNorm, scaleSense, ternaryEmbedding } = config;
  const all = new Map<string, Wanted>();
  const gain = (name: string, at: number, width: number, inHeads = false): void => {
    all.set(name, { place: { kind: 'gain', at, heads: inHeads }, shape: [width], types: FLOATS });
  };
  const shapes = matrixShapes(config);
  for (const [index, layer] of plan.layers.entries()) {
    const names = tensorNames(style, index);
    for (const role of linears) {
      const matrix = layer[role];
      const place: Place = {
        kind: 'ternary',
        matrix,
        rows: rowOrder(role, interleaved),
        paddedHeads: role === 'output',
      };
      all.set(names[role], { place, shape: shapes[role], types: TERNARY });
      const divide = style !== 'gguf' && scaleSense === 'divide';
      const factor = style === 'gguf' ? 'beside' : 'own';
      all.set(scaleName(style, names[role]), {
        place: { kind: 'scale', matrix, divide, factor },
        shape: [1],
        types: FLOATS,
        optional: true,
      });
    }
    const gains: [Role, keyof LayerPlan, number, boolean][] = [
      ['inputNorm', 'inputNorm', hidden, false],
      ['ffnInputNorm', 'ffnInputNorm', hidden, false],
    ];
    if (subNorms)
      gains.push(['attentionNorm', 'attentionNorm', heads * headDim, true], ['ffnNorm', 'ffnNorm', ffn, false]);
    if (qkNorm) gains.push(['queryNorm', 'queryNorm', headDim, true], ['keyNorm', 'keyNorm', headDim, true]);
    for (const [role, key, width, inHeads] of gains) gain(names[role], layer[key] as number, width, inHeads);
  }
  const names = globalNames(style);
  gain(names.finalNorm, plan.finalNorm, hidden);
  const table = (name: string, head: MemoryPlan['head']): void => {
    const place: Place =
      head.kind === 'ternary'
        ? { kind: 'ternary', matrix: head.matrix, rows: 'plain', paddedHeads: false }
        : { kind: 'table', table: head };
    all.set(name, { place, shape: [vocab, hidden], types: ternaryEmbedding ? TERNARY : TABLES });
  };
  table(names.embedding, plan.embedding);
  if (config.lmHead === 'untied') table(names.head, plan.head);
  const factors = (name: string, at: number): void => {
    all.set(name, { place: { kind: 'ropeFactors', at }, shape: [headDim / 2], types: FLOATS });
  };
  if (config.ropeScaling?.kind === 'factors') factors(ropeTensors.factors, plan.ropeFactors);
  if (config.ropeScaling?.kind === 'longrope') {
    // both are kept: which one holds depends on the context of each load
    factors(ropeTensors.short, plan.ropeFactors);
    factors(ropeTensors.long, plan.ropeFactors + headDim * 2);
  }
  return all;
}

/** Queries and keys are cut by halves of heads; values by heads, for their padding alone. */
function rowOrder(role: string, interleaved: boolean): RowOrder {
  if (role === 'query' || role === 'key') return interleaved ? 'interleaved' : 'heads';
  return role === 'value' ? 'heads' : 'plain';
}

/** Tensors that say nothing new: RoPE frequencies, and the head of a tied model, which is its embedding once more. */
const isKnownExtra = (name: string, config: ModelConfig, style: NameStyle): boolean =>
  /rotary_emb\.inv_freq$/.test(name) || (config.lmHead === 'tied' && name === globalNames(style).head);

/**
 * The parts of the weight files, in the order of their bytes; together with the gaps between them they are the files.
 * @param interleaved rows of queries and keys have the two halves of a head in turn (GGUF of Llama's architecture)
 * @param storedTables the stored form of embedding and lm_head; default: as in memory
 * @throws SternaError `bad-file` for a missing tensor or a wrong shape, `unsupported` for a tensor or data type the
 * engine does not use, with `got` and `expected`
 */
export function partsOf(
  files: WeightFile[],
  plan: MemoryPlan,
  style: NameStyle,
  interleaved: boolean,
  storedTables?: 'bf16' | 'int8',
): Part[] {
  const wanted = wantedTensors(plan, style, interleaved);
  const found = new Map<string, string>(); // type by name
  const parts: Part[] = [];
  for (const [file, { path, tensors }] of files.entries()) {
    for (const tensor of tensors) {
      const want = wanted.get(tensor.name);
      if (!want) {
        if (isKnownExtra(tensor.name, plan.config, style)) continue;
        throw new SternaError('unsupported', 'tensor the engine has no use for', {
          file: path,
          got: tensor.name.slice(0, 100),
          expected: 'none',
        });
      }
      if (found.has(tensor.name)) {
        throw new SternaError('bad-file', 'tensor is there twice', { file: path, got: tensor.name, expected: 'once' });
      }
      found.set(tensor.name, tensor.type);
      parts.push(...cut(tensor, want, file, path, plan, storedTables));
    }
  }
  for (const [name, { optional }] of wanted) {
    // only packed weights need a scale tensor beside them
    const needed = !optional || found.get(name.replace(/_scale$/, '')) === 'U8';
    if (needed && !found.has(name)) {
      const file = files[0]?.path ?? 'the weights';
      throw new SternaError('bad-file', 'tensor is missing', { file, got: 'none', expected: name });
    }
  }
  return parts.sort((a, b) => a.file - b.file || a.begin - b.begin || a.end - b.end);
}

/** The parts of one tensor, checked. */
function cut(
  tensor: TensorInfo,
  { place, shape, types }: Wanted,
  file: number,
  path: string,
  plan: MemoryPlan,
  storedTables: 'bf16' | 'int8' | undefined,
): Part[] {
  const { name, type, begin, end } = tensor;
  if (!types.includes(type)) {
    const facts = { file: path, got: type, expected: types.join(', ') };
    throw new SternaError('unsupported', `data type of tensor ${name}`, facts);
  }
  const [rows = 1, cols = 1] = shape.length === 2 ? shape : [1, shape[0]];
  const inFile = type === 'U8' ? [Math.ceil(rows / 4), cols] : shape;
  const right = place.kind === 'scale' ? product(tensor.shape) === 1 : tensor.shape.join() === inFile.join();
  if (!right) {
    const facts = { file: path, got: `[${tensor.shape}]`, expected: `[${inFile}]` };
    throw new SternaError('bad-file', `shape of tensor ${name}`, facts);
  }
  const part = { file, name, type, begin, end, allRows: rows, rows: 1, cols, group: 0, place };
  const whole = end - begin;
  if (place.kind === 'gain' || place.kind === 'ropeFactors')
    return [{ ...part, units: 1, unitBytes: whole, storedBytes: cols * 4 }];
  if (place.kind === 'scale') return [{ ...part, units: 1, unitBytes: whole, storedBytes: 4 }];
  const group = type === 'Q2_0' ? scaleGroup(tensor) : 0;
  const [elements, bytes] = blockOf(tensor);
  const blockColumns = type === 'I2_S' ? 1 : elements;
  if (cols % blockColumns !== 0) {
    const facts = { file: path, got: cols, expected: `a multiple of ${blockColumns}` };
    throw new SternaError('unsupported', `columns of tensor ${name} as ${type}`, facts);
  }
  const rowBytes = (cols / elements) * bytes;
  if (place.kind === 'table') {
    const storedBytes = (storedTables ?? place.table.kind) === 'bf16' ? cols * 2 : cols + 4;
    return [{ ...part, units: rows, unitBytes: rowBytes, storedBytes }];
  }
  const base3 = base3Bytes(cols);
  const groups = plan.config.group ? cols / plan.config.group : 0;
  const scales = plan.config.group ? groups * 2 : 4; // f16 to a group, or the f32 of the row's blocks
  if (plan.config.group && !['Q2_0', 'TQ1_0', 'TQ2_0'].includes(type)) {
    const facts = { file: path, got: type, expected: 'Q2_0, TQ1_0 or TQ2_0' };
    throw new SternaError('unsupported', `tensor ${name} among group scales`, facts);
  }
  if (type === 'U8') return [{ ...part, units: Math.ceil(rows / 4), unitBytes: cols, storedBytes: 4 * base3, rows: 4 }];
  if (FLOATS.includes(type)) {
    return [{ ...part, units: 1, unitBytes: whole, storedBytes: rows * base3 + 4 }];
  }
  if (type === 'I2_S') {
    const unitRows = 128 / gcd(cols, 128); // blocks of 128 run on from row to row
    if (rows % unitRows !== 0) {
      const facts = { file: path, got: rows, expected: `a multiple of ${unitRows}` };
      throw new SternaError('unsupported', `rows of tensor ${name} as I2_S`, facts);
    }
    const tail: Part = {
      ...part,
      begin: end - 32,
      units: 1,
      unitBytes: 32,
      storedBytes: 4,
      place: { kind: 'tail', matrix: place.matrix },
    };
    const unit = {
      units: rows / unitRows,
      unitBytes: rowBytes * unitRows,
      storedBytes: unitRows * base3,
      rows: unitRows,
    };
    return [{ ...part, ...unit, end: end - 32 }, tail];
  }
  return [{ ...part, units: rows, unitBytes: rowBytes, storedBytes: base3 + scales, group }];
}

/** The tables among the parts, stored as the exact bf16 rows that they have beside int8 ones. */
export const exactTables = (parts: Part[]): Part[] =>
  parts.filter(({ place }) => place.kind === 'table').map((part) => ({ ...part, storedBytes: part.cols * 2 }));

/** Bytes of the parts in the stored form. */
export const storedSize = (parts: Part[]): number =>
  parts.reduce((sum, { units, storedBytes }) => sum + units * storedBytes, 0);
