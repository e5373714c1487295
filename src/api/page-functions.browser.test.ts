/** Functions of the page: what `on...` throws is the page's own and stops nothing; `logitsProcessor` beside everything else. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure } from '../../e2e/failure';
import { filesWithTemplate, tinyStories } from '../../e2e/reading';
import { qwenTemplate, toyTools as tools } from '../../e2e/tool-templates';
import type { LogitsProcessor } from '../protocol/generate-types';
import { deleteModel, listModels, verifyModel } from './cached-models';
import { deleteSession } from './cached-sessions';
import { load, type Model } from './model';

const dog = 'Tell me a story about a dog and a ball.';
const messages = [{ role: 'user', content: dog }];
const greedy = { temperature: 0, maxTokens: 12, ignoreEos: true };

let model: Model;
beforeAll(async () => {
  model = await load(await filesWithTemplate(qwenTemplate), { cache: false, threads: 2, sequences: 3 });
});
afterAll(() => model.dispose());

/** What `work` gives, and the uncaught errors of the page meanwhile. */
async function uncaught<T>(work: () => Promise<T>): Promise<{ value: T; errors: unknown[] }> {
  const errors: unknown[] = [];
  const hear = (event: Event): void => {
    event.preventDefault();
    errors.push(event instanceof ErrorEvent ? event.error : (event as PromiseRejectionEvent).reason);
  };
  addEventListener('error', hear);
  addEventListener('unhandledrejection', hear);
  try {
    const value = await work();
    await new Promise((resolve) => setTimeout(resolve)); // their turn
    return { value, errors };
  } finally {
    removeEventListener('error', hear);
    removeEventListener('unhandledrejection', hear);
  }
}

describe('what is told of progress throws', () => {
  const boom = new RangeError('boom');
  const onProgress = (): never => {
    throw boom;
  };

  test('onToken and onPrefill: the answer is the same, each error is reported', async () => {
    const plain = await model.chat(messages, greedy).result;
    for (const name of ['onToken', 'onPrefill']) {
      const iterated: number[] = [];
      const { value, errors } = await uncaught(async () => {
        const generation = model.chat(messages, { ...greedy, [name]: onProgress });
        for await (const { token } of generation) iterated.push(token);
        return generation.result;
      });
      expect([value.tokens, iterated]).toEqual([plain.tokens, plain.tokens]);
      expect(errors.length).toBeGreaterThan(name === 'onToken' ? 11 : 0);
      for (const error of errors) expect(error).toBe(boom);
    }
  });

  test('of a session: it is read, saved and restored all the same', async () => {
    const session = model.session();
    const { value: id, errors } = await uncaught(async () => {
      await session.append(dog, { onPrefill: onProgress });
      return session.save('x', { onProgress });
    });
    expect(session.messages).toEqual(messages);
    const { value: back, errors: more } = await uncaught(() => model.restoreSession(id, { onProgress }));
    expect(back.messages).toEqual(messages);
    expect(more.length).toBeGreaterThan(0);
    expect(new Set([...errors, ...more])).toEqual(new Set([boom]));
    await deleteSession(id);
    session.dispose();
    back.dispose();
  });

  test('of load, verifyModel and embed', async () => {
    const { value: other, errors } = await uncaught(() => load({ url: tinyStories }, { onProgress }));
    expect(new Set(errors)).toEqual(new Set([boom]));
    const { id } = (await listModels()).find(({ name }) => name === other.info.name)!;
    const verified = await uncaught(() => verifyModel(id, { onProgress }));
    expect([verified.value, verified.errors[0]]).toEqual([{ damaged: 0 }, boom]);
    const right = await other.embed(dog);
    const embedded = await uncaught(() => other.embed(dog, { onProgress }));
    expect([embedded.value, embedded.errors[0]]).toEqual([right, boom]);
    await other.dispose();
    await deleteModel(id);
  });
});

