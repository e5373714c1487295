/** Where the last tokens of a text stood before, token by token. */

/** Longest run of tokens that is looked at. */
export const LONGEST = 32;
/** Earlier places that are looked at, the nearest first. */
const PLACES = 64;
/** A vocabulary has at most 2^21 tokens (sampler.ts), so that a pair of them is an exact number. */
const PAIR = 2 ** 21;
/** A run of this length is a copy; where its source goes on, give or take a few tokens, it goes on after a change. */
const COPY = 8;
const NEAR = 8;
/** So many tokens longer must a run be that is taken in place of one where the copy goes on. */
const TRUST = 4;
/** Tokens that a copy may differ from its source at a time. */
const PATIENCE = 24;

export interface Match {
  /** Index of the token after the earlier run. */
  next: number;
  /** Tokens of the run, 2 to LONGEST. */
  length: number;
  /** Whether it stands where a copy goes on. */
  resumed: boolean;
}

export interface Lookup {
  push(token: number): void;
  /**
   * Where the last two or more tokens stood before: where a copy goes on, else the longest run, the latest of equals.
   * Undefined if they never did.
   */
  find(): Match | undefined;
  /** The `count` tokens after a match. Where the text ends, the run between match and end is repeated. */
  follow(match: Match, count: number): number[];
}

/** A text that can be asked where its last tokens stood before; find() is called after each token. */
export function createLookup(): Lookup {
  const tokens: number[] = [];
  const last = new Map<number, number>(); // a pair of tokens -> index of the second, where it stood last
  const before: number[] = []; // for each index: where the pair that ends there ended before, or -1
  let source = -1; // where a copy goes on; -1: there is none
  let patience = 0;

  function runLength(end: number): number {
    const from = tokens.length - 1;
    let length = 2;
    while (length < LONGEST && length <= end && tokens[end - length] === tokens[from - length]) length++;
    return length;
  }
  const score = ({ length, resumed }: Match): number => length + (resumed ? TRUST : 0);

  return {
    push(token) {
      const at = tokens.push(token) - 1;
      const pair = at > 0 ? tokens[at - 1]! * PAIR + token : -1;
      before.push(last.get(pair) ?? -1);
      if (at > 0) last.set(pair, at);
      if (source >= 0) source++;
      if (--patience < 0) source = -1;
    },
    find() {
      let best: Match | undefined;
      let end = before.at(-1) ?? -1;
      for (let place = 0; place < PLACES && end >= 0; place++, end = before[end]!) {
        const next = end + 1;
        const match = { next, length: runLength(end), resumed: source >= 0 && Math.abs(next - source) <= NEAR };
        if (!best || score(match) > score(best)) best = match;
      }
      if (best && (best.resumed || best.length >= COPY)) [source, patience] = [best.next, PATIENCE];
      return best;
    },
    follow({ next }, count) {
      const period = tokens.length - next;
      return Array.from({ length: count }, (_, i) => tokens[next + (i % period)]!);
    },
  };
}
