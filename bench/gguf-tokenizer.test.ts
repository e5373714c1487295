import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { randomWeights } from './random-weights';
import { readGguf } from './read-back';
import { small } from './shapes';
import { checkpointFiles, type WriteOptions } from './synthesize';

const tinyStories = fileURLToPath(new URL('../demo/public/models/tiny-stories-ternary/', import.meta.url));
const json = (file: string) => JSON.parse(readFileSync(tinyStories + file, 'utf8'));
const files = { tokenizer: json('tokenizer.json'), config: json('tokenizer_config.json') };

function metadataWith(vocab: number, options: Partial<WriteOptions>): Map<string, unknown> {
  const weights = randomWeights({ ...small.bitnet!, vocab });
  const { files: made } = checkpointFiles(weights, { format: 'i2_s', ...options });
  return readGguf(made['model.gguf']!).metadata;
}

describe('the tokenizer of a GGUF file', () => {
  test('everything that tokenizer.json says', () => {
    const metadata = metadataWith(4100, { tokenizer: files });
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    const types = metadata.get('tokenizer.ggml.token_type') as number[];
    const { vocab, merges } = files.tokenizer.model;
    for (const [token, id] of Object.entries<number>(vocab)) expect(tokens[id]).toBe(token);
    expect(tokens.slice(0, 4)).toEqual(['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>', '!']);
    expect(types.slice(0, 4)).toEqual([3, 3, 3, 1]);
    // more rows than tokens
    expect(tokens.slice(4096)).toEqual(['[PAD4096]', '[PAD4097]', '[PAD4098]', '[PAD4099]']);
    expect(types.slice(4095)).toEqual([1, 5, 5, 5, 5]);
    expect(metadata.get('tokenizer.ggml.merges')).toEqual(merges.map((merge: string[]) => merge.join(' ')));
    expect(Object.fromEntries(metadata)).toMatchObject({
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'llama-bpe',
      'tokenizer.ggml.bos_token_id': 0,
      'tokenizer.ggml.eos_token_id': 1,
      'tokenizer.ggml.add_bos_token': true,
      'tokenizer.chat_template': files.config.chat_template,
    });
  });

  test('options: another pre-tokeniser or none, a config that says otherwise', () => {
    expect(metadataWith(4096, { tokenizer: files, pre: 'qwen2' }).get('tokenizer.ggml.pre')).toBe('qwen2');
    expect(metadataWith(4096, { tokenizer: files, pre: null }).has('tokenizer.ggml.pre')).toBe(false);
    const { chat_template: _, ...config } = {
      ...files.config,
      add_bos_token: false,
      eos_token: { content: '<|eot_id|>' },
    };
    const metadata = metadataWith(4096, { tokenizer: { ...files, config } });
    expect(metadata.get('tokenizer.ggml.add_bos_token')).toBe(false);
    expect(metadata.get('tokenizer.ggml.eos_token_id')).toBe(2);
    expect(metadata.has('tokenizer.chat_template')).toBe(false);
  });

  test('a dummy vocabulary', () => {
    const metadata = metadataWith(300, {});
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect(new Set(tokens).size).toBe(300);
    expect(tokens.slice(0, 3)).toEqual(['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>']);
    expect(tokens[65]).toBe('A');
    expect(tokens[32]).toBe('\u0120'); // a space, as byte-level BPE writes it
    expect(metadata.get('tokenizer.ggml.add_bos_token')).toBe(false);
  });

  test('what cannot be written is refused', () => {
    expect(() => metadataWith(4000, { tokenizer: files })).toThrow(/token \d+ of a vocabulary of 4000/);
    const unigram = { tokenizer: { ...files.tokenizer, model: { type: 'Unigram', vocab: [] } } };
    expect(() => metadataWith(4096, { tokenizer: unigram })).toThrow(/only byte-level BPE .* not Unigram/);
  });

  test('safetensors: the files as they were given', () => {
    const { files: made } = checkpointFiles(randomWeights(small.bitnet!), { format: 'multiply', tokenizer: files });
    expect(Object.keys(made).sort()).toEqual(
      ['config', 'generation_config', 'tokenizer', 'tokenizer_config']
        .map((name) => `${name}.json`)
        .concat('model.safetensors')
        .sort(),
    );
    const text = (file: string) => new TextDecoder().decode(made[file]!.read(0, made[file]!.size));
    expect(JSON.parse(text('tokenizer.json'))).toEqual(files.tokenizer);
    expect(JSON.parse(text('tokenizer_config.json'))).toEqual(files.config);
  });
});
