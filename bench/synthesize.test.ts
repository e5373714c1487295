import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseHeader } from '../src/checkpoint/safetensors';
import { parseConfig } from '../src/model/config';
import { pieces } from './byte-file';
import type { FloatType } from './encode-floats';
import { type ModelShape, modelOf, partsOf, type Weights } from './families';
import { randomWeights } from './random-weights';
import { floatsOf, fromBf16, type ReadPart, readGguf, readRepository, readSafetensors } from './read-back';
import { published, small } from './shapes';
import {
  checkpointBytes,
  checkpointFiles,
  type Format,
  ggufForms,
  packedCheckpoint,
  safetensorsForms,
  shape2B4T,
  shapeOdd,
  type WriteOptions,
} from './synthesize';

/** What was asked to be written: codes as trits, scales, floats. */
function asked(weights: Weights): Map<string, ReadPart> {
  const { model } = weights;
  return new Map(
    partsOf(model).map((part): [string, ReadPart] => {
      const { rows, cols } = part;
      if (part.kind !== 'linear') {
        const floats = new Float32Array(rows * cols);
        for (let row = 0; row < rows; row++) weights.floats(part, row, floats.subarray(row * cols, (row + 1) * cols));
        return [part.hf, { floats }];
      }
      const groups = model.group === 0 ? 1 : cols / model.group;
      const [codes, row] = [new Uint8Array(rows * cols), new Uint8Array(cols)];
      const scales = new Float32Array(model.group === 0 ? 1 : rows * groups);
      for (let r = 0; r < rows; r++) {
        weights.codes(part, r, row);
        codes.set(row, r * cols);
        weights.scales(part, r, model.group === 0 ? scales : scales.subarray(r * groups, (r + 1) * groups));
      }
      return [part.hf, { rows, cols, trits: Int8Array.from(codes, (code) => code - 1), group: model.group, scales }];
    }),
  );
}

const same = (a: Int8Array, b: Int8Array) => Buffer.compare(new Uint8Array(a), new Uint8Array(b)) === 0;

/** Largest relative difference; NaN if the lengths differ. */
function error(got: Float32Array, right: Float32Array): number {
  if (got.length !== right.length) return Number.NaN;
  let most = 0;
  for (const [i, value] of right.entries()) if (got[i] !== value) most = Math.max(most, Math.abs(got[i]! / value - 1));
  return most;
}

/** Formats that a shape fits: blocks of 64, 128 or 256 columns, group scales only in Q2_0. */
function formatsOf(shape: ModelShape): Format[] {
  const model = modelOf(shape);
  const fits = (block: number) => partsOf(model).every(({ kind, cols }) => kind !== 'linear' || cols % block === 0);
  const blocks: [Format, number][] = [
    ['q2_0-64', 64],
    ['q2_0-128', 128],
    ['tq1_0', 256],
    ['tq2_0', 256],
  ];
  const blockwise = blocks.filter(([, n]) => fits(n) && model.group % n === 0).map(([format]) => format);
  if (model.group !== 0) return blockwise;
  const forms = model.family === '1bitllm' ? (['master'] as const) : safetensorsForms;
  // blocks of I2_S run on from row to row
  const flat = partsOf(model).every(({ kind, rows, cols }) => kind !== 'linear' || (rows * cols) % 128 === 0);
  return [...forms, ...(flat ? (['i2_s', 'i2_s-arm'] as const) : []), ...blockwise];
}

const cases = Object.entries(small).flatMap(([name, shape]) => formatsOf(shape).map((format) => ({ name, format })));

