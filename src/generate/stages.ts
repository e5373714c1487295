/** The stages of an answer, in the order in which they see its logits. What must have the last word stands last. */
import { logitBias } from './logit-bias';
import type { LogitsStage } from './logits-stage';
import { processorStages, type RowChanger } from './processor-stage';
import type { CompleteSettings } from './settings';

/** Makes the stages of answer `answer`, which may have `room` tokens: each answer has its own. */
export type StagesOf = (answer: number, room: number) => LogitsStage[];

/**
 * @param page where it has a `logitsProcessor`
 * @param format makes the stage that holds an answer to its format
 * @throws SternaError `bad-input` for options that do not fit the model
 */
export function stagesOf(
  settings: CompleteSettings,
  vocab: number,
  prompt: number[],
  page?: RowChanger,
  format?: (room: number) => LogitsStage,
): StagesOf {
  const bias = logitBias(settings.logitBias, vocab); // keeps nothing of an answer
  const processed = page && processorStages(page, prompt);
  return (answer, room) => [bias, processed?.(answer), format?.(room)].filter((stage) => stage !== undefined);
}
