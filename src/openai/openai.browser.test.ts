/** `model.openai` with the embedded model: what code written for a server expects of the client of `openai`, and what is refused. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import * as code from '../../e2e/openai-code';
import { filesWithTemplate } from '../../e2e/reading';
import { qwenTemplate } from '../../e2e/tool-templates';
import { load, type Model } from '../api/model';
import type { ChatCompletionParams } from './openai-types';

let model: Model;
let client: code.Client;
beforeAll(async () => {
  model = await load(await filesWithTemplate(qwenTemplate), { cache: false, threads: 2, sequences: 2 });
  client = model.openai;
});
afterAll(() => model.dispose());

const { tools: _, ...now } = code;

describe('code written for a server', () => {
  test.each(Object.entries(now))('%s', async (_name, run) => {
    await run(client);
  });
});

const messages = [
  { role: 'system', content: 'You tell stories.' },
  { role: 'user', content: 'Tell me a story about a dog and a ball.' },
] as const;
const ask = (params: Partial<ChatCompletionParams>) => model.openai.chat.completions.create({ messages, ...params });

test('the answer is that of model.chat', async () => {
  const options = { temperature: 0.8, seed: 11, topK: 40, topP: 0.9, repetitionPenalty: 1.1, maxTokens: 30 };
  const { text, usage } = await model.chat([...messages], options).result;
  const completion = await model.openai.chat.completions.create({
    messages,
    ...{ temperature: 0.8, seed: 11, top_k: 40, top_p: 0.9, repetition_penalty: 1.1, max_completion_tokens: 30 },
  });
  expect(text).toMatch(/\w/);
  expect(completion.choices[0]!.message.content).toBe(text);
  expect(completion.usage.prompt_tokens).toBe(usage.promptTokens);
  expect(completion.usage.prompt_tokens_details.cached_tokens).toBe(usage.promptTokens - 1);
  expect(completion).toMatchObject({ model: model.info.name, system_fingerprint: expect.stringContaining('fp_') });
});

test('a stop string, and logit_bias', async () => {
  const whole = await model.openai.chat.completions.create({ messages, temperature: 0, max_tokens: 40 });
  const text = whole.choices[0]!.message.content!;
  const word = text.slice(6, 9);
  expect(word).toHaveLength(3);
  const cut = await model.openai.chat.completions.create({ messages, temperature: 0, max_tokens: 40, stop: [word] });
  expect(cut.choices[0]).toMatchObject({
    finish_reason: 'stop',
    message: { content: text.slice(0, text.indexOf(word)) },
  });
  const [first] = (await model.chat([...messages], { temperature: 0, maxTokens: 1 }).result).tokens;
  const biased = await model.openai.chat.completions.create({
    messages,
    temperature: 0,
    max_tokens: 40,
    logit_bias: { [first!]: -100 },
  });
  expect(biased.choices[0]!.message.content).not.toBe(text);
});

test('an answer in JSON, by response_format', async () => {
  const schema = {
    type: 'object',
    properties: { pet: { enum: ['dog', 'cat'] }, age: { type: 'integer', minimum: 1, maximum: 9 } },
    required: ['pet', 'age'],
    additionalProperties: false,
  };
  const format = { type: 'json_schema', json_schema: { name: 'pet', strict: true, schema } } as const;
  const completion = await model.openai.chat.completions.create({
    messages,
    response_format: format,
    max_tokens: 60,
    seed: 1,
  });
  expect(completion.choices[0]!.finish_reason).toBe('stop');
  const { pet, age } = JSON.parse(completion.choices[0]!.message.content!);
  expect([['dog', 'cat'].includes(pet), age >= 1 && age <= 9]).toEqual([true, true]);
  const wrong = { type: 'xml' } as never;
  expect((await failure(model.openai.chat.completions.create({ messages, response_format: wrong }))).code).toBe(
    'bad-input',
  );
});

test('errors of the engine are told by create, with stream and without', async () => {
  const long = [{ role: 'user', content: 'dog '.repeat(2000) }] as const;
  for (const stream of [true, false]) {
    expect((await failure(ask({ messages: long, stream }))).code).toBe('context-full');
    expect((await failure(ask({ temperature: -1, stream }))).code).toBe('bad-input');
    expect((await failure(ask({ n: 3, stream }))).code).toBe('bad-input');
  }
  expect((await failure(model.openai.chat.completions.create({ messages }, { signal: 5 as never }))).got).toBe(
    'number',
  );
  const own = model.chat([...messages], { maxTokens: 20 });
  expect((await failure(ask({ stream: true }))).code).toBe('busy');
  await own.result;
});

test('requests wait for those before them', async () => {
  const contents = ['dog', 'cat', 'ball'].map((toy) => `Tell me a story about a ${toy}.`);
  const of = (content: string) =>
    model.openai.chat.completions.create({ messages: [{ role: 'user', content }], max_tokens: 12, temperature: 0 });
  const alone: (string | null)[] = [];
  for (const content of contents) alone.push((await of(content)).choices[0]!.message.content);
  const order: number[] = [];
  const together = contents.map(async (content, i) => {
    const { choices } = await of(content);
    order.push(i);
    return choices[0]!.message.content;
  });
  // one that fails and one that is given up while it waits hold up nobody
  const wrong = failure(ask({ temperature: -1 }));
  const controller = new AbortController();
  const givenUp = failure(model.openai.chat.completions.create({ messages }, { signal: controller.signal }));
  const after = of(contents[0]!);
  controller.abort();
  expect((await givenUp).code).toBe('aborted');
  expect(order).toEqual([]); // it did not wait to be told so
  expect(await Promise.all(together)).toEqual(alone);
  expect(order).toEqual([0, 1, 2]);
  expect((await wrong).code).toBe('bad-input');
  expect((await after).choices[0]!.message.content).toBe(alone[0]);
});
