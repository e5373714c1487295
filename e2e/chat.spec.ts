/** The chat page: a model loads, answers, stops, and says what is wrong. */
import type { Page } from '@playwright/test';
import { answered, answers, ready, send, set } from './chat-page';
import { expect, test } from './lab';

test('loads the embedded model and answers @firefox', async ({ page }) => {
  const strange: string[] = [];
  page.on('pageerror', (error) => strange.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && strange.push(message.text()));
  await ready(page);
  await expect(page.getByTestId('badge')).toContainText(/\d+ threads? .*(dot32|dot16|lut8)/);
  await expect(page.getByTestId('notice-isolation')).toHaveCount(0);
  await set(page, { temperature: '0' });
  await send(page, 'Tell me a story about a dog and a ball.');
  await expect(page.getByTestId('message-user')).toHaveText(/Tell me a story about a dog and a ball\./);
  const text = await answered(page);
  expect(text).toMatch(/^Once upon a time, there was a little dog named Spot\. Spot loved to play with his ball\./);
  const stats = answers(page).getByTestId('stats');
  await expect(stats).toContainText(/tokens\/s/);
  await expect(stats).toContainText(/prompt 22/);
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  expect(strange).toEqual([]);
});

test('a second turn reuses the first; regenerate replaces; a new chat begins anew', async ({ page }) => {
  await ready(page);
  await set(page, { temperature: '0', maxTokens: '30' });
  await page.getByTestId('suggestion').first().click();
  const first = await answered(page);
  await send(page, 'Go on.');
  await answered(page, 1);
  await expect(answers(page)).toHaveCount(2);
  const cached = /prompt (\d+), (\d+) cached/.exec(
    (await answers(page).nth(1).getByTestId('stats').textContent()) ?? '',
  );
  expect(Number(cached?.[2])).toBeGreaterThan(40); // prompt and answer of the first turn, but for the border
  expect(Number(cached?.[1])).toBeGreaterThan(Number(cached?.[2]));

  await set(page, { temperature: '1', seed: '3' });
  const second = await answered(page, 1);
  await answers(page).nth(1).getByTestId('regenerate').click();
  await expect(answers(page).nth(1).getByTestId('stats')).toContainText('seed 3');
  expect(await answered(page, 1)).not.toBe(second);
  await expect(answers(page)).toHaveCount(2);
  expect(await answered(page, 0)).toBe(first);

  await page.getByTestId('new-chat').click();
  await expect(answers(page)).toHaveCount(0);
  await set(page, { temperature: '0' });
  await page.getByTestId('suggestion').first().click();
  expect(await answered(page)).toBe(first);
});

/** Presses stop; the time until the answer under way is done, in ms. */
function stop(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const answer = [...document.querySelectorAll('[data-testid=message-assistant]')].at(-1)!;
    const done = new Promise<number>((resolve) => {
      const observer = new MutationObserver(() => resolve(performance.now()));
      observer.observe(answer, { attributeFilter: ['data-done'] });
    });
    const start = performance.now();
    document.querySelector<HTMLElement>('[data-testid=stop]')?.click();
    return (await done) - start;
  });
}

test('an answer streams, stops within 200 ms, and the next one comes @firefox', async ({ page, server }) => {
  await ready(page, `?model=${server.url('heavy/')}`);
  await set(page, { seed: '1' });
  const times: number[] = [];
  // some tries: the machine may be at work on something else
  while (times.length < 8 && !times.some((milliseconds) => milliseconds < 200)) {
    await send(page, 'Hello');
    const answer = answers(page).nth(times.length);
    await expect(answer).toContainText(/\b[1-9]\d+ tokens,/);
    const early = (await answer.locator('.prose').textContent())?.length ?? 0;
    expect(early).toBeGreaterThan(0);
    await expect.poll(async () => (await answer.locator('.prose').textContent())?.length).toBeGreaterThan(early);
    await expect(answer).not.toHaveAttribute('data-done');
    times.push(await stop(page));
    await expect(answer.getByTestId('stats')).toContainText('Stopped');
    await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  }
  console.log(`stopped after ${times.map(Math.round).join(', ')} ms`);
  expect(Math.min(...times)).toBeLessThan(200);
  await set(page, { maxTokens: '5' });
  await send(page, 'Again');
  await answered(page, times.length);
  await expect(answers(page).nth(times.length).getByTestId('stats')).toContainText('5 tokens');
  await expect(page.getByTestId('error')).toHaveCount(0);
});

