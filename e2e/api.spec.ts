/** The public API of the production build in the lab: what fails does so with a typed error, at once, and cleanly. */
import { embedded, expect, loadError, loadModel, openLab, test } from './lab';

test.describe('files that cannot be used', () => {
  for (const [model, right] of [
    ['truncated', { code: 'bad-file', file: 'model.safetensors', got: 2_000_000, expected: 3_105_950 }],
    ['damaged-header', { code: 'bad-file', file: 'model.safetensors', expected: 'JSON' }],
    ['damaged-length', { code: 'bad-file', file: 'model.safetensors' }],
    ['no-trits', { code: 'bad-file', file: 'model.safetensors', got: 'code 3' }],
    ['no-weights', { code: 'bad-file', file: 'model.safetensors' }],
    ['cut', { code: 'download', file: 'model.safetensors' }],
    ['gelu', { code: 'unsupported', file: 'config.json', message: expect.stringContaining('hidden_act') }],
    ['untied', { code: 'bad-file', file: 'model.safetensors', expected: 'lm_head.weight' }],
    ['nowhere', { code: 'bad-file', file: 'model.safetensors' }],
  ] as const) {
    test(`${model}: ${right.code}`, async ({ lab, server }) => {
      const error = await loadError(lab, server.url(`${model}/`));
      expect(error).toMatchObject({ isSternaError: true, name: 'SternaError', ...right });
      expect(error?.message).toContain(right.file);
      expect(error?.expected).toBeDefined();
      expect(error?.got).toBeDefined();
      // nothing of it is left: the page can load another model
      expect(await loadError(lab, './models/tiny-stories-ternary/')).toBeUndefined();
    });
  }

  test('a server that cannot be reached', async ({ lab }) => {
    expect(await loadError(lab, 'http://localhost:9/')).toMatchObject({ code: 'offline', file: 'model.safetensors' });
  });
});

test('a load is aborted by its signal, also while the body is slow @firefox', async ({ lab, server }) => {
  const seen = await lab.evaluate(async (url) => {
    const controller = new AbortController();
    const phases: string[] = [];
    let aborted = 0;
    const onProgress = ({ phase, loaded }: { phase: string; loaded: number }) => {
      phases.push(phase);
      if (phase === 'weights' && loaded > 0 && !aborted) {
        aborted = performance.now();
        controller.abort();
      }
    };
    try {
      await window.sterna.load({ url }, { signal: controller.signal, onProgress });
      return undefined;
    } catch (error) {
      const { code, name } = error as InstanceType<typeof window.sterna.SternaError>;
      return { code, name, phases: [...new Set(phases)], milliseconds: performance.now() - aborted };
    }
  }, server.url('slow/'));
  expect(seen).toMatchObject({ code: 'aborted', name: 'AbortError', phases: ['config', 'tokenizer', 'weights'] });
  expect(seen?.milliseconds).toBeLessThan(10_000); // the whole body would take half a minute
});

test('a folder without a tokenizer: ids in, ids out', async ({ lab, server }) => {
  const info = await loadModel(lab, server.url('no-tokenizer/'));
  expect(info.hasTokenizer).toBe(false);
  const seen = await lab.evaluate(async () => {
    const model = window.model!;
    const codeOf = (promise: Promise<unknown>) =>
      promise.then(
        () => 'no error',
        (error) => error.code as string,
      );
    const prompt = [0, 434, 445, 261, 400];
    const { tokens, text } = await model.complete(prompt, { temperature: 0, maxTokens: 6 }).result;
    const { logits } = await model.evaluate(prompt);
    const { perplexity } = await model.perplexity([...prompt, 14, 405]);
    const codes = [
      await codeOf(model.chat([{ role: 'user', content: 'Hello' }]).result),
      await codeOf(model.complete('Once').result),
      await codeOf(model.tokenize('Once')),
      await codeOf(model.detokenize([434])),
      await codeOf(model.perplexity('Once upon a time')),
      await codeOf(model.complete(prompt, { stop: 'a' }).result),
    ];
    return { tokens, text, logits: logits.length, perplexity, codes };
  });
  // the first six tokens are those of transformers (e2e/fixtures/tiny-stories-golden.json)
  expect(seen).toMatchObject({ tokens: [14, 405, 285, 261, 396, 476], text: '', logits: 5 * 4096 });
  expect(seen.perplexity).toBeLessThan(2);
  expect(new Set(seen.codes)).toEqual(new Set(['no-tokenizer']));
});

test('files of the device, instead of a server', async ({ lab }) => {
  const result = await lab.evaluate(async () => {
    const names = [
      'config.json',
      'generation_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'model.safetensors',
    ];
    const files = names.map(async (name) => {
      const response = await fetch(`./models/tiny-stories-ternary/${name}`);
      return new File([await response.blob()], name);
    });
    const model = await window.sterna.load(await Promise.all(files));
    return model.chat([{ role: 'user', content: 'Hello' }], { temperature: 0 }).result;
  });
  expect(result.text).toBe('Hello! I tell short stories. What should the story be about?');
  expect(result.finishReason).toBe('stop');
});

