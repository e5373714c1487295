import { expect, test } from 'vitest';
import { type Chat, newChat, type Turn, withTurn } from './chat';
import { search } from './search';

const chat = (...texts: string[]): Chat =>
  texts.reduce<Chat>(
    (made, text, index) => {
      const role = index % 2 === 0 ? 'user' : 'assistant';
      return withTurn(made, { id: `${texts[0]}${index}`, parent: made.leaf, role, text, at: 0 } as Turn);
    },
    newChat({ sampling: {}, engine: {} }),
  );

const dog = chat(
  'A dog',
  'Once upon a time there was a dog in a Café.\n\nHe was happy all day long, and then he slept.',
);
const cat = chat('A cat', 'The cat sat.');

test('every word must be there, in title or text, whatever case and accents', () => {
  expect(search([dog, cat], 'CAT').map((hit) => hit.chat)).toEqual([cat]);
  expect(search([dog, cat], 'a').map((hit) => hit.chat)).toEqual([dog, cat]);
  expect(search([dog, cat], 'dog cafe')).toHaveLength(1);
  expect(search([dog, cat], 'dog sat')).toEqual([]);
});

test('a hit shows where; one in the title needs no more', () => {
  expect(search([dog], 'cafe')[0]).toMatchObject({
    turn: dog.turns[1],
    snippet: [
      'Once upon a time there was a dog in a '.slice(-36).replace(/^/, '…'),
      'Café',
      '. He was happy all day long, and th…',
    ],
  });
  expect(search([dog], 'dog')[0]).toEqual({ chat: dog });
});

test('letters that have no single plain one do not shift the place', () => {
  const odd = chat('Odd', 'İstanbul, ﬁne, 𝒜 dog');
  expect(search([odd], 'dog')[0]?.snippet?.[1]).toBe('dog');
});

test('the branch on show comes first; other branches are searched too', () => {
  const answer = (id: string, text: string): Turn => ({ id, parent: 'A dog0', role: 'assistant', text, at: 0 });
  const branched = withTurn(withTurn(chat('A dog'), answer('old', 'a red ball')), answer('new', 'a blue ball'));
  expect(search([branched], 'ball')[0]?.turn?.id).toBe('new');
  expect(search([branched], 'red')[0]?.turn?.id).toBe('old');
});
