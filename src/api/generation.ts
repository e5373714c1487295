/** An answer on its way from the engine to the page. */
import { transfer } from 'comlink';
import type { Chunk, GenerateOptions, GenerateResult } from '../protocol/generate-types';
import type { Answered, GenerateMessage, LogitsReply, Prompt } from '../protocol/protocol';
import { optionsFault } from './call-options';
import type { CallReading } from './chat';
import { type Engine, nextRequest } from './link';
import { createListener } from './listener';
import { callProcessor } from './logits-processor';

/**
 * An answer as it comes, or several (`n`). Iterate it for the tokens (once), or just await `result`. Leaving the loop
 * early aborts.
 */
export interface Generation<Result extends GenerateResult = GenerateResult> extends AsyncIterable<Chunk> {
  /** The whole answer. Resolves also after an abort (finishReason `abort`); rejects with a SternaError on failure. */
  readonly result: Promise<Result>;
  /** Ends all answers at the next barrier; what was generated so far is kept. */
  abort(): void;
}

/** Asks for an answer; `prompt` is called when it is the engine's turn, and may throw. `reading` takes calls out of the text. */
export const startGeneration = (
  engine: Engine,
  prompt: () => Prompt,
  options: GenerateOptions,
  reading?: CallReading,
): Generation => startAnswer(engine, prompt, options, reading, ({ result }) => result);

/**
 * The same, with a prompt that may have to be waited for.
 * @param finish makes the result of the engine's reply; whatever it does is done when the answer ends
 */
export function startAnswer<Result extends GenerateResult>(
  { api, call, orEnd, abort, buffer }: Engine,
  prompt: () => Prompt | Promise<Prompt>,
  options: GenerateOptions,
  reading: CallReading | undefined,
  finish: (answered: Answered) => Result,
): Generation<Result> {
  const fault = optionsFault(options);
  const { signal, onPrefill, onToken, logitsProcessor, ...settings } = fault ? {} : options;
  const id = nextRequest();
  const { port1, port2 } = new MessageChannel();
  const tokens = createListener(onToken);
  const prompts = createListener(onPrefill);
  const chunks: Chunk[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  const processor =
    logitsProcessor && callProcessor(logitsProcessor, buffer, (reply: LogitsReply) => port1.postMessage(reply));
  const stop = (): void => {
    if (over) return;
    abort(id);
    processor?.abort();
  };
  const deliver = (chunk: Chunk): void => {
    chunks.push(chunk);
    wake?.();
    tokens.tell(chunk);
  };

  // the port's messages and the call's reply come over different channels: the last chunks may come after the reply
  let expected = Number.POSITIVE_INFINITY;
  let settle: () => void = () => {};
  const delivered = new Promise<void>((resolve) => {
    settle = resolve;
  });
  let received = 0;
  port1.onmessage = ({ data }: MessageEvent<GenerateMessage>) => {
    received++;
    if ('chunk' in data) deliver(reading ? reading.chunk(data.chunk) : data.chunk);
    if ('row' in data) void processor?.handle(data.row);
    if ('prefill' in data) prompts.tell(data.prefill);
    if (received >= expected) settle();
  };

  const result = (async (): Promise<Result> => {
    try {
      if (fault) throw fault;
      if (signal?.aborted) stop(); // the answer then ends before its first token
      signal?.addEventListener('abort', stop);
      const given = prompt();
      const ready = given instanceof Promise ? await given : given;
      const processed = processor !== undefined;
      const answer = await call(() => api.generate(id, ready, settings, transfer(port2, [port2]), processed));
      expected = answer.messages;
      if (received < expected) await orEnd(() => delivered);
      if (!reading) return finish(answer);
      const { rest, result: read } = reading.end(answer.result);
      for (const chunk of rest) deliver(chunk);
      return finish({ ...answer, result: read });
    } catch (error) {
      throw processor?.failure() ?? error;
    } finally {
      signal?.removeEventListener('abort', stop);
      port1.close();
      over = true;
      wake?.();
    }
  })();
  result.catch(() => {}); // whoever iterates gets the error from the iteration

  async function* iterate(): AsyncGenerator<Chunk> {
    try {
      for (;;) {
        const chunk = chunks.shift();
        if (chunk) yield chunk;
        else if (over) break;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      await result;
    } finally {
      if (!over) {
        stop();
        await result.catch(() => {}); // the model is free for the next call when the loop has been left
      }
    }
  }
  return { result, abort: stop, [Symbol.asyncIterator]: iterate };
}
