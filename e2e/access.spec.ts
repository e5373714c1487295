/** The page for everybody: axe finds nothing, the keyboard reaches all, a screen reader hears enough and no more. */
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { answered, answers, ask, brief, chatNamed, chatsFile, importChats, ready, send, set } from './chat-page';
import { expect, test } from './lab';

const code =
  'See:\n\n```js\nconst tern = "bird"; // of the sea\nreturn 4 + f(null);\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n> so';

const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** All rules hold in light colours, and in dark ones those about colours. */
async function clean(page: Page, state: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    const axe = new AxeBuilder({ page }).setLegacyMode(); // no frames of other origins, so no page of its own each time
    const { violations } = await (colorScheme === 'light'
      ? axe.withTags(rules)
      : axe.withRules(['color-contrast', 'link-in-text-block'])
    ).analyze();
    const found = violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`,
    );
    expect(found, `${state}, ${colorScheme}`).toEqual([]);
  }
}

for (const [width, height] of [
  [1280, 800],
  [390, 844],
] as const) {
  test(`axe finds nothing in any state, light or dark: ${width} px`, async ({ page }) => {
    test.slow(); // 24 times through all rules
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ reducedMotion: 'reduce' });
    const narrow = width < 896;
    const side = async () => {
      if (narrow && (await page.locator('#side:popover-open').count()) === 0) await page.getByTestId('menu').click();
    };
    await ready(page);
    await clean(page, 'first run');
    await side();
    await importChats(
      page,
      chatsFile({ title: 'Code', texts: ['Write', code, 'More', 'No.'] }, { title: 'Two', texts: ['a', 'b'] }),
    );
    await expect(page.getByTestId('history-news')).toContainText('2 chats');
    await chatNamed(page, 'Two').getByTestId('chat-more').click();
    await clean(page, 'history');
    await page.getByTestId('chat-delete').click();
    await page.getByTestId('search').fill('tern');
    await clean(page, 'search and undo');
    await page.locator('.card-toggle').click();
    await clean(page, 'model');
    await page.locator('.card-toggle').click();
    await importChats(page, { name: 'bad.json', mimeType: 'application/json', buffer: Buffer.from('{}') });
    await expect(page.getByTestId('history').getByTestId('error')).toBeVisible();
    await clean(page, 'import that fails');
    await page.getByTestId('history-calm').click();
    await chatNamed(page, 'Code').getByTestId('chat-open').click();
    await expect(page.locator('.hljs-keyword').first()).toBeVisible();
    await page.getByTestId('message-user').first().getByTestId('edit').click();
    await clean(page, 'chat with code, a question being edited');
    await page.getByTestId('edit-cancel').click();
    await side();
    await page.getByTestId('settings').click();
    await page.getByTestId('setting-contextLength').fill('64');
    await page.getByTestId('setting-contextLength').blur();
    await clean(page, 'settings');
    await page.getByTestId('settings-close').click();
    await expect(page.getByTestId('notice-engine')).toBeVisible();
    await page.getByTestId('badge').click();
    await clean(page, 'notice and badge');
    await page.keyboard.press('Escape');
    await side();
    await page.getByTestId('choose-model').click();
    await clean(page, 'chooser');
    await page.getByTestId('open-storage').click();
    await clean(page, 'storage');
    await ready(page); // with 64 tokens of context, as was set last
    await send(page, 'Tell me a story about a dog and a ball.');
    await expect(page.getByTestId('notice-context')).toHaveAttribute('data-state', 'full');
    await clean(page, 'full context');
    await page.goto('/index.html?model=/nowhere/');
    await expect(page.getByTestId('error')).toBeVisible();
    await clean(page, 'error card');
  });
}

test('by keyboard alone: past the side, a question, a stop, a search, the past @firefox', async ({ page, server }) => {
  await page.goto(`/index.html?model=${server.url('heavy/')}`);
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'loading');
  await page.keyboard.press('Tab');
  await expect(page.locator('.skip')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('composer')).toBeFocused();
  await page.keyboard.type('Hello');
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  await page.keyboard.press('Enter');
  await expect(answers(page)).toContainText(/\b[1-9]\d* tokens?,/);
  await page.keyboard.press('Escape');
  await expect(answers(page).getByTestId('stats')).toContainText('Stopped');
  await page.keyboard.press('Control+k');
  await expect(page.getByTestId('search')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByTestId('chat-open')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByTestId('chat-more')).toBeFocused();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await expect(page.getByTestId('chat-rename')).toBeFocused();
});

test('a screen reader is told when the model writes and what it wrote, not each word', async ({ page }) => {
  await ready(page);
  await set(page, { temperature: '0' });
  await page.evaluate(() => {
    const heard: string[] = [];
    Object.assign(window, { heard });
    new MutationObserver((changes) => {
      for (const { target } of changes) {
        const live = (target.parentElement ?? (target as Element)).closest('[role=status], [role=alert], [aria-live]');
        if (live?.textContent) heard.push(live.textContent.trim());
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const text = await ask(page, 'Tell me a story about a dog and a ball.');
  const heard = [...new Set(await page.evaluate(() => (window as unknown as { heard: string[] }).heard))].filter(
    Boolean,
  );
  expect(heard[0]).toBe('The model is writing');
  expect(heard).toHaveLength(2);
  expect(heard[1]?.replace(/\s+/g, ' ')).toContain(text.slice(0, 40));
});

test('who wants no motion gets none', async ({ page, server }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await ready(page, `?model=${server.url('heavy/')}`);
  await send(page, 'Hello');
  await expect(answers(page)).toContainText(/\b[1-9]\d* tokens?,/);
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  await page.emulateMedia({ reducedMotion: 'no-preference' });
  expect(await page.evaluate(() => document.getAnimations().length)).toBeGreaterThan(0);
  await page.getByTestId('stop').click();
});

for (const width of [390, 820]) {
  test(`${width} px: the side is a drawer that keeps focus, and nothing is wider than the page`, async ({ page }) => {
    await page.setViewportSize({ width, height: 844 });
    await ready(page);
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
    expect(await fits()).toBe(true);
    await expect(page.getByTestId('new-chat')).toBeHidden();
    await page.getByTestId('menu').click();
    await set(page, brief); // the panel closes the drawer
    await expect(page.getByTestId('new-chat')).toBeHidden();
    await send(page, `Hello ${'unbreakable'.repeat(12)}`);
    await answered(page);
    expect(await fits()).toBe(true);
    await page.getByTestId('menu').focus();
    await page.keyboard.press('Enter');
    await expect(page.getByTestId('chat')).toBeVisible();
    expect(await page.locator('main').evaluate((main) => (main as HTMLElement).inert)).toBe(true);
    await page.keyboard.press('Escape');
    await expect(page.getByTestId('chat')).toBeHidden();
    await expect(page.getByTestId('menu')).toBeFocused();
    expect(await page.locator('main').evaluate((main) => (main as HTMLElement).inert)).toBe(false);
    await page.getByTestId('bar-new-chat').click();
    await expect(answers(page)).toHaveCount(0);
    await page.getByTestId('menu').click();
    await page.getByTestId('chat-open').click();
    await expect(answers(page)).toHaveCount(1);
    await expect(page.getByTestId('chat')).toBeHidden();
  });
}

test('the first run says what comes in and that nothing goes out; later visits do not @firefox', async ({ page }) => {
  const requests: string[] = [];
  await ready(page);
  const facts = page.getByTestId('first-run');
  await expect(facts).toContainText('3.1 MB come in');
  await expect(facts).toContainText('Nothing goes out');
  await set(page, brief);
  page.on('request', (request) => requests.push(request.url()));
  await ask(page, 'Hello');
  expect(requests.filter((url) => !url.startsWith(new URL(page.url()).origin) && !url.startsWith('blob:'))).toEqual([]);
  await page.getByTestId('new-chat').click();
  await expect(page.getByTestId('suggestion').first()).toBeVisible();
  await expect(facts).toHaveCount(0);
});
