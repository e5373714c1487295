/** What `create` with `stream: true` gives: chunks to be iterated once, split in two, or as bytes. */
import { SternaError } from '../errors';
import type { CompletionStream } from './openai-types';

/** Two iterations of the same chunks, each at its own speed; the source is left when both have been left. */
function split<T>(source: AsyncIterator<T>): [AsyncIterator<T>, AsyncIterator<T>] {
  const waiting: Promise<IteratorResult<T>>[][] = [[], []];
  let left = 0;
  const side = (own: number): AsyncIterator<T> => ({
    async next() {
      if (waiting[own]!.length === 0) {
        const next = source.next();
        for (const side of waiting) side.push(next);
      }
      return waiting[own]!.shift()!;
    },
    async return() {
      if (++left === 2) await source.return?.();
      return { done: true, value: undefined };
    },
  });
  return [side(0), side(1)];
}

/** One JSON text a line, in UTF-8; cancelling it leaves the iteration. */
function toLines(chunks: AsyncIterator<unknown>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(stream) {
      const { done, value } = await chunks.next();
      if (done) stream.close();
      else stream.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
    },
    async cancel() {
      await chunks.return?.();
    },
  });
}

/** @param iterate begins the iteration; called once */
export function createStream<T>(controller: AbortController, iterate: () => AsyncIterator<T>): CompletionStream<T> {
  let begun = false;
  const once = (): AsyncIterator<T> => {
    const facts = { expected: 'one loop, tee() or toReadableStream()', got: 'a second' };
    if (begun) throw new SternaError('bad-input', 'the stream has been read', facts);
    begun = true;
    return iterate();
  };
  return {
    controller,
    [Symbol.asyncIterator]: once,
    tee() {
      const [one, other] = split(once());
      return [createStream(controller, () => one), createStream(controller, () => other)];
    },
    toReadableStream: () => toLines(once()),
  };
}
