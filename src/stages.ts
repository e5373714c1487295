/** The stages of an answer, in the order in which they see its logits. What must have the last word stands last. */
import { logitBias } from './logit-bias';
import type { LogitsStage } from './logits-stage';
import type { CompleteSettings } from './settings';

/** Makes the stages of answer `answer`: each answer has its own. */
export type StagesOf = (answer: number) => LogitsStage[];

/** @throws SternaError `bad-input` for options that do not fit the model */
export function stagesOf(settings: CompleteSettings, vocab: number): StagesOf {
  const bias = logitBias(settings.logitBias, vocab); // keeps nothing of an answer
  return () => [bias].filter((stage) => stage !== undefined);
}