describe('every family in every format reads back', () => {
  test('each format has a case, each family a format', () => {
    expect(new Set(cases.map(({ format }) => format))).toEqual(new Set([...safetensorsForms, ...ggufForms]));
    expect(new Set(cases.map(({ name }) => name))).toEqual(new Set(Object.keys(small)));
  });

  test.each(cases)('$name as $format', ({ name, format }) => {
    const weights = randomWeights(small[name]!, 7);
    const floats = format !== 'master' ? 'BF16' : name === 'llama' ? 'F32' : 'F16';
    const options: WriteOptions = { format, floats };
    const { files } = checkpointFiles(weights, options);
    const right = asked(weights);
    const got = readRepository(files, weights.model, format === 'i2_s-arm');
    expect([...got.keys()]).toEqual([...right.keys()]);
    const { group } = weights.model;
    for (const [part, read] of got) {
      const wanted = right.get(part)!;
      if ('floats' in wanted && 'floats' in read) expect(error(read.floats, wanted.floats), part).toBe(0);
      else if ('trits' in wanted && 'trits' in read) {
        expect(same(read.trits, wanted.trits), part).toBe(true);
        // a scale in each group that the format has
        const perRow = read.group && read.scales.length / read.rows;
        const wantedAt = (i: number) =>
          group === 0
            ? wanted.scales[0]!
            : wanted.scales[
                Math.floor(i / perRow) * (read.cols / group) + Math.floor(((i % perRow) * read.group) / group)
              ]!;
        const allowed = format === 'master' ? 5e-4 : format === 'divide' ? 2 ** -23 : 0;
        expect(
          error(
            read.scales,
            Float32Array.from(read.scales, (_, i) => wantedAt(i)),
          ),
          part,
        ).toBeLessThanOrEqual(allowed);
      } else throw new Error(`${part} came back as something else`);
    }
  });
});

