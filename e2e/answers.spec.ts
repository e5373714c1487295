/** Several answers at once, the prompt's progress, and drafting, through the public API of the production build. */
import { expect, loadModel, openLab, test } from './lab';

test('n answers are those of their seeds; more than there is room for are refused @firefox', async ({ lab }) => {
  const info = await loadModel(lab, undefined, { sequences: 4, threads: 2 });
  expect(info.sequences).toBe(4);
  const seen = await lab.evaluate(async () => {
    const model = window.model!;
    const messages = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
    const options = { seed: 20, temperature: 1, maxTokens: 40, repetitionPenalty: 1.1 };
    const generation = model.chat(messages, { ...options, n: 4 });
    const texts = ['', '', '', ''];
    for await (const { answer, text } of generation) texts[answer] += text;
    const { answers, text, usage } = await generation.result;
    const alone: typeof answers = [];
    for (let i = 0; i < 4; i++) {
      alone.push(...(await model.chat(messages, { ...options, seed: 20 + i }).result).answers);
    }
    const refused = await model.chat(messages, { n: 5 }).result.catch(({ code, message }) => ({ code, message }));
    return { answers, texts, text, usage, alone, refused };
  });
  expect(seen.answers).toEqual(seen.alone);
  expect(seen.texts).toEqual(seen.answers.map(({ text }) => text));
  expect(new Set(seen.texts).size).toBe(4);
  expect(seen.text).toBe(seen.texts[0]);
  expect(seen.usage.completionTokens).toBe(seen.answers.flatMap(({ tokens }) => tokens).length);
  expect(seen.refused).toMatchObject({ code: 'bad-input', message: expect.stringContaining('sequences: 5') });
});

test('the prompt’s progress is told while it is read, and an abort ends it', async ({ lab, server }) => {
  await loadModel(lab, server.url('heavy/'), { contextLength: 1024 });
  const { told, aborted } = await lab.evaluate(async () => {
    const model = window.model!;
    const long = Array.from({ length: 800 }, (_, i) => (i * 37) % 4096);
    const told: { done: number; total: number }[] = [];
    const generation = model.complete(long, {
      maxTokens: 1,
      onPrefill: (progress) => {
        told.push(progress);
        if (progress.done === 512) generation.abort();
      },
    });
    const { finishReason, tokens } = await generation.result;
    const aborted = { finishReason, tokens };
    await model.complete(long, { maxTokens: 1, onPrefill: (progress) => told.push(progress) }).result;
    return { told, aborted };
  });
  expect(aborted).toEqual({ finishReason: 'abort', tokens: [] });
  const counts = told.map(({ done }) => done);
  expect(counts.slice(0, 3)).toEqual([0, 256, 512]);
  const again = counts.slice(counts.indexOf(512) + 1);
  expect(again[0]).toBeGreaterThanOrEqual(512);
  expect(again.at(-1)).toBe(800);
  expect(new Set(told.map(({ total }) => total))).toEqual(new Set([800]));
});

for (const isolated of [true, false]) {
  test(`drafts give the same tokens, ${isolated ? 'with' : 'without'} isolation`, async ({ page, server }) => {
    await openLab(page, isolated ? '/lab.html' : server.url('unisolated/lab.html'));
    await loadModel(page);
    const seen = await page.evaluate(async () => {
      const model = window.model!;
      const verse = 'The dog saw the ball. The ball was red. The dog was happy. ';
      const sum = { drafted: 0, accepted: 0 };
      const different: unknown[] = [];
      for (const temperature of [0, 0.7]) {
        for (let seed = 0; seed < 5; seed++) {
          const options = { seed, temperature, maxTokens: 80, ignoreEos: true };
          const plain = await model.complete(verse.repeat(4), { ...options, draft: false }).result;
          for (const draft of ['auto', true] as const) {
            const { text, tokens, draft: drafts } = await model.complete(verse.repeat(4), { ...options, draft }).result;
            sum.drafted += drafts.drafted;
            sum.accepted += drafts.accepted;
            if (text !== plain.text || `${tokens}` !== `${plain.tokens}`) different.push({ ...options, draft });
          }
        }
      }
      return { sum, different };
    });
    expect(seen.different).toEqual([]);
    expect(seen.sum.accepted).toBeGreaterThan(0);
    expect(seen.sum.drafted).toBeGreaterThanOrEqual(seen.sum.accepted);
  });
}
