/** Embeddings against src/model/reference.ts bit by bit, and against the hidden states of transformers; what is refused, what is kept. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { failure } from '../../e2e/failure';
import {
  bitDifference,
  openMachine,
  openPlanted,
  relativeError,
  someTokens,
  type TestMachine,
} from '../../e2e/machine';
import { plainSwitches, randomModel } from '../../e2e/plant';
import {
  asFiles,
  fetchModel,
  hfPacked,
  readFixture,
  referenceModel,
  syntheticModel,
  tinyStories,
} from '../../e2e/reading';
import { load, type Model } from '../api/model';
import { createReference, pooled, type ReferenceModel } from '../model/reference';
import type { EmbedOptions, Message } from '../protocol/generate-types';
import { embed } from './embed';

const mean = { pooling: 'mean', normalize: true } as const;
const last = { pooling: 'last', normalize: true } as const;
const plain = { pooling: 'mean', normalize: false } as const;
const all = [mean, last, plain, { pooling: 'last', normalize: false }] as const;

const exact = { kvCache: 'f32', lmHead: 'bf16' } as const;

/** The hidden states of a text by the oracle. */
function statesOf(model: ReferenceModel, tokens: number[], precision = exact as Parameters<typeof createReference>[1]) {
  const step = createReference(model, precision);
  return tokens.map((token) => step(token, true));
}

const embedOn = ({ pool, memory }: TestMachine, ids: number[], settings: Parameters<typeof embed>[2]) =>
  embed({ pool, memory, session: { sequence: 0, tokens: [] }, between: async () => {} }, ids, settings);

describe('the bits of the oracle', () => {
  const files = syntheticModel(packedCheckpoint(shapeOdd));
  const picked = Object.entries(asFiles(files)).map(([name, bytes]) => new File([bytes], name));
  const { hidden, vocab } = shapeOdd;
  const tokens = someTokens(300, vocab);
  let states: Float32Array[];
  beforeAll(() => {
    states = statesOf(referenceModel(files), tokens);
  });
  const right = (count: number, { pooling, normalize }: Parameters<typeof embed>[2]) =>
    pooled(states.slice(0, count), pooling, normalize) as Float32Array<ArrayBuffer>;

  test.each(
    (['dot32', 'dot16', 'lut8'] as const).flatMap((kernel) => [1, 2, 3].map((threads) => ({ kernel, threads }))),
  )('$kernel, $threads threads: texts of one to two passes', async (options) => {
    const model = await load(picked, { ...options, ...exact, contextLength: 300 });
    for (const settings of all) {
      for (const count of [300, 1, 2, 5, 256, 257]) {
        const { embeddings } = await model.embed(tokens.slice(0, count), settings);
        expect(embeddings).toHaveLength(1);
        const got = embeddings[0] as Float32Array<ArrayBuffer>;
        expect(bitDifference(got, right(count, settings), hidden), `${count} tokens`).toBe('');
      }
    }
    await model.dispose();
  });

  test.each([1, 2, 3, 5, 7, 64])('passes of at most %i rows', async (maxRows) => {
    const machine = await openMachine(files, { kernel: 'lut8', ...exact, contextLength: 64, maxRows });
    machine.poison();
    for (const settings of all) {
      const got = await embedOn(machine, tokens.slice(0, 41), settings);
      expect(bitDifference(got, right(41, settings), hidden)).toBe('');
    }
  });

  test('a ternary lm_head, and one that is not tied: neither is read', async () => {
    const sizes = { hidden: 200, layers: 2, heads: 6, kvHeads: 2, headDim: 64, ffn: 300, vocab: 77 };
    const config = {
      ...plainSwitches,
      ...sizes,
      subNorms: false,
      qkNorm: true,
      group: 128,
      ternaryEmbedding: true,
    } as const;
    for (const each of [config, { ...config, lmHead: 'untied', group: 0, ternaryEmbedding: false } as const]) {
      const model = randomModel(each, 3);
      const machine = await openPlanted(model, { kernel: 'dot32', ...exact, maxRows: 16 });
      machine.poison();
      const ids = someTokens(30, 77);
      const got = await embedOn(machine, ids, mean);
      expect(bitDifference(got, pooled(statesOf(model, ids), 'mean', true) as typeof got, 200)).toBe('');
      const logits = new Float32Array(machine.memory.buffer, machine.plan.logits, 77);
      expect(logits.every(Number.isNaN), 'logits are not written').toBe(true);
    }
  });
});

