import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../src/config';
import { parseHeader } from '../src/safetensors';
import { checkpointBytes, packedCheckpoint, shape2B4T, shapeOdd } from './synthesize';

describe('synthetic checkpoints', () => {
  test.each([
    ['odd', { ...shapeOdd, seed: 3 }, 38],
    ['tall', { hidden: 128, ffn: 4, layers: 1, heads: 2, kvHeads: 2, vocab: 5, scaleSense: 'divide' as const }, 20],
  ])('%s: reads back', (_, shape, tensors) => {
    const checkpoint = packedCheckpoint(shape);
    const config = parseConfig(checkpoint.config, checkpoint.generation, 'config.json');
    expect(config).toMatchObject({ hidden: shape.hidden, ffn: shape.ffn, vocab: shape.vocab, eos: [1, 2] });
    const bytes = checkpointBytes(checkpoint);
    const header = parseHeader(bytes, checkpoint.size, 'model.safetensors');
    expect(header.tensors.size).toBe(tensors);
    const attention = 'model.layers.0.self_attn';
    const down = header.tensors.get('model.layers.0.mlp.down_proj.weight');
    expect(down).toMatchObject({ dtype: 'U8', shape: [shape.hidden / 4, shape.ffn] });
    const { kvHeads, headDim } = config;
    expect(header.tensors.get(`${attention}.k_proj.weight`)?.shape).toEqual([(kvHeads * headDim) / 4, shape.hidden]);
    for (const [name, { dtype, begin, end }] of header.tensors) {
      const values = bytes.slice(header.dataStart + begin, header.dataStart + end);
      if (dtype === 'U8') {
        expect(
          values.some((byte) => (byte & (byte >> 1) & 0x55) !== 0),
          `${name} has a code 3`,
        ).toBe(false);
      } else {
        const numbers = [...new Uint16Array(values.buffer)].map(fromBf16);
        const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
        if (name.endsWith('norm.weight')) expect(mean).toBeCloseTo(1, 0);
        if (name.endsWith('weight_scale')) expect(mean > 1, name).toBe(config.scaleSense === 'divide');
        if (name.endsWith('embed_tokens.weight')) expect(mean).toBeCloseTo(0, 1);
      }
    }
  });

  test('the seed decides every byte', () => {
    const hash = (seed: number) =>
      createHash('sha256')
        .update(checkpointBytes(packedCheckpoint({ ...shapeOdd, seed })))
        .digest('hex');
    expect(hash(1)).toBe('ec5752ec7b0f7d9d46e780b6fdcfb5f38e8637df6c46e56150a91255db011c3f');
    expect(hash(1)).not.toBe(hash(2));
  });

  test('rows that are no multiple of 4 are refused', () => {
    expect(() => packedCheckpoint({ ...shapeOdd, ffn: 102 })).toThrow(/not a multiple of 4/);
  });

  test('the widths of 2B4T come in pieces, their size known before', () => {
    const { chunks, size } = packedCheckpoint({ ...shape2B4T, layers: 1 });
    let sum = 0;
    for (const chunk of chunks()) {
      expect(chunk.length).toBeLessThanOrEqual(2 ** 20);
      sum += chunk.length;
    }
    expect(sum).toBe(size);
    // Embedding and norms in 2 bytes, matrices in 2 bits, 7 scales, and the header.
    const weights = 2560 * (2 * 2560 + 2 * 640 + 3 * 6912);
    const data = 2 * (4096 * 2560 + 4 * 2560 + 6912) + weights / 4 + 7 * 2;
    expect(size - data).toBeGreaterThan(8);
    expect(size - data).toBeLessThan(5000);
  });
});

function fromBf16(half: number): number {
  return new Float32Array(new Uint32Array([half << 16]).buffer)[0]!;
}
