import { describe, expect, it } from 'vitest';
import { readRequest } from './openai-request';

const messages = [{ role: 'user', content: 'Hi' }];
const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };
const read = (params: object) => readRequest({ messages, ...params });
const refused = (code: string, name: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(name) });

describe('readRequest', () => {
  it('gives our names to the settings', () => {
    const settings = {
      ...{ temperature: 0.5, top_p: 0.9, top_k: 40, min_p: 0.1, repetition_penalty: 1.1, frequency_penalty: 0.2 },
      ...{ presence_penalty: 0.3, logit_bias: { 7: -1 }, stop: ['a', 'b'], seed: 3, n: 2, max_tokens: 9 },
    };
    expect(read(settings).options).toEqual({
      ...{ temperature: 0.5, topP: 0.9, topK: 40, minP: 0.1, repetitionPenalty: 1.1, frequencyPenalty: 0.2 },
      ...{ presencePenalty: 0.3, logitBias: { 7: -1 }, stop: ['a', 'b'], seed: 3, n: 2, maxTokens: 9 },
    });
    expect(read({ max_completion_tokens: 5 }).options).toEqual({ maxTokens: 5 });
    expect(read({ max_completion_tokens: 5, max_tokens: 5 }).options).toEqual({ maxTokens: 5 });
  });

  it('takes null for nothing, and lets pass what changes nothing', () => {
    const idle = {
      user: 'u',
      store: true,
      metadata: { a: 'b' },
      service_tier: 'auto',
      prompt_cache_key: 'k',
      model: 'gpt-4o',
    };
    const nothing = {
      temperature: null,
      stop: null,
      n: null,
      tools: null,
      audio: null,
      stream: null,
      stream_options: null,
    };
    const request = read({
      ...idle,
      ...nothing,
      modalities: ['text'],
      safety_identifier: 's',
      response_format: { type: 'text' },
    });
    expect(request).toEqual({
      messages,
      options: {},
      stream: false,
      includeUsage: false,
      logprobs: false,
      mostCalls: Infinity,
    });
  });

  it('reads streams, scores and formats', () => {
    expect(read({ stream: true, stream_options: { include_usage: true } })).toMatchObject({
      stream: true,
      includeUsage: true,
    });
    expect(read({ logprobs: true })).toMatchObject({ logprobs: true, options: { logprobs: 0 } });
    expect(read({ logprobs: true, top_logprobs: 4 }).options).toEqual({ logprobs: 4 });
    expect(read({ logprobs: false }).options).toEqual({});
    const schema = { type: 'object' };
    const format = { type: 'json_schema', json_schema: { name: 'x', strict: true, schema } };
    expect(read({ response_format: format }).options).toEqual({ responseFormat: { type: 'json_schema', schema } });
    const json = { type: 'json_object' };
    expect(read({ response_format: json }).options).toEqual({ responseFormat: json });
  });

  it('reads messages of every role, and parts of text', () => {
    const tool_calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }];
    const given = [
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'a ' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'user', content: 'c', name: 'Ann' },
      { role: 'assistant', content: null, refusal: null, tool_calls },
      { role: 'tool', content: 'd', tool_call_id: 'c' },
      { role: 'assistant', content: null, refusal: 'no' },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }], tool_calls: [] },
    ];
    expect(readRequest({ messages: given }).messages).toEqual([
      { role: 'system', content: 'a b' },
      { role: 'user', content: 'c', name: 'Ann' },
      { role: 'assistant', content: '', tool_calls },
      { role: 'tool', content: 'd', tool_call_id: 'c' },
      { role: 'assistant', content: 'no' },
      { role: 'assistant', content: 'no' },
    ]);
  });

  it('reads tools and the choice among them', () => {
    const named = { type: 'function', function: { name: 'f' } };
    expect(read({ tools: [tool], tool_choice: named }).options).toEqual({ tools: [tool], toolChoice: named });
    expect(read({ tools: [tool], parallel_tool_calls: false }).mostCalls).toBe(1);
    const strict = { ...tool, function: { ...tool.function, strict: true } };
    expect(read({ tools: [strict], tool_choice: 'required' }).options.tools).toEqual([tool]);
    expect(() => read({ tools: [strict] })).toThrow(refused('unsupported', 'tools[0].function.strict'));
  });

  it.each([
    ['audio', { audio: { format: 'wav', voice: 'alloy' } }],
    ['functions', { functions: [] }],
    ['function_call', { function_call: 'auto' }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['reasoning_effort', { reasoning_effort: 'low' }],
    ['verbosity', { verbosity: 'low' }],
    ['web_search_options', { web_search_options: {} }],
    ['moderation', { moderation: { model: 'x' } }],
    ['tool_choice', { tool_choice: { type: 'allowed_tools', allowed_tools: {} } }],
    ['tools[0]', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    [
      'messages[0].content[1]',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: '' },
              { type: 'image_url', image_url: { url: '' } },
            ],
          },
        ],
      },
    ],
    ['messages[0].role', { messages: [{ role: 'function', name: 'f', content: '' }] }],
    [
      'messages[0].function_call',
      { messages: [{ role: 'assistant', content: '', function_call: { name: 'f', arguments: '' } }] },
    ],
    [
      'messages[0].tool_calls[0]',
      { messages: [{ role: 'assistant', tool_calls: [{ type: 'custom', id: 'c', custom: {} }] }] },
    ],
  ])('throws unsupported, naming %s', (name, params) => {
    expect(() => read(params)).toThrow(refused('unsupported', `${name} is not supported`));
  });

  it.each([
    ['max_tokens', { max_tokens: 4, max_completion_tokens: 5 }],
    ['stream', { stream: 'yes' }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options.include_usage', { stream: true, stream_options: { include_usage: 1 } }],
    ['logprobs', { logprobs: 3 }],
    ['top_logprobs', { top_logprobs: 3 }],
    ['tools', { tools: {} }],
    ['tools[0]', { tools: [{ type: 'function' }] }],
    ['tool_choice', { tool_choice: 'always' }],
    ['parallel_tool_calls', { parallel_tool_calls: 0 }],
    ['response_format.json_schema.schema', { response_format: { type: 'json_schema', json_schema: { name: 'x' } } }],
    ['messages', { messages: 'Hi' }],
    ['messages[0]', { messages: ['Hi'] }],
    ['messages[0].role', { messages: [{ role: 'me', content: '' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: null }] }],
    ['messages[0].content', { messages: [{ role: 'assistant' }] }],
    ['messages[0].content[0]', { messages: [{ role: 'user', content: ['x'] }] }],
    ['messages[0].content[0].text', { messages: [{ role: 'user', content: [{ type: 'text' }] }] }],
    ['messages[0].tool_calls', { messages: [{ role: 'user', content: '', tool_calls: [{}] }] }],
    ['messages[0].tool_call_id', { messages: [{ role: 'tool', content: '' }] }],
  ])('throws bad-input, naming %s', (name, params) => {
    expect(() => read(params)).toThrow(refused('bad-input', `bad ${name} (`));
  });

  it('throws bad-input for what is no request, and for a parameter that is not known', () => {
    expect(() => readRequest('Hi')).toThrow(refused('bad-input', 'bad request'));
    expect(() => read({ maxTokens: 5 })).toThrow(expect.objectContaining({ code: 'bad-input', got: 'maxTokens' }));
  });
});
