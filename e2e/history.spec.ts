/** Chats are kept in this browser: found, renamed, deleted and brought back, taken along, and the same in every tab. */
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { answered, answers, ask, brief, chatNamed, chats, chatsFile, importChats, ready, send, set } from './chat-page';
import { expect, test } from './lab';

const state = (page: Page) => expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');

test('a chat has a title, survives a reload, is found, opened and renamed @firefox', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  const story = await ask(page, 'Tell me a story about a dog and a ball, and let it be a long one, please.');
  await expect(chats(page)).toHaveText([/^\s*Tell me a story about a dog and a ball, and let…\s*$/]);
  await expect(page).toHaveTitle(/^Tell me a story about a dog/);
  await ask(page, 'Hello');
  await expect(chats(page)).toHaveCount(2);
  await expect(chats(page).first()).toContainText('Hello');

  await page.reload(); // the address names the chat
  await state(page);
  await expect(page.getByTestId('message-user')).toHaveText(/Hello/);
  await expect(answers(page).getByTestId('stats')).toContainText(/tokens\/s.*context \d+ of 1,024/s);
  await page.getByTestId('search').fill('spót');
  await expect(page.getByTestId('search-found')).toHaveText('1 chat found');
  await expect(chats(page).locator('mark')).toHaveText('Spot');
  await page.getByTestId('search').fill('no such words');
  await expect(page.getByTestId('search-found')).toHaveText('No chat has these words.');
  await page.getByTestId('search').fill('ball');
  await page.getByTestId('chat-open').click();
  expect(await answered(page)).toBe(story);
  await page.getByTestId('search').fill('');
  await page.goBack();
  await expect(page.getByTestId('message-user')).toHaveText(/Hello/);

  const row = chatNamed(page, 'Hello');
  await row.getByTestId('chat-more').click();
  await row.getByTestId('chat-rename').click();
  const name = page.getByTestId('chat-name');
  await expect(name).toBeFocused();
  await name.fill('Greetings');
  await name.press('Escape');
  await expect(chatNamed(page, 'Hello').getByTestId('chat-open')).toBeFocused();
  await chatNamed(page, 'Hello').getByTestId('chat-more').click();
  await page.getByTestId('chat-rename').click();
  await name.fill('Greetings');
  await name.press('Enter');
  await expect(chatNamed(page, 'Greetings')).toHaveCount(1);
  await send(page, 'Who are you?');
  await answered(page, 1);
  await page.reload();
  await state(page);
  await expect(chatNamed(page, 'Greetings')).toHaveCount(1);
  await expect(chats(page)).toHaveCount(2);
  await expect(answers(page)).toHaveCount(2);
});

test('a deleted chat is gone, and comes back with all it held', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  const first = await ask(page, 'Hello');
  await ask(page, 'Who are you?');
  const row = chatNamed(page, 'Hello');
  await row.getByTestId('chat-more').click();
  await row.getByTestId('chat-delete').click();
  await expect(row).toHaveCount(0);
  await expect(page.getByTestId('undo')).toBeFocused();
  await page.getByTestId('undo').press('Enter');
  await row.getByTestId('chat-open').click();
  expect(await answered(page)).toBe(first);

  await row.getByTestId('chat-more').click(); // the one on show
  await row.getByTestId('chat-delete').click();
  await expect(answers(page)).toHaveCount(0);
  expect(new URL(page.url()).hash).toBe('');
  await page.reload();
  await state(page);
  await expect(chats(page)).toHaveCount(1);
  await expect(page.getByTestId('undo')).toHaveCount(0);
});

test('export and import: all, one, and again', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  const first = await ask(page, 'Hello');
  await ask(page, 'Who are you?');
  await page.getByTestId('history-more').click();
  const saving = page.waitForEvent('download');
  await page.getByTestId('export-all').click();
  const all = await saving;
  expect(all.suggestedFilename()).toMatch(/^sterna-chats-\d{4}-\d\d-\d\d\.json$/);
  const file = { name: 'all.json', mimeType: 'application/json', buffer: readFileSync(await all.path()) };
  const row = chatNamed(page, 'Hello');
  await row.getByTestId('chat-more').click();
  const savingOne = page.waitForEvent('download');
  await row.getByTestId('chat-export').click();
  const one = await savingOne;
  expect(one.suggestedFilename()).toMatch(/^sterna-hello-/);
  expect(JSON.parse(readFileSync(await one.path(), 'utf8')).chats).toHaveLength(1);

  await row.getByTestId('chat-delete').click();
  await importChats(page, file);
  await expect(page.getByTestId('history-news')).toHaveText('1 chat came in, 1 was here already.');
  await expect(chats(page)).toHaveCount(2);
  await row.getByTestId('chat-open').click();
  expect(await answered(page)).toBe(first);
});

test('an imported chat is there; a file that is none is refused, with the place @firefox', async ({ page }) => {
  await ready(page);
  const file = chatsFile({ title: 'Birds', texts: ['Which one?', 'The **tern**.'] });
  await importChats(page, file);
  await expect(page.getByTestId('history-news')).toHaveText('1 chat came in.');
  await chatNamed(page, 'Birds').getByTestId('chat-open').click();
  await expect(answers(page).locator('strong')).toHaveText('tern');
  await expect(page.getByTestId('unfinished')).toHaveCount(0); // written elsewhere, nobody knows how it ended

  const card = page.getByTestId('history').getByTestId('error');
  const wrong = JSON.parse(file.buffer.toString());
  wrong.chats[0].turns[1].parent = 'nobody';
  await importChats(page, { ...file, buffer: Buffer.from(JSON.stringify(wrong)) });
  await expect(card).toHaveAttribute('data-code', 'bad-chats');
  for (const fact of ['chats.json', 'chats[0].turns[1].parent', 'nobody']) await expect(card).toContainText(fact);
  await importChats(page, { ...file, buffer: readFileSync(new URL('../demo/favicon.svg', import.meta.url)) });
  await expect(card).toContainText('not JSON');
  await page.getByTestId('history-calm').click();
  await expect(card).toHaveCount(0);
  await expect(chats(page)).toHaveCount(1);
});

