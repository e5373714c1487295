/** Sterna under the AI SDK itself: the embedded model through streamText, generateText and embedMany. */
import { createProviderRegistry, embedMany, generateText, jsonSchema, Output, streamText, tool } from 'ai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { filesWithTemplate, tinyStories } from '../../e2e/reading';
import { qwenTemplate } from '../../e2e/tool-templates';
import { sterna } from '../ai-sdk';
import { load, type Model, type Phase, SternaError } from '../index';

const source = { url: tinyStories };
const settings = { threads: 2 };
const prompt = 'Tell me a story about a dog and a ball.';
const greedy = { temperature: 0, maxOutputTokens: 20 };

let model: Model;
let expected: string;
beforeAll(async () => {
  model = await load(source, settings);
  const messages = [{ role: 'user', content: prompt }];
  expected = (await model.chat(messages, { temperature: 0, maxTokens: 20 }).result).text;
});
afterAll(async () => {
  await model.dispose();
  await sterna(source, settings).dispose();
});

test('a source is loaded at the first call and shared by the next ones, which take turns', async () => {
  const phases = new Set<Phase>();
  const onProgress = ({ phase }: { phase: Phase }) => phases.add(phase);
  const lazy = sterna(source, { ...settings, onProgress });
  expect(phases.size).toBe(0);
  const same = sterna({ url: new URL(tinyStories) }, settings);
  const answers = await Promise.all([
    generateText({ model: lazy, prompt, ...greedy }),
    generateText({ model: same, prompt: 'Tell me a story about a cat.', ...greedy }),
    generateText({ model: lazy, prompt, ...greedy }),
  ]);
  expect(answers.map(({ text }) => text === expected)).toEqual([true, false, true]);
  expect(phases).toContain('ready');
  expect(await same.load()).toBe(await lazy.load());
  const [{ usage, finishReason, response, warnings, providerMetadata }] = answers;
  expect(usage).toMatchObject({ outputTokens: 20 });
  expect(usage.totalTokens).toBe(usage.inputTokens! + 20);
  expect(finishReason).toBe('length');
  expect(response.modelId).toBe('tiny-stories-ternary');
  expect(warnings).toEqual([]);
  expect(providerMetadata?.sterna).toMatchObject({
    seed: expect.any(Number),
    timings: { promptMs: expect.any(Number) },
  });
});

test('streams, part by part', async () => {
  const types: string[] = [];
  const result = streamText({
    model: sterna(model),
    messages: [{ role: 'user', content: prompt }],
    ...greedy,
    includeRawChunks: true,
    onChunk: ({ chunk }) => void types.push(chunk.type),
  });
  let text = '';
  for await (const delta of result.textStream) text += delta;
  expect(text).toBe(expected);
  expect(types.filter((type) => type === 'raw')).toHaveLength(20);
  expect(types.filter((type) => type === 'text-delta').length).toBeGreaterThan(10);
  expect(await result.finishReason).toBe('length');
  expect((await result.usage).inputTokens).toBeGreaterThan(5);
  expect((await result.providerMetadata)?.sterna).toHaveProperty('seed');
});

test('sampling settings reach the sampler', async () => {
  const call = { temperature: 0.9, topK: 30, topP: 0.95, seed: 11, presencePenalty: 0.5, frequencyPenalty: 0.2 };
  const { text } = await model.chat([{ role: 'user', content: prompt }], { ...call, maxTokens: 30, minP: 0.02 }).result;
  const providerOptions = { sterna: { minP: 0.02 } };
  const same = await generateText({ model: sterna(model), prompt, ...call, maxOutputTokens: 30, providerOptions });
  expect(same.text).toBe(text);
  const stopped = await generateText({ model: sterna(model), prompt, temperature: 0, stopSequences: ['Spot'] });
  expect(stopped).toMatchObject({ text: expected.split('Spot')[0], finishReason: 'stop' });
});

test('an abort ends the call, in the stream, before and while it waits its turn', async () => {
  const leave = new AbortController();
  const parts: string[] = [];
  const first = streamText({ model: sterna(model), prompt, temperature: 1, abortSignal: leave.signal });
  const queue = new AbortController();
  const waiting = generateText({ model: sterna(model), prompt, ...greedy, abortSignal: queue.signal });
  const outcome = waiting.catch((error) => error.name);
  for await (const { type } of first.fullStream) {
    parts.push(type);
    if (type === 'text-delta' && !queue.signal.aborted) {
      queue.abort();
      expect(await outcome).toBe('AbortError');
      leave.abort();
    }
  }
  expect(parts.at(-1)).toBe('abort');
  const never = generateText({ model: sterna(model), prompt, abortSignal: AbortSignal.abort() });
  await expect(never).rejects.toMatchObject({ name: 'AbortError' });
  // the next call has its turn
  expect((await generateText({ model: sterna(model), prompt, ...greedy })).text).toBe(expected);
});

test('a stream that nobody reads to its end lets the next call have its turn', async () => {
  const { textStream } = streamText({ model: sterna(model), prompt, temperature: 0, maxOutputTokens: 100 });
  for await (const _ of textStream) break;
  expect((await generateText({ model: sterna(model), prompt, ...greedy })).text).toBe(expected);
});

