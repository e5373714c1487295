import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { randomWeights } from '../bench/random-weights';
import { checkpointFiles } from '../bench/synthesize';
import { describe } from './describe';
import { openOrigin } from './origin';
import { createReport } from './progress';

test('a GGUF file alone brings its tokenizer and its chat template', async () => {
  const json = (name: string) =>
    JSON.parse(
      readFileSync(new URL(`../demo/public/models/tiny-stories-ternary/${name}.json`, import.meta.url), 'utf8'),
    );
  const tokenizer = { tokenizer: json('tokenizer'), config: json('tokenizer_config') };
  const shape = { hidden: 256, ffn: 256, layers: 1, heads: 2, kvHeads: 1, vocab: 4096, family: 'qwen3' } as const;
  const { files } = checkpointFiles(randomWeights(shape), { format: 'q2_0-128', tokenizer, pre: 'qwen2' });
  const { signal } = new AbortController();
  const { size, read } = files['model.gguf']!;
  const origin = await openOrigin([new File([read(0, size)], 'model.gguf')], signal);
  const { text } = await describe(
    origin,
    signal,
    createReport(() => {}),
  );
  expect(text?.template).toBe(tokenizer.config.chat_template);
  expect(Object.keys(text!).sort()).toEqual(['config', 'template', 'tokenizer']);
});
