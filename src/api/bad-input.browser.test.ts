/**
 * Bad input at the API: a typed error that says what was got and what was expected, at once, and the model answers as
 * before. What needs a hub or a full disk: e2e/bad-input.spec.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { SternaError } from '../errors';
import type { Message } from '../protocol/generate-types';
import { deleteModel, verifyModel } from './cached-models';
import { features } from './features';
import { inspect, load, type Model } from './model';

const source = { url: tinyStories };
const greeting: Message[] = [{ role: 'user', content: 'Hello' }];
const greeted = 'Hello! I tell short stories. What should the story be about?';
/** What a caller without a type checker may give. */
// biome-ignore lint/suspicious/noExplicitAny: any argument of any call
const any = (value: unknown): any => value;

/** The error of a call, which must come as a rejection and say got and expected. */
async function failure(work: () => Promise<unknown>): Promise<SternaError> {
  const error = await work().then(
    (value) => expect.fail(`no error, but ${String(value)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SternaError);
  const { got, expected, message } = error as SternaError;
  expect(got, message).toBeDefined();
  expect(expected, message).toBeDefined();
  return error as SternaError;
}

describe('a loaded model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load(source);
  });
  afterEach(async () => {
    expect((await model.chat(greeting, { temperature: 0 }).result).text).toBe(greeted);
  });
  afterAll(() => model.dispose());

  const message = (value: unknown) => any([{ role: 'user', content: 'Hi' }, value]);
  test.each<[string, (model: Model) => Promise<unknown>, Partial<SternaError>]>([
    ['a text for messages', (m) => m.chat(any('Hello')).result, { got: 'string', expected: 'a non-empty array' }],
    ['a number for a message', (m) => m.chat(message(5)).result, { got: 'number' }],
    ['a message without content', (m) => m.chat(message({ role: 'user' })).result, { got: 'undefined' }],
    ['a number as content', (m) => m.chat(message({ role: 'user', content: 5 })).result, { expected: 'a string' }],
    ['parts as content', (m) => m.chat(message({ role: 'user', content: [{}] })).result, { got: 'an array of 1' }],
    [
      'to go on with a message of the user',
      (m) => m.chat(greeting, { continueFinalMessage: true }).result,
      { code: 'bad-input', got: 'one of "user"', expected: 'one of the assistant, with a text' },
    ],
    [
      'to go on with nothing',
      (m) => m.chat(message({ role: 'assistant', content: '' }), { continueFinalMessage: true }).result,
      { code: 'bad-input', got: 'one without a text, or with calls' },
    ],
    [
      'to go on with what was never asked',
      (m) => m.chat([{ role: 'assistant', content: 'So' }], { continueFinalMessage: true }).result,
      { code: 'bad-input', expected: 'a non-empty array' },
    ],
    [
      'to go on perhaps',
      (m) => m.chat(greeting, { continueFinalMessage: any('yes') }).result,
      { code: 'bad-input', got: '"yes"', expected: 'true or false' },
    ],
    [
      'to go on in a format',
      (m) =>
        m.chat(message({ role: 'assistant', content: '{' }), {
          continueFinalMessage: true,
          responseFormat: { type: 'json_object' },
        }).result,
      { code: 'bad-input', got: 'json_object' },
    ],
    [
      'to go on in a session',
      (m) => m.session().chat('Hi', { continueFinalMessage: true }).result,
      { code: 'unsupported', got: 'continueFinalMessage' },
    ],
    ['a number as role', (m) => m.applyChatTemplate(message({ role: 5, content: '' })), { got: 'number' }],
    ['a number for a prompt', (m) => m.complete(any(5)).result, { got: 'number', expected: 'an array of numbers' }],
    ['words for ids', (m) => m.complete(any(['Hello'])).result, { got: 'Hello', expected: '0 to 4095' }],
    ['a number for a text', (m) => m.tokenize(any(5)), { got: 'number', expected: 'a string' }],
    ['a text for ids', (m) => m.detokenize(any('Hello')), { got: 'string' }],
    ['a number for options', (m) => m.chat(greeting, any(5)).result, { got: 'number', expected: 'an object' }],
    ['a list for options', (m) => m.tokenize('Hello', any(['bos'])), { got: 'an array of 1' }],
    ['a text for options', (m) => m.evaluate([0, 1], any('fast')), { got: 'string', expected: 'an object' }],
    ['a number for a setting', (m) => m.chat(greeting, { stop: any(5) }).result, { got: 5 }],
    ['a text for a number', (m) => m.chat(greeting, { maxTokens: any('5') }).result, { got: '"5"' }],
    ['what is no signal', (m) => m.chat(greeting, { signal: any({}) }).result, { expected: 'an AbortSignal' }],
    ['the same, scoring', (m) => m.perplexity([0, 1], { signal: any(5) }), { expected: 'an AbortSignal' }],
    ['what is no function', (m) => m.chat(greeting, { onPrefill: any(1) }).result, { expected: 'a function' }],
    ['a misspelt option', (m) => m.perplexity([0, 1], any({ windows: 5 })), { got: 'windows' }],
    [
      'another misspelt option',
      (m) => m.tokenize('a', any({ BOS: true })),
      { got: 'BOS', expected: 'bos, eos, special' },
    ],
  ])('wrong types: %s', async (_, work, right) => {
    expect(await failure(() => work(model))).toMatchObject({ code: 'bad-input', ...right });
  });

  test.each<[string, (model: Model) => Promise<unknown>]>([
    ['chat', (m) => m.chat([]).result],
    ['applyChatTemplate', (m) => m.applyChatTemplate([])],
    ['countTokens', (m) => m.countTokens([])],
  ])('no messages: %s', async (_, work) => {
    const facts = { code: 'bad-input', got: 'an array of 0', expected: 'a non-empty array' };
    expect(await failure(() => work(model))).toMatchObject(facts);
  });

  test.each(['wizard', 'User', '', 'asistant'])('a role that the template does not name: %j', async (role) => {
    const messages = [...greeting, { role, content: 'Hi' }];
    const facts = { code: 'bad-input', got: JSON.stringify(role), expected: 'system, user, assistant, tool' };
    const error = await failure(() => model.chat(messages).result);
    expect(error).toMatchObject(facts);
    expect(error.message).toContain('message 1');
    expect(await failure(() => model.applyChatTemplate(messages))).toMatchObject(facts);
    expect(await failure(() => model.countTokens(messages))).toMatchObject(facts);
  });

  test.each([
    { maxTokens: -1 },
    { maxTokens: 0 },
    { temperature: -1 },
    { topK: -1 },
    { topP: -0.5 },
    { minP: -1 },
    { repetitionPenalty: -1 },
    { frequencyPenalty: -3 },
    { presencePenalty: -3 },
    { seed: -1 },
    { n: -1 },
  ])('negative numbers: %j', async (options) => {
    const [[name, got]] = Object.entries(options) as [[string, number]];
    const error = await failure(() => model.chat(greeting, options).result);
    expect(error).toMatchObject({ code: 'bad-input', got, expected: expect.stringMatching(/\d/) });
    expect(error.message).toContain(name);
  });

  test('negative numbers: windows and ids', async () => {
    const window = { window: -1 };
    expect(await failure(() => model.perplexity([0, 1], window))).toMatchObject({ code: 'bad-input', got: -1 });
    expect(await failure(() => model.evaluate([0, -1]))).toMatchObject({ code: 'bad-input', got: '-1' });
    expect(await failure(() => model.detokenize([-1]))).toMatchObject({ code: 'bad-input', got: '-1' });
  });

  test('a prompt longer than the context', async () => {
    const text = 'The dog ran. '.repeat(400);
    const messages = [{ role: 'user', content: text }];
    for (const [work, tokens] of [
      [() => model.chat(messages).result, await model.countTokens(messages)],
      [() => model.complete(text).result, await model.countTokens(text)],
      [() => model.embed(text), await model.countTokens(text)],
    ] as const) {
      const error = await failure(work);
      expect(error).toMatchObject({
        code: 'context-full',
        got: tokens,
        expected: expect.stringMatching('at most 1024'),
      });
    }
  });

  test('a second call while the first is at work', async () => {
    const first = model.chat(greeting, { temperature: 0, ignoreEos: true });
    const busy = { code: 'busy', got: 'a second call', expected: 'one at a time' };
    for (const work of [
      () => model.chat(greeting).result,
      () => model.complete('Once').result,
      () => model.evaluate([0, 1]),
      () => model.perplexity([0, 1]),
      () => model.embed('Once'),
      () => model.measureBandwidth(),
    ]) {
      expect(await failure(work)).toMatchObject(busy);
    }
    first.abort();
    expect((await first.result).finishReason).toBe('abort');
  });
});

test('a disposed model: every call', async () => {
  const model = await load(source);
  await model.dispose();
  await model.dispose();
  for (const work of [
    () => model.chat(greeting).result,
    async () => {
      for await (const _ of model.chat(greeting)) expect.fail('a token');
    },
    () => model.complete('Once').result,
    () => model.tokenize('Once'),
    () => model.detokenize([5]),
    () => model.applyChatTemplate(greeting),
    () => model.countTokens('Once'),
    () => model.evaluate([0, 1]),
    () => model.perplexity([0, 1]),
    () => model.embed('Once'),
    () => model.measureBandwidth(),
  ]) {
    expect(await failure(work)).toMatchObject({ code: 'disposed', got: 'a disposed model', expected: 'a loaded one' });
  }
});

describe('no model', () => {
  afterEach(async () => {
    const model = await load(source);
    expect((await model.chat(greeting, { temperature: 0 }).result).text).toBe(greeted);
    await model.dispose();
  });

  test('sources that are none', async () => {
    for (const [wrong, facts] of [
      [5, { got: 'number' }],
      [null, { got: 'object' }],
      [{}, { got: 'object' }],
      [[5], { got: 'number', expected: 'a File' }],
      [new ArrayBuffer(3), { got: 'object' }],
      ['sterna', { got: 'sterna', expected: 'owner/name' }],
      [{ repo: 5 }, { expected: 'owner/name' }],
      [{ url: 'http://' }, { got: 'http://' }],
    ] as const) {
      expect(await failure(() => load(any(wrong)))).toMatchObject({ code: 'bad-input', ...facts });
      expect(await failure(() => inspect(any(wrong)))).toMatchObject({ code: 'bad-input', ...facts });
    }
  });

  test('options that cannot be', async () => {
    for (const [wrong, facts] of [
      [5, { got: 'number', expected: 'an object' }],
      [{ signal: 5 }, { got: 'number', expected: 'an AbortSignal' }],
      [{ onProgress: 'yes' }, { got: 'string', expected: 'a function' }],
      [{ threads: -1 }, { got: '-1' }],
      [{ contextLength: -1 }, { got: '-1' }],
      [{ sequences: -1 }, { got: '-1' }],
      [{ assets: 5 }, { got: 'number' }],
    ] as const) {
      expect(await failure(() => load(source, any(wrong)))).toMatchObject({ code: 'bad-input', ...facts });
    }
    expect(await failure(() => features(any(5)))).toMatchObject({ code: 'bad-input', got: 'number' });
    expect(await failure(() => deleteModel(any(5)))).toMatchObject({ code: 'bad-input', got: 'number' });
    expect(await failure(() => verifyModel('none'))).toMatchObject({ code: 'bad-input', got: 'none' });
  });

  test('no workers', async () => {
    const { Worker } = globalThis;
    try {
      Object.assign(globalThis, { Worker: undefined });
      for (const work of [() => load(source), () => inspect(source)]) {
        expect(await failure(work)).toMatchObject({
          code: 'unsupported',
          message: expect.stringContaining('Web Workers'),
        });
      }
      Object.assign(globalThis, {
        Worker: class {
          constructor() {
            throw new DOMException('no workers here', 'SecurityError');
          }
        },
      });
      const expected = expect.stringContaining('Content-Security-Policy');
      expect(await failure(() => load(source))).toMatchObject({ code: 'worker', expected });
    } finally {
      Object.assign(globalThis, { Worker });
    }
  });
});
