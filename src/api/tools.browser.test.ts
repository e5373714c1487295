/** Tools through the public API: the embedded model under a chat template that knows them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import { filesWithTemplate, tinyStories } from '../../e2e/reading';
import { llamaTemplate, qwenTemplate, toyTools as tools } from '../../e2e/tool-templates';
import type { Message, Tool, ToolCall, ToolChoice } from '../protocol/generate-types';
import { load, type Model } from './model';

const both: Tool[] = [...tools, { type: 'function', function: { name: 'now' } }];
const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];

/** The embedded model with another chat template. */
async function loadWith(template: string): Promise<Model> {
  return load(await filesWithTemplate(template), { cache: false, threads: 2, sequences: 2 });
}

let qwen: Model;
beforeAll(async () => {
  qwen = await loadWith(qwenTemplate);
});
afterAll(() => qwen.dispose());

test('tools and calls reach the template', async () => {
  expect(qwen.info.toolFormat).toBe('hermes');
  const call = { id: 'call_1', type: 'function' as const, function: { name: 'find_toy', arguments: '{"toy":"ball"}' } };
  const messages: Message[] = [
    ...dog,
    { role: 'assistant', content: '', tool_calls: [call] },
    { role: 'tool', tool_call_id: 'call_1', content: 'under the bed' },
  ];
  const { text, ids } = await qwen.applyChatTemplate(messages, { tools });
  expect(text).toContain(JSON.stringify(tools[0]).replaceAll(':', ': ').replaceAll(',', ', '));
  expect(text).toContain('<tool_call>\n{"name": "find_toy", "arguments": {"toy": "ball"}}\n</tool_call>');
  expect(text).toContain('<tool_response>\nunder the bed\n</tool_response>');
  const { usage } = await qwen.chat(messages, { tools, temperature: 0, maxTokens: 1 }).result;
  expect(usage.promptTokens).toBe(ids.length);
});

test('an answer without a call is as without tools to read it', async () => {
  const options = { temperature: 0.8, seed: 3, maxTokens: 30, n: 2 };
  const { ids } = await qwen.applyChatTemplate(dog, { tools });
  const plain = await qwen.complete(ids, options).result;
  const generation = qwen.chat(dog, { ...options, tools });
  const texts = ['', ''];
  for await (const { text, answer } of generation) texts[answer] += text;
  const result = await generation.result;
  expect(result.answers.map(({ text }) => text)).toEqual(plain.answers.map(({ text }) => text));
  expect(result.answers.map(({ tokens }) => tokens)).toEqual(plain.answers.map(({ tokens }) => tokens));
  expect(texts).toEqual(plain.answers.map(({ text }) => text));
  expect(result.toolCalls).toEqual([]);
  expect(plain.toolCalls).toBeUndefined();
});

test('toolChoice none shows the model no tools', async () => {
  const { usage, toolCalls } = await qwen.chat(dog, { tools, toolChoice: 'none', maxTokens: 1 }).result;
  expect(usage.promptTokens).toBe((await qwen.applyChatTemplate(dog)).ids.length);
  expect(toolCalls).toBeUndefined();
});

test.each<ToolChoice>(['required', { type: 'function', function: { name: 'find_toy' } }])(
  'a call that is asked for: %j',
  async (toolChoice) => {
    const generation = qwen.chat(dog, { tools: both, toolChoice, temperature: 0.9, seed: 2, maxTokens: 60, n: 2 });
    const texts = ['', ''];
    const calls: ToolCall[][] = [[], []];
    for await (const { text, answer, toolCalls = [] } of generation) {
      texts[answer] += text;
      calls[answer]!.push(...toolCalls);
    }
    const { answers, toolCalls } = await generation.result;
    expect(answers.map((answer) => answer.toolCalls)).toEqual(calls);
    expect(toolCalls).toEqual(calls[0]);
    expect(texts).toEqual(['', '']);
    for (const { finishReason, text, toolCalls: [call] = [] } of answers) {
      expect([finishReason, text]).toEqual(['stop', '']);
      if (toolChoice !== 'required' || call!.function.name === 'find_toy') {
        expect(call!.function.name).toBe('find_toy');
        expect(['ball', 'kite']).toContain(JSON.parse(call!.function.arguments).toy);
      } else expect(call!.function).toEqual({ name: 'now', arguments: '{}' });
    }
  },
);

