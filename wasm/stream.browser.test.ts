/** The plain read, against a loop over the words. */
import { describe, expect, test } from 'vitest';
import { BUILDS, openLab } from '../e2e/kernel-lab';
import { someTokens } from '../e2e/machine';

const xor = (words: Int32Array): number => words.reduce((all, word) => all ^ word, 0);

describe.each(BUILDS)('$name', (build) => {
  test('every word counts, and none beside them', async () => {
    const lab = await openLab(build);
    for (const words of [0, 32, 64, 96, 4096, 32 * 1001]) {
      const data = Int32Array.from(someTokens(words, 2 ** 24, words + 1), (word, i) => word ^ (i << 24));
      const at = lab.put(data);
      expect(lab.kernels.readMemory(at, words * 4), `${words} words`).toBe(xor(data));
    }
  });
});
