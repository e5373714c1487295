/** The chat page as a visitor uses it. */
import { expect, type Page } from '@playwright/test';

/** Opens the page; `query` is the end of its address. */
export async function ready(page: Page, query = ''): Promise<void> {
  await page.goto(`/index.html${query}`);
  await expect(page.getByTestId('app')).toHaveAttribute('data-state', 'ready');
}

/** Sets fields of the settings panel. */
export async function set(page: Page, values: Record<string, string>): Promise<void> {
  await page.getByTestId('settings').click();
  for (const [name, value] of Object.entries(values)) await page.getByTestId(`setting-${name}`).fill(value);
  await page.getByTestId('settings-close').click();
}

export async function send(page: Page, text: string): Promise<void> {
  await page.getByTestId('composer').fill(text);
  await page.getByTestId('send').click();
}

export const answers = (page: Page) => page.getByTestId('message-assistant');

/** The text of an answer, once it is done. */
export async function answered(page: Page, index = 0): Promise<string> {
  const answer = answers(page).nth(index);
  await expect(answer).toHaveAttribute('data-done', 'true');
  return (await answer.locator('.prose').textContent()) ?? '';
}

/** The chats in the list, and one of them by its title. */
export const chats = (page: Page) => page.getByTestId('chat');
export const chatNamed = (page: Page, title: string | RegExp) => chats(page).filter({ hasText: title });

/** Short answers that are always the same. */
export const brief = { temperature: '0', maxTokens: '12' };

/** Asks in a new chat, and waits for the answer. */
export async function ask(page: Page, text: string): Promise<string> {
  const fresh = page.getByTestId('new-chat');
  if (await fresh.isEnabled()) await fresh.click();
  await send(page, text);
  return answered(page);
}

/** A file of chats as the page exports it. `texts`: questions and answers by turns. */
export function chatsFile(...chats: { title: string; texts: string[] }[]): {
  name: string;
  mimeType: string;
  buffer: Buffer;
} {
  const records = chats.map(({ title, texts }, chat) => ({
    id: `chat-${chat}`,
    title,
    createdAt: 1_760_000_000_000 + chat,
    changedAt: 1_760_000_000_000 + chat,
    settings: { sampling: {}, engine: {} },
    turns: texts.map((text, turn) => ({
      id: `${chat}-${turn}`,
      parent: turn === 0 ? null : `${chat}-${turn - 1}`,
      role: turn % 2 === 0 ? 'user' : 'assistant',
      text,
      at: 1_760_000_000_000,
    })),
    leaf: texts.length === 0 ? null : `${chat}-${texts.length - 1}`,
  }));
  const text = JSON.stringify({ format: 'sterna-chats', version: 1, chats: records });
  return { name: 'chats.json', mimeType: 'application/json', buffer: Buffer.from(text) };
}

/** Takes in a file of chats. */
export async function importChats(page: Page, file: ReturnType<typeof chatsFile>): Promise<void> {
  if ((await page.getByTestId('transfer').count()) === 0) await page.getByTestId('history-more').click();
  await page.getByTestId('import').setInputFiles(file);
}
