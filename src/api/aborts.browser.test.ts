/**
 * Every public call that can be aborted, aborted before it begins and in the middle: it ends as its documentation says, and
 * what it worked on answers as before. Work in the middle lasts far longer than a test may: a call that did not hear of its
 * abort would time out.
 */
import { embedMany, generateText, streamText } from 'ai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { sterna } from '../ai-sdk';
import type { SternaError } from '../errors';
import type { ChatCompletionParams } from '../openai/openai-types';
import type { GenerateOptions, GenerateResult } from '../protocol/generate-types';
import { deleteModel, listModels, verifyModel } from './cached-models';
import { deleteSession } from './cached-sessions';
import { inspect, load, type Model } from './model';

const source = { url: tinyStories };
const dog = 'Tell me a story about a dog and a ball.';
const messages = [{ role: 'user' as const, content: dog }];
const greedy = { temperature: 0, maxTokens: 12 };
const endless = { temperature: 0, ignoreEos: true };
const words = 'the dog and the ball and the cat '.repeat(80);

let model: Model;
let stored: string; // the id of the model in storage
let saved: string; // of a session
let plain: number[];
beforeAll(async () => {
  model = await load(source, { threads: 2, sequences: 2 });
  stored = (await listModels()).find(({ name }) => name === model.info.name)!.id;
  const session = model.session();
  await session.append('Tell me about a cat.');
  saved = await session.save();
  plain = (await model.chat(messages, greedy).result).tokens;
});
afterAll(async () => {
  await deleteSession(saved);
  await model.dispose();
  await deleteModel(stored);
});

/** `begun` is to be called, once or more, when the call is at work. */
type Call = (signal: AbortSignal, begun: () => void) => Promise<unknown>;

/** The engine replies between two passes of a call that is at work. */
const atWork = <T>(call: Promise<T>, begun: () => void): Promise<T> => {
  void model.tokenize('a').then(begun);
  return call;
};
const rightly = async (): Promise<void> => {
  expect((await model.chat(messages, greedy).result).tokens).toEqual(plain);
};
const outcome = (call: Promise<unknown>): Promise<{ value: unknown } | { error: SternaError }> =>
  call.then(
    (value) => ({ value }),
    (error: SternaError) => ({ error }),
  );

/** Aborts the call as soon as it is at work; begins it anew where it was quicker. */
async function inTheMiddle(call: Call): Promise<Awaited<ReturnType<typeof outcome>>> {
  for (let tries = 0; ; tries++) {
    const controller = new AbortController();
    let over = false;
    let heard = false;
    const ended = await outcome(
      call(controller.signal, () => {
        if (over) return;
        heard = true;
        controller.abort();
      }).finally(() => {
        over = true;
      }),
    );
    const late = 'value' in ended && (ended.value as GenerateResult | undefined)?.finishReason !== 'abort';
    if ((heard && !late) || tries === 20) return ended;
  }
}

const openai = (more: Partial<ChatCompletionParams> = {}) => ({
  messages,
  max_tokens: 500,
  logit_bias: { 1: -100 },
  ...more,
});

const rejecting: [name: string, call: Call][] = [
  ['load, of files', (signal, begun) => load(source, { signal, cache: false, onProgress: begun })],
  ['load, from storage', (signal, begun) => load(source, { signal, onProgress: begun })],
  [
    'inspect',
    (signal, begun) => {
      const call = inspect(source, { signal, cache: false });
      begun();
      return call;
    },
  ],
  ['evaluate', (signal, begun) => atWork(model.evaluate(Array(model.info.contextLength).fill(7), { signal }), begun)],
  ['perplexity', (signal, begun) => atWork(model.perplexity(Array(1e6).fill(7), { signal }), begun)],
  ['embed', (signal, begun) => model.embed(Array(200).fill(words.slice(0, 200)), { signal, onProgress: begun })],
  ['embed, still tokenising', (signal, begun) => atWork(model.embed(Array(2000).fill(words), { signal }), begun)],
  ['measureBandwidth', (signal, begun) => atWork(model.measureBandwidth({ signal }), begun)],
  ['session.append', (signal, begun) => model.session().append(words, { signal, onPrefill: begun })],
  [
    'session.save',
    async (signal, begun) => {
      const session = await model.restoreSession(saved);
      try {
        return await session.save('other', { signal, onProgress: begun });
      } finally {
        expect(session.messages).toHaveLength(1);
        session.dispose();
      }
    },
  ],
  ['restoreSession', (signal, begun) => model.restoreSession(saved, { signal, onProgress: begun })],
  ['verifyModel', (signal, begun) => verifyModel(stored, { signal, onProgress: begun })],
  ['openai, chat', (signal, begun) => atWork(model.openai.chat.completions.create(openai(), { signal }), begun)],
  [
    'openai, completions',
    (signal, begun) => {
      const params = { prompt: dog, logit_bias: { 1: -100 } };
      return atWork(model.openai.completions.create(params, { signal }), begun);
    },
  ],
  [
    'openai, embeddings',
    (signal, begun) => {
      const input = Array(2000).fill(words);
      return atWork(model.openai.embeddings.create({ input }, { signal }), begun);
    },
  ],
  [
    'generateText of the AI SDK',
    (abortSignal, begun) => {
      const call = generateText({ model: sterna(model), prompt: dog, temperature: 0, abortSignal, maxRetries: 0 });
      return atWork(call, begun);
    },
  ],
  [
    'embedMany of the AI SDK',
    (abortSignal, begun) => {
      const values = Array(2000).fill(words);
      return atWork(embedMany({ model: sterna.embedding(model), values, abortSignal, maxRetries: 0 }), begun);
    },
  ],
];

