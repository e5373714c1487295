/** The byte order of I2_S weights, found out by the model itself: the embedded model as GGUF files of either order. */
import { describe, expect, test } from 'vitest';
import { packedWeights } from '../../bench/packed-weights';
import { checkpointFiles, type WriteOptions } from '../../bench/synthesize';
import { filesOf } from '../../e2e/checkpoints';
import { bitDifference } from '../../e2e/machine';
import { fetchModel, fixtures, getJson, tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { LoadOptions } from '../protocol/load-types';

const { config, generation, weights: bytes } = await fetchModel(tinyStories);
const weights = packedWeights(config as Record<string, unknown>, generation as Record<string, unknown>, bytes);
const tokenizer = await getJson(`${tinyStories}tokenizer.json`);
const tokenizerConfig = await getJson(`${tinyStories}tokenizer_config.json`);
const { stories } = await getJson<{ stories: { text: string; ids: number[] }[] }>(`${fixtures}stories.json`);
const { text, ids } = stories[1]!;

/** A GGUF file with everything in it. */
function ggufOf(format: 'i2_s' | 'i2_s-arm', options: Partial<WriteOptions> = {}): File {
  const written = checkpointFiles(weights, {
    ...{ format, floats: 'BF16', tokenizer: { tokenizer, config: tokenizerConfig } },
    ...options,
  });
  return new File([filesOf(written)['model.gguf']!], 'model.gguf');
}

const files = { x86: ggufOf('i2_s'), arm: ggufOf('i2_s-arm') };

async function using<T>(file: File, options: LoadOptions, work: (model: Model) => Promise<T>): Promise<T> {
  const model = await load([file], { threads: 1, contextLength: 256, kvCache: 'f32', lmHead: 'bf16', ...options });
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}

describe.each(['dot16', 'lut8'] as const)('%s', (kernel) => {
  test.each(['x86', 'arm'] as const)('auto finds %s', async (order) => {
    const logitsOf = async (model: Model) => Float32Array.from((await model.evaluate(ids)).logits);
    const named = await using(files[order], { kernel, i2sOrder: order }, logitsOf);
    const found = await using(files[order], { kernel, i2sOrder: 'auto' }, async (model) => {
      expect(model.info.i2sOrder).toBe(order);
      return logitsOf(model);
    });
    expect(bitDifference(found, named, 4096)).toBe('');
  });
});

test('a wrong order is noise', async () => {
  const nllOf = async (model: Model) => (await model.perplexity(text)).nll / (ids.length - 1);
  const right = await using(files.arm, { i2sOrder: 'arm' }, nllOf);
  const wrong = await Promise.all([
    using(files.arm, { i2sOrder: 'x86' }, nllOf),
    using(files.x86, { i2sOrder: 'arm' }, nllOf),
  ]);
  console.log(`nats a token: ${right.toFixed(3)}; in the wrong order ${wrong.map((nll) => nll.toFixed(3)).join(', ')}`);
  expect(right).toBeLessThan(1.2);
  for (const nll of wrong) expect(nll).toBeGreaterThan(6);
});

test('without a tokenizer it is x86', async () => {
  await using(ggufOf('i2_s-arm', { pre: 'of another kind' }), { i2sOrder: 'auto' }, async ({ info }) => {
    expect(info).toMatchObject({ i2sOrder: 'x86', hasTokenizer: false });
    expect(info.noTokenizer).toContain('of another kind');
  });
});

test('what is stored can be read in either order', async () => {
  const source = { url: `${fixtures}gguf/i2_s-arm.gguf` };
  const seen: [before: boolean, logits: Float32Array<ArrayBuffer>][] = [];
  for (const i2sOrder of ['x86', 'arm', 'x86'] as const) {
    const model = await load(source, { i2sOrder, threads: 1, kvCache: 'f32', lmHead: 'bf16' });
    expect(model.info.i2sOrder).toBe(i2sOrder);
    seen.push([model.info.cached.before, Float32Array.from((await model.evaluate([1, 2, 3, 4])).logits)]);
    await model.dispose();
  }
  const right = await load({ url: `${fixtures}gguf/i2_s.gguf` }, { cache: false, kvCache: 'f32', lmHead: 'bf16' });
  const logits = Float32Array.from((await right.evaluate([1, 2, 3, 4])).logits);
  await right.dispose();
  expect(seen.slice(1).map(([before]) => before)).toEqual([true, true]);
  expect(bitDifference(seen[1]![1], logits, 512)).toBe('');
  expect(bitDifference(seen[2]![1], seen[0]![1], 512)).toBe('');
  expect(bitDifference(seen[0]![1], logits, 512)).not.toBe('');
});

test('tokenizer and chat template of the file are those of tokenizer.json', async () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: ' Tell me a story about 1234 dogs,\n\ntwo "cats" & <|eot_id|> \u{1F600}é. ' },
    { role: 'assistant', content: "It's done." },
    { role: 'user', content: 'Go on.' },
  ];
  const right = await load({ url: tinyStories }, { cache: false });
  await using(files.x86, {}, async (model) => {
    expect(model.info).toMatchObject({ i2sOrder: 'x86', hasTokenizer: true, format: 'GGUF I2_S' });
    for (const story of stories) expect(await model.tokenize(story.text, { bos: true, eos: true })).toEqual(story.ids);
    const odd = "DON'T  stop\t12345 \n\n  naïve café—日本語 \u{1F469}‍\u{1F680} <|begin_of_text|>x";
    expect(await model.tokenize(odd)).toEqual(await right.tokenize(odd));
    expect(await model.applyChatTemplate(messages)).toEqual(await right.applyChatTemplate(messages));
    const question = [{ role: 'user', content: 'Hello' }];
    const answers = [model, right].map((each) => each.chat(question, { temperature: 0 }).result);
    const [answer, wanted] = await Promise.all(answers);
    expect(answer).toMatchObject({ text: wanted!.text, finishReason: 'stop' });
  });
  await right.dispose();
});
