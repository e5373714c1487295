/**
 * Damaged headers of GGUF files: whatever the bytes, parsing gives a header, the number of bytes that it still needs, or
 * a typed error. What is read goes on into the configuration, the layout and the tokenizer.
 */
import { SternaError } from '../src/errors';
import { type GgufHeader, parseGguf } from '../src/gguf';
import { configFromGguf, hasInterleavedHeads } from '../src/gguf-config';
import { textFromGguf } from '../src/gguf-text';
import { createTokenizer } from '../src/tokenizer';
import { mutateBytes, pick } from './fuzz-mutate';
import { ggufModels, type Header } from './fuzz-seeds';
import { plan, type Target } from './fuzz-target';
import { tryOut } from './fuzz-tokenizer';
import { ggufFile } from './gguf-header';

/** A header with a value of every type. */
function everyType(): Header {
  const pieces = ['<unk>', '<s>', '</s>', '<0x0A>', '▁', 'a', 'b', '▁a', 'ab', '▁ab'];
  const bytes = ggufFile(
    [
      ['general.architecture', 'string', 'qwen3'],
      ['qwen3.block_count', 'u64', 1],
      ['qwen3.attention.head_count', 'i64', 2],
      ['qwen3.rope.freq_base', 'f64', 1e6],
      ['tokenizer.ggml.model', 'string', 'llama'],
      ['tokenizer.ggml.tokens', 'string[]', pieces],
      ['tokenizer.ggml.scores', 'f32[]', pieces.map((_, i) => -i)],
      ['tokenizer.ggml.token_type', 'i32[]', [2, 3, 3, 6, 1, 1, 1, 1, 1, 4]],
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
      const { bytes: original, fileSize } = pick(random, originals);
      const bytes = mutateBytes(original, random);
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
      const files = [{ path: file, size: fileSize, dataStart, tensors }];
      plan({ config, files, style: 'gguf', interleaved: hasInterleavedHeads(config) });
      if (noText) throw noText;
      return 'accepted';
    },
  };
}