test('two tabs: what one writes, the other shows, and neither loses a turn', async ({ page, context }) => {
  await ready(page);
  await set(page, brief);
  await ask(page, 'Hello');
  const other = await context.newPage();
  await other.goto(page.url());
  await state(other);
  await expect(other.getByTestId('message-user')).toHaveText(/Hello/);
  await send(other, 'From the other tab');
  await answered(other, 1);
  await send(page, 'From this tab');
  await answered(page, 1);
  await page.reload();
  await state(page);
  // both questions follow the first answer: they are versions of each other
  await expect(page.getByTestId('message-user').last().getByTestId('version')).toHaveText('2/2');
  await page.getByTestId('message-user').last().getByTestId('version-earlier').click();
  await expect(page.getByTestId('message-user').last()).toContainText('From the other tab');
});

test('an answer that was under way when the page closed is kept as far as it came', async ({ page, server }) => {
  await ready(page, `?model=${server.url('heavy/')}`);
  await send(page, 'Hello');
  const words = answers(page).locator('.prose');
  await expect(words).toContainText(/\w/);
  const seen = /\w+/.exec((await words.textContent())!)![0];
  await page.reload(); // at once: nothing is waited for that the visitor does not see
  await state(page);
  await expect(answers(page)).toContainText('Interrupted');
  expect(await words.textContent()).toContain(seen);
  await set(page, { maxTokens: '3' });
  await answers(page).getByTestId('regenerate').click();
  await expect(answers(page).getByTestId('version')).toHaveText('2/2');
  await expect(answers(page).getByTestId('stats')).toContainText('3 tokens');
});

test('a chat that is deleted while its answer streams stays deleted', async ({ page, server }) => {
  await ready(page, `?model=${server.url('heavy/')}`);
  await send(page, 'Hello');
  await expect(answers(page)).toContainText(/\b[2-9]\d tokens,/);
  await page.getByTestId('chat-more').click();
  await page.getByTestId('chat-delete').click();
  await expect(chats(page)).toHaveCount(0);
  await state(page);
  await page.reload();
  await state(page);
  await expect(page.getByTestId('first-run')).toBeVisible();
  await expect(chats(page)).toHaveCount(0);
});

test('settings belong to their chat; what the engine needs says so @firefox', async ({ page }) => {
  await ready(page);
  await set(page, { ...brief, systemPrompt: 'You tell stories about the sea.' });
  await ask(page, 'Hello');
  await page.getByTestId('new-chat').click();
  await page.getByTestId('settings').click();
  await expect(page.getByTestId('setting-systemPrompt')).toHaveValue('');
  await expect(page.getByTestId('setting-maxTokens')).toHaveValue('12');
  await page.getByTestId('setting-contextLength').fill('256');
  await page.getByTestId('setting-kernel').selectOption('lut8');
  await expect(page.getByTestId('engine-running')).toContainText('1,024 tokens of context');
  await page.getByTestId('engine-reload').click();
  await expect(page.getByTestId('badge')).toContainText('lut8');
  await state(page);
  await expect(page.getByTestId('notice-engine')).toHaveCount(0);
  await send(page, 'Who are you?');
  await answered(page);
  await expect(answers(page).getByTestId('stats')).toContainText('of 256');

  await chatNamed(page, 'Hello').getByTestId('chat-open').click();
  await expect(page.getByTestId('notice-engine')).toBeVisible();
  await page.getByTestId('settings').click();
  await expect(page.getByTestId('setting-systemPrompt')).toHaveValue('You tell stories about the sea.');
  await expect(page.getByTestId('setting-contextLength')).toHaveValue('');
  await page.getByTestId('settings-close').click();
  await page.getByTestId('notice-reload').click();
  await expect(page.getByTestId('badge')).not.toContainText('lut8');
  await state(page);
  await expect(page.getByTestId('notice-engine')).toHaveCount(0);

  await chatNamed(page, 'Who are you?').getByTestId('chat-open').click();
  await page.reload(); // a chat that is opened first has its engine from the start
  await state(page);
  await expect(page.getByTestId('badge')).toContainText('lut8');
});

test('many chats: the list scrolls, the rest of the page stays', async ({ page }) => {
  await ready(page);
  await importChats(
    page,
    chatsFile(...Array.from({ length: 60 }, (_, index) => ({ title: `Chat ${index}`, texts: ['Hi', 'Hello.'] }))),
  );
  await expect(chats(page)).toHaveCount(60);
  await expect(page.getByTestId('choose-model')).toBeInViewport();
  await expect(page.getByTestId('composer')).toBeInViewport();
  expect(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight)).toBe(true);
});

test('a browser that keeps nothing says so, and the chat goes on', async ({ page }) => {
  await page.addInitScript(() => {
    // as in a private window of some browsers
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (this: IDBFactory, name: string, ...rest: [number?]) {
      if (name === 'sterna-chats') throw new DOMException('no storage', 'SecurityError');
      return open.call(this, name, ...rest);
    };
  });
  await ready(page);
  await expect(page.getByTestId('history-unkept')).toContainText('gone when the tab is closed');
  await set(page, brief);
  await ask(page, 'Hello');
  await ask(page, 'Who are you?');
  await chatNamed(page, 'Hello').getByTestId('chat-open').click();
  await expect(page.getByTestId('message-user')).toHaveText(/Hello/);
});
