import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseGguf } from './gguf';
import { globalNames, linears, type NameStyle, scaleName, tensorNames } from './names';
import { parseHeader } from './safetensors';

const fixture = (path: string) => new Uint8Array(readFileSync(new URL(`../../e2e/fixtures/${path}`, import.meta.url)));

/** The names of a two-layer BitNet with tied embedding. */
function bitnetNames(style: NameStyle, withScales: boolean): string[] {
  const { embedding, finalNorm } = globalNames(style);
  const layers = [0, 1].flatMap((layer) => {
    const { queryNorm, keyNorm, ...names } = tensorNames(style, layer);
    const scales = withScales ? linears.map((linear) => scaleName(style, names[linear])) : [];
    return [...Object.values(names), ...scales];
  });
  return [embedding, finalNorm, ...layers].sort();
}

describe('names', () => {
  test('are those of a Hugging Face checkpoint', () => {
    const bytes = fixture('hf-packed/model.safetensors');
    const { tensors } = parseHeader(bytes, bytes.length, 'model.safetensors');
    expect(bitnetNames('hf', true)).toEqual(tensors.map(({ name }) => name).sort());
  });

  test('are those of a GGUF file', () => {
    const bytes = fixture('gguf/i2_s.gguf');
    const header = parseGguf(bytes, bytes.length, 'i2_s.gguf');
    if ('needs' in header) throw new Error('incomplete');
    expect(bitnetNames('gguf', false)).toEqual(header.tensors.map(({ name }) => name).sort());
  });

  test('of the first b1.58 models differ in the sub-norms', () => {
    const [first, second] = [tensorNames('hf', 7), tensorNames('hf-1bitllm', 7)];
    expect(second).toEqual({
      ...first,
      attentionNorm: 'model.layers.7.self_attn.inner_attn_ln.weight',
      ffnNorm: 'model.layers.7.mlp.ffn_layernorm.weight',
    });
    expect(first).toMatchObject({
      queryNorm: 'model.layers.7.self_attn.q_norm.weight',
      keyNorm: 'model.layers.7.self_attn.k_norm.weight',
    });
    expect(globalNames('hf-1bitllm')).toEqual(globalNames('hf'));
    expect(globalNames('hf').head).toBe('lm_head.weight');
  });

  test('of GGUF: head, norms of heads, scales', () => {
    expect(globalNames('gguf').head).toBe('output.weight');
    const names = tensorNames('gguf', 12);
    expect(names).toMatchObject({ queryNorm: 'blk.12.attn_q_norm.weight', keyNorm: 'blk.12.attn_k_norm.weight' });
    expect(scaleName('gguf', names.down)).toBe('blk.12.ffn_down.scale');
  });
});
