/**
 * Damaged headers of GGUF files: whatever the bytes, parsing gives a header, the number of bytes that it still needs, or
 * a typed error. What is read goes on into the configuration, the layout and the tokenizer.
 */

import { type GgufHeader, parseGguf } from '../src/checkpoint/gguf';
import { configFromGguf, hasInterleavedHeads } from '../src/checkpoint/gguf-config';
import { textFromGguf } from '../src/checkpoint/gguf-text';
import type { GgufValue } from '../src/checkpoint/gguf-values';
import { SternaError } from '../src/errors';
import { createTokenizer } from '../src/text/tokenizer';
import { below, mutateBytes, mutateText, numbers, pick, type Random } from './fuzz-mutate';
import { ggufModels, type Header } from './fuzz-seeds';
import { plan, type Target } from './fuzz-target';
import { tryOut } from './fuzz-tokenizer';
import { type Entry, ggufFile, type HeaderTensor } from './gguf-header';

/** A header with a value of every type. */
function everyType(): Header {
  const runs = Array.from({ length: 130 }, (_, i) => 'a'.repeat(i + 2)); // put together in 8,000 ways
  const pieces = ['<unk>', '<s>', '</s>', '<0x0A>', '▁', 'a', 'b', '▁a', 'ab', '▁ab', ...runs];
  const bytes = ggufFile(
    [
      ['general.architecture', 'string', 'qwen3'],
      ['qwen3.block_count', 'u64', 1],
      ['qwen3.attention.head_count', 'i64', 2],
      ['qwen3.rope.freq_base', 'f64', 1e6],
      ['tokenizer.ggml.model', 'string', 'llama'],
      ['tokenizer.ggml.tokens', 'string[]', pieces],
      ['tokenizer.ggml.scores', 'f32[]', pieces.map((_, i) => -i)],
      ['tokenizer.ggml.token_type', 'i32[]', [2, 3, 3, 6, 1, 1, 1, 1, 1, 4, ...runs.map(() => 1)]],
      ['numbers', 'u64[]', [1, 2, 3]],
      ['flags', 'bool[]', [true, false]],
      ['general.alignment', 'u32', 64],
    ],
    [
      { name: 'token_embd.weight', shape: [32, 256], typeId: 42, bytes: 32 * 4 * 18 },
      { name: 'odd', shape: [3], typeId: 77, bytes: 10 },
      { name: 'output_norm.weight', shape: [256], typeId: 0, bytes: 1024 },
    ],
    { alignment: 64 },
  );
  return { bytes, fileSize: bytes.length };
}

const typeIds = { F32: 0, F16: 1, Q8_0: 8, Q6_K: 14, BF16: 30, TQ1_0: 34, TQ2_0: 35, I2_S: 36, Q2_0: 42 };
const arrayTypes = [
  [Uint8Array, 'u8[]'],
  [Int32Array, 'i32[]'],
  [Uint32Array, 'u32[]'],
  [Float32Array, 'f32[]'],
] as const;

function entryOf(key: string, value: GgufValue): Entry {
  if (typeof value === 'string') return [key, 'string', value];
  if (typeof value === 'boolean') return [key, 'bool', value];
  if (typeof value === 'number') return [key, Number.isInteger(value) ? 'i64' : 'f64', value];
  if (Array.isArray(value)) return [key, 'string[]', value];
  const type = arrayTypes.find(([Type]) => value instanceof Type)?.[1] ?? 'f64[]';
  return [key, type, [...value]];
}

const whole = (random: Random): number =>
  Math.min(2 ** 63 - 1024, Math.abs(Math.trunc(pick(random, numbers))) % 2 ** 63);

