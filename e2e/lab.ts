/** Playwright's `test` with the model server, and with the lab page, whose `window.sterna` is the public API. */
import { test as base, type Page } from '@playwright/test';
import type { ErrorCode, LoadOptions } from '../src/index';
import { type ModelServer, startModelServer } from './model-server';

export { expect } from '@playwright/test';

export const test = base.extend<{ lab: Page }, { server: ModelServer }>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures it depends on here
    async ({}, use) => {
      const server = await startModelServer();
      await use(server);
      await server.close();
    },
    { scope: 'worker' },
  ],
  lab: async ({ page }, use) => {
    await openLab(page, '/lab.html');
    await use(page);
  },
});

export async function openLab(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.evaluate(() => window.sternaReady);
}

export const embedded = './models/tiny-stories-ternary/';

/** Loads a model into `window.model`, in place of the one that is there. */
export function loadModel(lab: Page, url = embedded, options: Omit<LoadOptions, 'onProgress' | 'signal'> = {}) {
  return lab.evaluate(
    async ([address, settings]) => {
      await window.model?.dispose();
      window.model = undefined;
      window.model = await window.sterna.load({ url: address }, settings);
      return window.model.info;
    },
    [url, options] as const,
  );
}

/** What a failed call is seen as from outside. */
export interface Seen {
  isSternaError: boolean;
  name: string;
  code: ErrorCode;
  message: string;
  file?: string;
  got?: string | number;
  expected?: string | number;
}

/** The error of a load; undefined if it succeeds. */
export function loadError(lab: Page, url: string): Promise<Seen | undefined> {
  return lab.evaluate(async (address) => {
    try {
      await (await window.sterna.load({ url: address })).dispose();
      return undefined;
    } catch (error) {
      const { name, code, message, file, got, expected } = error as InstanceType<typeof window.sterna.SternaError>;
      return { isSternaError: error instanceof window.sterna.SternaError, name, code, message, file, got, expected };
    }
  }, url);
}
