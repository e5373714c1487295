import { expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { load } from '../../src/index';
import { branch, versionsIn } from './chat';
import { Conversation } from './conversation';

test('questions that come together while an answer is under way are answered in turn', async () => {
  const model = await load({ url: tinyStories });
  let began = (): void => {};
  const beginning = new Promise<void>((resolve) => {
    began = resolve;
  });
  const settings = { sampling: { temperature: 0 }, engine: {} };
  const conversation = new Conversation(
    settings,
    () => {},
    () => {
      if (conversation.live?.tokens) began();
    },
  );
  const asked = [conversation.ask('A story about a dog', model)];
  await beginning;
  asked.push(conversation.ask('One about a cat', model), conversation.ask('And a bird', model));
  await Promise.all(asked);
  expect([...conversation.problems]).toEqual([]);
  const turns = branch(conversation.chat);
  expect(turns.filter(({ role }) => role === 'user').map(({ text }) => text)).toEqual([
    'A story about a dog',
    'One about a cat',
    'And a bird',
  ]);
  expect(turns.at(-1)?.figures?.finishReason).not.toBe('abort');
  expect(conversation.running).toBe(false);
  await model.dispose();
});

test('an answer that was cut goes on as another version; what fails leaves the cut one on show', async () => {
  const model = await load({ url: tinyStories });
  const settings = (maxTokens: number) => ({ sampling: { temperature: 0, maxTokens }, engine: {} });
  const conversation = new Conversation(
    settings(30),
    () => {},
    () => {},
  );
  const last = () => branch(conversation.chat).at(-1)!;
  await conversation.ask('A story about a dog', model);
  const whole = last().text;
  conversation.configure(settings(12));
  await conversation.regenerate(last(), model);
  const cut = last();
  expect(cut.figures?.finishReason).toBe('length');
  expect(whole.startsWith(cut.text)).toBe(true);
  conversation.configure(settings(18));
  await conversation.goOn(cut, model);
  expect(last().text).toBe(whole);
  expect(last()).toMatchObject({ parent: cut.parent, figures: { usage: { completionTokens: 18 } } });
  expect(versionsIn(conversation.chat)(cut)).toHaveLength(3);

  const { turns } = conversation.chat;
  conversation.configure({ sampling: { temperature: -1 }, engine: {} });
  await conversation.goOn(last(), model);
  expect([conversation.chat.turns, last().text]).toEqual([turns, whole]);
  expect(conversation.problems.get(last().id)?.code).toBe('bad-input');
  await model.dispose();
});
