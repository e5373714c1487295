/** Messages are edited, answered anew and copied; every version stays. */
import { answered, answers, ask, brief, chatNamed, chatsFile, importChats, ready, send, set } from './chat-page';
import { expect, test } from './lab';

const questions = (page: import('@playwright/test').Page) => page.getByTestId('message-user');

test('an edited question is a branch, and the arrows lead back @firefox', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  const first = await ask(page, 'Hello');
  await send(page, 'Go on.');
  await answered(page, 1);
  await questions(page).first().getByTestId('edit').click();
  const box = page.getByTestId('edit-box');
  await expect(box).toBeFocused();
  await expect(box).toHaveValue('Hello');
  await box.fill('changed');
  await box.press('Escape');
  await expect(questions(page).first().getByTestId('edit')).toBeFocused();
  await expect(questions(page)).toHaveText([/Hello/, /Go on\./]);

  await questions(page).first().getByTestId('edit').click();
  await box.fill('Tell me a story about a boy named Tim.');
  await box.press('Enter');
  const second = await answered(page);
  expect(second).not.toBe(first);
  await expect(questions(page)).toHaveCount(1);
  await expect(questions(page).getByTestId('version')).toHaveText('2/2');
  await expect(answers(page).getByTestId('version')).toHaveCount(0);
  await expect(answers(page).getByTestId('stats')).toContainText(/prompt 2\d\b/); // of this branch alone

  const earlier = page.getByTestId('version-earlier');
  await earlier.focus();
  await page.keyboard.press('Enter');
  await expect(questions(page)).toHaveText([/Hello/, /Go on\./]);
  expect(await answered(page)).toBe(first);
  await expect(earlier).toBeFocused();
  await expect(earlier).toHaveAttribute('aria-disabled', 'true');
  await page.reload();
  await expect(questions(page)).toHaveText([/Hello/, /Go on\./]);
  await questions(page).first().getByTestId('version-later').click();
  await expect(answers(page).locator('.prose')).toHaveText(second.trim());
});

test('every answer has its versions; an earlier one can be made anew', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  const first = await ask(page, 'Tell me a story about a dog and a ball.');
  await send(page, 'Go on.');
  await answered(page, 1);
  await set(page, { temperature: '1', seed: '3' });
  await answers(page).first().getByTestId('regenerate').click();
  await expect(answers(page)).toHaveCount(1);
  await expect(answers(page).getByTestId('stats')).toContainText('seed 3');
  expect(await answered(page)).not.toBe(first);
  await expect(page.getByTestId('version')).toHaveText('2/2');
  await page.getByTestId('version-earlier').click();
  await expect(answers(page)).toHaveCount(2);
  expect(await answered(page)).toBe(first);
});

test('an answer that was cut short goes on where it ended; one that ended by itself does not', async ({ page }) => {
  await ready(page);
  await set(page, { temperature: '0', maxTokens: '12' });
  const cut = await ask(page, 'Tell me a story about a dog and a ball.');
  await expect(answers(page).getByTestId('stats')).toContainText('Cut: token limit');
  await set(page, { maxTokens: '' });
  await page.getByTestId('continue').focus();
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('version')).toHaveText('2/2');
  const whole = await answered(page);
  expect(whole.startsWith(cut.trim())).toBe(true);
  expect(whole.length).toBeGreaterThan(cut.length);
  await expect(page.getByTestId('continue')).toHaveCount(0);
  await page.reload();
  expect(await answered(page)).toBe(whole);
  await page.getByTestId('version-earlier').click();
  expect(await answered(page)).toBe(cut);
  await expect(page.getByTestId('continue')).toHaveCount(1);
});

test('an answer that fails before its first word takes nothing away', async ({ page }) => {
  await ready(page, '?contextLength=32');
  await set(page, { temperature: '0', maxTokens: '5' });
  const first = await ask(page, 'Hello');
  await set(page, { systemPrompt: 'You tell very long stories about the sea, the birds and the wind. '.repeat(5) });
  await answers(page).getByTestId('regenerate').click();
  await expect(page.getByTestId('error')).toHaveAttribute('data-code', 'context-full');
  await expect(answers(page).locator('.prose')).toHaveText(first.trim());
  await expect(page.getByTestId('version')).toHaveCount(0);
  await set(page, { systemPrompt: '' });
  await page.getByTestId('regenerate').click();
  await expect(page.getByTestId('version')).toHaveText('2/2');
  await expect(page.getByTestId('error')).toHaveCount(0);
  expect(await answered(page)).toBe(first);
});

test('a question without an answer can be answered', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  await importChats(page, chatsFile({ title: 'Open', texts: ['Hello'] }));
  await chatNamed(page, 'Open').getByTestId('chat-open').click();
  await page.getByTestId('answer').click();
  expect((await answered(page)).length).toBeGreaterThan(5);
  await expect(page.getByTestId('answer')).toHaveCount(0);
});

test('a hit in another branch opens that branch', async ({ page }) => {
  await ready(page);
  await set(page, brief);
  await ask(page, 'Hello');
  await questions(page).getByTestId('edit').click();
  await page.getByTestId('edit-box').fill('Who are you?');
  await page.getByTestId('edit-send').click();
  await answered(page);
  await page.getByTestId('new-chat').click();
  await page.getByTestId('search').fill('who are');
  await page.getByTestId('chat-open').click();
  await expect(questions(page)).toHaveText(/Who are you\?/);
  await page.getByTestId('search').fill('hello stories');
  await page.getByTestId('chat-open').click();
  await expect(answers(page)).toContainText('I tell short stories');
});

test('messages and code are copied as they are, and code is coloured', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const code = 'def wing(a):\n    return a < 3  # <b>';
  const answer = `So:\n\n\`\`\`python\n${code}\n\`\`\`\n\nThat is all.`;
  await ready(page);
  await importChats(page, chatsFile({ title: 'Code', texts: ['Write code', answer] }));
  await chatNamed(page, 'Code').getByTestId('chat-open').click();
  await expect(answers(page).locator('.hljs-keyword').first()).toHaveText('def');
  await answers(page).locator('[data-copy]').click();
  await expect(answers(page).locator('[data-copy]')).toHaveText('Copied');
  expect(await clipboard()).toBe(code);
  await answers(page).getByTestId('copy').click();
  expect(await clipboard()).toBe(answer);
  await questions(page).getByTestId('copy').click();
  expect(await clipboard()).toBe('Write code');
});
