/** Checkpoints into a planned memory as src/loader.ts does it, but with every option of the plan, from bytes at hand. */
import { type Description, describe } from '../src/describe';
import { instantiateKernels } from '../src/kernels';
import { createMemory, type MemoryPlan, type PlanOptions, planMemory } from '../src/memory';
import { openOrigin } from '../src/origin';
import { createPacker, fillPadding, type Packer, stagingOf } from '../src/packer';
import { type Part, partsOf } from '../src/parts';
import { writeRopeTables } from '../src/rope';
import type { I2sOrder } from '../src/ternary';

/** The files of a model by name. */
export type Files = Record<string, Uint8Array<ArrayBuffer>>;

export interface FillOptions extends PlanOptions {
  shared: boolean;
  i2sOrder?: I2sOrder;
}

export interface Filled {
  description: Description;
  plan: MemoryPlan;
  parts: Part[];
  memory: WebAssembly.Memory;
  packer: Packer;
  /** The weights in their stored form, unit by unit. */
  stored: Uint8Array[];
}

const describeFiles = async (files: Files): Promise<Description> => {
  const signal = new AbortController().signal;
  const picked = Object.entries(files).map(([path, bytes]) => new File([bytes], path));
  return (await describe(await openOrigin(picked, signal), signal, () => {})).description;
};

/** Packs a model's files; their bytes come in pieces that end anywhere. */
export async function fillMemory(
  module: WebAssembly.Module,
  files: Files,
  { shared, i2sOrder = 'x86', ...options }: FillOptions,
): Promise<Filled> {
  const description = await describeFiles(files);
  const { config, files: weights, style, interleaved } = description;
  const staging = stagingOf(partsOf(weights, planMemory(config, options), style, interleaved), 0);
  const plan = planMemory(config, { ...options, stagingBytes: staging.bytes });
  const parts = partsOf(weights, plan, style, interleaved);
  const memory = createMemory(plan.bytes, shared);
  const kernels = instantiateKernels(module, memory);
  kernels.writeConstants();
  fillPadding(memory, plan);
  const names = weights.map(({ path }) => path);
  const packer = createPacker(kernels, memory, plan, parts, staging, names, i2sOrder);
  const stored: Uint8Array[] = [];
  const keep = (unit: Uint8Array): boolean => {
    stored.push(unit.slice());
    return false;
  };
  const odd = 100_003;
  for (const [index, path] of names.entries()) {
    const bytes = files[path]!;
    packer.seek(index, 0);
    for (let at = 0; at < bytes.length; at += odd) packer.take(bytes.subarray(at, at + odd), keep);
  }
  packer.finish();
  writeRopeTables(kernels, memory, plan);
  return { description, plan, parts, memory, packer, stored };
}
