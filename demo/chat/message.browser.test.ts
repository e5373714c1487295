import { expect, test } from 'vitest';
import type { Turn } from './chat';
import { ChatMessage } from './message';

/** A message on the page. */
async function shown(turn: Partial<Turn>): Promise<ChatMessage> {
  const message = new ChatMessage();
  message.turn = { id: 'a', parent: null, role: 'user', text: '', at: 0, ...turn };
  document.body.replaceChildren(message);
  await message.updateComplete;
  return message;
}

const at = (message: ChatMessage, id: string) => message.querySelector<HTMLElement>(`[data-testid=${id}]`);

test('only an answer that broke off here is called interrupted', async () => {
  const answer = { parent: 'q', role: 'assistant', text: 'Once' } as const;
  expect(at(await shown({ ...answer, unfinished: true }), 'unfinished')?.textContent).toContain('Interrupted');
  expect(at(await shown(answer), 'unfinished')).toBe(null);
  const live = await shown({ ...answer, unfinished: true });
  live.live = { id: 'a', reading: undefined, tokens: 1, tokensPerSecond: 1 };
  await live.updateComplete;
  expect(at(live, 'unfinished')).toBe(null);
});

test.each([
  ['many lines', 'line\n'.repeat(40)],
  ['many words', 'words '.repeat(400)],
])('a question of %s shows its beginning, and all of it when asked to', async (_, text) => {
  const message = await shown({ text });
  const said = message.querySelector<HTMLElement>('.said')!;
  expect(said.classList.contains('cut')).toBe(true);
  expect(said.textContent).toBe(text); // for screen readers and copies it is all there
  const button = at(message, 'whole')!;
  expect(button.getAttribute('aria-expanded')).toBe('false');
  button.click();
  await message.updateComplete;
  expect(said.classList.contains('cut')).toBe(false);
  expect(button.textContent).toContain('less');
  message.turn = { ...message.turn, id: 'b' };
  await message.updateComplete;
  expect(said.classList.contains('cut')).toBe(true);
});

test('a short question is shown whole', async () => {
  const message = await shown({ text: 'Why is the sky blue?' });
  expect(at(message, 'whole')).toBe(null);
  expect(message.querySelector('.said.cut')).toBe(null);
});
