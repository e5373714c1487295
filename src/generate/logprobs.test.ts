import { describe, expect, it } from 'vitest';
import { largest } from './logprobs';
import { createRandom } from './sampler';

describe('the largest logits', () => {
  it('are those of a full sort, of equals the lower id', () => {
    const random = createRandom(5);
    for (let round = 0; round < 500; round++) {
      const steps = [1, 3, 1000][round % 3]!;
      const length = 1 + Math.floor(random() * 60);
      const logits = Float32Array.from({ length }, () => (random() < 0.1 ? -Infinity : Math.floor(random() * steps)));
      const sorted = [...logits.entries()].sort(([i, a], [j, b]) => (a === b ? i - j : b - a));
      for (const count of [1, 2, 5, 20]) {
        const expected = sorted.slice(0, count).map(([token, logit]) => ({ token, logit }));
        expect(largest(logits, count)).toEqual(expected);
      }
      expect(largest(logits, 0)).toEqual(largest(logits, 1));
    }
  });
});
