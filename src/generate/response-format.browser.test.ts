/** Answers in a format, by the embedded model: each one that ends as `stop` is parsed and validated. */
import Ajv2020 from 'ajv/dist/2020';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shapes } from '../../bench/answer-schemas';
import { tinyStories } from '../../e2e/reading';
import { load, type Model } from '../api/model';
import type { GenerateOptions, ResponseFormat } from '../protocol/generate-types';

let model: Model;
beforeAll(async () => {
  model = await load({ url: tinyStories }, { sequences: 3, threads: 2 });
});
afterAll(() => model?.dispose());

const ajv = new Ajv2020({ strict: false, validateFormats: false });
const messages = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
const answer = (responseFormat: ResponseFormat, options: GenerateOptions = {}) =>
  model.chat(messages, { seed: 3, temperature: 1, maxTokens: 120, ...options, responseFormat }).result;
const schemaOf = (schema: object): ResponseFormat => ({ type: 'json_schema', schema });

test.each(Object.entries(shapes))('a schema: %s', async (_, schema) => {
  const validate = ajv.compile(schema);
  for (const [seed, maxTokens] of [
    [1, 90],
    [2, 120],
    [3, 200],
  ] as const) {
    const { text, finishReason } = await answer(schemaOf(schema), { seed, maxTokens });
    expect(finishReason, text).toBe('stop');
    const value = JSON.parse(text);
    expect(validate(value), `${text}: ${ajv.errorsText(validate.errors)}`).toBe(true);
  }
});

test('any object, a pattern, a grammar', async () => {
  for (const temperature of [0, 1.5]) {
    const object = await answer({ type: 'json_object' }, { temperature });
    expect(object.finishReason).toBe('stop');
    expect(JSON.parse(object.text)).toBeTypeOf('object');
    const pattern = await answer({ type: 'regex', pattern: '(red|green) (dog|cat)s?, \\d{2,4}' }, { temperature });
    expect(pattern).toMatchObject({
      finishReason: 'stop',
      text: expect.stringMatching(/^(red|green) (dog|cat)s?, \d{2,4}$/),
    });
    const grammar = await answer({ type: 'grammar', grammar: 'root ::= ("sun" | "moon") [!?]{1,3}' }, { temperature });
    expect(grammar).toMatchObject({ finishReason: 'stop', text: expect.stringMatching(/^(sun|moon)[!?]{1,3}$/) });
  }
});

const dog = schemaOf({
  type: 'object',
  properties: { name: { type: 'string' }, story: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'story', 'age'],
});

test('the same answer whatever writes it: several at once, drafting, streaming, other threads', async () => {
  const alone = await answer(dog, { seed: 4 });
  const { answers } = await answer(dog, { seed: 3, n: 3 });
  expect(answers[1]!.tokens).toEqual(alone.tokens);
  for (const each of answers) expect(JSON.parse(each.text)).toHaveProperty('age');
  expect((await answer(dog, { seed: 4, draft: true })).tokens).toEqual(alone.tokens);
  let streamed = '';
  for await (const { text } of model.chat(messages, { seed: 4, temperature: 1, maxTokens: 120, responseFormat: dog }))
    streamed += text;
  expect(streamed).toBe(alone.text);
  const single = await load({ url: tinyStories }, { threads: 1, kernel: 'lut8' });
  const there = await single.chat(messages, { seed: 4, temperature: 1, maxTokens: 120, responseFormat: dog }).result;
  await single.dispose();
  expect(there.tokens).toEqual(alone.tokens);
});

test('what cuts an answer is no stop: too little room, a stop string, an abort', async () => {
  expect((await answer(dog, { maxTokens: 4 })).finishReason).toBe('length');
  const cut = await answer(dog, { stop: '"story"' });
  expect(cut).toMatchObject({ finishReason: 'length', text: expect.stringMatching(/^\{"name": ".*", $/) });
  const whole = await answer({ type: 'regex', pattern: '[a-z ]+' }, { stop: ' ' });
  expect(whole.finishReason).toBe(/^[a-z ]+$/.test(whole.text) ? 'stop' : 'length');
  const generation = model.chat(messages, { responseFormat: dog });
  for await (const _ of generation) break;
  expect((await generation.result).finishReason).toBe('abort');
});

test('goes on past end-of-turn tokens as long as the format lets it', async () => {
  const { tokens, finishReason } = await answer(
    { type: 'regex', pattern: '[a-zA-Z ,.]+' },
    { ignoreEos: true, maxTokens: 30 },
  );
  expect(tokens).toHaveLength(30);
  expect(finishReason).toBe('stop');
});

test('a format that cannot be held to is an error, and the next answer is as ever', async () => {
  const refused: [unknown, string, string][] = [
    [schemaOf({ type: 'array', uniqueItems: true }), 'unsupported', 'uniqueItems'],
    [{ type: 'json_schema' }, 'bad-input', 'schema'],
    [{ type: 'regex', pattern: '(' }, 'bad-input', 'pattern'],
    [{ type: 'grammar', grammar: 'root ::= x' }, 'bad-input', 'grammar'],
    [{ type: 'grammar' }, 'bad-input', 'grammar'],
    [{ type: 'xml' }, 'bad-input', 'responseFormat'],
  ];
  for (const [format, code, word] of refused) {
    const error = await answer(format as ResponseFormat).catch((e) => e);
    expect(error).toMatchObject({ code, message: expect.stringContaining(word) });
  }
  expect((await answer({ type: 'text' }, { temperature: 0, maxTokens: 8 })).text).toMatch(/^Once upon a time/);
});
