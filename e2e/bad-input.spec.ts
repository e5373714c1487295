/**
 * Bad input that needs a hub, or a browser that refuses: a typed error with got and expected, while a loaded model goes on
 * answering. The rest: src/api/bad-input.browser.test.ts; workers that a CSP forbids: package.spec.ts.
 */
import type { Page } from '@playwright/test';
import { folderUrl, hubSource, mustLoad, storedModels, test, tryLoad } from './hub-lab';
import { embedded, expect, loadModel } from './lab';

const answers = (lab: Page) =>
  lab.evaluate(async () => {
    const { text } = await window.model!.chat([{ role: 'user', content: 'Hello' }], { temperature: 0 }).result;
    return text === 'Hello! I tell short stories. What should the story be about?';
  });

test('a repository that the hub does not have @firefox', async ({ lab, hub }) => {
  await loadModel(lab, embedded, { cache: false });
  const { error } = await tryLoad(lab, hubSource(hub, 'lab/none'));
  expect(error).toMatchObject({ isSternaError: true, code: 'download', file: 'lab/none' });
  expect(error).toMatchObject({ got: expect.anything(), expected: expect.anything() });
  expect(await answers(lab)).toBe(true);
  await mustLoad(lab, hubSource(hub));
});

const setQuota = async (lab: Page, origin: string, quotaSize: number): Promise<void> => {
  const devtools = await lab.context().newCDPSession(lab);
  await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize });
};

test('storage too small for a model', async ({ lab, hub, baseURL }) => {
  await loadModel(lab, embedded, { cache: false });
  await setQuota(lab, baseURL!, 1_000_000);
  for (const source of [hubSource(hub), folderUrl(hub)]) {
    const { error } = await tryLoad(lab, source);
    expect(error).toMatchObject({ isSternaError: true, code: 'quota', file: expect.any(String) });
    expect(error).toMatchObject({ got: expect.anything(), expected: expect.any(Number) });
    expect(await answers(lab)).toBe(true);
    await mustLoad(lab, source, { cache: false });
  }
  expect(await storedModels(lab)).toEqual([]);
});

test('no storage at all, as in some private windows: the model runs and is not kept', async ({ lab, hub, baseURL }) => {
  await setQuota(lab, baseURL!, 1); // not enough to open IndexedDB
  expect((await mustLoad(lab, hubSource(hub))).info.cached).toEqual({ before: false, now: false });
});
