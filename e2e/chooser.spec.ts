/** The model chooser: a repository of a hub is looked at, downloaded, cancelled, resumed, kept and deleted. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { checkpointBytes, packedCheckpoint, shape2B4T } from '../bench/synthesize';
import { type FakeHub, startFakeHub } from './fake-hub';
import { test as base, expect } from './lab';

const tinyStories = fileURLToPath(new URL('../demo/public/models/tiny-stories-ternary/', import.meta.url));
const gguf = (name: string) => fileURLToPath(new URL(`./fixtures/gguf/${name}`, import.meta.url));
const token = 'hf_right';
const weights = 'model.safetensors';

/** Files of the embedded model. */
const tiny = (...names: string[]) => Object.fromEntries(names.map((name) => [name, readFileSync(tinyStories + name)]));
const tokenizer = () => tiny('tokenizer.json', 'tokenizer_config.json');
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** 56 MB: several records of the store. */
function largeFiles(): Record<string, Buffer> {
  const checkpoint = packedCheckpoint({ ...shape2B4T, layers: 2 });
  return {
    'config.json': json(checkpoint.config),
    'generation_config.json': json(checkpoint.generation),
    [weights]: Buffer.from(checkpointBytes(checkpoint).buffer),
    ...tokenizer(),
  };
}

const test = base.extend<{ hub: FakeHub }>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures it depends on here
  hub: async ({}, use) => {
    const small = { ...tiny('config.json', 'generation_config.json', weights), ...tokenizer() };
    const gelu = { ...JSON.parse(small['config.json']!.toString()), hidden_act: 'gelu' };
    const hub = await startFakeHub({
      'sterna/large': { files: largeFiles() },
      'sterna/small': { files: small },
      'sterna/gated': { files: small, gated: token },
      'sterna/two': {
        files: { 'one.gguf': readFileSync(gguf('tq2_0.gguf')), 'two.gguf': readFileSync(gguf('tq1_0.gguf')) },
      },
      'sterna/gelu': { files: { ...small, 'config.json': json(gelu) } },
    });
    await use(hub);
    await hub.close();
  },
});

const state = (page: Page, name: string) => expect(page.getByTestId('app')).toHaveAttribute('data-state', name);

/** The page on its embedded model, with a hub of its own. */
async function open(page: Page, hub: FakeHub): Promise<void> {
  await page.goto(`/index.html?hub=${hub.url}`);
  await state(page, 'ready');
}

/** Opens the chooser and looks at a repository or URL. */
async function look(page: Page, address: string): Promise<void> {
  await page.getByTestId('choose-model').click();
  await page.getByTestId('other-address').fill(address);
  await page.getByTestId('other-look').click();
}

async function openStorage(page: Page): Promise<void> {
  await page.getByTestId('choose-model').click();
  await page.getByTestId('open-storage').click();
}

/** A short greedy answer of the model of the page, in a chat of its own. */
async function answer(page: Page, text = 'Hello'): Promise<string> {
  const fresh = page.getByTestId('new-chat');
  if (await fresh.isEnabled()) await fresh.click();
  await page.getByTestId('settings').click();
  await page.getByTestId('setting-temperature').fill('0');
  await page.getByTestId('setting-maxTokens').fill('8');
  await page.getByTestId('settings-close').click();
  await page.getByTestId('composer').fill(text);
  await page.getByTestId('send').click();
  const last = page.getByTestId('message-assistant').last();
  await expect(last).toHaveAttribute('data-done', 'true');
  await expect(last.getByTestId('error')).toHaveCount(0);
  return (await last.locator('.answer > :first-child').textContent()) ?? '';
}

/** Lets the hub send the large weights slowly, and no byte after some 70 % of them. */
const hold = (hub: FakeHub) =>
  hub.faults.set(`sterna/large/${weights}`, { bytesPerSecond: 6e6, stall: { at: 40e6, times: 9 } });

/** Bytes that the hub has sent of the weights. */
const sent = (hub: FakeHub): number =>
  hub.requests.filter(({ path, file }) => (file ?? path).endsWith(weights)).reduce((sum, each) => sum + each.sent, 0);

