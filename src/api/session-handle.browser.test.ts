/** Sessions through the public API: the timeline, forks, going back, sharing, and what happens when the context is full. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import { tinyStories } from '../../e2e/reading';
import type { Message } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';
import { load, type Model } from './model';

const source = { url: tinyStories };
const system = 'You tell short stories for children. Every story has a beginning and an end.';
const greedy = { temperature: 0, maxTokens: 24 };
const warm = { temperature: 1, topP: 0.9, seed: 7, repetitionPenalty: 1.2, maxTokens: 24 };

describe.each([
  ['bf16, 2 threads', { kvCache: 'bf16', threads: 2 }],
  ['f32, 1 thread', { kvCache: 'f32', threads: 1 }],
  ['int8, 2 threads', { kvCache: 'int8', threads: 2 }],
] as [string, LoadOptions][])('%s', (_, options) => {
  let model: Model;
  let other: Model;
  beforeAll(async () => {
    model = await load(source, { ...options, sequences: 3, contextLength: 512 });
    other = await load(source, { ...options, contextLength: 512 });
  });
  afterAll(() => Promise.all([model.dispose(), other.dispose()]));

  /** What a model that has computed nothing before goes on with after these ids. */
  const fresh = async (ids: readonly number[], more: object) => {
    const result = await other.complete([...ids], more).result;
    return result.tokens;
  };

  test('the answer joins the session with the ids that it was written in', async () => {
    const session = model.session({ system });
    const first = await session.chat('Tell me about a dog.', warm).result;
    expect(session.messages).toEqual([
      { role: 'system', content: system },
      { role: 'user', content: 'Tell me about a dog.' },
      { role: 'assistant', content: first.text },
    ]);
    expect(session.ids.slice(-first.tokens.length)).toEqual(first.tokens);
    const before = session.ids;
    const second = await session.chat('And a cat?', warm).result;
    // all of it is in the cache but the last token, which has not been through the model
    expect(second.usage.cachedTokens).toBe(before.length - 1);
    expect(session.ids.slice(0, before.length)).toEqual(before);
    expect(session.tokens).toEqual({ used: session.ids.length, total: 512 });
    const prompt = session.ids.slice(0, -second.tokens.length);
    expect(second.usage.promptTokens).toBe(prompt.length);
    expect(second.tokens).toEqual(await fresh(prompt, warm));
    expect(second.droppedMessages).toBe(0);
    session.dispose();
  });

  test('more sessions than the cache has room for: each goes on as if it were alone', async () => {
    const names = ['dog', 'cat', 'bird', 'fish', 'boy'];
    const sessions = names.map(() => model.session({ system }));
    for (const turn of ['Tell me about a', 'What else did he see, the']) {
      for (const [i, session] of sessions.entries()) {
        const { tokens } = await session.chat(`${turn} ${names[i]}?`, warm).result;
        const prompt = session.ids.slice(0, session.ids.length - tokens.length);
        expect(tokens, `${turn} ${names[i]}`).toEqual(await fresh(prompt, warm));
      }
    }
    for (const session of sessions) session.dispose();
  });

  test('forks go on by themselves, and read nothing that the other has read', async () => {
    const session = model.session({ system });
    await session.chat('Tell me about a dog.', warm).result;
    const fork = session.fork();
    expect(fork.messages).toEqual(session.messages);
    const [length, before] = [session.ids.length, session.messages];
    const left = await session.chat('Was he happy?', greedy).result;
    const right = await fork.chat('Was he sad?', greedy).result;
    expect([left.usage.cachedTokens, right.usage.cachedTokens].map((cached) => cached >= length - 1)).toEqual([
      true,
      true,
    ]);
    expect(session.messages.at(-2)?.content).toBe('Was he happy?');
    expect(fork.messages.slice(0, -2)).toEqual(before);
    // both are still there
    const again = await session.chat('Go on.', greedy).result;
    expect(again.usage.cachedTokens).toBe(left.usage.promptTokens + left.tokens.length - 1);
    const prompt = session.ids.slice(0, -again.tokens.length);
    expect(again.tokens).toEqual(await fresh(prompt, greedy));
    const other = await fork.chat('Go on.', greedy).result;
    expect(other.usage.cachedTokens).toBe(right.usage.promptTokens + right.tokens.length - 1);
    expect(other.tokens).toEqual(await fresh(fork.ids.slice(0, -other.tokens.length), greedy));
    session.dispose();
    fork.dispose();
  });

  test('going back and asking again gives the same answer, from the cache', async () => {
    const session = model.session({ messages: [{ role: 'system', content: system }] });
    await session.chat('Tell me about a dog.', warm).result;
    const ids = session.ids;
    const first = await session.chat('Was he happy?', warm).result;
    const all = session.messages;
    session.rewind(3);
    expect(session.ids).toEqual(ids);
    const second = await session.chat('Was he happy?', warm).result;
    expect(second.tokens).toEqual(first.tokens);
    expect(second.usage.cachedTokens).toBe(first.usage.promptTokens - 1);
    expect(session.messages).toEqual(all);
    session.rewind(2); // the question stays, its answer goes
    await session.append();
    expect(session.messages).toEqual(all.slice(0, 2));
    session.rewind(0);
    expect([session.messages, session.tokens.used]).toEqual([[], 0]);
    session.dispose();
  });

  test('what is appended is read at once', async () => {
    const session = model.session({ system });
    await session.append();
    const read: number[] = [];
    await session.append('Tell me about a dog.', { onPrefill: ({ done, total }) => read.push(done / total) });
    expect(read.at(-1)).toBe(1);
    const used = session.tokens.used;
    await session.append([
      { role: 'assistant', content: 'He ran.' },
      { role: 'user', content: 'Where?' },
    ]);
    expect(session.tokens.used).toBeGreaterThan(used);
    expect(session.messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    const ids = session.ids;
    const { usage, tokens } = await session.chat({ role: 'user', content: 'Tell me.' }, greedy).result;
    expect(usage.cachedTokens).toBe(ids.length);
    expect(tokens).toEqual(await fresh(session.ids.slice(0, -tokens.length), greedy));
    session.dispose();
  });
});

