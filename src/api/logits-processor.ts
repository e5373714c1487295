/** `GenerateOptions.logitsProcessor` on the page's side: calls it with the rows that the engine sends. */
import { SternaError, toRecord } from '../errors';
import type { LogitsProcessor } from '../protocol/generate-types';
import type { LogitsReply, LogitsRow } from '../protocol/protocol';

export interface ProcessorCalls {
  handle(row: LogitsRow): Promise<void>;
  /** The answer was aborted: nobody waits for the function any more. */
  abort(): void;
  /** What the function threw, with that as its `cause`. */
  failure(): SternaError | undefined;
}

/**
 * Where memory is shared, a function that has returned at once is given the row itself. The first call, and all calls of
 * one that gave a promise, get a copy: after an abort, it may still write when the row has become another answer's.
 * @param memory shared with the engine, or undefined
 */
export function callProcessor(
  process: LogitsProcessor,
  memory: () => ArrayBufferLike | undefined,
  send: (reply: LogitsReply) => void,
): ProcessorCalls {
  const tokensOf: number[][] = [];
  let direct: boolean | undefined;
  let pending = false;
  let aborted = false;
  let failure: SternaError | undefined;

  const reply = (message: LogitsReply): void => {
    if (pending) send(message);
    pending = false;
  };
  const replyAborted = (): void => reply({ error: toRecord(new SternaError('aborted', 'the answer was aborted')) });

  async function handle({ answer, added, promptTokens, logits }: LogitsRow): Promise<void> {
    tokensOf[answer] ??= [];
    const tokens = tokensOf[answer];
    for (const token of added) tokens.push(token);
    pending = true;
    if (aborted) return replyAborted();
    try {
      const copied = logits instanceof Float32Array;
      const view = copied ? logits : new Float32Array(memory() as ArrayBuffer, logits.at, logits.length);
      const row = copied || direct ? view : view.slice();
      const { length } = row;
      const later = process(row, { tokens: [...tokens], promptTokens, answer });
      direct = direct !== false && !later;
      if (later) await later;
      if (!pending) return;
      if (row.length !== length) throw new Error('the row of logits has been transferred to another thread');
      if (row !== view) view.set(row);
      reply(copied ? { logits: row } : {});
    } catch (error) {
      if (!pending) return;
      const got = error instanceof Error ? error.message : String(error);
      failure = new SternaError('bad-input', 'logitsProcessor threw', { got, expected: 'no error' });
      failure.cause = error;
      reply({ error: toRecord(failure) });
    }
  }
  return {
    handle,
    abort() {
      aborted = true;
      replyAborted();
    },
    failure: () => failure,
  };
}