test('a repository: looked at, downloaded, cancelled, resumed, kept without a network, deleted', async ({
  page,
  hub,
}) => {
  const size = largeFiles()[weights]!.length;
  await open(page, hub);
  await look(page, 'sterna/large');
  const start = page.getByTestId('start');
  await expect(start).toHaveText(/^Download 5\d MB and start$/);
  await expect(page.getByTestId('inspection')).toContainText('safetensors');
  expect(sent(hub)).toBeLessThan(size / 4); // the header, and what came with it

  hold(hub);
  await start.click();
  await expect(page.getByTestId('chooser')).toBeHidden();
  const progress = page.getByTestId('progress');
  await expect(progress).toHaveAttribute('data-phase', 'weights');
  await expect(page.getByTestId('load-amount')).toHaveText(/^\d+ MB of 5\d MB, \d+(\.\d)? MB\/s, \d+ s left$/);
  await expect(progress).toHaveAttribute('aria-valuenow', /^[678]\d$/);
  await page.getByTestId('cancel-load').click();
  await expect(page.getByTestId('error')).toHaveAttribute('data-code', 'aborted');
  await expect(page.getByTestId('kept')).toContainText('What has arrived is kept');
  await expect(page.getByTestId('retry')).toHaveText(/^\s*Resume, \d+ MB to go\s*$/);

  // another visit: the address has the model, and says what is left of the download
  await page.reload();
  await state(page, 'asking');
  await expect(start).toHaveText(/^Resume, \d+ MB to go$/);
  hub.faults.clear();
  hub.requests.length = 0;
  await start.click();
  await state(page, 'ready');
  expect(sent(hub)).toBeGreaterThan(0);
  expect(sent(hub)).toBeLessThan(size * 0.75);
  const words = await answer(page);

  // no network: the same address starts at once, and says the same
  hub.reachable = false;
  await page.reload();
  await state(page, 'ready');
  await expect(page.getByTestId('model-card')).toContainText('sterna/large');
  expect(await answer(page)).toBe(words);
  await openStorage(page);
  const stored = page.getByTestId('stored').filter({ hasText: 'sterna/large' });
  await expect(stored).toHaveAttribute('data-complete', 'true');
  await stored.getByTestId('check').click();
  await expect(stored.getByTestId('stored-result')).toContainText('every byte');

  await stored.getByTestId('delete').click();
  await stored.getByTestId('delete-no').click();
  await expect(stored).toHaveCount(1);
  await stored.getByTestId('delete').click();
  await stored.getByTestId('delete-yes').click();
  await expect(stored).toHaveCount(0);

  await page.reload();
  await expect(page.getByTestId('error')).toHaveAttribute('data-code', 'offline');
  hub.reachable = true;
  await page.getByTestId('look-again').click();
  await expect(start).toHaveText(/^Download 5\d MB and start$/);
});

test('a cancelled download can be thrown away', async ({ page, hub }) => {
  hold(hub);
  await page.goto(`/index.html?hub=${hub.url}&model=sterna/large`);
  await page.getByTestId('start').click();
  await expect(page.getByTestId('progress')).toHaveAttribute('aria-valuenow', /^[678]\d$/);
  await page.getByTestId('cancel-load').click();
  await page.getByTestId('discard').click();
  await expect(page.getByTestId('kept')).toHaveCount(0);
  await openStorage(page);
  await expect(page.getByTestId('quota')).toContainText('No models on this device');
  await expect(page.getByTestId('stored')).toHaveCount(0);
});

test('a second tab waits for the one that is downloading, and goes on when that stops', async ({
  page,
  hub,
  context,
}) => {
  hold(hub);
  const address = `/index.html?hub=${hub.url}&model=sterna/large`;
  await page.goto(address);
  await page.getByTestId('start').click();
  await expect(page.getByTestId('progress')).toHaveAttribute('data-phase', 'weights');
  const second = await context.newPage();
  await second.goto(address);
  await second.getByTestId('start').click();
  await expect(second.getByTestId('progress')).toHaveAttribute('data-phase', 'waiting');
  await expect(second.locator('.load-words')).toContainText('Another tab is downloading this model');
  hub.faults.clear();
  await page.getByTestId('cancel-load').click();
  await state(second, 'ready');
});

test('too little room: a card with what is needed, and a load that keeps nothing', async ({ page, hub }) => {
  await open(page, hub);
  const browser = await page.context().newCDPSession(page);
  await browser.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin, quotaSize: 30e6 });
  await look(page, 'sterna/large');
  await page.getByTestId('start').click();
  const card = page.getByTestId('error');
  await expect(card).toHaveAttribute('data-code', 'quota');
  await expect(card).toContainText(/Needed\s*\d\d MB\s*Free\s*(\d\d MB|less than that)/);
  await page.getByTestId('load-unkept').click();
  await state(page, 'ready');
  await expect(page.getByTestId('model-card')).toContainText('not kept');
});