test('one call at a time; dispose ends it @firefox', async ({ lab, server }) => {
  await loadModel(lab, server.url('heavy/'));
  const codes = await lab.evaluate(async () => {
    const model = window.model!;
    const codeOf = (promise: Promise<unknown>) =>
      promise.then(
        () => 'no error',
        (error) => error.code as string,
      );
    const generation = model.complete([0, 1, 2], { ignoreEos: true });
    const busy = [await codeOf(model.complete([0]).result), await codeOf(model.evaluate([0, 5]))];
    let iteration = 'no error';
    try {
      for await (const { index } of generation) if (index === 2) await model.dispose();
    } catch (error) {
      iteration = (error as { code: string }).code;
    }
    return { busy, iteration, result: await codeOf(generation.result), later: await codeOf(model.evaluate([0, 5])) };
  });
  expect(codes).toEqual({ busy: ['busy', 'busy'], iteration: 'disposed', result: 'disposed', later: 'disposed' });
});

test('abort() settles within 200 ms; in prefill too it ends the work; what follows is right', async ({
  lab,
  server,
}) => {
  const { threads } = await loadModel(lab, server.url('heavy/'), { contextLength: 2048 });
  expect(threads, 'a large model takes the cores there are').toBe(
    await lab.evaluate(() => Math.min(6, navigator.hardwareConcurrency)),
  );
  const seen = await lab.evaluate(async () => {
    const model = window.model!;
    const settle = async (generation: ReturnType<typeof model.complete>) => {
      const start = performance.now();
      generation.abort();
      const { finishReason, tokens } = await generation.result;
      return { milliseconds: performance.now() - start, finishReason, tokens };
    };
    const options = { temperature: 0, ignoreEos: true };
    const long = Array.from({ length: 1500 }, (_, i) => (i * 37) % 4096);
    let begun = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const reading = model.complete(long, { ...options, onPrefill: begun });
    await beginning; // the first pass is under way
    const prefill = await settle(reading);
    const { usage } = await model.complete(long, { ...options, maxTokens: 1 }).result;
    const decode: Awaited<ReturnType<typeof settle>>[] = [];
    // some tries: the machine may be at work on something else
    while (decode.length < 8 && !decode.some(({ milliseconds }) => milliseconds < 200)) {
      const talking = model.complete(long.slice(0, 20), options);
      for await (const { index } of talking) if (index === 9) decode.push(await settle(talking));
    }
    const next = await model.complete(long.slice(0, 20), { ...options, maxTokens: 12 }).result;
    return { prefill, cached: usage.cachedTokens, decode, next };
  });
  const times = seen.decode.map(({ milliseconds }) => milliseconds);
  console.log(
    `aborted: prefill ${Math.round(seen.prefill.milliseconds)} ms, decode ${times.map(Math.round).join(', ')} ms`,
  );
  expect(Math.min(...times)).toBeLessThan(200);
  for (const { finishReason, tokens } of seen.decode) {
    expect(finishReason).toBe('abort');
    expect(tokens.length).toBeGreaterThanOrEqual(10);
    expect(tokens.slice(0, 10)).toEqual(seen.next.tokens.slice(0, 10));
  }
  // part of the prompt was left undone: a pass is 256 tokens, and what was done is kept
  expect(seen.prefill).toMatchObject({ finishReason: 'abort', tokens: [] });
  expect(seen.cached).toBeLessThan(1499);
  expect(seen.cached % 256).toBe(0);
  expect(seen.next.finishReason).toBe('length');
});

test('without isolation, abort() reaches the engine between two tokens: also within 200 ms', async ({
  page,
  server,
}) => {
  await openLab(page, server.url('unisolated/lab.html'));
  await loadModel(page, server.url('heavy/'), { contextLength: 2048 });
  const { times, results } = await page.evaluate(async () => {
    const model = window.model!;
    const times: number[] = [];
    const results: { finishReason: string; count: number }[] = [];
    while (times.length < 8 && !times.some((milliseconds) => milliseconds < 200)) {
      const generation = model.complete([0, 1, 2, 3], { temperature: 0, ignoreEos: true });
      let start = 0;
      for await (const { index } of generation) {
        if (index !== 9) continue;
        start = performance.now();
        generation.abort();
      }
      const { finishReason, tokens } = await generation.result;
      times.push(performance.now() - start);
      results.push({ finishReason, count: tokens.length });
    }
    return { times, results };
  });
  console.log(`aborted without isolation: ${times.map(Math.round).join(', ')} ms`);
  expect(Math.min(...times)).toBeLessThan(200);
  for (const { finishReason, count } of results) {
    expect(finishReason).toBe('abort');
    expect(count).toBeLessThan(2000);
  }
});

test('reused keys and values are counted', async ({ lab }) => {
  await loadModel(lab);
  const usages = await lab.evaluate(async () => {
    const model = window.model!;
    const question = { role: 'user', content: 'Tell me a story about a dog and a ball.' };
    const options = { temperature: 0, maxTokens: 40 };
    const first = await model.chat([question], options).result;
    const answer = { role: 'assistant', content: first.text };
    const second = await model.chat([question, answer, { role: 'user', content: 'Go on.' }], options).result;
    return [first.usage, second.usage];
  });
  expect(usages[0]).toEqual({ promptTokens: 22, cachedTokens: 0, completionTokens: 40 });
  expect(usages[1]?.cachedTokens).toBeGreaterThan(50);
  expect(usages[1]?.cachedTokens).toBeLessThan(usages[1]?.promptTokens ?? 0);
});

test('ten loads in a row, three threads each @firefox', async ({ lab }) => {
  // once, a kernel worker that the engine worker itself started could hang its start in Firefox
  for (let i = 0; i < 10; i++) expect((await loadModel(lab, embedded, { threads: 3 })).threads).toBe(3);
});
