import { expect, test } from 'vitest';
import { tinyStories } from '../e2e/reading';
import { load } from '../src/index';
import { branch } from './chat';
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
