/**
 * Drafting by prompt lookup: what followed the last tokens where they stood before, in prompt or answer, is a guess at
 * what follows now; a pass over several rows tells how much of it is right. (LLMA, Yang et al. 2023, arXiv:2304.04487;
 * prompt lookup decoding, Saxena 2023.) Guesses only decide which rows are computed together, never what is sampled.
 *
 * Whether a guess is worth its rows depends on the machine, so costs are measured, and chances are learned from guesses
 * that were not checked too: the tokens tell whether they were right.
 */

import type { KernelName } from '../model/memory';
import { createLookup, LONGEST, type Match } from './lookup';

/** Rows of a pass that checks a draft: the last token and the guesses. dot16 takes 4 rows at a time, the GEMM 16. */
const ROWS = [2, 4, 8, 16];
/** Guesses at every match, where they are always wanted. */
const ALWAYS = 7;
/** What such a pass costs, in passes of one row, as long as it was not measured; `dot16` takes several rows at once. */
const FIRST_RATIOS: Record<KernelName, number[]> = {
  dot16: [1.4, 2.3, 4.7, 8],
  dot32: [1.8, 3.5, 4.5, 8],
  lut8: [1.8, 3.5, 4.5, 8],
};
/** A draft must promise this many times the speed. */
const GAIN = 1.05;
/** Passes of one row that are measured before the first draft. */
const MEASURED = 4;
/** Most that drafts can have in hand, in passes of one row, and what they get for each pass: they may lose as much. */
const CREDIT = { first: 1.5, most: 8, a_pass: 0.005 };

/** A moving average of at most WINDOW values. */
interface Average {
  value: number;
  count: number;
}
const WINDOW = 8;

function learn(average: Average, value: number): void {
  // a pass that was held up by something else says nothing
  const bounded = average.count > MEASURED ? Math.min(value, 1.5 * average.value) : value;
  average.count++;
  average.value += (bounded - average.value) / Math.min(average.count, WINDOW);
}

/** Measured times of passes, kept from answer to answer. */
export interface PassCosts {
  /** ms of a pass of one row. */
  single: Average;
  /** Times of passes of ROWS rows over that of one; what is supposed counts as one measurement. */
  ratios: Average[];
  /** What they are supposed to be. */
  first: number[];
}

export const createPassCosts = (kernel: KernelName): PassCosts => ({
  single: { value: 0, count: 0 },
  ratios: FIRST_RATIOS[kernel].map((value) => ({ value, count: 1 })),
  first: FIRST_RATIOS[kernel],
});

/** Chances that a guess is right, by the logarithm of the run's length, where a copy goes on and elsewhere. */
const FIRST_CHANCES = { elsewhere: [0, 0.3, 0.6, 0.9, 0.95, 0.95], resumed: [0, 0.7, 0.85, 0.9, 0.95, 0.95] };

export interface Drafter {
  /** Guesses for the tokens after the last, to be checked in one pass: at most `most`, often none. */
  draft(most: number): number[];
  /** Takes notice of a token of the answer. */
  push(token: number): void;
  /** Takes notice of a pass: its rows, how many of them were right (the first always is), and its time. */
  passed(rows: number, right: number, ms: number): void;
  readonly drafted: number;
  readonly accepted: number;
}

/**
 * Drafts for one answer.
 * @param always at every match, as much as there is room for; else where it promises a gain
 * @param mostRows rows that a pass can have
 */
export function createDrafter(prompt: number[], costs: PassCosts, always: boolean, mostRows: number): Drafter {
  const lookup = createLookup();
  for (const token of prompt) lookup.push(token);
  let match = lookup.find();
  const chances = { elsewhere: [...FIRST_CHANCES.elsewhere], resumed: [...FIRST_CHANCES.resumed] };
  // what was too slow once gets another try
  for (const [i, ratio] of costs.ratios.entries()) ratio.value = 0.9 * ratio.value + 0.1 * costs.first[i]!;
  let drafted = 0;
  let accepted = 0;
  /** What drafts have gained, in passes of one row: those that were checked, and before, those on paper. */
  let credit = CREDIT.first;
  /** A draft that was not checked, and how many rows of the pass would have been right by now. */
  let paper: { guesses: number[]; right: number } | undefined;

  const chanceOf = ({ length, resumed }: Match): { list: number[]; at: number } => ({
    list: resumed ? chances.resumed : chances.elsewhere,
    at: 31 - Math.clz32(Math.min(length, LONGEST)),
  });
  const ratioOf = (rows: number): number => costs.ratios[ROWS.indexOf(rows)]?.value ?? rows;
  const settle = (gain: number): void => {
    credit = Math.min(CREDIT.most, credit + gain);
  };

  /**
   * The number of guesses, at most `most`, that promises most tokens a time; 0 where one row does.
   * @param risk passes of one row that may be lost
   */
  function bestGuesses(from: Match, most: number, risk: number): number {
    let [best, bestGain] = [0, GAIN];
    let [tokens, chance] = [1, 1];
    for (let guesses = 1; guesses <= most; guesses++) {
      const { list, at } = chanceOf({ ...from, length: from.length + guesses - 1 });
      chance *= list[at]!;
      tokens += chance;
      if (!ROWS.includes(guesses + 1) || ratioOf(guesses + 1) - 1 > risk) continue;
      const gain = tokens / ratioOf(guesses + 1);
      if (gain > bestGain) [best, bestGain] = [guesses, gain];
    }
    return best;
  }

  function push(token: number): void {
    if (match) {
      const { list, at } = chanceOf(match);
      const right = +(lookup.follow(match, 1)[0] === token);
      list[at] = 0.9 * list[at]! + 0.1 * right;
    }
    if (paper) {
      const { guesses, right } = paper;
      const wrong = guesses[right - 1] !== token;
      if (!wrong) paper.right++;
      if (wrong || right === guesses.length) {
        settle(paper.right - ratioOf(guesses.length + 1));
        paper = undefined;
      }
    }
    lookup.push(token);
    match = lookup.find();
  }

  return {
    push,
    draft(most) {
      const room = Math.min(most, mostRows - 1);
      if (!match || room < 1) return [];
      let count = Math.min(room, ALWAYS);
      if (!always) {
        if (costs.single.count < MEASURED) return [];
        count = bestGuesses(match, room, credit);
        const wished = count > 0 || paper ? 0 : bestGuesses(match, room, Number.POSITIVE_INFINITY);
        if (wished > 0) paper = { guesses: lookup.follow(match, wished), right: 1 };
      }
      if (count === 0) return [];
      paper = undefined;
      drafted += count;
      return lookup.follow(match, count);
    },
    passed(rows, right, ms) {
      if (rows === 1) {
        learn(costs.single, ms);
        settle(CREDIT.a_pass);
        return;
      }
      accepted += right - 1;
      if (costs.single.count < MEASURED) return;
      const ratio = ms / costs.single.value;
      settle(right - ratio);
      const size = ROWS.indexOf(rows);
      if (size >= 0) learn(costs.ratios[size]!, ratio);
    },
    get drafted() {
      return drafted;
    },
    get accepted() {
      return accepted;
    },
  };
}
