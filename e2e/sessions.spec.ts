/** A session over a reload of the page: restored from storage without prefill, and what follows bit for bit what it would have been. */
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import type { GenerateOptions, LoadOptions } from '../src/index';
import { embedded, expect, loadModel, openLab, test } from './lab';

const system = 'You tell short stories for children. Every story has a beginning and an end.';
const warm: GenerateOptions = { temperature: 1, topP: 0.9, repetitionPenalty: 1.2, maxTokens: 24 };
const file = new URL('../demo/public/models/tiny-stories-ternary/config.json', import.meta.url);
const { vocab_size: vocab } = JSON.parse(readFileSync(file, 'utf8')) as { vocab_size: number };

/** Two turns and what a third gives, told from the page. */
const goOn = (lab: Page, id: string | undefined, seed: number) =>
  lab.evaluate(
    async ([settings, prompt, saved]) => {
      const model = window.model!;
      const session = saved === undefined ? model.session({ system: prompt }) : await model.restoreSession(saved);
      let kept = saved;
      if (kept === undefined) {
        await session.chat('Tell me about a dog.', settings).result;
        await session.chat('Was he happy?', settings).result;
        kept = await session.save('dog');
      }
      const { ids, messages } = session;
      const { tokens, text, usage } = await session.chat('Go on.', settings).result;
      return { id: kept, ids, messages, tokens, text, usage, restored: session.restored };
    },
    [{ ...warm, seed }, system, id] as const,
  );

for (const options of [
  { threads: 2, kvCache: 'bf16' },
  { threads: 1, kvCache: 'int8' },
] satisfies LoadOptions[]) {
  test(`after a reload, ${options.kvCache}, ${options.threads} threads @firefox`, async ({ lab }) => {
    await loadModel(lab, embedded, options);
    const stayed = await goOn(lab, undefined, 42);
    expect(stayed.tokens).toHaveLength(24);
    for (const token of stayed.tokens) expect(token).toBeLessThan(vocab);

    await openLab(lab, '/lab.html');
    const [saved] = await lab.evaluate(() => window.sterna.listSessions());
    expect(saved).toMatchObject({ id: stayed.id, name: 'dog', messages: 5, tokens: stayed.ids.length });
    await loadModel(lab, embedded, { ...options, threads: 3 - options.threads }); // threads change no bit
    const back = await goOn(lab, stayed.id, 42);
    expect(back.restored).toMatchObject({ from: 'cache' });
    expect(back).toEqual({ ...stayed, restored: back.restored });
    expect(back.usage.cachedTokens).toBe(back.ids.length - 1);
    const other = await goOn(lab, stayed.id, 43);
    expect(other.tokens).not.toEqual(stayed.tokens);
    await lab.evaluate((id) => window.sterna.deleteSession(id), stayed.id);
    expect(await lab.evaluate(() => window.sterna.listSessions())).toEqual([]);
  });
}

test('no room: typed, and what was saved before stays', async ({ lab, baseURL }) => {
  await loadModel(lab, embedded, { cache: false });
  const { id } = await goOn(lab, undefined, 42);
  const devtools = await lab.context().newCDPSession(lab);
  const origin = new URL(baseURL!).origin;
  const used = await lab.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);
  await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: used + 20_000 });
  const seen = await lab.evaluate(async (saved) => {
    const session = await window.model!.restoreSession(saved);
    const failed = (work: Promise<unknown>) =>
      work.then(
        () => undefined,
        ({ code, got, expected }) => ({ code, got, expected }),
      );
    const again = await failed(session.save('again'));
    const first = await failed(session.fork().save('first'));
    return { again, first };
  }, id);
  expect(seen.again).toMatchObject({ code: 'quota', expected: expect.any(Number) });
  expect(seen.first).toMatchObject({ code: 'quota' });
  await devtools.send('Storage.overrideQuotaForOrigin', { origin });
  const after = await lab.evaluate(async (saved) => {
    const sessions = await window.sterna.listSessions();
    const { restored, messages } = await window.model!.restoreSession(saved);
    const { models, sessions: bytes } = await window.sterna.storageFacts();
    return { sessions, restored, count: messages.length, models, bytes };
  }, id);
  expect(after.sessions).toMatchObject([{ id, name: 'dog' }]);
  expect(after).toMatchObject({ restored: { from: 'cache' }, count: 5, models: 0, bytes: after.sessions[0]!.bytes });
});
