/** Checkpoints into a planned memory as src/engine/loader.ts does it, but with every option of the plan, from bytes at hand. */
import { type Description, describe } from '../src/checkpoint/describe';
import { createPacker, fillPadding, type Packer, stagingOf } from '../src/checkpoint/packer';
import { type Part, partsOf } from '../src/checkpoint/parts';
import { createReport } from '../src/checkpoint/progress';
import type { I2sOrder } from '../src/checkpoint/ternary';
import { instantiateKernels } from '../src/model/kernels';
import type { Matrix, MemoryPlan } from '../src/model/memory';
import { createMemory, type PlanOptions, planMemory } from '../src/model/plan-memory';
import { writeRopeTables } from '../src/model/rope';
import { openOrigin } from '../src/sources/origin';

/** The files of a model by name. */
export type Files = Record<string, Uint8Array<ArrayBuffer>>;

export interface FillOptions extends PlanOptions {
  shared: boolean;
  i2sOrder?: I2sOrder;
  /** Form of embedding and lm_head in the store. Default: as in memory. */
  storedTables?: 'bf16' | 'int8';
}

export interface Filled {
  description: Description;
  plan: MemoryPlan;
  parts: Part[];
  memory: WebAssembly.Memory;
  packer: Packer;
  /** The weights in their stored form, unit by unit. */
  stored: StoredUnit[];
}

/** A unit in its stored form, and the byte of its file from which the next bytes lead to it. */
export interface StoredUnit {
  file: number;
  from: number;
  bytes: Uint8Array;
}

const describeFiles = async (files: Files): Promise<Description> => {
  const signal = new AbortController().signal;
  const picked = Object.entries(files).map(([path, bytes]) => new File([bytes], path));
  return (
    await describe(
      await openOrigin(picked, signal),
      signal,
      createReport(() => {}),
    )
  ).description;
};

/** A planned memory without weights, and a packer for it. */
function prepare(
  module: WebAssembly.Module,
  description: Description,
  { shared, i2sOrder = 'x86', storedTables, ...options }: FillOptions,
  recordBytes: number,
) {
  const { config, files, style, interleaved } = description;
  const partsFor = (plan: MemoryPlan): Part[] => partsOf(files, plan, style, interleaved, storedTables);
  const staging = stagingOf(partsFor(planMemory(config, options)), recordBytes);
  const plan = planMemory(config, { ...options, stagingBytes: staging.bytes });
  const parts = partsFor(plan);
  const memory = createMemory(plan.bytes, shared);
  const kernels = instantiateKernels(module, memory);
  kernels.writeConstants();
  fillPadding(memory, plan);
  const names = files.map(({ path }) => path);
  const packer = createPacker(kernels, memory, plan, parts, staging, names, i2sOrder);
  const finish = (): void => {
    packer.finish();
    writeRopeTables(kernels, memory, plan);
  };
  return { description, plan, parts, memory, packer, finish };
}

/** Packs a model's files; their bytes come in pieces that end anywhere. */
export async function fillMemory(module: WebAssembly.Module, files: Files, options: FillOptions): Promise<Filled> {
  const description = await describeFiles(files);
  const { finish, ...filled } = prepare(module, description, options, 0);
  const { packer } = filled;
  const stored: StoredUnit[] = [];
  const odd = 100_003;
  for (const [file, { path }] of description.files.entries()) {
    const bytes = files[path]!;
    let from = 0;
    packer.seek(file, 0);
    const keep = (unit: Uint8Array): boolean => {
      stored.push({ file, from, bytes: unit.slice() });
      from = packer.offset;
      return false;
    };
    for (let at = 0; at < bytes.length; at += odd) packer.take(bytes.subarray(at, at + odd), keep);
  }
  finish();
  return { ...filled, stored };
}

/** Fills another memory from the stored form, in records of about so many bytes. */
export function restoreMemory(
  module: WebAssembly.Module,
  { description, stored }: Pick<Filled, 'description' | 'stored'>,
  options: FillOptions,
  recordBytes: number,
): Omit<Filled, 'stored'> {
  const { finish, ...filled } = prepare(module, description, options, recordBytes);
  for (let at = 0; at < stored.length; ) {
    const { file, from } = stored[at]!;
    const units: Uint8Array[] = [];
    let length = 0;
    do length += units[units.push(stored[at++]!.bytes) - 1]!.length;
    while (length < recordBytes && stored[at]?.file === file);
    const record = new Uint8Array(length);
    let to = 0;
    for (const bytes of units) {
      record.set(bytes, to);
      to += bytes.length;
    }
    filled.packer.seek(file, from);
    filled.packer.restore(record);
  }
  finish();
  return filled;
}

/** What of two memories of one plan differs: the first byte of the weights, or a scale; '' if nothing does. */
export function weightDifference(a: Omit<Filled, 'stored'>, b: Omit<Filled, 'stored'>): string {
  const [one, other] = [a, b].map(
    ({ memory, plan }) => new Uint8Array(memory.buffer, FIRST_BYTE, plan.staging - FIRST_BYTE),
  );
  if (a.plan.staging !== b.plan.staging) return `${a.plan.staging} and ${b.plan.staging} bytes`;
  const at = one!.findIndex((byte, i) => byte !== other![i]);
  if (at >= 0) return `byte ${at + FIRST_BYTE}: ${one![at]} and ${other![at]}`;
  const scales = [a, b].map(({ plan }) => matricesOf(plan).map(({ scale }) => scale));
  const matrix = scales[0]!.findIndex((scale, i) => scale !== scales[1]![i]);
  return matrix < 0 ? '' : `scale of matrix ${matrix}: ${scales[0]![matrix]} and ${scales[1]![matrix]}`;
}

/** The weights begin behind the words of the barriers and the constants of the kernels. */
const FIRST_BYTE = 1024;

/** Every ternary matrix of the layers. */
export const matricesOf = (plan: MemoryPlan): Matrix[] =>
  plan.layers.flatMap(({ query, key, value, output, gate, up, down }) => [query, key, value, output, gate, up, down]);