describe('one sequence', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load(source, { contextLength: 256 });
  });
  afterAll(() => model.dispose());
  const long = { temperature: 0, ignoreEos: true };

  test('sessions and plain chats take turns', async () => {
    const session = model.session({ system });
    const dog: Message[] = [{ role: 'user', content: 'Tell me about a dog.' }];
    const alone = await model.chat(dog, greedy).result;
    await session.chat('Tell me about a cat.', greedy).result;
    expect((await model.chat(dog, greedy).result).tokens).toEqual(alone.tokens);
    const after = await session.chat('Go on.', greedy).result;
    const prompt = session.ids.slice(0, -after.tokens.length);
    expect((await model.complete(prompt, greedy).result).tokens).toEqual(after.tokens);
    session.dispose();
  });

  test('an aborted answer joins as far as it came; before its first token, nothing does', async () => {
    const session = model.session({ system });
    const generation = session.chat('Tell me about a dog.', long);
    let seen = 0;
    for await (const _ of generation) if (++seen === 5) break;
    const { finishReason, tokens, text } = await generation.result;
    expect(finishReason).toBe('abort');
    expect(session.messages.at(-1)).toEqual({ role: 'assistant', content: text });
    expect(session.ids.slice(-tokens.length)).toEqual(tokens);
    const before = [session.messages, session.ids];
    const signal = AbortSignal.abort();
    expect((await session.chat('Go on.', { ...long, signal }).result).tokens).toEqual([]);
    expect((await failure(session.append('Go on.', { signal }))).code).toBe('aborted');
    expect([session.messages, session.ids]).toEqual(before);
    // the next one need not wait for the end of one that was aborted
    const first = session.chat('Go on.', long);
    first.abort();
    const second = session.chat('Go on.', greedy);
    await Promise.all([first.result, second.result]);
    expect(session.messages.at(-2)?.content).toBe('Go on.');
    session.dispose();
  });

  test('one call at a time', async () => {
    const session = model.session();
    const first = session.chat('Tell me about a dog.', { ...long, maxTokens: 30 });
    expect((await failure(session.chat('Tell me.', greedy).result)).code).toBe('busy');
    expect((await failure(session.append('Tell me.'))).code).toBe('busy');
    expect((await failure(session.save())).code).toBe('busy');
    expect(() => session.rewind(0)).toThrow(/busy|at work/);
    expect((await failure(model.session().chat('Tell me.', greedy).result)).code).toBe('busy');
    expect((await first.result).tokens).toHaveLength(30);
    expect(session.messages).toHaveLength(2);
    await session.chat('Go on.', greedy).result;
    expect(session.messages).toHaveLength(4);
    session.dispose();
    expect((await failure(session.chat('Go on.', greedy).result)).code).toBe('disposed');
  });

  test('bad arguments lose nothing', async () => {
    expect(() => model.session({ whenFull: 'forget' as 'stop' })).toThrow(/whenFull/);
    expect(() => model.session({ prompt: 'x' } as object)).toThrow(/prompt/);
    expect(() => model.session({ system: 5 as unknown as string })).toThrow(/system/);
    const session = model.session({ system });
    await session.chat('Tell me about a dog.', greedy).result;
    const before = [session.messages, session.ids];
    for (const call of [
      () => session.chat(5 as unknown as string).result,
      () => session.chat({ role: 'user' } as Message).result,
      () => session.chat('x', { n: 2 }).result,
      () => session.chat('x', { temperature: -1 }).result,
      () => session.append({ content: 'x' } as Message),
      () => model.restoreSession('no such id'),
      () => model.restoreSession(5 as unknown as string),
      async () => session.rewind(-1),
      async () => session.rewind(4),
    ]) {
      expect((await failure(call())).code).toBe('bad-input');
    }
    expect([session.messages, session.ids]).toEqual(before);
    session.dispose();
  });
});

