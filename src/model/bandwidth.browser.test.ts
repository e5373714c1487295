/** The read of all ternary weights: which bytes the threads read together, and the public call. */
import { expect, test } from 'vitest';
import { openMachine } from '../../e2e/machine';
import { fetchModel, hfPacked, tinyStories } from '../../e2e/reading';
import { load } from '../api/model';
import { createReading } from './bandwidth';

test.each([1, 2, 3, 7])('%i threads read each ternary weight once', async (threads) => {
  const { pool, plan, memory, words } = await openMachine(await fetchModel(hfPacked), { kernel: 'lut8' });
  const all = plan.layers.flatMap((l) => [l.query, l.key, l.value, l.output, l.gate, l.up, l.down]);
  let right = 0;
  for (const { at, paddedRows, paddedCols } of all) {
    const weights = new Int32Array(memory.buffer, at, (paddedRows * paddedCols) / 16);
    // no two words alike, so that one read twice does not go unseen
    weights.forEach((_, i) => {
      weights[i] = Math.imul(at + i * 4, 0x9e3779b1);
    });
    right = weights.reduce((sum, word) => sum ^ word, right);
  }
  let read = 0;
  for (let rank = 0; rank < threads; rank++) {
    read ^= createReading({ kernels: pool.kernels, plan: { ...plan, threads }, rank, words })();
  }
  expect(read).toBe(right);
});

test('a loaded model measures its bandwidth, and answers as before', async () => {
  const model = await load({ url: tinyStories }, { threads: 2 });
  const ids = [0, 434, 445, 261, 400];
  const greedy = { temperature: 0, maxTokens: 8, ignoreEos: true };
  const { tokens } = await model.complete(ids, greedy).result;
  const measuring = model.measureBandwidth();
  await expect(model.measureBandwidth()).rejects.toMatchObject({ code: 'busy' });
  const { bytes, ms, bytesPerSecond } = await measuring;
  expect(bytes).toBe(model.info.bytes.ternary);
  expect(ms).toBeGreaterThan(0);
  expect(bytesPerSecond).toBeCloseTo((bytes * 1000) / ms, -3);
  const again = await model.complete([...ids, ...tokens.slice(0, 2)], greedy).result;
  expect(again.tokens.slice(0, 6)).toEqual(tokens.slice(2));
  expect(again.usage.cachedTokens).toBeGreaterThan(0);
  await expect(model.measureBandwidth({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  await model.dispose();
});
