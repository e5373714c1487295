/** Prompts of the AI SDK as messages, and its settings as options. */
import type { LanguageModelV3CallOptions, LanguageModelV3Prompt } from '@ai-sdk/provider';
import { describe, expect, test } from 'vitest';
import type { Model } from '../index';
import { toMessages } from './ai-sdk-prompt';
import { toOptions } from './ai-sdk-settings';

const prompt: LanguageModelV3Prompt = [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }];

describe('prompts', () => {
  test('text of every role', () => {
    const messages = toMessages([
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'One.' },
          { type: 'text', text: 'Two.' },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', text: 'Hm.' },
          { type: 'text', text: 'Thr' },
          { type: 'text', text: 'ee.' },
        ],
      },
    ]);
    expect(messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'One.\nTwo.' },
      { role: 'assistant', content: 'Three.' },
    ]);
  });

  test('calls of tools, and every kind of result', () => {
    const result = (output: object) => ({ type: 'tool-result', toolCallId: 'c', toolName: 'look', output });
    const messages = toMessages([
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'I look.' },
          { type: 'tool-call', toolCallId: 'c', toolName: 'look', input: { at: 'sky' } },
        ],
      },
      {
        role: 'tool',
        content: [
          result({ type: 'text', value: 'blue' }),
          result({ type: 'json', value: { blue: true } }),
          result({ type: 'error-text', value: 'dark' }),
          result({ type: 'execution-denied' }),
          result({ type: 'content', value: [{ type: 'text', text: 'grey' }] }),
        ],
      },
    ] as LanguageModelV3Prompt);
    const call = { id: 'c', type: 'function', function: { name: 'look', arguments: '{"at":"sky"}' } };
    expect(messages[0]).toEqual({ role: 'assistant', content: 'I look.', tool_calls: [call] });
    expect(messages.slice(1).map(({ content }) => content)).toEqual([
      'blue',
      '{"blue":true}',
      'dark',
      'The call was not allowed.',
      'grey',
    ]);
    expect(messages[1]).toMatchObject({ role: 'tool', tool_call_id: 'c', name: 'look' });
  });

  test('files are refused by their type', () => {
    const file = { type: 'file' as const, mediaType: 'image/png', data: new Uint8Array() };
    for (const role of ['user', 'assistant'] as const) {
      expect(() => toMessages([{ role, content: [file] }])).toThrow(/image\/png/);
    }
  });
});

describe('settings', () => {
  const model = { info: { name: 'tiny', toolFormat: undefined } } as Model;
  const knowing = { info: { name: 'tiny', toolFormat: 'hermes' } } as Model;
  const options = (call: Partial<LanguageModelV3CallOptions>, to = model) => toOptions({ prompt, ...call }, to);

  test('each has its place', () => {
    const call = {
      maxOutputTokens: 5,
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      stopSequences: ['.'],
      seed: 7,
      providerOptions: { sterna: { minP: 0.05, logitBias: { 3: -100 }, mood: 'good' } },
    };
    const { options: got, warnings } = options(call);
    expect(got).toEqual({
      maxTokens: 5,
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      stop: ['.'],
      seed: 7,
      minP: 0.05,
      logitBias: { 3: -100 },
    });
    expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'providerOptions.sterna.mood' }]);
  });

  test('tools go to a model that knows them', () => {
    const tools: LanguageModelV3CallOptions['tools'] = [
      { type: 'function', name: 'look', description: 'Look.', inputSchema: { type: 'object' } },
      { type: 'provider', id: 'other.search', name: 'search', args: {} },
    ];
    const wanted = {
      type: 'function',
      function: { name: 'look', description: 'Look.', parameters: { type: 'object' } },
    };
    const search = { feature: 'tool other.search' };
    const named = options({ tools, toolChoice: { type: 'tool', toolName: 'look' } }, knowing);
    expect(named.options).toEqual({ tools: [wanted], toolChoice: { type: 'function', function: { name: 'look' } } });
    expect(named.warnings).toMatchObject([search]);
    const plain = options({ tools, toolChoice: { type: 'auto' } });
    expect(plain).toMatchObject({ options: {}, warnings: [search, { feature: 'tools' }] });
    // one that must be called is the model's to refuse
    expect(options({ tools, toolChoice: { type: 'required' } }).options).toEqual({
      tools: [wanted],
      toolChoice: 'required',
    });
  });
});
