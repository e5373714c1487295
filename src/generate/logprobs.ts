/**
 * Log probabilities: the natural log softmax of the model's own logits, before anything changes them. exp and log are the
 * kernels', and every sum has one order: the same bits everywhere, and those of `perplexity`.
 */

import type { Kernels } from '../model/kernels';
import type { MemoryPlan } from '../model/memory';
import type { Logprob, TokenLogprobs } from '../protocol/generate-types';

export interface Logprobs {
  /** Takes notice of a row of logits, whole, where the model wrote it; it may change afterwards. */
  read(logits: Float32Array): void;
  /** Of a token under the row read last. */
  of(token: number): TokenLogprobs;
}

/** The `count` largest of `logits`, the largest first, of equals the lower id. At least 1. */
export function largest(logits: Float32Array, count: number): { token: number; logit: number }[] {
  const most = Math.max(count, 1);
  const found: { token: number; logit: number }[] = [];
  let least = -Infinity; // of what is found, when that is full
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (found.length === most && !(logit > least)) continue;
    const after = found.findIndex((other) => other.logit < logit);
    found.splice(after < 0 ? found.length : after, 0, { token, logit });
    if (found.length > most) found.pop();
    least = found.at(-1)!.logit;
  }
  return found;
}

/** @param count how many of the most likely tokens are wanted with each */
export function createLogprobs(kernels: Kernels, { head, config }: MemoryPlan, count: number): Logprobs {
  const row = new Float32Array(config.vocab);
  let top: Logprob[] = [];
  let logSum = 0; // of exp of the logits
  return {
    read(logits) {
      row.set(logits);
      const best = largest(row, count);
      const max = best[0]!.logit;
      logSum = kernels.log(kernels.expSum(logits.byteOffset, head.paddedVocab, max, 1, 0)) + max;
      top = best.slice(0, count).map(({ token, logit }) => ({ token, logprob: logit - logSum }));
    },
    of: (token) => ({ token, logprob: row[token]! - logSum, topLogprobs: top }),
  };
}