describe('GGUF', () => {
  const weights = randomWeights(small.llama!, 3);

  test('q and k rows of arch llama: pairs (i, i + headDim / 2) of HF lie side by side', () => {
    const { headDim, hidden } = weights.model;
    const part = partsOf(weights.model).find(({ gguf }) => gguf === 'blk.1.attn_k')!;
    const rowsOf = (format: Format, name: string) => {
      const { files } = checkpointFiles(weights, { format });
      const file = files['model.gguf'];
      const { bytes } = (file ? readGguf(file).tensors : readSafetensors(files['model.safetensors']!)).get(name)!;
      return (row: number) => bytes.slice((row * hidden) / 4, ((row + 1) * hidden) / 4);
    };
    const permuted = rowsOf('i2_s', 'blk.1.attn_k.weight');
    const plain = randomWeights({ ...small.llama!, family: 'bitnet', lmHead: 'untied' }, 3);
    const file = checkpointFiles(plain, { format: 'i2_s' }).files['model.gguf']!;
    const { bytes } = readGguf(file).tensors.get('blk.1.attn_k.weight')!;
    for (const [row, from] of [
      [0, 0],
      [1, headDim / 2],
      [2, 1],
      [headDim - 1, headDim - 1],
      [headDim + 1, headDim + headDim / 2],
    ] as const) {
      const right = bytes.slice((from * hidden) / 4, ((from + 1) * hidden) / 4);
      expect(permuted(row), `row ${row}`).toEqual(right);
    }
    expect(part.heads).toBe(weights.model.kvHeads);
  });

  test.each([
    ['F32', 0],
    ['F16', 2 ** -11],
    ['BF16', 0],
    ['Q8_0', 0.005],
    ['Q6_K', 0.035],
    ['Q4_K', 0.08],
    ['Q4_0', 0.15],
  ] as [FloatType, number][])('embedding in %s', (floats, allowed) => {
    const { files } = checkpointFiles(weights, { format: 'tq2_0', floats });
    const { tensors } = readGguf(files['model.gguf']!);
    const right = asked(weights);
    for (const [gguf, hf] of [
      ['token_embd.weight', 'model.embed_tokens'],
      ['output.weight', 'lm_head'],
    ] as const) {
      const tensor = tensors.get(gguf)!;
      const wanted = right.get(hf)!;
      if (!('floats' in wanted)) throw new Error(hf);
      expect(tensor.type).toBe(floats);
      const got = floatsOf(tensor);
      const most = Math.max(...wanted.floats.map(Math.abs));
      const worst = Math.max(...got.map((value, i) => Math.abs(value - wanted.floats[i]!)));
      expect(worst / most).toBeLessThanOrEqual(allowed);
    }
  });

  test('a type that does not fit is refused', () => {
    const narrow = randomWeights(small['heads of 100']!);
    expect(() => checkpointFiles(narrow, { format: 'multiply' })).toThrow(/only masters/);
    expect(() => checkpointFiles(narrow, { format: 'tq1_0' })).toThrow(/400 columns are not a multiple of 256/);
    const tall = randomWeights({ ...small['heads of 100']!, ffn: 1084 });
    expect(() => checkpointFiles(tall, { format: 'i2_s' })).toThrow(/1084 rows of 400 columns are not a multiple/);
    expect(() => checkpointFiles(weights, { format: 'q2_0-64', floats: 'Q6_K' })).not.toThrow();
    const thin = randomWeights({ ...small.llama!, hidden: 128, headDim: 32 });
    expect(() => checkpointFiles(thin, { format: 'i2_s', floats: 'Q6_K' })).toThrow(
      /128 columns .* 256, as Q6_K needs/,
    );
    const grouped = randomWeights(small.qwen3!);
    expect(() => checkpointFiles(grouped, { format: 'tq2_0' })).toThrow(/do not fit tq2_0/);
    expect(() => checkpointFiles(grouped, { format: 'multiply' })).toThrow(/only GGUF/);
    const of64 = randomWeights({ ...small.qwen3!, group: 64 });
    expect(() => checkpointFiles(of64, { format: 'q2_0-128' })).toThrow(/do not fit q2_0-128/);
  });

  test('scales in tensors of their own', () => {
    const bitnet = randomWeights({ ...small.bitnet!, gate: 'silu' });
    const { files } = checkpointFiles(bitnet, { format: 'tq1_0', scaleTensors: true });
    const { metadata, tensors } = readGguf(files['model.gguf']!);
    expect(metadata.get('general.architecture')).toBe('bitnet');
    expect(tensors.get('blk.0.attn_q.scale')).toMatchObject({ type: 'F32', shape: [1] });
    const right = asked(bitnet);
    for (const [name, part] of readRepository(files, bitnet.model)) {
      const wanted = right.get(name)!;
      if ('trits' in part && 'trits' in wanted) expect(part.scales, name).toEqual(wanted.scales);
    }
  });

  test('split: every tensor in one part, the metadata in the first', () => {
    const one = readGguf(checkpointFiles(weights, { format: 'i2_s' }).files['model.gguf']!);
    const { files } = checkpointFiles(weights, { format: 'i2_s', parts: 3, name: 'ggml-model-i2_s' });
    expect(Object.keys(files)).toEqual([1, 2, 3].map((i) => `ggml-model-i2_s-0000${i}-of-00003.gguf`));
    const parts = Object.values(files).map(readGguf);
    const names = parts.flatMap(({ tensors }) => [...tensors.keys()]);
    expect(names).toEqual([...one.tensors.keys()]);
    for (const [i, { metadata, tensors }] of parts.entries()) {
      expect(tensors.size).toBeGreaterThan(0);
      expect(metadata.get('split.no')).toBe(i);
      expect(metadata.get('split.count')).toBe(3);
      expect(metadata.get('split.tensors.count')).toBe(one.tensors.size);
      expect(metadata.has('tokenizer.ggml.tokens')).toBe(i === 0);
      for (const [name, { bytes }] of tensors)
        expect(Buffer.compare(bytes, one.tensors.get(name)!.bytes), name).toBe(0);
    }
  });

  test.each([
    ['bitnet', 'bitnet-b1.58'],
    ['1bitllm', 'bitnet'],
    ['llama', 'llama'],
    ['qwen3', 'qwen3'],
    ['minicpm', 'minicpm'],
  ])('metadata of %s', (name, arch) => {
    const { model } = randomWeights(small[name]!);
    const { files } = checkpointFiles(randomWeights(small[name]!), { format: 'q2_0-128' });
    const { metadata, tensors } = readGguf(files['model.gguf']!);
    expect(Object.fromEntries(metadata)).toMatchObject({
      'general.architecture': arch,
      [`${arch}.embedding_length`]: model.hidden,
      [`${arch}.block_count`]: 2,
      [`${arch}.feed_forward_length`]: model.ffn,
      [`${arch}.attention.head_count`]: model.heads,
      [`${arch}.attention.head_count_kv`]: model.kvHeads,
      [`${arch}.rope.dimension_count`]: model.headDim,
      [`${arch}.rope.freq_base`]: model.ropeTheta,
      [`${arch}.attention.layer_norm_rms_epsilon`]: Math.fround(model.rmsNormEps),
    });
    expect(metadata.get(`${arch}.attention.key_length`)).toBe(name === 'qwen3' ? 128 : undefined);
    expect(metadata.get(`${arch}.residual_scale`)).toBe(
      name === 'minicpm' ? Math.fround(1.4 / Math.sqrt(2)) : undefined,
    );
    expect(tensors.has('blk.0.attn_sub_norm.weight')).toBe(arch.startsWith('bitnet'));
    expect(tensors.has('blk.0.attn_k_norm.weight')).toBe(name === 'qwen3');
    expect(tensors.has('output.weight')).toBe(name === 'llama');
    expect(tensors.get('token_embd.weight')?.type).toBe(name === 'qwen3' ? 'Q2_0' : 'F16');
    expect((metadata.get('tokenizer.ggml.tokens') as string[]).length).toBe(model.vocab);
  });
});