describe('a context that is full', () => {
  let model: Model;
  beforeAll(async () => {
    model = await load(source, { contextLength: 128, sequences: 2 });
  });
  afterAll(() => model.dispose());
  const long = { temperature: 0, ignoreEos: true };

  test('error: refused before anything is computed', async () => {
    const session = model.session({ system, whenFull: 'error' });
    await session.chat('Tell me about a dog.', { ...long, maxTokens: 40 }).result;
    const before = [session.messages, session.ids];
    let passes = 0;
    const onPrefill = () => passes++;
    const error = await failure(session.chat('Go on.', { ...long, maxTokens: 60, onPrefill }).result);
    expect(error).toMatchObject({ code: 'context-full', expected: 'at most 68' });
    const words = 'and the dog ran and ran '.repeat(20);
    expect((await failure(session.append(words, { onPrefill }))).code).toBe('context-full');
    expect(passes).toBe(0);
    expect([session.messages, session.ids]).toEqual(before);
    const room = 128 - session.tokens.used - 20;
    expect((await session.chat('Go on.', { ...long, maxTokens: room }).result).tokens).toHaveLength(room);
  });

  test('stop: the answer ends with the context, the next call is refused', async () => {
    const session = model.session({ system });
    expect(session.whenFull).toBe('stop');
    const { finishReason } = await session.chat('Tell me about a dog.', { ...long, maxTokens: 1000 }).result;
    expect(finishReason).toBe('length');
    expect(session.tokens).toEqual({ used: 128, total: 128 });
    expect((await failure(session.chat('Go on.', long).result)).code).toBe('context-full');
    expect(session.messages).toHaveLength(3);
    session.rewind(1);
    expect((await session.chat('Tell me about a cat.', greedy).result).finishReason).not.toBe('abort');
  });

  test('drop-oldest: whole turns go, the system prompt stays, there is room for the answer', async () => {
    const session = model.session({ system, whenFull: 'drop-oldest' });
    const dropped: number[] = [];
    for (let turn = 0; turn < 6; turn++) {
      const before = session.messages;
      const result = await session.chat(`Tell me of animal number ${turn}.`, { ...long, maxTokens: 25 }).result;
      expect(result.tokens).toHaveLength(25);
      dropped.push(result.droppedMessages);
      expect(session.messages).toEqual([
        { role: 'system', content: system },
        ...before.slice(1 + result.droppedMessages),
        { role: 'user', content: `Tell me of animal number ${turn}.` },
        { role: 'assistant', content: result.text },
      ]);
      // what is left is read as a conversation that never was longer
      if (result.droppedMessages > 0) {
        const { ids } = await model.applyChatTemplate(session.messages.slice(0, -1) as Message[]);
        expect(session.ids.slice(0, -25)).toEqual(ids);
      }
      expect(session.tokens.used).toBeLessThanOrEqual(128);
    }
    expect(dropped.slice(0, 2)).toEqual([0, 0]);
    expect(session.dropped).toBe(dropped.reduce((a, b) => a + b));
    expect(session.dropped).toBeGreaterThan(2);
    expect(session.dropped % 2).toBe(0);
    // a quarter of the context where the length of the answer is not known
    const { tokens } = await session.chat('The last one.', long).result;
    expect(tokens.length).toBeGreaterThanOrEqual(32);
    const words = 'and the dog ran and ran '.repeat(40);
    expect((await failure(session.chat(words, long).result)).code).toBe('context-full');
  });
});
