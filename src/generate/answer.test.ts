/** An answer with stages between logits and sampler, and how it ends. */
import { describe, expect, it } from 'vitest';
import { SternaError } from '../errors';
import type { Chunk } from '../protocol/generate-types';
import { beginAnswer } from './answer';
import type { LogitsStage } from './logits-stage';
import { createSampler } from './sampler';
import { validateSettings } from './settings';

const VOCAB = 6;
const STOP = 5;

/** A greedy answer; token 5 ends it. */
function begin(stages: LogitsStage[], more: object = {}) {
  const settings = validateSettings({ temperature: 0, seed: 1, ...more });
  const sampler = createSampler(settings, VOCAB, () => expect.fail('greedy needs no exp'));
  const chunks: Chunk[] = [];
  const emit = (chunk: Chunk): void => void chunks.push(chunk);
  const context = { tokenizer: undefined, stopTokens: new Set([STOP]), room: 3, emit };
  const writing = beginAnswer(context, settings, { tokens: [], sequence: 0 }, sampler, 0, stages);
  return { writing, chunks };
}
const row = (...logits: number[]): Float32Array => Float32Array.from(logits);

/** A stage that writes down what it sees, and adds 1 to the logit of one token. */
function noting(name: string, notes: string[], token: number): LogitsStage {
  return {
    apply(logits) {
      notes.push(`${name} ${logits.join(' ')}`);
      logits[token]! += 1;
    },
    accept: (chosen) => void notes.push(`${name} took ${chosen}`),
  };
}
const later = ({ apply, accept }: LogitsStage): LogitsStage => ({
  apply: async (logits) => {
    await Promise.resolve();
    await apply(logits);
  },
  accept,
});

describe('stages of an answer', () => {
  it('see the logits in order, and every token', () => {
    const notes: string[] = [];
    const { writing } = begin([noting('a', notes, 0), noting('b', notes, 1)]);
    expect(writing.take(row(0, 0.5, 1, 0, 0, 0))).toBe(undefined);
    expect(writing.tokens).toEqual([1]);
    expect(notes).toEqual(['a 0 0.5 1 0 0 0', 'b 1 0.5 1 0 0 0', 'a took 1', 'b took 1']);
  });

  it('hear of a stop token before the answer ends', () => {
    const notes: string[] = [];
    const ended: boolean[] = [];
    const { writing, chunks } = begin([
      noting('a', notes, 0),
      { apply() {}, accept: () => void ended.push(writing.ended()) },
    ]);
    writing.take(row(0, 0, 3, 0, 0, 0));
    writing.take(row(0, 0, 0, 0, 0, 3));
    expect(notes.filter((note) => note.includes('took'))).toEqual(['a took 2', `a took ${STOP}`]);
    expect(ended).toEqual([false, false]);
    expect(writing.answer()).toMatchObject({ tokens: [2], finishReason: 'stop' });
    expect(chunks.map(({ token }) => token)).toEqual([2]);
  });

  it('may take their time; the others wait', async () => {
    for (const slow of [[0], [1], [0, 1], [2]]) {
      const notes: string[] = [];
      const all = ['a', 'b', 'c'].map((name, token) => noting(name, notes, token));
      const { writing } = begin(all.map((stage, i) => (slow.includes(i) ? later(stage) : stage)));
      const promise = writing.take(row(0, 0, 0, 0.5, 0, 0));
      expect(writing.tokens).toEqual([]);
      await promise;
      expect(notes.slice(0, 3)).toEqual(['a 0 0 0 0.5 0 0', 'b 1 0 0 0.5 0 0', 'c 1 1 0 0.5 0 0']);
      expect(writing.tokens).toEqual([0]);
    }
  });

  it('come before the penalties', () => {
    const { writing } = begin([noting('', [], 0)], { repetitionPenalty: 4 });
    writing.take(row(1, 0, 0, 0, 0, 0));
    writing.take(row(1, 0.6, 0, 0, 0, 0)); // (1 + 1) / 4 against 0.6; 1 / 4 + 1 would win
    expect(writing.tokens).toEqual([0, 1]);
  });

  it('throw: the answer’s own error, at once or later; `aborted` ends it', async () => {
    const failing = (error: unknown): LogitsStage => ({
      apply() {
        throw error;
      },
      accept() {},
    });
    const wrong = new Error('wrong');
    expect(() => begin([failing(wrong)]).writing.take(row(0, 0, 0, 0, 0, 0))).toThrow(wrong);
    await expect(begin([later(failing(wrong))]).writing.take(row(0, 0, 0, 0, 0, 0))).rejects.toThrow(wrong);
    const aborted = begin([later(failing(new SternaError('aborted', 'it was')))]).writing;
    await aborted.take(row(0, 0, 0, 0, 0, 0));
    expect(aborted.answer()).toMatchObject({ tokens: [], finishReason: 'abort' });
  });

  it('leave no token: bad-input', () => {
    const nothing: LogitsStage = { apply: (logits) => void logits.fill(-Infinity), accept() {} };
    const expected = expect.objectContaining({ code: 'bad-input', got: -Infinity });
    expect(() => begin([nothing]).writing.take(row(0, 0, 0, 0, 0, 0))).toThrow(expected);
  });
});
