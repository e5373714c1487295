/** A page without the isolation headers has no shared memory, and one thread. All else is there, and the same bits. */
import type { Page } from '@playwright/test';
import type { ChatOptions } from '../src/index';
import { embedded, expect, openLab, test } from './lab';
import { qwenTemplate } from './tool-templates';

/** What every kind of call gives on this page. */
const giveAll = (lab: Page) =>
  lab.evaluate(
    async ([folder, template]) => {
      const names = [
        'config.json',
        'generation_config.json',
        'model.safetensors',
        'tokenizer.json',
        'tokenizer_config.json',
      ];
      const fetched = names.map(async (name) => new File([await (await fetch(folder + name)).blob()], name));
      const files = [...(await Promise.all(fetched)), new File([template], 'chat_template.jinja')];
      const model = await window.sterna.load(files, { sequences: 2, threads: 2 });
      const { threads, shared } = { threads: model.info.threads, shared: crossOriginIsolated };
      const dog = 'Tell me a story about a dog and a ball.';
      const messages = [{ role: 'user', content: dog }];
      const warm: ChatOptions = { temperature: 1, topP: 0.9, seed: 5, maxTokens: 16 };
      const add = (logits: Float32Array, token: number): void => {
        logits[token]! += 5;
      };
      const answer = async (options: ChatOptions) => {
        const { answers, toolCalls } = await model.chat(messages, { ...warm, ...options }).result;
        const calls = toolCalls?.map(({ function: called }) => called);
        return {
          answers: answers.map(({ tokens, text, finishReason, logprobs }) => [tokens, text, finishReason, logprobs]),
          calls,
        };
      };
      const parameters = { type: 'object', properties: { toy: { enum: ['ball', 'kite'] } }, required: ['toy'] };
      const tools = [{ type: 'function' as const, function: { name: 'find_toy', parameters } }];
      const schema = {
        type: 'object',
        properties: { age: { type: 'integer', minimum: 1, maximum: 9 } },
        required: ['age'],
      };

      const answers = {
        plain: await answer({}),
        bias: await answer({ logitBias: { 300: 4, 301: -100 } }),
        logprobs: await answer({ logprobs: 3, n: 2 }),
        processed: await answer({ logitsProcessor: (logits) => add(logits, 400) }),
        later: await answer({ logitsProcessor: async (logits, { answer: at }) => add(logits, 400 + at), n: 2 }),
        format: await answer({ responseFormat: { type: 'json_schema', schema }, maxTokens: 60 }),
        processedFormat: await answer({
          responseFormat: { type: 'regex', pattern: '[a-z ]{3,30}' },
          logitsProcessor: (logits) => add(logits, 400),
        }),
        call: await answer({ tools, toolChoice: 'required', maxTokens: 60 }),
      };

      const session = model.session({ system: 'You tell stories.', tools });
      await session.append(dog);
      const called = await session.chat([], { ...warm, toolChoice: 'required', maxTokens: 60 }).result;
      const id = await session.save('dog');
      const fork = session.fork();
      const result = { role: 'tool', tool_call_id: called.toolCalls![0]!.id, content: 'under the bed' };
      const stayed = await session.chat(result, warm).result;
      const forked = await fork.chat(result, warm).result;
      session.rewind(2);
      const back = await model.restoreSession(id);
      const restored = await back.chat(result, warm).result;
      await window.sterna.deleteSession(id);
      const sessions = {
        ids: session.ids,
        tokens: [stayed, forked, restored].map(({ tokens }) => tokens),
        from: back.restored!.from,
      };

      const never = model.chat(messages, { ...warm, logitsProcessor: () => new Promise<void>(() => never.abort()) });
      const aborted = (await never.result).finishReason;
      const { embeddings } = await model.embed([dog, 'a cat']);
      const { create } = model.openai.completions;
      const { choices } = await create({ prompt: 'Once', temperature: 0, max_tokens: 8, logprobs: 2 });
      await model.dispose();
      const others = { aborted, embeddings: embeddings.map((each) => [...each]), choices };
      return { threads, shared, same: { answers, sessions, others } };
    },
    [embedded, qwenTemplate] as const,
  );

test('bias, logprobs, functions, formats, tools and sessions without isolation @firefox', async ({ lab, server }) => {
  const isolated = await giveAll(lab);
  expect([isolated.threads, isolated.shared]).toEqual([2, true]);
  await openLab(lab, server.url('unisolated/lab.html'));
  const alone = await giveAll(lab);
  expect([alone.threads, alone.shared]).toEqual([1, false]);
  expect(alone.same).toEqual(isolated.same);

  const { answers, sessions, others } = alone.same;
  const distinct = new Set(Object.values(answers).map((each) => JSON.stringify(each)));
  expect(distinct.size).toBe(Object.keys(answers).length);
  expect(answers.call.calls).toEqual([{ name: 'find_toy', arguments: expect.stringMatching(/"(ball|kite)"/) }]);
  const [stayed, forked, restored] = sessions.tokens;
  expect([forked, restored, sessions.from]).toEqual([stayed, stayed, 'cache']);
  expect(others.aborted).toBe('abort');
});
