import { expect, test } from 'vitest';
import {
  branch,
  type Chat,
  endUnder,
  joined,
  keepable,
  newChat,
  type Turn,
  titleFrom,
  versionsIn,
  withTurn,
} from './chat';

const empty = (): Chat => newChat({ sampling: {}, engine: {} });
const turn = (id: string, parent: string | null, role: Turn['role'], text = id): Turn => ({
  id,
  parent,
  role,
  text,
  at: 1,
});

/** A question with two answers; the second one went on. */
const tree = [
  turn('q', null, 'user', 'Tell me a story.'),
  turn('a1', 'q', 'assistant'),
  turn('a2', 'q', 'assistant'),
  turn('more', 'a2', 'user'),
  turn('end', 'more', 'assistant'),
].reduce(withTurn, empty());

test('the branch on show goes from the first turn to the leaf', () => {
  expect(branch(tree).map(({ id }) => id)).toEqual(['q', 'a2', 'more', 'end']);
  expect(branch({ ...tree, leaf: 'a1' }).map(({ id }) => id)).toEqual(['q', 'a1']);
  expect(branch(empty())).toEqual([]);
});

test('versions stand beside each other, and a version leads to its newest end', () => {
  const [q, a1] = tree.turns as [Turn, Turn];
  expect(versionsIn(tree)(a1).map(({ id }) => id)).toEqual(['a1', 'a2']);
  expect(versionsIn(tree)(q)).toHaveLength(1);
  expect(endUnder(tree, 'a2')).toBe('end');
  expect(endUnder(tree, 'a1')).toBe('a1');
  expect(endUnder(tree, 'q')).toBe('end');
});

test('a title is the first line of the first message, cut between words', () => {
  expect(tree.title).toBe('Tell me a story.');
  expect(titleFrom('  Hello\tthere  \nmore')).toBe('Hello there');
  const long = 'Tell me a story about a dog who lost his ball in the big dark forest';
  expect(titleFrom(long)).toBe('Tell me a story about a dog who lost his ball in…');
  expect(titleFrom('x'.repeat(99))).toBe(`${'x'.repeat(48)}…`);
});

test('two copies joined hold the turns of both, and of each turn the fuller text', () => {
  const here = withTurn({ ...tree, title: 'here' }, turn('here', 'end', 'user'));
  const there = withTurn({ ...tree, title: 'there' }, turn('there', 'end', 'user'));
  const half = { ...there, changedAt: here.changedAt + 1, turns: there.turns.map((t) => ({ ...t, text: '' })) };
  const both = joined(here, half);
  expect(both.turns.map(({ id }) => id)).toEqual(['q', 'a1', 'a2', 'more', 'end', 'here', 'there']);
  expect(both.turns[1]?.text).toBe('a1');
  expect([both.title, both.leaf]).toEqual(['there', 'there']);
  expect(joined(half, here)).toMatchObject({ title: 'there', leaf: 'there' });
});

test('an answer without a word that never ended is not kept, and does not stay on show', () => {
  const begun = withTurn(tree, turn('begun', 'end', 'assistant', ''));
  expect(keepable(begun)).toEqual({ ...begun, leaf: 'end', turns: tree.turns });
  expect(keepable(tree)).toEqual(tree);
});
