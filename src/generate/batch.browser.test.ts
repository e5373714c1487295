/** Several answers at once: each is the one that its seed gives alone, and afterwards the caches are what they should be. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { failure } from '../../e2e/failure';
import { bitDifference, openMachine, someTokens } from '../../e2e/machine';
import { syntheticModel, tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { GenerateOptions, Message } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';
import { append, copySession, logitsView, prefill, rowsOf, type Session } from './session';

const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
const cat: Message[] = [{ role: 'user', content: 'Tell me a story about a cat and a tree.' }];

describe.each([
  ['whole lm_head', {}],
  ['screened lm_head, int8 cache', { lmHead: 'int8', screening: true, kvCache: 'int8' }],
] as [string, LoadOptions][])('n answers, %s', (_, head) => {
  let model: Model;
  /** Loaded for one sequence. */
  let single: Model;
  beforeAll(async () => {
    model = await load({ url: tinyStories }, { ...head, sequences: 9, contextLength: 160, threads: 2 });
    single = await load({ url: tinyStories }, { ...head, contextLength: 160, threads: 2 });
  });
  afterAll(() => Promise.all([model.dispose(), single.dispose()]));

  test.each([
    [2, { seed: 3 }],
    [3, { seed: 40, temperature: 1.2, topP: 1 }],
    [4, { seed: 5, temperature: 1, topK: 5, topP: 1, repetitionPenalty: 1.3 }],
    [5, { seed: 6, temperature: 0 }],
    [8, { seed: 2 ** 53 - 8, temperature: 1, frequencyPenalty: 0.7, presencePenalty: 0.4 }],
    [8, { seed: 11, temperature: 1, minP: 0.05, stop: ['.', ' ball'] }],
    [9, { seed: 0, temperature: 1.5, topP: 1, ignoreEos: true }],
    [9, { seed: 1, maxTokens: 1 }],
    [3, { seed: 9, temperature: 1.3, topK: 4, topP: 1 }],
  ] as [number, GenerateOptions & { seed: number }][])('%i of them, %j', async (n, options) => {
    for (const messages of [dog, cat]) {
      const generation = model.chat(messages, { maxTokens: 60, ...options, n });
      const texts = new Array<string>(n).fill('');
      const tokens = texts.map((): number[] => []);
      for await (const { answer, index, text, token } of generation) {
        texts[answer] += text;
        tokens[answer]![index] = token;
      }
      const result = await generation.result;
      expect(result.answers).toHaveLength(n);
      for (const [i, answer] of result.answers.entries()) {
        const alone = await single.chat(messages, { maxTokens: 60, ...options, seed: options.seed + i }).result;
        expect(answer).toEqual(alone.answers[0]);
        expect(answer.seed).toBe(options.seed + i);
        expect([texts[i], tokens[i]]).toEqual([answer.text, answer.tokens]);
      }
      const { text, tokens: first, finishReason, seed } = result;
      expect({ text, tokens: first, finishReason, seed }).toEqual(result.answers[0]);
      expect(result.usage.completionTokens).toBe(tokens.flat().length);
    }
  });

  test('end by themselves, each for its own reason', async () => {
    const { answers } = await model.chat(dog, { seed: 1, n: 9, temperature: 1, maxTokens: 100, stop: [' loved'] })
      .result;
    expect(new Set(answers.map(({ tokens }) => tokens.length)).size).toBeGreaterThan(3);
    expect(new Set(answers.map(({ finishReason }) => finishReason))).toEqual(new Set(['stop', 'length']));
  });

  test('fill the context', async () => {
    const { answers, usage } = await model.chat(dog, { seed: 1, n: 3, ignoreEos: true }).result;
    for (const { finishReason, tokens } of answers) {
      expect([finishReason, tokens.length + usage.promptTokens]).toEqual(['length', 160]);
    }
    const full = [...(await model.applyChatTemplate(dog)).ids, ...answers[1]!.tokens];
    expect((await model.complete(full, { n: 3 }).result).answers.map((answer) => answer.tokens)).toEqual([[], [], []]);
  });

  test('one that is gone on with is in the cache, whichever it is', async () => {
    for (const i of [2, 0, 1]) {
      const { answers } = await model.chat(dog, { seed: 4, n: 3, maxTokens: 30, ignoreEos: true }).result;
      const prompt = [...(await model.applyChatTemplate(dog)).ids, ...answers[i]!.tokens];
      const options = { temperature: 0, maxTokens: 30, n: 2 };
      const { tokens, usage } = await model.complete(prompt, options).result;
      expect(usage.cachedTokens).toBe(prompt.length - 1);
      expect(tokens).toEqual((await single.complete(prompt, { ...options, n: 1 }).result).tokens);
    }
  });

  test('aborted, all keep what they have; the next ones are right', async () => {
    const options = { seed: 8, n: 8, temperature: 1, ignoreEos: true };
    const generation = model.chat(dog, options);
    for await (const { index, answer } of generation) if (index === 9 && answer === 7) generation.abort();
    const aborted = await generation.result;
    expect(aborted.answers.map(({ finishReason }) => finishReason)).toEqual(Array(8).fill('abort'));
    const whole = await model.chat(dog, options).result;
    for (const [i, { tokens, text }] of aborted.answers.entries()) {
      expect(tokens.length).toBeGreaterThanOrEqual(9);
      expect(tokens).toEqual(whole.answers[i]!.tokens.slice(0, tokens.length));
      expect(whole.answers[i]!.text.startsWith(text)).toBe(true);
      expect(whole.answers[i]).toEqual((await single.chat(dog, { ...options, seed: 8 + i, n: 1 }).result).answers[0]);
    }
  });

  test('more than the cache has room for: the error says what to load with', async () => {
    expect(model.info.sequences).toBe(9);
    const error = await failure(model.chat(dog, { n: 10 }).result);
    expect(error).toMatchObject({ code: 'bad-input', got: 10, expected: 'n at most 9' });
    expect(error.message).toContain('sequences: 10');
    expect(await failure(single.chat(dog, { n: 2 }).result)).toMatchObject({
      code: 'bad-input',
      expected: 'n at most 1',
    });
    for (const sequences of [0, 65, 1.5, '2' as unknown as number]) {
      const refused = await failure(load({ url: tinyStories }, { sequences }));
      expect(refused).toMatchObject({ code: 'bad-input', got: String(sequences), expected: 'an integer from 1 to 64' });
    }
  });

  test('the prompt’s progress is told', async () => {
    const long = Array.from({ length: 150 }, (_, i) => (i * 37) % 4096);
    const told: [number, number][] = [];
    const onPrefill = ({ done, total }: { done: number; total: number }): void => void told.push([done, total]);
    const model64 = await load({ url: tinyStories }, { contextLength: 600, threads: 1 });
    const text = [...long, ...long, ...long];
    const { usage } = await model64.complete(text, { maxTokens: 1, onPrefill }).result;
    expect(told[0]).toEqual([0, 450]);
    expect(told.at(-1)).toEqual([450, 450]);
    expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).sort((a, b) => a - b));
    expect(told.length).toBe(1 + Math.ceil(450 / 256));
    expect(usage.cachedTokens).toBe(0);
    told.length = 0;
    await model64.complete([...text, 7, 8, 9], { maxTokens: 1, onPrefill }).result;
    expect(told).toEqual([
      [450, 453],
      [453, 453],
    ]);
    await model64.dispose();
  });
});

