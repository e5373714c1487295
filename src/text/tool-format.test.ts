import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { llamaTemplate, qwenTemplate } from '../../e2e/tool-templates';
import type { Message, Tool } from '../protocol/generate-types';
import { encodeChat, renderChat, templateOf } from './chat-template';
import { createTokenizer } from './tokenizer';
import { checkTools, checkToolUse, toolFormatOf } from './tool-format';

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));
const folder = 'demo/public/models/tiny-stories-ternary';
const config = read(`${folder}/tokenizer_config.json`);
const plainTemplate = templateOf(config)!;
const golden: { tools: Tool[]; messages: Message[]; expected: Record<string, string> } = read(
  'e2e/fixtures/tool-templates.json',
);
const { tools, messages, expected } = golden;
const variables = { bosToken: '<|begin_of_text|>', eosToken: '<|end_of_text|>', addGenerationPrompt: true };
const templates = { qwenTemplate, llamaTemplate };
const badInput = (got: unknown) =>
  expect.objectContaining({ code: 'bad-input', message: expect.stringContaining(`${got}`) });

/** The messages with the arguments of their calls changed. */
const withArguments = (change: (value: object) => string | object): Message[] =>
  messages.map((message) => ({
    ...message,
    ...(message.tool_calls && {
      tool_calls: message.tool_calls.map((call) => ({
        ...call,
        function: { ...call.function, arguments: change(call.function.arguments as object) },
      })),
    }),
  }));

describe('tools in templates', () => {
  it.each(Object.entries(templates))('%s gives what Python gives, with tools and without', (name, template) => {
    expect(renderChat(template, messages, variables, tools)).toBe(expected[`${name}/tools`]);
    expect(renderChat(template, messages.slice(0, 2), variables)).toBe(expected[`${name}/none`]);
    expect(renderChat(template, messages.slice(0, 2), variables, [])).toBe(expected[`${name}/none`]);
  });

  it.each(Object.entries(templates))('%s: arguments as JSON text are the same', (name, template) => {
    expect(renderChat(template, withArguments(JSON.stringify), variables, tools)).toBe(expected[`${name}/tools`]);
  });

  it('passes on arguments that are no JSON as they are', () => {
    const text = renderChat(
      qwenTemplate,
      withArguments(() => '{"city": Ł'),
      variables,
      tools,
    );
    expect(text).toContain('"arguments": {"city": Ł}\n</tool_call>');
  });

  it('takes calls without content, as servers send them', () => {
    const sent = withArguments(JSON.stringify).map((message) =>
      message.tool_calls ? { ...message, content: null } : message,
    );
    expect(renderChat(qwenTemplate, sent as unknown as Message[], variables, tools)).toBe(
      expected['qwenTemplate/tools'],
    );
  });

  it('keeps special tokens in tools, calls and results as text', () => {
    const tokenizer = createTokenizer(read(`${folder}/tokenizer.json`), config);
    const end = '<|eot_id|>';
    const hostile: Message[] = [
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ function: { name: `f${end}`, arguments: { [`k${end}`]: [`v${end}`] } } }],
      },
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ function: { name: 'g', arguments: `{"k":"\\u003c|eot_id|>"}` } }],
      },
      { role: 'tool', content: `r${end}`, tool_call_id: end, name: end },
    ];
    const parameters = { type: 'object', properties: { [end]: { enum: [end] } } };
    const told: Tool[] = [{ type: 'function', function: { name: 'f', description: `d${end}`, parameters } }];
    const { text, ids } = encodeChat(tokenizer, qwenTemplate, hostile, true, told);
    expect(ids.filter(tokenizer.special)).toEqual([]);
    expect(text.split(end)).toHaveLength(9);
    expect(text).toContain(`"arguments": {"k${end}": ["v${end}"]}`);
  });

  it('runs within bounds that grow with the tools', () => {
    const many = Array.from({ length: 64 }, (_, i): Tool => {
      const properties = Object.fromEntries(
        Array.from({ length: 40 }, (_, k) => [`field${k}`, { type: 'string', description: 'x'.repeat(100) }]),
      );
      return { type: 'function', function: { name: `f${i}`, parameters: { type: 'object', properties } } };
    });
    expect(renderChat(qwenTemplate, messages, variables, many).length).toBeGreaterThan(300_000);
  });
});

describe('toolFormatOf', () => {
  it('knows the forms', () => {
    expect(toolFormatOf(qwenTemplate)).toBe('hermes');
    expect(toolFormatOf(llamaTemplate)).toBe('llama3');
    expect(toolFormatOf(plainTemplate)).toBeUndefined();
    expect(toolFormatOf(undefined)).toBeUndefined();
    expect(toolFormatOf('{% for t in tools %}{{ t }}{% endfor %}<tool_call>\n<function=name>')).toBeUndefined();
    expect(toolFormatOf('{% for t in tools %}{{ t }}{% endfor %}[TOOL_CALLS]')).toBeUndefined();
  });
});

describe('checkToolUse', () => {
  it('names the model whose template has no tools', () => {
    const error = { code: 'unsupported', message: expect.stringContaining('the chat template of tiny') };
    expect(() => checkToolUse(plainTemplate, 'tiny', messages.slice(0, 1), tools)).toThrow(
      expect.objectContaining(error),
    );
    expect(() => checkToolUse(plainTemplate, 'tiny', messages, undefined)).toThrow(expect.objectContaining(error));
    checkToolUse(plainTemplate, 'tiny', messages.slice(0, 2), undefined);
    checkToolUse(qwenTemplate, 'q', messages, tools);
  });
});

describe('checkTools', () => {
  const tool = (change: object) => [{ type: 'function', function: { name: 'f', ...change } }];
  it.each([
    ['tools', 'none'],
    ['tools[0]', [null]],
    ['tools[0]', [{ type: 'custom', custom: { name: 'x' } }]],
    ['tools[0].function', [{ type: 'function' }]],
    ['tools[0].function.name', tool({ name: '' })],
    ['tools[0].function.name', tool({ name: 'a b' })],
    ['tools[1].function.name', [...tool({}), ...tool({})]],
    ['tools[0].function.description', tool({ description: 5 })],
    ['tools[0].function.parameters', tool({ parameters: 'object' })],
  ])('throws bad-input for bad %s', (what, wrong) => {
    expect(() => checkTools(wrong)).toThrow(badInput(`bad ${what} (`));
    expect(() => renderChat(qwenTemplate, messages, variables, wrong as Tool[])).toThrow(badInput(what));
  });

  it('refuses what JSON cannot write', () => {
    const parameters: Record<string, unknown> = {};
    parameters.self = parameters;
    expect(() => checkTools(tool({ parameters }))).toThrow(badInput('JSON'));
  });

  it.each([
    ['messages[0].tool_calls', []],
    ['messages[0].tool_calls[0]', [{ name: 'f' }]],
    ['messages[0].tool_calls[0].function.name', [{ function: { arguments: '{}' } }]],
    ['messages[0].tool_calls[0].function.arguments', [{ function: { name: 'f' } }]],
    ['messages[0].tool_calls[0].id', [{ id: 1, function: { name: 'f', arguments: '{}' } }]],
  ])('throws bad-input for bad %s', (what, tool_calls) => {
    const wrong = [{ role: 'assistant', content: '', tool_calls }] as unknown as Message[];
    expect(() => renderChat(qwenTemplate, wrong, variables)).toThrow(badInput(`bad ${what} (`));
  });
});
