/** `GenerateOptions.logitsProcessor` on the engine's side: a stage that has each row changed by the page. */
import { fromRecord, SternaError } from '../errors';
import type { GenerateMessage, LogitsReply } from '../protocol/protocol';
import type { LogitsStage } from './logits-stage';

/** The page, as far as it changes rows of logits. */
export interface RowChanger {
  /** Sends the page a row; it replies over `port`. */
  tell: (message: GenerateMessage) => void;
  port: MessagePort;
  /** The page sees the memory; else rows are copied there and back. */
  shared: boolean;
}

/** @throws SternaError `bad-input` for a row that nothing can be chosen from */
function check(logits: Float32Array): void {
  const fail = (got: string): never => {
    const expected = 'numbers, -Infinity for what is forbidden, and something to choose';
    throw new SternaError('bad-input', 'logitsProcessor left logits that no token can be chosen from', {
      got,
      expected,
    });
  };
  let most = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (Number.isNaN(logit) || logit === Infinity) fail(`${logit} for token ${token}`);
    if (logit > most) most = logit;
  }
  if (most === -Infinity) fail('-Infinity for all tokens');
}

/** Makes the stage of each answer to `prompt`. One row is with the page at a time. */
export function processorStages({ tell, port, shared }: RowChanger, prompt: number[]): (answer: number) => LogitsStage {
  let settle: (reply: LogitsReply) => void = () => {};
  port.onmessage = ({ data }: MessageEvent<LogitsReply>) => settle(data);
  return (answer) => {
    let added = [...prompt]; // tokens that the page has not been told of
    return {
      async apply(logits) {
        const { byteOffset: at, length } = logits;
        const row = shared ? { at, length } : logits.slice();
        tell({ row: { answer, added, promptTokens: prompt.length, logits: row } });
        added = [];
        const reply = await new Promise<LogitsReply>((resolve) => {
          settle = resolve;
        });
        if ('error' in reply) throw fromRecord(reply.error);
        if (reply.logits) logits.set(reply.logits);
        check(logits);
      },
      accept: (token) => void added.push(token),
    };
  };
}
