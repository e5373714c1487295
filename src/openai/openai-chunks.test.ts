import { describe, expect, it } from 'vitest';
import type { Answer, GenerateResult, ToolCall } from '../protocol/generate-types';
import { completionOf, createChunks } from './openai-chunks';

const head = { id: 'chatcmpl-1', created: 1, model: 'm', system_fingerprint: 'fp' };
const call = (id: string): ToolCall => ({ id, type: 'function', function: { name: 'f', arguments: '{"a":1}' } });
const answer = (more: Partial<Answer>): Answer => ({ text: '', tokens: [1], finishReason: 'stop', seed: 1, ...more });
const resultOf = (...answers: Answer[]): GenerateResult => ({
  ...answers[0]!,
  answers,
  usage: { promptTokens: 10, cachedTokens: 4, completionTokens: 3 },
  draft: { drafted: 0, accepted: 0 },
  timings: { promptMs: 1, firstTokenMs: 1, decodeMs: 1, promptTokensPerSecond: 1, decodeTokensPerSecond: 1 },
});
const usage = {
  prompt_tokens: 10,
  completion_tokens: 3,
  total_tokens: 13,
  prompt_tokens_details: { cached_tokens: 4 },
};
const frame = (index: number, delta: object, finish_reason: string | null = null, logprobs: object | null = null) => ({
  ...head,
  object: 'chat.completion.chunk',
  choices: [{ index, delta, logprobs, finish_reason }],
});
const score = { token: 'a', bytes: [97], logprob: -1, top_logprobs: [] };

describe('completionOf', () => {
  it('gives a choice for each answer, and how it ended', () => {
    const result = resultOf(
      answer({ text: 'Yes' }),
      answer({ text: 'No', finishReason: 'length' }),
      answer({ text: '', toolCalls: [call('x'), call('y')] }),
      answer({ text: 'Look', toolCalls: [call('z')], finishReason: 'length' }),
    );
    const message = (content: string | null) => ({ role: 'assistant', content, refusal: null });
    expect(completionOf(head, result, [[score]], Infinity)).toEqual({
      ...head,
      object: 'chat.completion',
      choices: [
        { index: 0, message: message('Yes'), logprobs: { content: [score], refusal: null }, finish_reason: 'stop' },
        { index: 1, message: message('No'), logprobs: null, finish_reason: 'length' },
        {
          index: 2,
          message: { ...message(null), tool_calls: [call('x'), call('y')] },
          logprobs: null,
          finish_reason: 'tool_calls',
        },
        { index: 3, message: { ...message('Look'), tool_calls: [call('z')] }, logprobs: null, finish_reason: 'length' },
      ],
      usage,
    });
  });

  it('leaves out calls beyond the most', () => {
    const result = resultOf(answer({ toolCalls: [call('x'), call('y')] }));
    expect(completionOf(head, result, [], 1).choices[0]!.message.tool_calls).toEqual([call('x')]);
  });
});

describe('createChunks', () => {
  const piece = (text: string, at = 0) => ({ text, token: 1, index: 0, answer: at });

  it('sends role, text, end and usage', () => {
    const chunks = createChunks(head, 2, true, Infinity);
    const all = [
      ...chunks.begin(),
      ...chunks.next(piece('a'), [score]),
      ...chunks.next(piece('', 1), undefined),
      ...chunks.next(piece('', 1), [score]),
      ...chunks.end(resultOf(answer({}), answer({ finishReason: 'length' }))),
    ];
    const logprobs = { content: [score], refusal: null };
    expect(all).toEqual([
      ...[0, 1].map((index) => ({ ...frame(index, { role: 'assistant', content: '', refusal: null }), usage: null })),
      { ...frame(0, { content: 'a' }, null, logprobs), usage: null },
      { ...frame(1, { content: '' }, null, logprobs), usage: null },
      { ...frame(0, {}, 'stop'), usage: null },
      { ...frame(1, {}, 'length'), usage: null },
      { ...head, object: 'chat.completion.chunk', choices: [], usage },
    ]);
  });

  it('sends each call as its name and then its arguments, numbered in each answer', () => {
    const chunks = createChunks(head, 2, false, 2);
    const named = (index: number, id: string) => ({
      tool_calls: [{ index, id, type: 'function', function: { name: 'f', arguments: '' } }],
    });
    const given = (index: number) => ({ tool_calls: [{ index, function: { arguments: '{"a":1}' } }] });
    expect(chunks.next({ ...piece('So'), toolCalls: [call('x')] }, undefined)).toEqual([
      frame(0, { content: 'So' }),
      frame(0, named(0, 'x')),
      frame(0, given(0)),
    ]);
    expect(chunks.next({ ...piece('', 1), toolCalls: [call('y')] }, undefined)[0]).toEqual(frame(1, named(0, 'y')));
    expect(chunks.next({ ...piece(''), toolCalls: [call('z'), call('more')] }, undefined)).toEqual([
      frame(0, named(1, 'z')),
      frame(0, given(1)),
    ]);
    expect(chunks.end(resultOf(answer({ toolCalls: [call('x')] }), answer({})))).toEqual([
      frame(0, {}, 'tool_calls'),
      frame(1, {}, 'stop'),
    ]);
  });
});
