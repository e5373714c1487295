/** `GenerateOptions.logitBias` as a stage. */
import { SternaError } from '../errors';
import type { LogitsStage } from './logits-stage';

/** The biases of tokens, or undefined where there are none. @throws SternaError `bad-input` for an id outside the vocabulary */
export function logitBias(biases: Record<number, number>, vocab: number): LogitsStage | undefined {
  const list = Object.entries(biases).map(([id, bias]) => ({ token: Number(id), bias }));
  const outside = list.find(({ token }) => token >= vocab);
  if (outside) {
    throw new SternaError('bad-input', 'token id in logitBias', {
      got: outside.token,
      expected: `0 to ${vocab - 1}`,
    });
  }
  if (list.length === 0) return undefined;
  return {
    apply(logits) {
      for (const { token, bias } of list) logits[token]! += bias;
    },
    accept() {},
  };
}
