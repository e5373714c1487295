/**
 * Drafting by prompt lookup: what followed the last tokens where they stood before, in prompt or answer, is a guess at
 * what follows now; a pass over several rows tells how much of it is right. (LLMA, Yang et al. 2023, arXiv:2304.04487;
 * prompt lookup decoding, Saxena 2023.) Guesses only decide which rows are computed together, never what is sampled.
 */

/** Shortest and longest run of tokens that is looked for. */
const SHORTEST = 2;
const LONGEST = 32;
/** Earlier places that are looked at, the nearest first. */
const PLACES = 16;
/** A vocabulary has at most 2^21 tokens (sampler.ts), so that a pair of them is an exact number. */
const PAIR = 2 ** 21;

export interface Match {
  /** Index of the token after the earlier run. */
  next: number;
  /** Tokens of the run, SHORTEST to LONGEST. */
  length: number;
}

export interface Lookup {
  push(token: number): void;
  /** Where the last tokens stood before: the longest run, the latest of equals. Undefined if they never did. */
  find(): Match | undefined;
  /** The `count` tokens after a match. Where the text ends, the run between match and end is repeated. */
  follow(match: Match, count: number): number[];
}

/** A text that can be asked where its last tokens stood before. */
export function createLookup(): Lookup {
  const tokens: number[] = [];
  const last = new Map<number, number>(); // a pair of tokens -> index of the second, where it stood last
  const before: number[] = []; // for each index: where the pair that ends there ended before, or -1

  function runLength(end: number): number {
    const from = tokens.length - 1;
    let length = SHORTEST;
    while (length < LONGEST && length <= end && tokens[end - length] === tokens[from - length]) length++;
    return length;
  }
  return {
    push(token) {
      const at = tokens.push(token) - 1;
      const pair = at > 0 ? tokens[at - 1]! * PAIR + token : -1;
      before.push(last.get(pair) ?? -1);
      if (at > 0) last.set(pair, at);
    },
    find() {
      let best: Match | undefined;
      let end = before.at(-1) ?? -1;
      for (let place = 0; place < PLACES && end >= 0; place++, end = before[end]!) {
        const length = runLength(end);
        if (length > (best?.length ?? 0)) best = { next: end + 1, length };
        if (length === LONGEST) break;
      }
      return best;
    },
    follow({ next }, count) {
      const period = tokens.length - next;
      return Array.from({ length: count }, (_, i) => tokens[next + (i % period)]!);
    },
  };
}

/** Rows of a pass that checks a draft: the last token and the guesses. Eight rows are one group of the GEMM. */
const ROWS = [2, 4, 8];
const MOST_ROWS = 8;
/** What such a pass costs, in passes of one row, as long as it was not measured: rather less than it will be. */
const FIRST_RATIO = [1.6, 3, 4];
/** A draft must promise this many times the speed. */
const GAIN = 1.1;
/** What drafts may have lost at any time: passes of one row, and a share of the time so far. */
const LOSS = { passes: 2, share: 0.005 };
/** Passes of one row that are measured before the first draft. */
const MEASURED = 4;

/** Measured times of passes, kept from answer to answer. */
export interface PassCosts {
  /** ms of a pass of one row: a moving average over `passes` of them. */
  single: number;
  passes: number;
  /** Times of passes of ROWS rows over that of one, moving averages. */
  ratios: number[];
}

export const createPassCosts = (): PassCosts => ({ single: 0, passes: 0, ratios: [...FIRST_RATIO] });

/**
 * Chances that the guess after a run of so many tokens is right, by the logarithm of the run's length: moving averages,
 * from what is usual.
 */
const chanceClass = (length: number): number => 31 - Math.clz32(length);
const FIRST_CHANCES = [0, 0.4, 0.6, 0.8, 0.9, 0.95];

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
 * @param always at every match, as much as there is room for; else where measured times and the luck of guesses so far
 * (also of those that were not checked) promise a gain
 * @param mostRows rows that a pass can have
 */
export function createDrafter(prompt: number[], costs: PassCosts, always: boolean, mostRows: number): Drafter {
  const lookup = createLookup();
  for (const token of prompt) lookup.push(token);
  let match = lookup.find();
  const chances = [...FIRST_CHANCES];
  costs.ratios = costs.ratios.map((ratio, i) => 0.9 * ratio + 0.1 * FIRST_RATIO[i]!); // what was too slow once gets another try
  let drafted = 0;
  let accepted = 0;
  let spent = 0;
  let gained = 0; // ms, against passes of one row

  /** The number of rows, 1 = no draft, that promises most tokens a time. */
  function bestRows(length: number, most: number): number {
    if (costs.passes < MEASURED || gained < -LOSS.passes * costs.single - LOSS.share * spent) return 1;
    let [best, bestGain] = [1, GAIN];
    let [tokens, chance] = [1, 1];
    for (let guesses = 1; guesses <= most; guesses++) {
      chance *= chances[chanceClass(Math.min(length + guesses - 1, LONGEST))]!;
      tokens += chance;
      const size = ROWS.indexOf(guesses + 1);
      const gain = size < 0 ? 0 : tokens / costs.ratios[size]!;
      if (gain > bestGain) [best, bestGain] = [guesses + 1, gain];
    }
    return best;
  }

  function push(token: number): void {
    if (match) {
      const right = +(lookup.follow(match, 1)[0] === token);
      const at = chanceClass(match.length);
      chances[at] = 0.9 * chances[at]! + 0.1 * right;
    }
    lookup.push(token);
    match = lookup.find();
  }
  return {
    push,
    draft(most) {
      const room = Math.min(most, mostRows - 1, MOST_ROWS - 1);
      if (!match || room < 1) return [];
      const guesses = always ? room : bestRows(match.length, room) - 1;
      drafted += guesses;
      return lookup.follow(match, guesses);
    },
    passed(rows, right, ms) {
      spent += ms;
      if (rows === 1) {
        // a pass that was held up by something else says nothing
        const time = costs.passes > MEASURED ? Math.min(ms, 2 * costs.single) : ms;
        costs.passes++;
        costs.single += (time - costs.single) / Math.min(costs.passes, 16);
        return;
      }
      gained += right * costs.single - ms;
      accepted += right - 1;
      const size = ROWS.indexOf(rows);
      if (size >= 0 && costs.passes >= MEASURED)
        costs.ratios[size] = 0.7 * costs.ratios[size]! + 0.3 * (ms / costs.single);
    },
    get drafted() {
      return drafted;
    },
    get accepted() {
      return accepted;
    },
  };
}
