/** Unequal cores: work that a slow thread leaves to the others gives the same bits. */
import { wrap } from 'comlink';
import { describe, expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import type { KernelName } from '../../src/model/memory';
import type { BenchHost } from './engine.worker';
import { serveSpawns } from './spawn';

const ids = Array.from({ length: 70 }, (_, i) => 3 + ((i * 997) % 4000));

describe.each(['dot32', 'dot16', 'lut8'] as KernelName[])('%s', (kernel) => {
  test('the same logits, whichever thread is slow', async () => {
    const worker = new Worker(new URL('./engine.worker.ts', import.meta.url), { type: 'module' });
    serveSpawns(worker);
    const engine = wrap<BenchHost>(worker);
    const options = { kernel, threads: 3, contextLength: 256 };
    await engine.open({ url: new URL(tinyStories, location.href).href, options });
    const right = await engine.logits(ids);
    expect(right.some((logit) => logit !== right[0])).toBe(true);
    for (const slowness of [
      [3, 1],
      [1, 5],
      [7, 7],
    ]) {
      await engine.slow(slowness);
      expect(await engine.logits(ids), `${slowness}`).toEqual(right);
    }
    worker.terminate();
  });
});
