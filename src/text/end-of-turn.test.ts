import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readTokens } from '../checkpoint/gguf-tokens';
import { endOfTurn, stopTokensOf } from './end-of-turn';
import { createTokenizer } from './tokenizer';

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));
const small = read('demo/public/models/tiny-stories-ternary/tokenizer.json');

test('an answer ends at the same tokens, from tokenizer.json and from GGUF', () => {
  const added_tokens = endOfTurn.map((content, i) => ({ id: 5000 + i, content, special: true }));
  const tokenizer = createTokenizer({ ...small, added_tokens }, undefined);
  const ids = endOfTurn.map((_, i) => 5000 + i);
  expect([...stopTokensOf([7], tokenizer)]).toEqual([7, ...ids]);
  const texts = Array.from({ length: 5000 }, (_, i) => `t${i}`);
  const { ends } = readTokens({ 'tokenizer.ggml.tokens': [...texts, ...endOfTurn] }, 6000, 'model.gguf');
  expect(ends).toEqual(ids);
  for (const text of ['<|eot_id|>', '<|end|>', '<end_of_turn>', '</s>']) expect(endOfTurn).toContain(text);
});

test('text that only looks like the end of a turn is none', () => {
  const added_tokens = [{ id: 5000, content: '<|end|>', special: false }];
  expect([...stopTokensOf([7], createTokenizer({ ...small, added_tokens }, undefined))]).toEqual([7]);
  expect([...stopTokensOf([7], undefined)]).toEqual([7]);
});