test('against transformers: the final norm of 32 tokens, in which no rounding flips', async () => {
  const [trace, files] = await Promise.all([readFixture('trace.safetensors'), fetchModel(hfPacked)]);
  const machine = await openMachine(files, { kernel: 'dot32', ...exact });
  const ids = [...trace.i32('ids')];
  const out = trace.f32('model.norm.out');
  const width = out.length / ids.length;
  const states = ids.map((_, row) => out.subarray(row * width, (row + 1) * width));
  for (const settings of all) {
    const got = await embedOn(machine, ids, settings);
    const error = relativeError(got, pooled(states, settings.pooling, settings.normalize));
    console.log(`embedding against transformers, ${JSON.stringify(settings)}: ${error.toExponential(2)}`);
    expect(error).toBeLessThan(1e-6);
  }
});

describe('the embedded model', () => {
  const texts = ['Once upon a time there was a dog.', 'Lily had a red ball.'];
  const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
  let model: Model;
  beforeAll(async () => {
    model = await load({ url: tinyStories }, { sequences: 2 });
  });
  afterAll(() => model.dispose());

  test('texts get BOS as prompts do; several are as each alone; usage counts all tokens', async () => {
    const ids = await Promise.all(texts.map((text) => model.tokenize(text, { bos: true })));
    const { embeddings, usage } = await model.embed(texts);
    expect(usage).toEqual({ promptTokens: ids[0]!.length + ids[1]!.length });
    expect(embeddings).toHaveLength(2);
    const reference = referenceModel(await fetchModel(tinyStories));
    for (const [i, text] of texts.entries()) {
      const got = embeddings[i] as Float32Array<ArrayBuffer>;
      expect((await model.embed(text)).embeddings).toEqual([got]);
      expect((await model.embed(ids)).embeddings[i]).toEqual(got);
      const states = statesOf(reference, ids[i]!, { kvCache: 'bf16', lmHead: 'bf16' });
      expect(bitDifference(got, pooled(states, 'mean', true) as typeof got, got.length)).toBe('');
      expect(got.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(1, 5);
    }
    expect(embeddings[0]).not.toEqual(embeddings[1]);
    expect((await model.embed(texts, last)).embeddings[0]).not.toEqual(embeddings[0]);
  });

  test('a typed array is ids too', async () => {
    const ids = [0, 434, 445];
    const typed = Uint32Array.from(ids) as unknown as number[];
    expect((await model.embed(typed)).embeddings).toEqual((await model.embed(ids)).embeddings);
    expect((await model.embed([typed])).embeddings).toEqual((await model.embed(ids)).embeddings);
  });

  test('a chat keeps its prefix while another sequence is free', async () => {
    const options = { temperature: 0, maxTokens: 12 };
    const first = await model.chat(dog, options).result;
    await model.embed(texts);
    const again = await model.chat(dog, options).result;
    expect(again.usage.cachedTokens).toBe(again.usage.promptTokens - 1);
    expect(again.tokens).toEqual(first.tokens);
  });

  test('with one sequence the answer afterwards is right all the same', async () => {
    const single = await load({ url: tinyStories });
    const options = { temperature: 0, maxTokens: 12 };
    const first = await single.chat(dog, options).result;
    await single.embed((await model.applyChatTemplate(dog)).ids.slice(0, 9));
    expect((await single.chat(dog, options).result).tokens).toEqual(first.tokens);
    await single.dispose();
  });

  test('tells how far it is', async () => {
    const seen: number[][] = [];
    const long = Array.from({ length: 600 }, (_, i) => (i * 37) % 4096);
    const { usage } = await model.embed([long, [5]], { onProgress: ({ done, total }) => seen.push([done, total]) });
    expect(usage.promptTokens).toBe(601);
    // the last may come after the result
    expect(seen.slice(0, 2)).toEqual([
      [256, 601],
      [512, 601],
    ]);
  });

  test('is aborted by its signal; the next call works', async () => {
    const controller = new AbortController();
    const long = Array.from({ length: 1000 }, (_, i) => (i * 37) % 4096);
    const many = Array.from({ length: 200 }, () => long);
    const onProgress = () => controller.abort();
    expect(await failure(model.embed(many, { signal: controller.signal, onProgress }))).toMatchObject({
      code: 'aborted',
      name: 'AbortError',
    });
    expect((await failure(model.embed('a', { signal: controller.signal }))).code).toBe('aborted');
    expect((await model.embed(texts)).embeddings).toHaveLength(2);
  });

  test('takes its turn', async () => {
    const answer = model.chat(dog, { temperature: 0, maxTokens: 200, ignoreEos: true });
    expect((await failure(model.embed('a'))).code).toBe('busy');
    answer.abort();
    expect((await model.embed('a')).embeddings).toHaveLength(1);
  });

  const wrong = (value: unknown) => value as string;
  test.each([
    ['nothing', undefined, {}, { code: 'bad-input', got: 'undefined', expected: 'a text, or an array of token ids' }],
    ['a number', wrong(5), {}, { code: 'bad-input', got: 'number' }],
    ['no text', [], {}, { code: 'bad-input', got: 0, expected: '1 to 2048' }],
    ['an empty text', '', {}, { code: 'bad-input', got: 'an empty text' }],
    ['an empty text among others', ['a', ''], {}, { code: 'bad-input', message: expect.stringContaining('input 1') }],
    ['what is no text', wrong(['a', null]), {}, { code: 'bad-input', got: 'null' }],
    ['no ids', [[5], []], {}, { code: 'bad-input', message: expect.stringContaining('text 1'), got: 0 }],
    ['an id outside', [[5], [4096]], {}, { code: 'bad-input', got: '4096', expected: '0 to 4095' }],
    [
      'a text too long',
      [[5], Array(1025).fill(5)],
      {},
      { code: 'context-full', got: 1025, expected: 'at most 1024 tokens' },
    ],
    ['too many', Array(2049).fill('a'), {}, { code: 'bad-input', got: 2049, expected: '1 to 2048' }],
    ['another pooling', 'a', { pooling: 'max' }, { code: 'bad-input', got: 'max', expected: 'mean or last' }],
    ['a word for yes', 'a', { normalize: 'yes' }, { code: 'bad-input', got: 'yes', expected: 'true or false' }],
    ['an unknown option', 'a', { normalise: true }, { code: 'bad-input', got: 'normalise' }],
  ])('refuses %s', async (_, input, options, right) => {
    expect(await failure(model.embed(input as string, options as EmbedOptions))).toMatchObject(right);
  });

  test('counts the tokens of a prompt as an answer does', async () => {
    const text = texts[0]!;
    expect(await model.countTokens(text)).toBe(
      (await model.complete(text, { maxTokens: 1 }).result).usage.promptTokens,
    );
    expect(await model.countTokens(dog)).toBe((await model.chat(dog, { maxTokens: 1 }).result).usage.promptTokens);
    expect(await model.countTokens('')).toBe(1); // BOS
    expect(await failure(model.countTokens([]))).toMatchObject({ code: 'bad-input', expected: 'a non-empty array' });
    expect((await failure(model.countTokens(wrong(5)))).code).toBe('bad-input');
  });
});
