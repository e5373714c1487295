import { expect, test } from 'vitest';
import { type Chat, newChat, newId, withTurn } from './chat';
import { ChatHistory } from './history';
import { asides } from './set-aside';

const withText = (chat: Chat, role: 'user' | 'assistant', text: string): Chat =>
  withTurn(chat, { id: newId(), parent: chat.leaf, role, text, at: 1 });
const asked = (): Chat => withText(newChat({ sampling: {}, engine: {} }), 'user', 'Hello');

/** As a new page does. */
async function reopened(): Promise<ChatHistory> {
  const history = new ChatHistory(() => {});
  await history.read();
  return history;
}

test('what the store had not confirmed when the page closed is there in the next one', async () => {
  const history = await reopened();
  const question = asked();
  await history.save(question);
  const answer = withText(question, 'assistant', 'Once upon a time');
  const saving = history.save(answer);
  history.setAside(); // before the store has answered
  expect(asides().map(({ id, chat }) => [id, chat?.turns.length])).toEqual([[question.id, 2]]);
  await saving;
  expect(asides()).toEqual([]);

  // the page closed before its transaction was committed: the store has the question, localStorage the answer
  localStorage.setItem(`sterna.aside.${question.id}`, JSON.stringify(withText(answer, 'user', 'And then?')));
  const next = await reopened();
  expect(next.find(question.id)?.turns.map(({ text }) => text)).toEqual(['Hello', 'Once upon a time', 'And then?']);
  expect(asides()).toEqual([]);
  expect((await reopened()).find(question.id)?.turns).toHaveLength(3);
});

test('a chat that was being deleted when the page closed stays deleted', async () => {
  const history = await reopened();
  const chat = asked();
  await history.save(chat);
  const deleting = history.delete(chat.id);
  history.setAside();
  expect(asides()).toMatchObject([{ id: chat.id, chat: null }]);
  await deleting;

  await (await reopened()).save(chat);
  localStorage.setItem(`sterna.aside.${chat.id}`, 'null');
  expect((await reopened()).find(chat.id)).toBeUndefined();
});

test('what another tab has set aside since is not dropped', async () => {
  const history = await reopened();
  const chat = asked();
  const saving = history.save(chat);
  history.setAside();
  localStorage.setItem(`sterna.aside.${chat.id}`, JSON.stringify(withText(chat, 'assistant', 'From the other tab')));
  await saving;
  expect(asides()).toHaveLength(1);
  expect((await reopened()).find(chat.id)?.turns).toHaveLength(2);
});

test('what is saved while the chats are read again stays in the list', async () => {
  const history = await reopened();
  const chat = asked();
  await history.save(chat);
  const [answer, other] = [withText(chat, 'assistant', 'Once'), asked()];
  const reading = history.read(); // as another tab has changed something
  const saving = [history.save(answer), history.save(other)];
  await reading;
  expect(history.find(chat.id)?.turns).toHaveLength(2);
  expect(history.find(other.id)).toBeDefined();
  await Promise.all(saving);
  expect((await reopened()).find(other.id)).toEqual(other);
});