test('calls among text are taken out of it, as the model writes them', async () => {
  const call =
    '"<tool_call>\\n{\\"name\\": \\"find_toy\\", \\"arguments\\": {\\"toy\\": \\"" ("ball" | "kite") "\\"}}\\n</tool_call>"';
  const grammar = `root ::= "Let me look." "\\n\\n" ${call} "\\n" ${call} "\\n"`;
  const generation = qwen.chat(dog, { tools, responseFormat: { type: 'grammar', grammar }, seed: 4, maxTokens: 250 });
  let text = '';
  const calls: ToolCall[] = [];
  for await (const chunk of generation) {
    text += chunk.text;
    calls.push(...(chunk.toolCalls ?? []));
  }
  const result = await generation.result;
  expect(text).toBe('Let me look.');
  expect(result).toMatchObject({ text, finishReason: 'stop', toolCalls: calls });
  expect(calls).toHaveLength(2);
  for (const { function: called } of calls) expect(called.arguments).toMatch(/^\{"toy":"(ball|kite)"\}$/);
});

test('a call that is asked for leaves no room for another form', async () => {
  const responseFormat = { type: 'json_object' } as const;
  const refused = await failure(qwen.chat(dog, { tools, toolChoice: 'required', responseFormat }).result);
  expect(refused).toMatchObject({ code: 'bad-input', expected: 'auto or none, beside a responseFormat' });
});

test('a template of the other form', async () => {
  const llama = await loadWith(llamaTemplate);
  expect(llama.info.toolFormat).toBe('llama3');
  const { text } = await llama.applyChatTemplate(dog, { tools });
  expect(text).toContain('"name": "find_toy"');
  const options = { tools, toolChoice: 'required', temperature: 0, maxTokens: 60 } as const;
  const { toolCalls } = await llama.chat(dog, options).result;
  expect(toolCalls!.map((call) => call.function.name)).toEqual(['find_toy']);
  await llama.dispose();
});

test('what cannot be is refused, with its name', async () => {
  const choice = (toolChoice: unknown) => failure(qwen.chat(dog, { tools, toolChoice: toolChoice as 'auto' }).result);
  const other = { type: 'function', function: { name: 'other' } };
  expect(await choice(other)).toMatchObject({ code: 'bad-input', expected: 'one of find_toy' });
  for (const wrong of ['always', null, {}]) expect((await choice(wrong)).message).toContain('bad toolChoice');
  expect((await failure(qwen.chat(dog, { toolChoice: 'required' }).result)).expected).toBe('tools to choose from');
  const nameless = [{ type: 'function', function: {} }] as unknown as Tool[];
  expect((await failure(qwen.chat(dog, { tools: nameless }).result)).message).toContain('tools[0].function.name');
  expect((await failure(qwen.applyChatTemplate(dog, { tools: nameless }))).code).toBe('bad-input');

  const plain = await load({ url: tinyStories }, { threads: 2 });
  expect(plain.info.toolFormat).toBeUndefined();
  const refused = await failure(plain.chat(dog, { tools }).result);
  expect(refused).toMatchObject({ code: 'unsupported', message: expect.stringContaining('tiny-stories-ternary') });
  expect((await failure(plain.applyChatTemplate(dog, { tools }))).code).toBe('unsupported');
  await plain.dispose();
  const xml = await loadWith(`${qwenTemplate}{# <function=name> #}`);
  expect((await failure(xml.chat(dog, { tools }).result)).message).toContain('calls');
  await xml.dispose();
});
