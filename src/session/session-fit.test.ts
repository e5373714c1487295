import { describe, expect, it } from 'vitest';
import type { SternaError } from '../errors';
import type { Message } from '../protocol/generate-types';
import { type Fitting, fitMessages } from './session-fit';

const said = (...roles: string[]): Message[] => roles.map((role, i) => ({ role, content: `${role} ${i}` }));
/** Ten tokens to a message. */
const render = (messages: Message[]): number[] => messages.flatMap(() => Array.from({ length: 10 }, (_, i) => i));
const fitted = (messages: Message[], whenFull: Fitting['whenFull'], maxTokens?: number) =>
  fitMessages(messages, render, { whenFull, contextLength: 60, maxTokens });
const contents = (messages: Message[]) => messages.map(({ content }) => content);
const refusal = (work: () => unknown): SternaError => {
  try {
    work();
  } catch (error) {
    return error as SternaError;
  }
  return expect.fail('no error');
};
const five = said('system', 'user', 'assistant', 'user', 'assistant', 'user').slice(0, 5);
const six = said('system', 'user', 'assistant', 'user', 'assistant', 'user');

describe('fitMessages', () => {
  it('error: the prompt and the answer fit, or nothing is done', () => {
    expect(fitted(five, 'error').ids).toHaveLength(50);
    expect(fitted(five, 'error', 10).dropped).toBe(0);
    expect(refusal(() => fitted(five, 'error', 11))).toMatchObject({ code: 'context-full', got: 50 });
    expect(refusal(() => fitted(six, 'error'))).toMatchObject({ code: 'context-full', got: 60 });
  });

  it('stop: one token of room will do', () => {
    expect(fitted(five, 'stop', 1000).messages).toBe(five);
    expect(refusal(() => fitted(six, 'stop')).code).toBe('context-full');
  });

  it('drop-oldest: whole turns, not the system prompt, as many as it takes', () => {
    expect(fitted(five, 'drop-oldest', 10).dropped).toBe(0);
    const { messages, ids, dropped } = fitted(six, 'drop-oldest', 10);
    expect(contents(messages)).toEqual(['system 0', 'user 3', 'assistant 4', 'user 5']);
    expect([ids.length, dropped]).toEqual([40, 2]);
    expect(contents(fitted(six, 'drop-oldest', 21).messages)).toEqual(['system 0', 'user 5']);
    expect(contents(fitted(six, 'drop-oldest').messages)).toHaveLength(4); // 15 tokens of room
  });

  it('drop-oldest: the last turn stays, whatever room is asked for', () => {
    expect(contents(fitted(six, 'drop-oldest', 1000).messages)).toEqual(['system 0', 'user 5']);
    const long = [...said('system', 'user', 'assistant'), ...said('user', 'tool', 'tool', 'tool', 'tool')];
    expect(refusal(() => fitted(long, 'drop-oldest')).code).toBe('context-full');
  });

  it('drop-oldest: a greeting before the first question goes as a turn; without a system prompt too', () => {
    const greeted = said('assistant', 'user', 'assistant', 'user', 'assistant', 'user');
    expect(contents(fitted(greeted, 'drop-oldest', 10).messages)[0]).toBe('user 1');
    expect(contents(fitted(said('system', 'system'), 'drop-oldest', 50).messages)).toHaveLength(2);
  });
});
