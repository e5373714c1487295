import { expect, test } from 'vitest';
import type { ByteSource } from '../sources/download';
import { hasSeveralScales } from './block-scales';

const { signal } = new AbortController();
const tensor = (bytes: number) => ({ name: 'blk.0.attn_q.weight', type: 'TQ2_0', shape: [], begin: 0, end: bytes });

/** Blocks of 66 bytes with these scales at their ends. */
function source(scales: number[]): ByteSource {
  const bytes = new Uint8Array(66 * scales.length);
  for (const [i, scale] of scales.entries()) new DataView(bytes.buffer).setUint16(66 * i + 64, scale, true);
  return { name: 'm.gguf', size: bytes.length, read: async () => bytes } as unknown as ByteSource;
}

test('scales are compared, but for those of zeros', async () => {
  const several = (...scales: number[]) => hasSeveralScales(source(scales), tensor(66 * scales.length), signal);
  expect(await several(0x3c00, 0x3c00, 0x3c00)).toBe(false);
  expect(await several(0, 0x3c00, 0x8000, 0x3c00)).toBe(false);
  expect(await several(0x3c00, 0x3c00, 0x3c01)).toBe(true);
});

test('a matrix that no model has is not read', async () => {
  const huge = hasSeveralScales(source([1]), tensor(2 ** 31), signal);
  await expect(huge).rejects.toMatchObject({ code: 'unsupported', file: 'm.gguf', got: 2 ** 31 });
});
