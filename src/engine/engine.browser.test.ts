/** The engine without a worker around it, so that calls and the page's words in its memory can meet at one moment. */
import { expect, test } from 'vitest';
import { tinyStories } from '../../e2e/reading';
import { ABORT } from '../model/memory';
import type { GenerateMessage } from '../protocol/protocol';
import { createEngine } from './engine';

test('an abort that has been heard stays, also where the page has named another request since', async () => {
  const engine = createEngine(
    () => expect.fail('one thread needs no kernel worker'),
    () => expect.fail('no answer has a format'),
  );
  const request = { source: { url: tinyStories }, options: { threads: 1, cache: false } };
  const loaded = await engine.load(1, request, () => {});
  if (!('value' in loaded)) expect.fail(loaded.error.message);
  const words = new Int32Array(loaded.value.memory!.buffer);
  const { port1, port2 } = new MessageChannel();
  const heard = new Promise<void>((resolve) => {
    port1.onmessage = ({ data }: MessageEvent<GenerateMessage>) => {
      if (!('chunk' in data) || data.chunk.index < 2) return;
      void engine.abort(2);
      Atomics.store(words, ABORT / 4, 3);
      resolve();
    };
  });
  const settings = { temperature: 0, ignoreEos: true, maxTokens: 300 };
  const answer = engine.generate(2, { text: 'Once' }, settings, port2, false);
  await heard;
  // a call that comes now waits for the end, and is not busy
  const next = engine.evaluate(4, [0, 434]);
  const reply = await answer;
  if (!('value' in reply)) expect.fail(reply.error.message);
  expect(reply.value.result.finishReason).toBe('abort');
  expect(reply.value.result.tokens.length).toBeLessThan(300);
  expect(await next).toHaveProperty('value');
});
