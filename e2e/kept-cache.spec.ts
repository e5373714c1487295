/** What the model has read of a chat outlives the page: after a reload only what is new is read. */
import type { Page } from '@playwright/test';
import { answered, answers, ask, chatNamed, ready, send, set } from './chat-page';
import { expect, test } from './lab';

const long =
  'Tell me a story about a little dog who lost her red ball in the park and found it under a tree in the rain.';

/** Opens the storage page, looks, and closes it. */
async function inStorage(page: Page, look: () => Promise<void>): Promise<void> {
  await page.getByTestId('choose-model').click();
  await page.getByTestId('open-storage').click();
  await look().finally(() => page.keyboard.press('Escape'));
}

/** The chats have been kept. */
const kept = (page: Page): Promise<void> =>
  expect(async () => {
    await inStorage(page, () => expect(page.getByTestId('kept-chats')).toContainText(/[1-9]/, { timeout: 1000 }));
  }).toPass();

/** Tokens of the prompt of an answer: all of them, and those that were in the cache. */
async function prompt(page: Page, index: number): Promise<{ all: number; cached: number }> {
  const stats = answers(page).nth(index).getByTestId('stats');
  const text = (await stats.locator('li', { hasText: /^prompt/ }).textContent())!.replaceAll(',', '');
  const [, all, cached] = /prompt (\d+)(?: (\d+) cached)?/.exec(text)!;
  return { all: Number(all), cached: Number(cached ?? 0) };
}

test('a chat goes on after a reload without being read again; Clear and Delete leave nothing @firefox', async ({
  page,
}) => {
  await ready(page);
  await set(page, { temperature: '0', maxTokens: '40' });
  await ask(page, long);
  await kept(page);

  await page.reload();
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  await send(page, 'And then?');
  const after = await answered(page, 1);
  const { all, cached } = await prompt(page, 1);
  // all of the first question and answer, but for what joins them to the next
  expect(cached).toBeGreaterThan(60);
  expect(all - cached).toBeLessThan(20);

  // the same answer as where nothing was kept
  await kept(page);
  await inStorage(page, async () => {
    await page.getByTestId('forget-chats').click();
    await expect(page.getByTestId('kept-chats')).toHaveCount(0);
  });
  await page.reload();
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  await answers(page).nth(1).getByTestId('regenerate').click();
  await expect(answers(page).nth(1)).toHaveAttribute('data-done', 'true');
  await expect.poll(() => prompt(page, 1)).toEqual({ all, cached: 0 });
  expect(await answered(page, 1)).toBe(after);

  await kept(page);
  const row = chatNamed(page, /^\s*Tell me/);
  await row.getByTestId('chat-more').click();
  await row.getByTestId('chat-delete').click();
  await expect(chatNamed(page, /^\s*Tell me/)).toHaveCount(0);
  await expect(async () => {
    await inStorage(page, () => expect(page.getByTestId('kept-chats')).toHaveCount(0, { timeout: 1000 }));
  }).toPass();
});
