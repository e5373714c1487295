/** Sessions with tools: calls and their results as messages, forks, going back, storage, and a context that is full. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import { filesWithTemplate } from '../../e2e/reading';
import { qwenTemplate, toyTools as tools } from '../../e2e/tool-templates';
import { deleteSession } from '../api/cached-sessions';
import { load, type Model } from '../api/model';
import type { Session } from '../api/session-handle';
import type { Message, Tool, ToolCall } from '../protocol/generate-types';

const system = 'You tell stories.';
const question = 'Where is the toy of the dog?';
const forced = { toolChoice: 'required', temperature: 0.9, seed: 2, maxTokens: 60 } as const;
const greedy = { temperature: 0, maxTokens: 16 };

let model: Model;
beforeAll(async () => {
  model = await load(await filesWithTemplate(qwenTemplate), { cache: false, threads: 2, sequences: 3 });
});
afterAll(() => model.dispose());

const resultOf = (call: ToolCall): Message => ({ role: 'tool', tool_call_id: call.id, content: 'under the bed' });

/** A session in which a function has been called. */
async function called(): Promise<{ session: Session; call: ToolCall }> {
  const session = model.session({ system, tools });
  const { toolCalls } = await session.chat(question, forced).result;
  return { session, call: toolCalls![0]! };
}

/** The text that the model has read and written is what the chat template makes of the messages. */
async function expectRendered({ messages, ids }: Session, answered: number): Promise<void> {
  const prompt = await model.applyChatTemplate(messages.slice(0, -1) as Message[], { tools });
  expect(await model.detokenize(ids.slice(0, ids.length - answered))).toBe(await model.detokenize(prompt.ids));
}

test('a call joins the session as one, and its result is the next message', async () => {
  const { session, call } = await called();
  expect(JSON.parse(call.function.arguments)).toEqual({ toy: expect.stringMatching(/^(ball|kite)$/) });
  const asked: Message[] = [
    { role: 'system', content: system },
    { role: 'user', content: question },
    { role: 'assistant', content: '', tool_calls: [call] },
  ];
  expect(session.messages).toEqual(asked);
  const answer = await session.chat(resultOf(call), greedy).result;
  expect(answer.toolCalls).toEqual([]);
  expect(session.messages).toEqual([...asked, resultOf(call), { role: 'assistant', content: answer.text }]);
  await expectRendered(session, answer.tokens.length);
  // what a model answers that is told all of it at once
  const told = await model.chat([...asked, resultOf(call)], { ...greedy, tools }).result;
  expect(answer.text).toBe(told.text);
  // several results at once, and one that is read beforehand
  const both = await session.chat([resultOf(call), { role: 'user', content: 'Thanks.' }], greedy).result;
  expect(session.messages.slice(-3).map(({ role }) => role)).toEqual(['tool', 'user', 'assistant']);
  await expectRendered(session, both.tokens.length);
  session.dispose();
});

test('a result that is appended is read at once', async () => {
  const { session, call } = await called();
  const read: number[] = [];
  await session.append(resultOf(call), { onPrefill: ({ done }) => void read.push(done) });
  expect(read.at(-1)).toBe(session.tokens.used);
  const answer = await session.chat([], greedy).result;
  expect(answer.usage.cachedTokens).toBeGreaterThanOrEqual(read.at(-1)! - 1);
  await expectRendered(session, answer.tokens.length);
  session.dispose();
});

test('calls among text', async () => {
  const session = model.session({ tools });
  const call = '"<tool_call>\\n{\\"name\\": \\"find_toy\\", \\"arguments\\": {\\"toy\\": \\"ball\\"}}\\n</tool_call>"';
  const responseFormat = { type: 'grammar', grammar: `root ::= "Let me look." "\\n" ${call} "\\n" ${call}` } as const;
  const { text, toolCalls } = await session.chat(question, { responseFormat, maxTokens: 250 }).result;
  expect([text, toolCalls!.length]).toEqual(['Let me look.', 2]);
  expect(session.messages.at(-1)).toEqual({ role: 'assistant', content: text, tool_calls: toolCalls });
  const answer = await session.chat(toolCalls!.map(resultOf), greedy).result;
  await expectRendered(session, answer.tokens.length);
  session.dispose();
});

