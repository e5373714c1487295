/** The client of the package `openai` against a server: the same code runs on `model.openai` in openai.browser.test.ts. */
import OpenAI from 'openai';
import { afterAll, beforeAll, test } from 'vitest';
import { startFakeOpenAI } from '../../e2e/fake-openai';
import * as code from '../../e2e/openai-code';

let stop: () => void;
let client: code.Client;
beforeAll(async () => {
  const server = await startFakeOpenAI();
  stop = server.stop;
  client = new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });
});
afterAll(() => stop());

test.each(Object.entries(code).filter(([, run]) => typeof run === 'function'))('%s', async (_, run) => {
  await (run as (client: code.Client) => Promise<void>)(client);
});