describe.each(rejecting)('%s', (_, call) => {
  test('aborted before it begins', async () => {
    const ended = await outcome(call(AbortSignal.abort(), () => {}));
    expect(ended).toMatchObject({ error: { name: 'AbortError' } });
    await rightly();
  });

  test('aborted in the middle', async () => {
    const ended = await inTheMiddle(call);
    expect(ended).toMatchObject({ error: { name: 'AbortError', code: 'aborted' } });
    await rightly();
  });
});

test('what was aborted does its work when it is asked again', async () => {
  const again = await load(source);
  expect((await again.chat(messages, greedy).result).tokens).toEqual(plain);
  await again.dispose();
  expect((await inspect(source)).cached).toBe('complete');
  expect(await verifyModel(stored)).toEqual({ damaged: 0 });
  const session = await model.restoreSession(saved);
  expect([session.restored!.from, session.messages]).toEqual([
    'cache',
    [{ role: 'user', content: 'Tell me about a cat.' }],
  ]);
  await session.append(words.slice(0, 100));
  session.dispose();
});

type Answer = (options: GenerateOptions) => { result: Promise<GenerateResult>; abort(): void };
const schema = { type: 'array', items: { type: 'string' }, minItems: 500 };
const answers: [name: string, answer: Answer][] = [
  ['chat', (options) => model.chat(messages, options)],
  ['complete', (options) => model.complete(dog, options)],
  ['several answers', (options) => model.chat(messages, { ...options, n: 2 })],
  [
    'an answer of a format',
    (options) => model.chat(messages, { ...options, responseFormat: { type: 'json_schema', schema } }),
  ],
  ['session.chat', (options) => model.session({ system: 'You tell stories.' }).chat(dog, options)],
];

describe.each(answers)('%s: an abort is an end, with the text so far', (_, answer) => {
  test('before it begins, by its signal and by abort()', async () => {
    for (const way of ['signal', 'abort()']) {
      const signal = way === 'signal' ? AbortSignal.abort() : undefined;
      const generation = answer({ ...endless, ...(signal ? { signal } : {}) });
      if (!signal) generation.abort();
      expect(await generation.result).toMatchObject({ finishReason: 'abort', tokens: [], text: '' });
      await rightly();
    }
  });

  test.each(['signal', 'abort()'])('after some tokens, by %s', async (way) => {
    const heard: number[] = [];
    const ended = await inTheMiddle((signal, begun) => {
      heard.length = 0;
      const generation = answer({
        ...endless,
        seed: 3,
        ...(way === 'signal' ? { signal } : {}),
        onToken: ({ token, answer: which }) => {
          if (which === 0) heard.push(token);
          if (heard.length < 3) return;
          if (way === 'abort()') generation.abort();
          begun();
        },
      });
      return generation.result;
    });
    expect(ended).toMatchObject({ value: { finishReason: 'abort', tokens: heard } });
    expect(heard.length).toBeGreaterThanOrEqual(3);
    await rightly();
  });

  test('while a function of the page that will never reply is at work', async () => {
    const ended = await inTheMiddle((signal, begun) => {
      const logitsProcessor = () => {
        setTimeout(begun);
        return new Promise<void>(() => {});
      };
      return answer({ ...endless, signal, logitsProcessor }).result;
    });
    expect(ended).toMatchObject({ value: { finishReason: 'abort', tokens: [] } });
    await rightly();
  });
});

test('in the prompt', async () => {
  const ended = await inTheMiddle(
    (signal, begun) => model.complete(words, { ...endless, signal, onPrefill: begun }).result,
  );
  expect(ended).toMatchObject({ value: { finishReason: 'abort', tokens: [] } });
  await rightly();
});

test('a stream of openai: one that has not begun rejects, one that has just ends', async () => {
  const { create } = model.openai.chat.completions;
  const params = openai({ stream: true }) as ChatCompletionParams & { stream: true };
  const never = await outcome(create(params, { signal: AbortSignal.abort() }));
  expect(never).toMatchObject({ error: { code: 'aborted', name: 'AbortError' } });
  const controller = new AbortController();
  let chunks = 0;
  for await (const { choices } of await create(params, { signal: controller.signal })) {
    expect(choices[0]!.finish_reason).toBeNull();
    if (++chunks === 4) controller.abort();
  }
  expect(chunks).toBeGreaterThanOrEqual(4);
  await rightly();
});

test('streamText of the AI SDK ends with a part that says so', async () => {
  for (const early of [true, false]) {
    const controller = new AbortController();
    if (early) controller.abort();
    const parts: string[] = [];
    const { fullStream } = streamText({ model: sterna(model), prompt: dog, abortSignal: controller.signal });
    for await (const { type } of fullStream) {
      parts.push(type);
      if (type === 'text-delta') controller.abort();
    }
    expect(parts.at(-1)).toBe('abort');
    await rightly();
  }
});

test.each([
  ['load', (options: object) => load(source, options)],
  ['inspect', (options: object) => inspect(source, options)],
])('%s with an engine that never says a word', async (_, call) => {
  const silent = URL.createObjectURL(new Blob(['export {};'], { type: 'text/javascript' }));
  const controller = new AbortController();
  const ended = outcome(call({ assets: { 'engine.worker.js': silent }, signal: controller.signal }));
  controller.abort();
  expect(await ended).toMatchObject({ error: { code: 'aborted' } });
  URL.revokeObjectURL(silent);
});