test('forks and going back', async () => {
  const { session, call } = await called();
  const fork = session.fork();
  const answer = await session.chat(resultOf(call), greedy).result;
  expect(fork.messages).toHaveLength(3);
  const same = await fork.chat(resultOf(call), greedy).result;
  expect(same.tokens).toEqual(answer.tokens);
  expect(fork.messages).toEqual(session.messages);
  session.rewind(3); // the call stays, its result goes
  expect(session.messages.at(-1)!.tool_calls).toEqual([call]);
  expect((await session.chat(resultOf(call), greedy).result).tokens).toEqual(answer.tokens);
  session.rewind(1);
  const again = await session.chat(question, forced).result;
  expect(again.toolCalls![0]!.function).toEqual(call.function);
  session.dispose();
  fork.dispose();
});

test('saved and restored, with its tools', async () => {
  const { session, call } = await called();
  await session.append(resultOf(call));
  const id = await session.save();
  const stayed = await session.chat([], greedy).result;
  const back = await model.restoreSession(id);
  expect(back.restored!.from).toBe('cache');
  expect(back.messages).toEqual(session.messages.slice(0, 4));
  const answer = await back.chat([], greedy).result;
  expect(answer.tokens).toEqual(stayed.tokens);
  expect(answer.toolCalls).toEqual([]); // they are looked for
  expect((await back.chat(question, forced).result).toolCalls).toHaveLength(1);
  await deleteSession(id);
  session.dispose();
  back.dispose();
});

test('the tools of a call count before those of the session', async () => {
  const session = model.session({ tools });
  const now: Tool[] = [{ type: 'function', function: { name: 'now' } }];
  const other = await session.chat('What time is it?', { ...forced, tools: now }).result;
  expect(other.toolCalls![0]!.function).toEqual({ name: 'now', arguments: '{}' });
  const own = await session.chat(question, { ...forced, tools: undefined } as typeof forced).result;
  expect(own.toolCalls![0]!.function.name).toBe('find_toy');
  const none = await session.chat(question, { ...greedy, toolChoice: 'none' }).result;
  expect(none.toolCalls).toBeUndefined();
  const { ids } = await model.applyChatTemplate(session.messages.slice(0, -1) as Message[]);
  expect(await model.detokenize(session.ids.slice(0, -none.tokens.length))).toBe(await model.detokenize(ids));
  session.dispose();
});

test('drop-oldest leaves no result without its call', async () => {
  const small = await load(await filesWithTemplate(qwenTemplate), { cache: false, threads: 2, contextLength: 400 });
  const session = small.session({ system, tools, whenFull: 'drop-oldest' });
  for (let turn = 0; turn < 4; turn++) {
    const { toolCalls } = await session.chat(`${turn}: ${question}`, forced).result;
    await session.chat(resultOf(toolCalls![0]!), { ...greedy, ignoreEos: true }).result;
    const roles = session.messages.map(({ role }) => role);
    expect(roles[0]).toBe('system');
    expect(roles[1]).toBe('user');
    for (const [i, role] of roles.entries())
      if (role === 'tool') expect(session.messages[i - 1]!.tool_calls).toBeDefined();
  }
  expect(session.dropped).toBeGreaterThan(0);
  expect(session.dropped % 4).toBe(0);
  await small.dispose();
});

test('what cannot be is refused, and loses nothing', async () => {
  expect(() => model.session({ tools: 'all' as unknown as Tool[] })).toThrow(/tools/);
  const { session, call } = await called();
  const before = [session.messages, session.ids];
  const wrong: [unknown, unknown][] = [
    [{ role: 'tool', content: 5 }, {}],
    [{ role: 'assistant', content: '', tool_calls: [{}] }, {}],
    [resultOf(call), { toolChoice: { type: 'function', function: { name: 'other' } } }],
    [resultOf(call), { toolChoice: 'required', responseFormat: { type: 'json_object' } }],
    [resultOf(call), 5],
  ];
  for (const [message, options] of wrong) {
    expect(await failure(session.chat(message as Message, options as object).result)).toMatchObject({
      code: 'bad-input',
    });
  }
  expect([session.messages, session.ids]).toEqual(before);
  // a forced call that is cut joins as the text that it is
  const cut = await session.chat(resultOf(call), { ...forced, maxTokens: 3 }).result;
  expect([cut.finishReason, cut.toolCalls]).toEqual(['length', []]);
  expect(session.messages.at(-1)).toEqual({ role: 'assistant', content: cut.text });
  session.dispose();
});
