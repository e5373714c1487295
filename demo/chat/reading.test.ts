import { expect, test } from 'vitest';
import { read, secondsLeft } from './reading';

test('the time that is left follows from what was read, not from what was in the cache', () => {
  const start = read(undefined, { done: 1000, total: 3000 }, 50);
  expect(secondsLeft(start)).toBeUndefined();
  const later = read(start, { done: 1500, total: 3000 }, 2050);
  expect(later).toMatchObject({ from: 1000, began: 50, done: 1500 });
  expect(secondsLeft(later)).toBeCloseTo(6); // 500 tokens took 2 s
  expect(secondsLeft(read(later, { done: 3000, total: 3000 }, 9000))).toBeUndefined();
});
