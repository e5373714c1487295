// scale(): every element times the factor, once rounded.
import { expect, test } from 'vitest';
import { bitDifference, gaussian, openLabs, prng } from '../e2e/kernel-lab';

const labs = await openLabs();

test.each(labs)('$name', (lab) => {
  for (const n of [4, 8, 60, 1024, 2308]) {
    for (const factor of [12, 0.1, -3, 1 / 9]) {
      lab.reset();
      const x = gaussian(n, prng(n));
      const at = lab.put(x);
      lab.kernels.scale(at, n, factor);
      const wanted = x.map((v) => v * Math.fround(factor));
      expect(bitDifference(lab.f32(at, n), wanted), `${n} times ${factor}`).toBe('');
      expect(lab.overruns()).toEqual([]);
    }
  }
});