/** A well-formed header that says something else: values, types, shapes, places and names. */
function rewritten({ bytes, fileSize }: Header, random: Random): Uint8Array<ArrayBuffer> {
  const header = parseGguf(bytes, fileSize, 'original');
  if ('needs' in header) throw new Error('no whole header');
  const { metadata, tensors: placed, dataStart } = header;
  const entries = Object.entries(metadata).map(([key, value]) => entryOf(key, value));
  const tensors = placed.map(({ name, type, shape, begin, end }): HeaderTensor => {
    const typeId = typeIds[type as keyof typeof typeIds] ?? 77;
    return { name, shape: [...shape], typeId, offset: begin - dataStart, bytes: end - begin };
  });
  for (let left = 1 + below(random, 3); left > 0; left--) {
    const at = below(random, entries.length);
    const [key, type, value] = entries[at]!;
    const tensor = pick(random, tensors);
    switch (below(random, 10)) {
      case 0:
        entries.splice(at, 1);
        break;
      case 1:
        entries[at] = [key, pick(random, ['f64', 'f32']), pick(random, numbers)];
        break;
      case 2:
      case 3:
        entries[at] = [key, pick(random, ['u8', 'u32', 'i64', 'bool']), whole(random) % 2 ** 53];
        break;
      case 4:
        entries[at] = [key, 'string', mutateText(typeof value === 'string' ? value : 'a text', random)];
        break;
      case 5:
        if (type === 'string[]') (value as string[])[below(random, value.length)] = mutateText(key, random);
        else entries[at] = [key, 'string[]', ['a', key, '__proto__'].slice(below(random, 3))];
        break;
      case 6:
        tensor.shape[below(random, tensor.shape.length)] = whole(random);
        break;
      case 7:
        tensor.typeId = pick(random, [...Object.values(typeIds), 2, 3, 12, 99]);
        break;
      case 8:
        if (random() < 0.5) tensor.offset = whole(random) % 2 ** 50;
        else
          tensor.name = pick(random, [
            mutateText(tensor.name, random),
            '__proto__',
            'output.weight',
            'rope_freqs.weight',
          ]);
        break;
      default:
        entries[at] = pick(random, entries);
    }
  }
  return ggufFile(entries, tensors, { headerOnly: true });
}

/** The bytes that a header holds, about: texts of two bytes a character, 16 for each value and tensor. */
function weight({ metadata, tensors }: GgufHeader): number {
  let sum = 0;
  for (const [key, value] of Object.entries(metadata)) {
    sum += 16 + 2 * key.length;
    if (ArrayBuffer.isView(value)) sum += value.byteLength;
    else if (typeof value === 'string') sum += 2 * value.length;
    else if (Array.isArray(value)) for (const text of value) sum += 16 + 2 * text.length;
  }
  for (const { name, shape } of tensors) sum += 16 + 2 * name.length + 8 * shape.length;
  return sum;
}

/** The SternaError that `work` ends with, if any; anything else is thrown on. */
function refusal(work: () => void): SternaError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof SternaError) return error;
    throw error;
  }
}

export function ggufTarget(): Target {
  const originals = [...ggufModels(), everyType()];
  const file = 'fuzz.gguf';
  return {
    name: 'gguf',
    input(random) {
      const original = pick(random, originals);
      const { fileSize } = original;
      if (random() < 0.5) {
        const bytes = rewritten(original, random);
        return { bytes, fileSize: bytes.length + fileSize - original.bytes.length };
      }
      const bytes = mutateBytes(original.bytes, random);
      // half of them as the beginning of the file they were, half as whole files
      return { bytes, fileSize: random() < 0.5 ? Math.max(fileSize, bytes.length) : bytes.length };
    },
    run(input) {
      const [bytes, fileSize] = [input.bytes as Uint8Array, input.fileSize as number];
      const header = parseGguf(bytes, fileSize, file);
      if ('needs' in header) {
        if (!(header.needs > bytes.length && header.needs <= fileSize)) throw new Error(`needs ${header.needs}`);
        return 'needs more';
      }
      const { metadata, tensors, dataStart } = header;
      if (weight(header) > 1024 + 4 * bytes.length) throw new Error(`${weight(header)} bytes of header`);
      for (const { name, begin, end } of tensors) {
        if (!(begin >= dataStart && end >= begin && end <= fileSize)) throw new Error(`place of ${name}`);
      }
      const noText = refusal(() => {
        const text = textFromGguf(metadata, 512, file);
        if ('json' in text) tryOut(createTokenizer(text.json, text.config));
      });
      const config = configFromGguf(metadata, tensors, file);
      const files = [{ path: file, size: fileSize, headSha256: '', dataStart, tensors }];
      plan({ config, files, style: 'gguf', interleaved: hasInterleavedHeads(config) });
      if (noText) throw noText;
      return 'accepted';
    },
  };
}