test('failures are SternaErrors: in the call, in the load, in the stream', async () => {
  const image = { type: 'image' as const, image: new Uint8Array([137, 80, 78, 71]) };
  const seen = generateText({ model: sterna(model), messages: [{ role: 'user', content: [image] }] });
  await expect(seen).rejects.toMatchObject({ code: 'unsupported', got: 'image/png' });
  const nowhere = sterna({ url: new URL('nowhere/', tinyStories) });
  await expect(generateText({ model: nowhere, prompt })).rejects.toBeInstanceOf(SternaError);
  expect(await nowhere.availability()).toBe('unavailable');
  const errors: unknown[] = [];
  const onError = ({ error }: { error: unknown }) => void errors.push(error);
  const bad = streamText({ model: sterna(model), prompt, temperature: -1, onError });
  await bad.consumeStream();
  expect(errors).toMatchObject([{ code: 'bad-input' }]);
});

test('what loading needs is known before', async () => {
  const lazy = sterna(source, { ...settings, contextLength: 64 });
  expect(['downloadable', 'available']).toContain(await lazy.availability());
  const loading = lazy.load();
  expect(await lazy.availability()).toBe('downloading');
  await loading;
  expect(await lazy.availability()).toBe('available');
  await lazy.dispose();
  const huge = sterna(source, { contextLength: 100_000_000 });
  await expect(huge.availability()).rejects.toMatchObject({ code: 'bad-input' });
});

test('a load that nobody waits for any more is aborted, and begins anew with the next call', async () => {
  const lazy = sterna(source, { ...settings, contextLength: 65, cache: false });
  const leave = new AbortController();
  const call = lazy.load(leave.signal);
  leave.abort();
  await expect(call).rejects.toMatchObject({ code: 'aborted' });
  expect((await generateText({ model: lazy, prompt, ...greedy })).text).toBe(expected);
  await lazy.dispose();
  expect((await generateText({ model: lazy, prompt, ...greedy })).text).toBe(expected);
  await lazy.dispose();
});

test('objects of a schema, whole and as they come; a pattern of our own', async () => {
  const schema = z.object({
    name: z.string().max(20),
    kind: z.enum(['dog', 'cat']),
    age: z.number().int().min(0).max(30),
  });
  const output = Output.object({ schema });
  const call = { model: sterna(model), prompt, output, seed: 5, temperature: 1, maxOutputTokens: 120 };
  const whole = await generateText(call);
  expect(whole.warnings).toEqual([]);
  expect(schema.parse(whole.output)).toEqual(whole.output);
  const parts: unknown[] = [];
  const stream = streamText(call);
  for await (const part of stream.partialOutputStream) parts.push(part);
  expect(parts.length).toBeGreaterThan(1);
  expect(await stream.output).toEqual(whole.output);
  const free = await generateText({ ...call, output: Output.json() });
  expect(free.output).toBeTypeOf('object');
  const providerOptions = { sterna: { responseFormat: { type: 'regex', pattern: '(red|green) dog' } } };
  const { text } = await generateText({ model: sterna(model), prompt, providerOptions });
  expect(text).toMatch(/^(red|green) dog$/);
});

test('embeddings', async () => {
  const values = ['a dog', 'a ball'];
  const { embeddings, usage } = await embedMany({ model: sterna.embedding(model), values });
  const own = await model.embed(values);
  expect(embeddings).toEqual(own.embeddings.map((each) => [...each]));
  expect(usage.tokens).toBe(own.usage.promptTokens);
});

test('a registry names it beside other providers', async () => {
  const registry = createProviderRegistry({ here: sterna });
  const named = registry.languageModel('here:owner/name');
  expect(named).toMatchObject({ provider: 'sterna', modelId: 'owner/name' });
});

const toy = tool({
  description: 'Finds a toy.',
  inputSchema: jsonSchema<{ toy: string }>({
    type: 'object',
    properties: { toy: { enum: ['ball', 'kite'] } },
    required: ['toy'],
    additionalProperties: false,
  }),
  execute: async ({ toy: name }) => `the ${name} is under the bed`,
});

test('a template without tools: the call goes on, and says so', async () => {
  const { text, warnings } = await generateText({ model: sterna(model), prompt, ...greedy, tools: { toy } });
  expect(text).toBe(expected);
  expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'tools' }]);
});

test('a template with tools is told of them', async () => {
  const knowing = await load(await filesWithTemplate(qwenTemplate), { cache: false, ...settings });
  const { usage, warnings } = await generateText({ model: sterna(knowing), prompt, ...greedy, tools: { toy } });
  expect(warnings).toEqual([]);
  const wanted = { type: 'function' as const, function: { name: 'toy', description: 'Finds a toy.', parameters: {} } };
  const shown = await knowing.applyChatTemplate([{ role: 'user', content: prompt }], { tools: [wanted] });
  expect(usage.inputTokens).toBeGreaterThan(shown.ids.length);
  await knowing.dispose();
});