describe.each(['bf16', 'f32', 'int8'] as const)('a copied timeline, %s', (kvCache) => {
  const files = syntheticModel(packedCheckpoint({ ...shapeOdd, layers: 3 }));
  const { vocab } = shapeOdd;
  const tokens = someTokens(60, vocab);

  test('gives the logits of the first, and leaves the others alone', async () => {
    const options = { kernel: 'dot32', contextLength: 64, maxRows: 16, sequences: 3, kvCache } as const;
    const { pool, plan, memory, poison } = await openMachine(files, options);
    poison();
    const sessions: Session[] = [0, 1, 2].map((sequence) => ({ sequence, tokens: [] }));
    const [first, second, third] = sessions as [Session, Session, Session];
    const always = async () => true;
    const next = async (session: Session, token: number) => {
      await append(pool, session, rowsOf(session, [token]), 0);
      return logitsView(memory, plan, 0).slice();
    };
    await prefill(pool, first, tokens.slice(0, 37), always);
    await prefill(pool, third, tokens.slice(20, 50), always);
    // of the second, 10 tokens are there already, and others behind them
    await prefill(pool, second, [...tokens.slice(0, 10), ...tokens.slice(30, 55)], always);
    copySession(memory, plan, first, second);
    expect(second.tokens).toEqual(tokens.slice(0, 37));
    expect(bitDifference(await next(second, 5), await next(first, 5), vocab)).toBe('');
    first.tokens.length = 30;
    copySession(memory, plan, first, third);
    expect(bitDifference(await next(third, 9), await next(first, 9), vocab)).toBe('');
    // what went into the third has not touched the second
    const other = await openMachine(files, { ...options, maxRows: 64 });
    const whole = [...tokens.slice(0, 37), 5, 6].map((token, position) => ({ sequence: 1, position, token }));
    const right = await other.logits([whole]);
    expect(bitDifference(await next(second, 6), right.slice(-vocab), vocab)).toBe('');
  });
});