describe('logitsProcessor', () => {
  const forced = { tools, toolChoice: 'required', temperature: 0, maxTokens: 60 } as const;
  /** Forbids tokens whose text has one of the letters. */
  async function without(letters: RegExp): Promise<LogitsProcessor> {
    const { vocab } = model.info.config;
    const texts = await Promise.all(Array.from({ length: vocab }, (_, id) => model.detokenize([id])));
    const forbidden = texts.flatMap((text, id) => (letters.test(text) ? id : []));
    return (logits) => {
      for (const id of forbidden) logits[id] = -Infinity;
    };
  }

  test('in a session: sees the session’s tokens, and changes its answer', async () => {
    const session = model.session();
    await session.chat(dog, { temperature: 0, maxTokens: 12 }).result;
    const before = session.ids;
    const seen: number[][] = [];
    const noE = await without(/e/i);
    const { text, tokens, usage } = await session.chat('Go on.', {
      ...greedy,
      logitsProcessor(logits, context) {
        expect(context.promptTokens).toBe(context.tokens.length - seen.length);
        seen.push([...context.tokens]);
        return noE(logits, context);
      },
    }).result;
    expect(seen.at(-1)).toEqual(session.ids.slice(0, -1));
    expect(seen[0]!.slice(0, before.length)).toEqual(before);
    expect(seen[0]).toHaveLength(usage.promptTokens);
    expect(text).toMatch(/\w/);
    expect(text).not.toMatch(/e/i);
    expect(session.messages.at(-1)!.content).toBe(text);
    const alone = await model.complete(seen[0]!, { ...greedy, logitsProcessor: noE }).result;
    expect(alone.tokens).toEqual(tokens);
    // one that throws leaves the session as it was
    const state = [session.messages, session.ids];
    const error = new RangeError('boom');
    const logitsProcessor: LogitsProcessor = ({ length }, context) => {
      if (length > 0 && context.tokens.length > context.promptTokens + 2) throw error;
    };
    expect(await failure(session.chat('And?', { ...greedy, logitsProcessor }).result)).toMatchObject({ cause: error });
    expect([session.messages, session.ids]).toEqual(state);
    session.dispose();
  });

  test('of a call that is asked for: chooses among what the schema allows', async () => {
    for (const [letters, toy] of [
      [/b/, 'kite'],
      [/k/, 'ball'],
    ] as const) {
      const { toolCalls, text } = await model.chat(messages, { ...forced, logitsProcessor: await without(letters) })
        .result;
      expect([text, toolCalls!.length]).toEqual(['', 1]);
      expect(JSON.parse(toolCalls![0]!.function.arguments)).toEqual({ toy });
    }
  });

  test('of several answers in a format, each its own', async () => {
    const processors = [await without(/b/), await without(/k/)];
    const responseFormat = { type: 'regex', pattern: '(ball|kite)s?' } as const;
    const { answers } = await model.chat(messages, {
      ...{ n: 2, temperature: 1, seed: 3, maxTokens: 12, responseFormat },
      logitsProcessor: (logits, context) => processors[context.answer]!(logits, context),
    }).result;
    expect(answers.map(({ text }) => text.slice(0, 4))).toEqual(['kite', 'ball']);
    for (const { finishReason } of answers) expect(finishReason).toBe('stop');
  });

  test('that forbids what the format asks for: an error, and the next answer is right', async () => {
    const plain = await model.chat(messages, greedy).result;
    for (const temperature of [0, 1]) {
      const options = { temperature, responseFormat: { type: 'json_object' }, maxTokens: 30 } as const;
      const refused = await failure(model.chat(messages, { ...options, logitsProcessor: await without(/\{/) }).result);
      expect(refused).toMatchObject({
        code: 'bad-input',
        message: expect.stringContaining('every token is forbidden'),
      });
    }
    expect((await model.chat(messages, greedy).result).tokens).toEqual(plain.tokens);
  });
});
