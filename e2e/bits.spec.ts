/**
 * The same bits everywhere: logits and embeddings equal to those of src/model/reference.ts (computed here, in Node), and one answer to
 * one seed, with every kernel, one or more threads, with and without isolation, in every browser.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { createReference, pooled } from '../src/model/reference';
import { embedded, expect, loadModel, openLab, test } from './lab';
import { referenceModel } from './reading';

const folder = new URL('../demo/public/models/tiny-stories-ternary/', import.meta.url);
const read = (file: string): Buffer => readFileSync(new URL(file, folder));
const ids = [0, 55, 1155, 28, 3993, 520, 261, 4095, ...Array.from({ length: 32 }, (_, i) => (i * 997 + 3) % 4096)];

const longText = Array.from({ length: 70 }, (_, i) => (i * 131 + 7) % 4096);

/** SHA-256 of the logits after each of the ids, then of the embedding of a text that takes two passes where memory is not shared. */
function rightHash(kvCache: 'bf16' | 'f32', lmHead: 'bf16' | 'int8'): string {
  const json = (file: string) => JSON.parse(read(file).toString()) as unknown;
  const weights = new Uint8Array(read('model.safetensors'));
  const model = referenceModel({ config: json('config.json'), generation: json('generation_config.json'), weights });
  const step = createReference(model, { kvCache, lmHead });
  const hash = createHash('sha256');
  for (const id of ids) hash.update(new Uint8Array(step(id).buffer));
  const hidden = createReference(model, { kvCache, lmHead });
  const embedding = pooled(
    longText.map((id) => hidden(id, true)),
    'mean',
    true,
  );
  return hash.update(new Uint8Array(embedding.buffer)).digest('hex');
}

/** The same of the model that is loaded, and its answer to one seed. */
function observe(lab: Page) {
  const texts = [ids, longText] as const;
  return lab.evaluate(async ([tokens, text]) => {
    const model = window.model!;
    const { logits } = await model.evaluate([...tokens]);
    const { embeddings } = await model.embed([...text]);
    const floats = new Blob([logits.slice(), embeddings[0]!.slice()]);
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await floats.arrayBuffer()));
    const hash = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const messages = [{ role: 'user', content: 'Tell me a story about a boy named Tim.' }];
    const settings = { temperature: 0.9, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, seed: 42, maxTokens: 48 };
    const answer = await model.chat(messages, settings).result;
    return { hash, tokens: answer.tokens };
  }, texts);
}

/** What Chromium answered when this was written. No change of kernels, threads or batching may move it. */
const answer = [
  395, 336, 14, 261, 396, 499, 421, 354, 513, 261, 356, 655, 16, 318, 941, 311, 372, 269, 331, 14, 323, 1162, 14, 704,
  3, 449, 356, 14, 713, 502, 416, 731, 14, 286, 436, 268, 347, 368, 401, 385, 637, 269, 539, 268, 1216, 372, 265, 356,
];

const small = { kvCache: 'bf16', lmHead: 'int8' } as const;
const exact = { kvCache: 'f32', lmHead: 'bf16' } as const;
let right: { default: string; small: string; exact: string };
test.beforeAll(() => {
  right = { default: rightHash('bf16', 'bf16'), small: rightHash('bf16', 'int8'), exact: rightHash('f32', 'bf16') };
});

for (const kernel of ['dot32', 'dot16', 'lut8'] as const) {
  for (const threads of [1, 2]) {
    test(`${kernel}, ${threads} threads @firefox`, async ({ lab }) => {
      const info = await loadModel(lab, embedded, { kernel, threads });
      expect(info).toMatchObject({ kernel, threads, crossOriginIsolated: true, kvCache: 'bf16', lmHead: 'bf16' });
      expect(await observe(lab)).toEqual({ hash: right.default, tokens: answer });
    });
  }

  test(`${kernel}, not isolated @firefox`, async ({ page, server }) => {
    await openLab(page, server.url('unisolated/lab.html'));
    const info = await loadModel(page, embedded, { kernel, threads: 2 });
    expect(info).toMatchObject({ kernel, threads: 1, crossOriginIsolated: false });
    expect(info.threadsReason).toMatch(/not cross-origin isolated/);
    expect(await observe(page)).toEqual({ hash: right.default, tokens: answer });
  });
}

test('other precisions, three threads @firefox', async ({ lab }) => {
  await loadModel(lab, embedded, { ...small, threads: 3 });
  expect((await observe(lab)).hash).toBe(right.small);
  await loadModel(lab, embedded, { ...exact, threads: 3 });
  expect((await observe(lab)).hash).toBe(right.exact);
  expect(right.exact).not.toBe(right.default);
});
