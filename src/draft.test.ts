import { describe, expect, it } from 'vitest';
import { createDrafter, createLookup, createPassCosts, type PassCosts } from './draft';
import { createRandom } from './sampler';

/** The longest run that ends the text and stood before, up to 32 tokens, by comparing everything. */
function slowFind(tokens: number[]): { next: number; length: number } | undefined {
  let best: { next: number; length: number } | undefined;
  for (let next = tokens.length - 1; next >= 2; next--) {
    let length = 0;
    while (length < 32 && length < next && tokens[next - 1 - length] === tokens.at(-1 - length)) length++;
    if (length >= 2 && length > (best?.length ?? 0)) best = { next, length };
  }
  return best;
}

function lookupOf(tokens: number[]) {
  const lookup = createLookup();
  for (const token of tokens) lookup.push(token);
  return lookup;
}

describe('the lookup', () => {
  it('finds the longest earlier run, the latest of equals, as a slow search does', () => {
    const random = createRandom(5);
    for (let text = 0; text < 30; text++) {
      const vocab = 4 + (text % 3) * 3;
      const tokens: number[] = [];
      const lookup = createLookup();
      for (let i = 0; i < 40; i++) {
        expect(lookup.find()).toEqual(slowFind(tokens));
        const token = Math.floor(random() * vocab);
        tokens.push(token);
        lookup.push(token);
      }
    }
  });

  it('looks at no more than 32 tokens of a run, and takes the latest place then', () => {
    const verse = Array.from({ length: 50 }, (_, i) => i);
    expect(lookupOf([...verse, ...verse, ...verse]).find()).toEqual({ next: 100, length: 32 });
    expect(lookupOf([...verse, 99, ...verse.slice(0, 20)]).find()).toEqual({ next: 20, length: 20 });
  });

  it('finds nothing in a text without repetition, in one token, or in none', () => {
    for (const tokens of [[], [1], [1, 2], [1, 2, 3, 4, 1], [1, 1]]) {
      expect(lookupOf(tokens).find()).toBeUndefined();
    }
    expect(lookupOf([1, 1, 1]).find()).toEqual({ next: 2, length: 2 });
  });

  it('follows a match, and goes on in its circle where the text ends', () => {
    const lookup = lookupOf([7, 8, 9, 1, 2, 3, 7, 8]);
    const match = lookup.find()!;
    expect(match).toEqual({ next: 2, length: 2 });
    expect(lookup.follow(match, 4)).toEqual([9, 1, 2, 3]);
    expect(lookup.follow(match, 9)).toEqual([9, 1, 2, 3, 7, 8, 9, 1, 2]);
    expect(lookup.follow(match, 0)).toEqual([]);
  });

  it('tells pairs of the largest ids apart', () => {
    const most = 2 ** 21 - 1;
    expect(lookupOf([most, most - 1, 3, most - 1, most, 5, most, most - 1]).find()).toEqual({ next: 2, length: 2 });
  });
});

/** Decodes `text` with passes that take `time(rows)` ms. */
function play(text: number[], prompt: number[], time: (rows: number) => number, costs: PassCosts, always = false) {
  const drafter = createDrafter(prompt, costs, always, 8);
  let ms = 0;
  let most = 0;
  drafter.push(text[0]!);
  for (let at = 1; at < text.length; ) {
    const draft = drafter.draft(text.length - at - 1);
    let right = 1;
    while (right <= draft.length && draft[right - 1] === text[at + right - 1]) right++;
    const rows = 1 + draft.length;
    most = Math.max(most, rows);
    ms += time(rows);
    drafter.passed(rows, right, time(rows));
    for (const token of text.slice(at, at + right)) drafter.push(token);
    at += right;
  }
  return { drafted: drafter.drafted, accepted: drafter.accepted, most, share: ms / (time(1) * (text.length - 1)) };
}

/** Passes of 2 to 4 rows in so many times the time of one, of 5 to 8 in 4.5 times. */
const measured = (rows: number): number => (rows <= 4 ? 10 * rows : 45);
const random = createRandom(9);
const story = Array.from({ length: 600 }, () => Math.floor(random() * 4000));
/** The story, with a word in every `gap` replaced. */
const edited = (gap: number): number[] => story.map((token, i) => (i % gap === gap - 1 ? 5000 + i : token));

describe('the policy', () => {
  it('drafts where a text is copied, and gains what the costs allow', () => {
    const copy = play(story, story, measured, createPassCosts());
    expect(copy.most).toBe(8);
    expect(copy.accepted / copy.drafted).toBeGreaterThan(0.95);
    expect(copy.share).toBeLessThan(0.62); // eight tokens in 4.5 passes are 0.56
    expect(play(edited(40), story, measured, createPassCosts()).share).toBeLessThan(0.8);
  });

  it('drafts nothing where nothing is repeated', () => {
    const free = Array.from({ length: 600 }, () => Math.floor(random() * 4000));
    expect(play(free, story, measured, createPassCosts())).toMatchObject({ drafted: 0, share: 1 });
  });

  it('stays within its allowance where runs tempt it and fail', () => {
    for (const [gap, costly] of [
      [3, measured],
      [6, measured],
      [12, measured],
      [18, measured],
      [40, (rows: number) => 10 * rows],
      [40, (rows: number) => 30 * rows],
    ] as const) {
      const costs = createPassCosts();
      for (let answer = 0; answer < 5; answer++) {
        const { share } = play(edited(gap), story, costly, costs);
        expect(share, `a changed word in ${gap}, answer ${answer}`).toBeLessThan(1.02);
      }
    }
  });

  it('learns what passes cost on this machine', () => {
    // memory-bound: more rows cost little
    const wide = play(edited(12), story, (rows) => 10 + rows, createPassCosts());
    expect(wide.share).toBeLessThan(0.6);
    const costs = createPassCosts();
    play(story, story, (rows) => 12 * rows, costs);
    expect(costs.single).toBeCloseTo(12);
    expect(play(story, story, (rows) => 12 * rows, costs).drafted).toBeLessThan(100);
  });

  it('drafts at every match when it is told to, and never more than there is room for', () => {
    const always = play(edited(6), story, measured, createPassCosts(), true);
    expect(always.drafted).toBeGreaterThan(600);
    const drafter = createDrafter([1, 2, 3, 1, 2], createPassCosts(), true, 4);
    expect(drafter.draft(9)).toEqual([3, 1, 2]);
    expect(drafter.draft(2)).toEqual([3, 1]);
    expect(drafter.draft(0)).toEqual([]);
    expect(drafter.draft(-1)).toEqual([]);
  });
});