describe('safetensors', () => {
  test('shards and their index', () => {
    const weights = randomWeights(small.llama!);
    const { files } = checkpointFiles(weights, { format: 'divide', parts: 4 });
    const names = [1, 2, 3, 4].map((i) => `model-0000${i}-of-00004.safetensors`);
    const bytes = files['model.safetensors.index.json']!.read(0, files['model.safetensors.index.json']!.size);
    const { metadata, weight_map } = JSON.parse(new TextDecoder().decode(bytes));
    let total = 0;
    for (const name of names) {
      const tensors = readSafetensors(files[name]!);
      expect(tensors.size).toBeGreaterThan(0);
      for (const [tensor, { bytes: data }] of tensors) {
        expect(weight_map[tensor], tensor).toBe(name);
        delete weight_map[tensor];
        total += data.length;
      }
    }
    expect(weight_map).toEqual({});
    expect(metadata.total_size).toBe(total);
    const one = checkpointFiles(weights, { format: 'divide' }).files['model.safetensors']!;
    expect(parseHeader(one.read(0, 20_000), one.size, 'model.safetensors').tensors.length).toBeGreaterThan(30);
  });

  test.each([
    ['odd', { ...shapeOdd, seed: 3 }, 38],
    ['tall', { hidden: 128, ffn: 4, layers: 1, heads: 2, kvHeads: 2, vocab: 5, scaleSense: 'divide' as const }, 20],
  ])('packed, %s: as the engine reads it', (_, shape, tensors) => {
    const checkpoint = packedCheckpoint(shape);
    const config = parseConfig(checkpoint.config, checkpoint.generation, 'config.json');
    expect(config).toMatchObject({ hidden: shape.hidden, ffn: shape.ffn, vocab: shape.vocab, eos: [1, 2] });
    const bytes = checkpointBytes(checkpoint);
    const header = parseHeader(bytes, checkpoint.size, 'model.safetensors');
    expect(header.tensors).toHaveLength(tensors);
    const named = (wanted: string) => header.tensors.find(({ name }) => name === wanted);
    const attention = 'model.layers.0.self_attn';
    const down = named('model.layers.0.mlp.down_proj.weight');
    expect(down).toMatchObject({ type: 'U8', shape: [shape.hidden / 4, shape.ffn] });
    const { kvHeads, headDim } = config;
    expect(named(`${attention}.k_proj.weight`)?.shape).toEqual([(kvHeads * headDim) / 4, shape.hidden]);
    for (const { name, type, begin, end } of header.tensors) {
      const values = bytes.slice(begin, end);
      if (type === 'U8') {
        const bad = values.some((byte) => (byte & (byte >> 1) & 0x55) !== 0);
        expect(bad, `${name} has a code 3`).toBe(false);
        continue;
      }
      const floats = type === 'F32' ? new Float32Array(values.buffer) : new Uint16Array(values.buffer);
      const numbers = [...floats].map((value) => (type === 'F32' ? value : fromBf16(value)));
      const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
      if (name.endsWith('norm.weight')) expect(mean).toBeCloseTo(1, 0);
      if (name.endsWith('weight_scale')) expect(mean > 1, name).toBe(config.scaleSense === 'divide');
      if (name.endsWith('embed_tokens.weight')) expect(mean).toBeCloseTo(0, 1);
    }
  });

  test('rows that are no multiple of 4 are refused', () => {
    expect(() => packedCheckpoint({ ...shapeOdd, ffn: 102 })).toThrow(/not a multiple of 4/);
  });
});