test('a gated repository asks for a token, and the page forgets it', async ({ page, hub }) => {
  await open(page, hub);
  await look(page, 'sterna/gated');
  const card = page.getByTestId('inspection').getByTestId('error');
  await expect(card).toHaveAttribute('data-code', 'gated');
  const field = page.getByTestId('token');
  await expect(field).toHaveAttribute('type', 'password');
  await field.fill('hf_wrong');
  await page.getByTestId('token-use').click();
  await expect(card).toBeVisible();
  await expect(field).toHaveValue('');
  await field.fill(token);
  await page.getByTestId('token-use').click();
  await page.getByTestId('start').click();
  await expect(page.getByTestId('model-card')).toContainText('sterna/gated');
  await state(page, 'ready');
  expect(await page.evaluate(() => location.href + JSON.stringify([localStorage, sessionStorage]))).not.toContain(
    'hf_',
  );
  expect(hub.requests.filter(({ host, authorization }) => host === 'cdn' && authorization)).toEqual([]);
});

test('no such repository; one that is not supported: cards with what to do', async ({ page, hub }) => {
  await open(page, hub);
  await look(page, 'sterna/nowhere');
  const card = page.getByTestId('inspection').getByTestId('error');
  await expect(card).toHaveAttribute('data-code', 'hidden');
  await page.getByTestId('chooser-back').click();
  await page.getByTestId('other-address').fill('sterna/gelu');
  await page.getByTestId('other-look').click();
  await expect(card).toHaveAttribute('data-code', 'unsupported');
  for (const fact of ['config.json', 'hidden_act', 'gelu']) await expect(card).toContainText(fact);
  await page.getByTestId('chooser-back').click();
  hub.requests.length = 0;
  await page.getByTestId('other-address').fill('not a model');
  await page.getByTestId('other-look').click();
  await expect(page.getByTestId('other-address')).toHaveAttribute('aria-invalid', 'true');
  expect(hub.requests).toEqual([]);
});

test('a repository of several models asks which one, and the address keeps the choice', async ({ page, hub }) => {
  await page.goto(`/index.html?hub=${hub.url}&model=sterna/two`);
  await state(page, 'asking');
  await expect(page.getByTestId('file')).toHaveText(['one.gguf', 'two.gguf']);
  await page.getByTestId('file').last().click();
  await expect(page.getByTestId('inspection')).toContainText('GGUF TQ1_0');
  await page.getByTestId('start').click();
  await state(page, 'ready');
  expect(new URL(page.url()).searchParams.get('file')).toBe('two.gguf');
});

test('a GGUF file of this device starts, and is not kept', async ({ page, hub }) => {
  await open(page, hub);
  await page.getByTestId('choose-model').click();
  await page.getByTestId('model-files').setInputFiles(gguf('tq2_0.gguf'));
  await expect(page.getByTestId('inspection')).toContainText('GGUF TQ2_0');
  await page.getByTestId('start').click();
  await expect(page.getByTestId('model-card')).toContainText('tq2_0.gguf');
  await state(page, 'ready');
  await openStorage(page);
  await expect(page.getByTestId('stored').filter({ hasText: 'tq2_0' })).toHaveCount(0);
});

test('the chooser by keyboard: focus goes in, along and back; the list says what is here @firefox', async ({
  page,
  hub,
}) => {
  await open(page, hub);
  await look(page, 'sterna/small');
  await page.getByTestId('start').click();
  await expect(page.getByTestId('model-card')).toContainText('sterna/small');
  await state(page, 'ready');
  const opener = page.getByTestId('choose-model');
  await opener.focus();
  await page.keyboard.press('Enter');
  const title = page.locator('#chooser-title');
  await expect(title).toBeFocused();
  const small = page.getByTestId('model').filter({ hasText: 'sterna/small' });
  await expect(small).toHaveAttribute('data-standing', 'complete');
  await expect(small).toHaveAttribute('aria-current', 'true');
  await expect(page.getByTestId('model').filter({ hasText: 'BitNet' })).toHaveAttribute('data-standing', 'no');
  await page.getByTestId('open-storage').focus();
  await page.keyboard.press('Enter');
  await expect(title).toHaveText('On this device');
  await expect(title).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByTestId('chooser')).toBeHidden();
  await expect(opener).toBeFocused();
});
