/** What stands between the logits of an answer and its sampler. */

/** A step between logits and sampler, of one answer. */
export interface LogitsStage {
  /**
   * Called once for each token to be chosen, with the row of logits f32[vocab], which it may change; -Infinity forbids a
   * token. Every logit is there: none is left out by screening. The row must not be kept, and promises are only for what
   * cannot be had at once: each costs a turn of the event loop. What it throws ends the call; `aborted` ends the answer, as
   * an abort does.
   */
  apply(logits: Float32Array): void | Promise<void>;
  /** Told of every token of the answer when it has been chosen; of a stop token too, before the answer ends. */
  accept(token: number): void;
  /** Of a stage that holds the answer to a format. */
  format?: AnswerFormat;
}

/** What a format says of an answer. */
export interface AnswerFormat {
  /** Whole, and nothing may follow: the answer ends. */
  finished(): boolean;
  /** Whole as it is. */
  complete(): boolean;
  /** Whether a text would be whole. */
  accepts(text: string): boolean;
}

/** Applies the stages in their order. A promise only where a stage gave one. */
export function applyStages(stages: readonly LogitsStage[], logits: Float32Array, first = 0): void | Promise<void> {
  for (let i = first; i < stages.length; i++) {
    const later = stages[i]!.apply(logits);
    if (later) return later.then(() => applyStages(stages, logits, i + 1));
  }
}
