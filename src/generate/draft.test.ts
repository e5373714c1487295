import { describe, expect, it } from 'vitest';
import { createDrafter, createPassCosts, type PassCosts } from './draft';
import { createRandom } from './sampler';

/** Decodes `text` with passes that take `time(rows)` ms. */
function play(text: number[], prompt: number[], time: (rows: number) => number, costs: PassCosts, always = false) {
  const drafter = createDrafter(prompt, costs, always, 16);
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

/** Passes of 2 to 4 rows in so many times the time of one, of 5 to 8 in 4.5 times, of 16 in 8 times. */
const measured = (rows: number): number => (rows <= 4 ? 10 * rows : rows <= 8 ? 45 : 80);
const random = createRandom(9);
const story = Array.from({ length: 600 }, () => Math.floor(random() * 4000));
/** The story, with a word in every `gap` replaced. */
const edited = (gap: number): number[] => story.map((token, i) => (i % gap === gap - 1 ? 5000 + i : token));

describe('the policy', () => {
  it('drafts where a text is copied, and gains what the costs allow', () => {
    const copy = play(story, story, measured, createPassCosts('dot32'));
    expect(copy.most).toBe(16);
    expect(copy.accepted / copy.drafted).toBeGreaterThan(0.95);
    expect(copy.share).toBeLessThan(0.62); // 16 tokens in 8 passes are 0.5
    expect(play(edited(40), story, measured, createPassCosts('dot32')).share).toBeLessThan(0.8);
  });

  it('drafts nothing where nothing is repeated', () => {
    const free = Array.from({ length: 600 }, () => Math.floor(random() * 4000));
    expect(play(free, story, measured, createPassCosts('dot32'))).toMatchObject({ drafted: 0, share: 1 });
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
      const costs = createPassCosts('dot32');
      for (let answer = 0; answer < 5; answer++) {
        const { share } = play(edited(gap), story, costly, costs);
        expect(share, `a changed word in ${gap}, answer ${answer}`).toBeLessThan(1.02);
      }
    }
  });

  it('learns what passes cost on this machine', () => {
    // memory-bound: more rows cost little
    const wide = play(edited(12), story, (rows) => 10 + rows, createPassCosts('dot32'));
    expect(wide.share).toBeLessThan(0.65);
    const costs = createPassCosts('dot32');
    play(story, story, (rows) => 12 * rows, costs);
    expect(costs.single.value).toBeCloseTo(12);
    expect(play(story, story, (rows) => 12 * rows, costs).drafted).toBeLessThan(100);
  });

  it('drafts at every match when it is told to, and never more than there is room for', () => {
    const always = play(edited(6), story, measured, createPassCosts('dot32'), true);
    expect(always.drafted).toBeGreaterThan(600);
    const drafter = createDrafter([1, 2, 3, 1, 2], createPassCosts('dot32'), true, 4);
    expect(drafter.draft(9)).toEqual([3, 1, 2]);
    expect(drafter.draft(2)).toEqual([3, 1]);
    expect(drafter.draft(0)).toEqual([]);
    expect(drafter.draft(-1)).toEqual([]);
  });
});
