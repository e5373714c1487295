/** The writers against files of another program: the same weights give the same tensor bytes in every format. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { fileOfBytes } from './byte-file';
import type { Weights } from './families';
import { packedWeights } from './packed-weights';
import { type ReadTensor, readGguf, readRepository, readSafetensors } from './read-back';
import { checkpointFiles, type WriteOptions } from './synthesize';

const folder = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const read = (path: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(folder(path)));
const json = (path: string) => JSON.parse(readFileSync(folder(path), 'utf8')) as Record<string, unknown>;

function weightsIn(path: string): Weights {
  return packedWeights(
    json(`${path}/config.json`),
    json(`${path}/generation_config.json`),
    read(`${path}/model.safetensors`),
  );
}
const packed = weightsIn('e2e/fixtures/hf-packed');

const same = (a: Int8Array, b: Int8Array) => Buffer.compare(new Uint8Array(a), new Uint8Array(b)) === 0;

/** Equal types, shapes and bytes; the names of those that differ are shown. */
function expectSameTensors(got: Map<string, ReadTensor>, right: Map<string, ReadTensor>): void {
  expect([...got.keys()].sort()).toEqual([...right.keys()].sort());
  for (const [name, { type, shape, bytes }] of right) {
    const tensor = got.get(name)!;
    expect({ name, type: tensor.type, shape: tensor.shape }).toEqual({ name, type, shape });
    expect(Buffer.compare(tensor.bytes, bytes), name).toBe(0);
  }
}

describe('the synthetic fixture', () => {
  test.each([
    ['hf-packed', { format: 'multiply' }],
    ['hf-bitlin', { format: 'divide' }],
  ] as [string, WriteOptions][])('%s', (name, options) => {
    const { files, config, generation } = checkpointFiles(packed, options);
    const right = fileOfBytes(read(`e2e/fixtures/${name}/model.safetensors`));
    expectSameTensors(readSafetensors(files['model.safetensors']!), readSafetensors(right));
    const { _from_model_config, ...rightGeneration } = json(`e2e/fixtures/${name}/generation_config.json`);
    expect(json(`e2e/fixtures/${name}/config.json`)).toMatchObject(config);
    expect(generation).toEqual(rightGeneration);
  });

  test.each(['i2_s', 'i2_s-arm', 'tq1_0', 'tq2_0'] as const)('%s.gguf', (format) => {
    const { files } = checkpointFiles(packed, { format });
    const got = readGguf(files['model.gguf']!);
    const right = readGguf(fileOfBytes(read(`e2e/fixtures/gguf/${format}.gguf`)));
    expectSameTensors(got.tensors, right.tensors);
    for (const [key, value] of right.metadata) {
      const vocabulary = /tokens|token_type|merges/.test(key); // dummies in both
      if (!vocabulary) expect(got.metadata.get(key), key).toEqual(value);
      else expect((got.metadata.get(key) as []).length, key).toBe((value as []).length);
    }
    expect([...got.metadata.keys()].sort()).toEqual([...right.metadata.keys()].sort());
  });

  test('hf-master: absmean gives the trits of hf-packed, as ours do', () => {
    const right = readRepository(checkpointFiles(packed, { format: 'multiply' }).files, packed.model);
    const fixture = { 'model.safetensors': fileOfBytes(read('e2e/fixtures/hf-master/model.safetensors')) };
    for (const files of [fixture, checkpointFiles(packed, { format: 'master' }).files]) {
      for (const [name, part] of readRepository(files, packed.model)) {
        const wanted = right.get(name)!;
        if (!('trits' in part) || !('trits' in wanted)) continue;
        expect(same(part.trits, wanted.trits), name).toBe(true);
        expect(part.scales[0]! / wanted.scales[0]!, name).toBeCloseTo(1, 2); // hf-packed has it in bfloat16
      }
    }
  });
});

describe('the embedded model', () => {
  const tinyStories = 'demo/public/models/tiny-stories-ternary';
  const weights = weightsIn(tinyStories);
  const right = readRepository(checkpointFiles(weights, { format: 'multiply' }).files, weights.model);

  test('written as it is', () => {
    const { files, config } = checkpointFiles(weights, { format: 'multiply' });
    const original = readSafetensors(fileOfBytes(read(`${tinyStories}/model.safetensors`)));
    expectSameTensors(readSafetensors(files['model.safetensors']!), original);
    expect(json(`${tinyStories}/config.json`)).toMatchObject(config);
  });

  test.each([
    { format: 'master', floats: 'F16', parts: 3 },
    { format: 'i2_s-arm' },
    { format: 'q2_0-128', parts: 2 },
  ] as WriteOptions[])(
    '%j: the same trits',
    (options) => {
      const { files } = checkpointFiles(weights, options);
      const got = readRepository(files, weights.model, options.format === 'i2_s-arm');
      for (const [name, part] of got) {
        const wanted = right.get(name)!;
        if ('floats' in part) continue;
        if (!('trits' in wanted)) throw new Error(name);
        expect(same(part.trits, wanted.trits), name).toBe(true);
        const error = Math.max(...part.scales.map((scale) => Math.abs(scale / wanted.scales[0]! - 1)));
        expect(error, name).toBeLessThanOrEqual(options.format === 'master' ? 5e-4 : 0);
      }
    },
    30_000,
  );
});
