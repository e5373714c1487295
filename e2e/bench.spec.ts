/** The bench page with the embedded model: that it measures, shows and gives what it should. No times are judged. */
import type { Page } from '@playwright/test';
import { expect, test } from './lab';

const state = (page: Page, wanted: string) =>
  expect(page.getByTestId('bench')).toHaveAttribute('data-state', wanted, { timeout: 50_000 });

/** Every number of a text. */
const numbers = (text: string | null): number[] =>
  [...(text ?? '').replaceAll(',', '').matchAll(/\d+(\.\d+)?/g)].map(([number]) => Number(number));

test('measures the embedded model @firefox', async ({ page }) => {
  await page.goto('/bench.html?threads=2');
  await state(page, 'ready');
  await expect(page.getByTestId('bench-model').locator('option')).toHaveText([/Tiny stories/]);
  await expect(page.getByTestId('bench-results')).toBeHidden();
  await page.getByTestId('bench-run').click();
  await state(page, 'done');

  const [rate, share] = numbers(await page.getByTestId('bench-headline').textContent()) as [number, number];
  expect(rate).toBeGreaterThan(0);
  expect(share).toBeGreaterThan(0);
  const charts = page.getByTestId('bench-results').locator('svg');
  await expect(charts).toHaveCount(3);
  await expect(charts.nth(0)).toHaveAttribute('aria-label', /after 128 tokens: .*after 512 .*after 991 .*roofline/);
  await expect(charts.nth(1)).toHaveAttribute('aria-label', /32 tokens: .*128 tokens: .*512 tokens: /);
  await expect(charts.nth(2)).toHaveAttribute('aria-label', /dot32.*dot16.*lut8/);

  // no bar is longer than the roofline, and none is empty
  const lengths = await charts
    .nth(0)
    .locator('.bar')
    .evaluateAll((bars) => bars.map((bar) => Number.parseFloat(bar.getAttribute('width')!)));
  const roof = Number.parseFloat((await charts.nth(0).locator('.roof').first().getAttribute('x1'))!);
  expect(lengths).toHaveLength(3);
  for (const length of lengths) expect(length > 0 && length <= roof).toBe(true);

  const table = page.getByTestId('bench-figures');
  await expect(table.locator('tr')).toHaveCount(12);
  await expect(table).toContainText('2: as asked');
});

test('gives its figures as JSON, and measures again', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto('/bench.html');
  for (const threads of [1, 2]) {
    await state(page, threads === 1 ? 'ready' : 'done');
    await page.getByTestId('bench-threads').fill(String(threads));
    await page.getByTestId('bench-run').click();
    await expect(page.getByTestId('bench-copy')).toBeDisabled();
    await state(page, 'done');
    await page.getByTestId('bench-copy').click();
    await expect(page.getByText('Copied.')).toBeVisible();
    const { figures, info } = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    expect(info.threads).toBe(threads);
    expect(figures.bandwidth.bytes).toBe(info.bytes.ternary);
    expect(figures.decode.map(({ tokens }: { tokens: number }) => tokens)).toEqual([128, 512, 991]);
    expect(figures.prefill.map(({ tokens }: { tokens: number }) => tokens)).toEqual([32, 128, 512]);
    expect(figures.firstToken.tokens).toBe(128);
  }
});

test('can be stopped, and says what it cannot load', async ({ page, server }) => {
  await page.goto(`/bench.html?model=${encodeURIComponent(server.url('missing/'))}`);
  await state(page, 'ready');
  await expect(page.getByTestId('bench-model').locator('option')).toHaveCount(2);
  await page.getByTestId('bench-run').click();
  await state(page, 'error');
  await expect(page.getByTestId('bench-error')).toContainText(/bad-file|download|bad-input/);
  await page.getByTestId('bench-model').selectOption('0');
  await page.getByTestId('bench-run').click();
  await state(page, 'measuring');
  await page.getByTestId('bench-stop').click();
  await state(page, 'ready');
  await expect(page.getByTestId('bench-status')).toHaveText('Stopped.');
});

test('the lab leads there, and a kept model is offered', async ({ page }) => {
  await page.goto('/lab.html');
  await page.evaluate(() => window.sternaReady);
  await page.evaluate(async () => {
    const copy = new URL('./models/tiny-stories-ternary/model.safetensors', location.href).href;
    await (await window.sterna.load({ url: copy })).dispose();
  });
  await page.getByRole('link', { name: 'To the bench' }).click();
  await state(page, 'ready');
  await expect(page.getByTestId('bench-model').locator('option')).toHaveCount(2);
});