test('a long question: how far it is read is shown, and it can be stopped', async ({ page, server }) => {
  await ready(page, `?model=${server.url('heavy/')}&contextLength=2048`);
  await page.evaluate(() => {
    const seen: { value: number; max: number; words: string }[] = [];
    Object.assign(window, { seen });
    new MutationObserver(() => {
      const bar = document.querySelector<HTMLProgressElement>('[data-testid=prefill]');
      if (bar) seen.push({ value: bar.value, max: bar.max, words: bar.parentElement!.textContent });
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  });
  await send(page, 'The dog ran to the big red ball. '.repeat(150));
  await expect
    .poll(() => page.evaluate(() => (window as unknown as { seen: unknown[] }).seen.length))
    .toBeGreaterThan(0);
  await page.getByTestId('stop').click();
  await expect(answers(page).getByTestId('stats')).toContainText('Stopped');
  await expect(page.getByTestId('prefill')).toHaveCount(0);
  const seen = await page.evaluate(
    () => (window as unknown as { seen: { value: number; max: number; words: string }[] }).seen,
  );
  for (const { value, max, words } of seen) {
    expect(max).toBeGreaterThan(1000);
    expect(value).toBeLessThanOrEqual(max);
    expect(words).toMatch(/reading, [\d,]+ of [\d,]+ tokens/);
  }
});

test('a full context is said, with what to do', async ({ page }) => {
  await ready(page, '?contextLength=64');
  await set(page, { temperature: '0' });
  await expect(page.getByTestId('notice-context')).toHaveCount(0);
  await send(page, 'Tell me a story about a dog and a ball.');
  await answered(page);
  await expect(answers(page).getByTestId('stats')).toContainText('Cut: the context is full');
  await expect(page.getByTestId('continue')).toHaveCount(0);
  const notice = page.getByTestId('notice-context');
  await expect(notice).toHaveAttribute('data-state', 'full');
  await notice.getByTestId('context-more').click();
  await expect(page.getByTestId('setting-contextLength')).toBeVisible();
  await page.getByTestId('settings-close').click();
  await send(page, 'Go on.');
  const card = page.getByTestId('error');
  await expect(card).toHaveAttribute('data-code', 'context-full');
  await expect(notice).toHaveCount(0); // the card says it all
  await card.getByTestId('problem-fresh').click();
  await expect(answers(page)).toHaveCount(0);
  await expect(notice).toHaveCount(0);
});

test('what a model writes cannot run, load or lead anywhere', async ({ page, server }) => {
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  await ready(page, `?model=${server.url('hostile/')}`);
  await set(page, { temperature: '0' });
  await send(page, 'Hello');
  expect(await answered(page)).toContain('I tell short stories.');
  const prose = answers(page).locator('.prose');
  await expect(prose.locator('strong')).toHaveText('bold');
  await expect(prose.locator('img, script, [onerror], a[href^="javascript:"]')).toHaveCount(0);
  expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
  expect(requests.filter((url) => url.endsWith('/x'))).toEqual([]);
});

for (const [model, code, facts] of [
  ['truncated', 'bad-file', ['model.safetensors', '3105950', '2000000']],
  ['damaged-header', 'bad-file', ['model.safetensors', 'JSON']],
  ['gelu', 'unsupported', ['config.json', 'gelu', 'relu2', 'hidden_act']],
  ['no-weights', 'bad-file', ['model.safetensors']],
] as const) {
  test(`${model}: a card with the facts, and a way out`, async ({ page, server }) => {
    await page.goto(`/index.html?model=${server.url(`${model}/`)}`);
    const card = page.getByTestId('error');
    await expect(card).toHaveAttribute('data-code', code);
    for (const fact of facts) await expect(card).toContainText(fact);
    await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'error');
    await expect(page.getByTestId('send')).toBeDisabled();
    await page.getByTestId('use-embedded').click();
    await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
    await expect(card).toHaveCount(0);
  });
}

test('a load can be cancelled, and begun again', async ({ page, server }) => {
  await page.goto(`/index.html?model=${server.url('slow/')}`);
  const progress = page.getByTestId('progress');
  await expect(progress).toHaveAttribute('data-phase', 'weights');
  await expect(progress).toHaveAttribute('aria-valuenow', /^[3-9]$|^\d\d$/); // bytes are coming in
  await page.getByTestId('cancel-load').click();
  await expect(page.getByTestId('error')).toHaveAttribute('data-code', 'aborted');
  await page.getByTestId('retry').click();
  await expect(progress).toHaveAttribute('data-phase', 'weights');
  await page.getByTestId('cancel-load').click();
  await page.getByTestId('use-embedded').click();
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
});

test('without isolation: one thread, said so, and the same answer @firefox', async ({ page, server }) => {
  await page.goto(server.url('unisolated/index.html'));
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  await expect(page.getByTestId('notice-isolation')).toContainText(/COOP and COEP/);
  await expect(page.getByTestId('badge')).toContainText('1 thread');
  await set(page, { temperature: '0' });
  await send(page, 'Hello');
  expect((await answered(page)).trim()).toBe('Hello! I tell short stories. What should the story be about?');
});

test('settings: what is invalid is not kept, and does not stay on show', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
  const field = page.getByTestId('setting-temperature');
  await page.getByTestId('settings').click();
  await field.fill('0.5');
  await field.fill('-1');
  await page.keyboard.press('Escape');
  await page.getByTestId('settings').click();
  await expect(field).toHaveValue('0.5');
  await field.fill('-1');
  await page.getByTestId('settings-reset').click();
  await expect(field).toHaveValue('');
});
