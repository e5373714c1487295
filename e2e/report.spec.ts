/** What a visitor can copy for a bug report: of this device, of the model, of what went wrong; nothing of a chat. */
import type { Page } from '@playwright/test';
import { ask, ready, set } from './chat-page';
import { expect, test } from './lab';

test.beforeEach(({ context }) => context.grantPermissions(['clipboard-read', 'clipboard-write']));

async function copied(page: Page): Promise<string> {
  const button = page.getByTestId('report');
  await button.click();
  await expect(button).toContainText('Copied');
  return page.evaluate(() => navigator.clipboard.readText());
}

test('what runs here, and why', async ({ page }) => {
  await ready(page);
  await set(page, { temperature: '0', maxTokens: '3', systemPrompt: 'Speak of secrets' });
  await ask(page, 'My secret is a tern');
  await page.getByTestId('badge').click();
  const report = await copied(page);
  expect(report).toContain(await page.evaluate(() => navigator.userAgent));
  expect(report).toMatch(/^SIMD: yes$/m);
  expect(report).toMatch(/^Isolated: yes$/m);
  expect(report).toMatch(/^Cores: \d+$/m);
  expect(report).toMatch(/^Model: .*tiny-stories.*parameters$/m);
  expect(report).toMatch(/^Threads: \d+: \w/m);
  expect(report).toMatch(/^Kernels, weights\/ns: .*dot16 [\d.]+.*lut8 [\d.]+/m);
  expect(report).not.toContain('secret');
});

test('what went wrong', async ({ page }) => {
  await page.goto('/index.html?model=/nowhere/');
  await expect(page.getByTestId('error')).toBeVisible();
  const report = await copied(page);
  expect(report).toMatch(/^Problem: bad-file$/m);
  expect(report).toMatch(/^SIMD: yes$/m);
});

test('where the browser does not let it copy, the report can be read and selected', async ({ page, context }) => {
  await context.clearPermissions();
  await page.addInitScript(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  await ready(page);
  await page.getByTestId('badge').click();
  await page.getByTestId('report').click();
  await expect(page.locator('.report')).toContainText('Kernel');
  expect(await page.evaluate(() => String(getSelection()))).toContain('Browser: ');
});