describe('files made while they are read', () => {
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  const oddBytes = (seed: number) => checkpointBytes(packedCheckpoint({ ...shapeOdd, seed }));

  test('the seed decides every byte', () => {
    expect(hash(oddBytes(1))).toBe('d6babb3cffa568adfe2a1f03de701e3aee18d58da775732dc7b6a006be5e96b4');
    expect(hash(oddBytes(1))).not.toBe(hash(oddBytes(2)));
  });

  test('random trits: the share of zeros, no row and no tensor like another', () => {
    const read = asked(randomWeights(small.llama!, 5));
    const rows = new Set<string>();
    let [count, zeros, sum] = [0, 0, 0];
    for (const part of read.values()) {
      if (!('trits' in part)) continue;
      for (let row = 0; row < part.rows; row++) {
        const trits = part.trits.subarray(row * part.cols, (row + 1) * part.cols);
        rows.add(trits.join());
        for (const trit of trits) {
          sum += trit;
          if (trit === 0) zeros++;
        }
        count++;
      }
    }
    expect(rows.size).toBe(count);
    const weights = [...read.values()].reduce((n, part) => n + ('trits' in part ? part.trits.length : 0), 0);
    expect(zeros / weights).toBeCloseTo(0.39, 2);
    expect(sum / weights).toBeCloseTo(0, 2);
  });

  test.each(['multiply', 'master', 'i2_s', 'tq1_0'] as const)('%s: any range, in any order', (format) => {
    const { files } = checkpointFiles(randomWeights(small.llama!), { format });
    const file = files['model.safetensors'] ?? files['model.gguf']!;
    const whole = file.read(0, file.size);
    expect(hash(Buffer.concat([...pieces(file)]))).toBe(hash(whole));
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let i = 0; i < 300; i++) {
      const from = random(file.size);
      const to = Math.min(file.size, from + random(i % 3 === 0 ? 20_000 : 50));
      expect(Buffer.compare(file.read(from, to), whole.subarray(from, to)), `${from} to ${to}`).toBe(0);
    }
    expect(() => file.read(0, file.size + 1)).toThrow(RangeError);
  });

  test('the widths of 2B4T come in pieces, their size known before', () => {
    const { chunks, size } = packedCheckpoint({ ...shape2B4T, layers: 1 });
    let sum = 0;
    for (const chunk of chunks()) {
      expect(chunk.length).toBeLessThanOrEqual(2 ** 20);
      sum += chunk.length;
    }
    expect(sum).toBe(size);
  });

  test('2B4T in full: its sizes, and a range far inside', () => {
    const weights = randomWeights(published['2b4t']!);
    const packed = checkpointFiles(weights, { format: 'multiply' }).files['model.safetensors']!;
    // another writer's file of the same tensors, their header in another order
    expect(Math.abs(packed.size - 1_178_624_124)).toBeLessThan(200);
    const i2s = checkpointFiles(weights, { format: 'i2_s' }).files['model.gguf']!;
    // 332 tensors: f16 embedding, f32 norms, 2 bits a weight and 32 bytes a matrix
    const data = 128_256 * 2560 * 2 + 440_320 * 4 + 2_084_044_800 / 4 + 210 * 32;
    expect(i2s.size - data).toBeGreaterThan(1_000_000); // a dummy vocabulary
    expect(i2s.size - data).toBeLessThan(5_000_000);
    const far = packed.read(1_100_000_000, 1_100_000_100);
    expect(Buffer.compare(far, packed.read(1_099_999_000, 1_100_001_000).subarray(1000, 1100))).toBe(0);
    expect(new Set(far).size).toBeGreaterThan(20);
  });

  test.each([
    ['llama3-8b', 'i2_s', 2.5e9, 3.9e9],
    ['bonsai-1.7b', 'q2_0-128', 0.44e9, 0.47e9],
    ['bonsai-4b', 'q2_0-128', 1.06e9, 1.08e9],
    ['bonsai-8b', 'q2_0-128', 2.17e9, 2.19e9],
    ['falcon-e-3b', 'divide', 0.99e9, 1.01e9],
    ['falcon3-3b', 'divide', 1e9, 2.3e9],
    ['1bitllm-3b', 'master', 6.5e9, 6.9e9],
  ] as [string, Format, number, number][])('%s as %s has about the published size', (name, format, least, most) => {
    const { files } = checkpointFiles(randomWeights(published[name]!), { format });
    const size = Object.values(files).reduce((sum, file) => sum + file.size, 0);
    expect(size).toBeGreaterThan(least);
    expect(size).toBeLessThan(most);
  });
});
