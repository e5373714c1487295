/**
 * Damaged GGUF headers, the same for the same seed: whatever the bytes, parsing ends soon, takes little memory, and
 * gives a header, the number of bytes it still needs, or a typed error. What is read goes on into the configuration
 * and the tokenizer's files.
 */
import { readFileSync } from 'node:fs';
import { SternaError } from '../src/errors';
import { type GgufHeader, parseGguf } from '../src/gguf';
import { configFromGguf } from '../src/gguf-config';
import { textFromGguf } from '../src/gguf-text';
import { createRandom } from '../src/sampler';
import { ggufFile } from './gguf-header';

export interface FuzzResult {
  headers: number;
  needs: number;
  errors: number;
  /** Of the headers: models that would run, and tokenizers. */
  models: number;
  tokenizers: number;
}

/** A parse of these headers takes well below a millisecond: one of seconds does not end. */
const mostMilliseconds = 5000;

/** Real headers, without the weights, and the sizes of their files. */
function seeds(): { bytes: Uint8Array; fileSize: number }[] {
  const fixtures = ['i2_s', 'tq1_0', 'tq2_0'].map((name) => {
    const file = readFileSync(new URL(`../e2e/fixtures/gguf/${name}.gguf`, import.meta.url));
    const header = parseGguf(file, file.length, name);
    if ('needs' in header) throw new Error(`${name}: incomplete`);
    return { bytes: new Uint8Array(file.subarray(0, header.dataStart)), fileSize: file.length };
  });
  const pieces = ['<unk>', '<s>', '</s>', '<0x0A>', '▁', 'a', 'b', '▁a', 'ab', '▁ab'];
  const small = ggufFile(
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
  return [...fixtures, { bytes: small, fileSize: small.length }];
}

/** Values that lengths, counts and types are wrong with. */
const edges = [0n, 1n, 2n, 8n, 9n, 13n, 255n, 65_536n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** `bytes` damaged in one to four ways; `random` gives numbers from 0 to 1. */
function mutate(original: Uint8Array, random: () => number): Uint8Array {
  const below = (n: number) => Math.floor(random() * n);
  let bytes = Uint8Array.from(original);
  for (let left = 1 + below(4); left > 0; left--) {
    if (bytes.length < 16) break;
    const at = below(bytes.length - 8);
    const view = new DataView(bytes.buffer);
    switch (below(7)) {
      case 0:
        bytes[at]! ^= 1 << below(8);
        break;
      case 1:
        bytes[at] = below(256);
        break;
      case 2:
        bytes = bytes.slice(0, below(bytes.length));
        break;
      case 3:
        view.setBigUint64(at, edges[below(edges.length)]!, true);
        break;
      case 4:
        view.setUint32(at, Number(BigInt.asUintN(32, edges[below(edges.length)]!)), true);
        break;
      case 5: {
        // a piece of it again elsewhere
        const from = below(bytes.length);
        bytes.copyWithin(at, from, from + below(200));
        break;
      }
      default: {
        // a piece taken out, or put in twice
        const length = below(64);
        const rest = bytes.subarray(random() < 0.5 ? at + length : Math.max(0, at - length));
        const spliced = new Uint8Array(at + rest.length);
        spliced.set(bytes.subarray(0, at));
        spliced.set(rest, at);
        bytes = spliced;
      }
    }
  }
  return bytes;
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

/** The typed error that `run` ends with, if any; anything else is thrown on. */
function typedError(run: () => void): SternaError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof SternaError && ['bad-file', 'unsupported'].includes(error.code)) return error;
    throw error;
  }
}

/** Parses `count` damaged headers. Throws if one of them ends in anything but the three ways, or too late, or too large. */
export function fuzzGguf(seed: number, count: number): FuzzResult {
  const random = createRandom(seed);
  const originals = seeds();
  const result: FuzzResult = { headers: 0, needs: 0, errors: 0, models: 0, tokenizers: 0 };
  for (let i = 0; i < count; i++) {
    const { bytes: original, fileSize } = originals[i % originals.length]!;
    const bytes = mutate(original, random);
    // half of them as the beginning of the file they were, half as whole files
    const size = random() < 0.5 ? Math.max(fileSize, bytes.length) : bytes.length;
    const where = `seed ${seed}, header ${i}`;
    const start = performance.now();
    let found: GgufHeader | { needs: number } | undefined;
    const error = typedError(() => {
      found = parseGguf(bytes, size, 'fuzz.gguf');
    });
    if (error) result.errors++;
    else if ('needs' in found!) {
      if (!(found.needs > bytes.length && found.needs <= size)) throw new Error(`${where}: needs ${found.needs}`);
      result.needs++;
    } else {
      const header = found!;
      if (weight(header) > 1024 + 4 * bytes.length) throw new Error(`${where}: ${weight(header)} bytes of header`);
      const { metadata, tensors, dataStart } = header;
      for (const { name, begin, end } of tensors) {
        if (!(begin >= dataStart && end >= begin && end <= size)) throw new Error(`${where}: place of ${name}`);
      }
      result.headers++;
      if (!typedError(() => configFromGguf(metadata, tensors, 'fuzz.gguf'))) result.models++;
      if (!typedError(() => textFromGguf(metadata, 512, 'fuzz.gguf'))) result.tokenizers++;
    }
    const took = performance.now() - start;
    if (took > mostMilliseconds) throw new Error(`${where}: ${took} ms`);
  }
  return result;
}
