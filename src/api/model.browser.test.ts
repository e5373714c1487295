/** The embedded model through the public API: what it says against Hugging Face transformers, and how answers end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixtures, getJson, tinyStories } from '../../e2e/reading';
import type { SternaError } from '../errors';
import type { GenerateResult, Message } from '../protocol/generate-types';
import type { LoadOptions } from '../protocol/load-types';
import { load, type Model } from './model';

interface Golden {
  prompts: { kind: string; prompt: string; input_ids: number[]; greedy_ids: number[]; top1_top2_logit_gap: number[] }[];
}
interface Stories {
  targets: number;
  nll_sum: number;
  perplexity: number;
  stories: { text: string; ids: number[]; targets: number; nll_sum: number }[];
}

const source = { url: tinyStories };
const exact: LoadOptions = { kvCache: 'f32', lmHead: 'bf16' };
const dog: Message[] = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: SternaError) => error.code,
  );

describe('against transformers', () => {
  test('the greedy tokens, wherever the reference is clear', async () => {
    const { prompts } = await getJson<Golden>(`${fixtures}tiny-stories-golden.json`);
    const model = await load(source, exact);
    const { vocab } = model.info.config;
    const counts = { positions: 0, clear: 0, same: 0 };
    for (const { kind, prompt, input_ids: input, greedy_ids: greedy, top1_top2_logit_gap: gaps } of prompts) {
      const messages = [{ role: 'user', content: prompt }];
      const ids =
        kind === 'chat' ? (await model.applyChatTemplate(messages)).ids : await model.tokenize(prompt, { bos: true });
      expect(ids).toEqual(input);
      const { logits } = await model.evaluate([...input, ...greedy]);
      for (const [i, right] of greedy.entries()) {
        const at = (input.length + i - 1) * vocab;
        const row = logits.subarray(at, at + vocab);
        const best = row.indexOf(row.reduce((a, b) => Math.max(a, b)));
        counts.positions++;
        if (best === right) counts.same++;
        if (gaps[i]! <= 0.3) continue;
        counts.clear++;
        expect(best, `${prompt}, token ${i}, gap ${gaps[i]}`).toBe(right);
      }
    }
    await model.dispose();
    console.log('greedy tokens:', JSON.stringify(counts));
    expect(counts.positions).toBe(271);
    expect(counts.clear).toBeGreaterThan(200);
  });

  test.each([
    ['f32 cache, bf16 head', exact],
    ['as loaded by default', {}],
    ['bf16 cache, int8 head', { lmHead: 'int8' }],
  ] as [string, LoadOptions][])('perplexity of 24 stories, %s', async (name, options) => {
    const { stories, targets, nll_sum, perplexity } = await getJson<Stories>(`${fixtures}stories.json`);
    const model = await load(source, options);
    const sum = { nll: 0, tokens: 0, worst: 0 };
    for (const story of stories) {
      expect(await model.tokenize(story.text, { bos: true, eos: true })).toEqual(story.ids);
      const { nll, tokens } = await model.perplexity(story.text);
      expect(tokens).toBe(story.targets);
      sum.nll += nll;
      sum.tokens += tokens;
      sum.worst = Math.max(sum.worst, Math.abs(nll / story.nll_sum - 1));
    }
    await model.dispose();
    const got = Math.exp(sum.nll / sum.tokens);
    console.log(`24 stories, ${name}: perplexity ${got.toFixed(5)}, reference ${perplexity.toFixed(5)}`, sum);
    expect(sum.tokens).toBe(targets);
    expect(perplexity).toBeCloseTo(Math.exp(nll_sum / targets), 9);
    expect(Math.abs(got / 2.7233 - 1)).toBeLessThan(0.005);
  });
});

describe('answers', () => {
  let model: Model;
  let fresh: (messages: Message[], maxTokens: number) => Promise<GenerateResult>;
  const greedy = { temperature: 0 };

  beforeAll(async () => {
    model = await load(source, { contextLength: 160, threads: 2 });
    /** The answer of a model that has said nothing before. */
    fresh = async (messages, maxTokens) => {
      const other = await load(source, { contextLength: 160, threads: 2 });
      const result = await other.chat(messages, { ...greedy, maxTokens }).result;
      await other.dispose();
      expect(result.usage.cachedTokens).toBe(0);
      return result;
    };
  });
  afterAll(() => model.dispose());

  test('a second turn reuses the first', async () => {
    const first = await model.chat(dog, { ...greedy, maxTokens: 40 }).result;
    expect(first).toMatchObject({ finishReason: 'length', usage: { completionTokens: 40 } });
    const turns = [...dog, { role: 'assistant', content: first.text }, { role: 'user', content: 'Go on.' }];
    const second = await model.chat(turns, { ...greedy, maxTokens: 20 }).result;
    const { promptTokens, cachedTokens } = second.usage;
    // the question and its answer but for the last token, of which only the text is known again
    expect(cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens + 30);
    expect(cachedTokens).toBeLessThan(promptTokens);
    expect(second.tokens).toEqual((await fresh(turns, 20)).tokens);
    // the same once more: all but the last token of the prompt
    const again = await model.chat(turns, { ...greedy, maxTokens: 20 }).result;
    expect(again.usage.cachedTokens).toBe(promptTokens - 1);
    expect(again.tokens).toEqual(second.tokens);
  });

  test.each([1, 12, 39])('an answer that was cut after %i tokens goes on as if it had not been', async (cut) => {
    const whole = await fresh(dog, 40);
    const begun = await model.chat(dog, { ...greedy, maxTokens: cut }).result;
    const turns = [...dog, { role: 'assistant', content: begun.text }];
    const options = { ...greedy, maxTokens: 40 - cut, continueFinalMessage: true };
    const rest = await model.chat(turns, options).result;
    expect(rest.tokens).toEqual(whole.tokens.slice(cut));
    expect(begun.text + rest.text).toBe(whole.text);
    // nothing is read again, but for the last token, whose logits are wanted
    const { promptTokens, cachedTokens } = rest.usage;
    expect([promptTokens, cachedTokens]).toEqual([begun.usage.promptTokens + cut, begun.usage.promptTokens + cut - 1]);
    const { choices } = await model.openai.chat.completions.create({
      messages: [
        { role: 'user', content: dog[0]!.content },
        { role: 'assistant', content: begun.text },
      ],
      ...{ continue_final_message: true, temperature: 0, max_tokens: 40 - cut },
    });
    expect(choices[0]!.message.content).toBe(rest.text);
  });

  test('a full context ends the answer', async () => {
    const { finishReason, usage, tokens } = await model.chat(dog, { ...greedy, ignoreEos: true }).result;
    expect(finishReason).toBe('length');
    expect(usage.promptTokens + tokens.length).toBe(160);
    const full = [...(await model.applyChatTemplate(dog)).ids, ...tokens];
    const nothing = await model.complete(full, { ...greedy, ignoreEos: true }).result;
    expect(nothing).toMatchObject({ finishReason: 'length', tokens: [], text: '', usage: { promptTokens: 160 } });
    expect(await codeOf(model.complete([...full, 5]).result)).toBe('context-full');
  });

  test('an end of turn ends it, and is not shown', async () => {
    const { text, finishReason, tokens } = await model.chat([{ role: 'user', content: 'Hello' }], greedy).result;
    expect(text).toBe('Hello! I tell short stories. What should the story be about?');
    expect(finishReason).toBe('stop');
    expect(tokens).not.toContain(2);
  });

  test('aborted after some tokens: what came stays, and the next answer is as from a fresh model', async () => {
    const generation = model.chat(dog, { ...greedy, ignoreEos: true });
    const texts: string[] = [];
    for await (const { text, index } of generation) {
      texts.push(text);
      if (index === 9) generation.abort();
    }
    const result = await generation.result;
    expect(result.finishReason).toBe('abort');
    expect(result.tokens.length).toBeGreaterThanOrEqual(10);
    expect(result.tokens.length).toBeLessThan(138);
    expect(texts.join('')).toBe(result.text);
    const next = await model.chat(dog, { ...greedy, maxTokens: 60 }).result;
    expect(next.tokens).toEqual((await fresh(dog, 60)).tokens);
    expect(next.tokens.slice(0, result.tokens.length)).toEqual(result.tokens.slice(0, 60));
  });

  test('aborted at once, in the prefill: no token, and the next answer is as from a fresh model', async () => {
    const long = [{ role: 'user', content: `${'Once upon a time there was a dog. '.repeat(12)}` }];
    const generation = model.chat(long, greedy);
    generation.abort();
    const result = await generation.result;
    expect(result).toMatchObject({ finishReason: 'abort', tokens: [], text: '' });
    const next = await model.chat(long, { ...greedy, maxTokens: 12 }).result;
    expect(next.tokens).toEqual((await fresh(long, 12)).tokens);
  });

  test('leaving the loop early aborts', async () => {
    const generation = model.chat(dog, { ...greedy, ignoreEos: true });
    for await (const _ of generation) break;
    expect((await generation.result).finishReason).toBe('abort');
  });

  test('a signal aborts; one that has already fired ends an answer before its first token', async () => {
    const controller = new AbortController();
    const generation = model.chat(dog, { ...greedy, ignoreEos: true, signal: controller.signal });
    for await (const { index } of generation) if (index === 3) controller.abort();
    expect((await generation.result).finishReason).toBe('abort');
    const empty = await model.chat(dog, { signal: controller.signal }).result;
    expect([empty.finishReason, empty.tokens]).toEqual(['abort', []]);
    expect(await codeOf(model.evaluate([0, 1], { signal: controller.signal }))).toBe('aborted');
  });

  test('scoring is aborted by its signal, and the next call works', async () => {
    const text = (await getJson<Stories>(`${fixtures}stories.json`)).stories[0]!.text.repeat(20);
    const controller = new AbortController();
    const scored = model.perplexity(text, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    expect(await codeOf(scored)).toBe('aborted');
    expect((await model.chat(dog, { ...greedy, maxTokens: 5 }).result).tokens).toEqual((await fresh(dog, 5)).tokens);
  });

  test('one call at a time', async () => {
    const first = model.chat(dog, { ...greedy, maxTokens: 20 });
    expect(await codeOf(model.chat(dog).result)).toBe('busy');
    expect(await codeOf(model.evaluate([0, 1]))).toBe('busy');
    expect((await first.result).tokens).toHaveLength(20);
  });

  test('the same seed, the same answer; another seed, another', async () => {
    const say = (seed: number) => model.chat(dog, { temperature: 0.9, seed, maxTokens: 40 }).result;
    const [one, same, other] = [await say(7), await say(7), await say(8)];
    expect(same.tokens).toEqual(one.tokens);
    expect(one.seed).toBe(7);
    expect(other.tokens).not.toEqual(one.tokens);
    const unseeded = await model.chat(dog, { temperature: 0.9, maxTokens: 40 }).result;
    expect((await say(unseeded.seed)).tokens).toEqual(unseeded.tokens);
  });

  test.each([
    [[], 'bad-input'],
    [[-1], 'bad-input'],
    [[4096], 'bad-input'],
    [[1.5], 'bad-input'],
  ])('ids %j: %s', async (ids, code) => {
    expect(await codeOf(model.complete(ids).result)).toBe(code);
    expect(await codeOf(model.evaluate(ids))).toBe(code);
  });

  test('dispose ends a call under way, and later ones', async () => {
    const other = await load(source, { threads: 2 });
    const generation = other.chat(dog, { ...greedy, ignoreEos: true });
    const codes: string[] = [];
    try {
      for await (const { index } of generation) if (index === 2) await other.dispose();
    } catch (error) {
      codes.push((error as SternaError).code);
    }
    codes.push(
      await codeOf(generation.result),
      await codeOf(other.chat(dog).result),
      await codeOf(other.tokenize('a')),
    );
    expect(codes).toEqual(['disposed', 'disposed', 'disposed', 'disposed']);
    await other.dispose();
  });
});
