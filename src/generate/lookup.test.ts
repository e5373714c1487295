import { describe, expect, it } from 'vitest';
import { createLookup } from './lookup';
import { createRandom } from './sampler';

/** The longest run that ends the text and stood before, up to 32 tokens, by comparing everything. */
function slowFind(tokens: number[]): { next: number; length: number; resumed: boolean } | undefined {
  let best: { next: number; length: number; resumed: boolean } | undefined;
  for (let next = tokens.length - 1; next >= 2; next--) {
    let length = 0;
    while (length < 32 && length < next && tokens[next - 1 - length] === tokens.at(-1 - length)) length++;
    if (length >= 2 && length > (best?.length ?? 0)) best = { next, length, resumed: false };
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
      const vocab = 5 + (text % 3) * 3;
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
    expect(lookupOf([...verse, ...verse, ...verse]).find()).toMatchObject({ next: 100, length: 32 });
    expect(lookupOf([...verse, 99, ...verse.slice(0, 20)]).find()).toMatchObject({ next: 20, length: 20 });
  });

  it('finds nothing in a text without repetition, in one token, or in none', () => {
    for (const tokens of [[], [1], [1, 2], [1, 2, 3, 4, 1], [1, 1]]) {
      expect(lookupOf(tokens).find()).toBeUndefined();
    }
    expect(lookupOf([1, 1, 1]).find()).toMatchObject({ next: 2, length: 2 });
  });

  it('follows a match, and goes on in its circle where the text ends', () => {
    const lookup = lookupOf([7, 8, 9, 1, 2, 3, 7, 8]);
    const match = lookup.find()!;
    expect(match).toMatchObject({ next: 2, length: 2 });
    expect(lookup.follow(match, 4)).toEqual([9, 1, 2, 3]);
    expect(lookup.follow(match, 9)).toEqual([9, 1, 2, 3, 7, 8, 9, 1, 2]);
    expect(lookup.follow(match, 0)).toEqual([]);
  });

  it('tells pairs of the largest ids apart', () => {
    const most = 2 ** 21 - 1;
    expect(lookupOf([most, most - 1, 3, most - 1, most, 5, most, most - 1]).find()).toMatchObject({
      next: 2,
      length: 2,
    });
  });

  it('goes on where a copy does after a change, though its words stand elsewhere too', () => {
    const source = [1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 1, 2, 19, 20, 21, 1, 2, 22, 23, 1, 2, 24];
    const changed = [...source.slice(2, 12), 99, ...source.slice(13, 16), 1, 2];
    const lookup = createLookup();
    const found = [...source, ...changed].map((token) => {
      lookup.push(token);
      return lookup.find();
    });
    // within the source, [1, 2] is taken for its latest place
    expect(found.slice(0, source.length).filter((match) => match !== undefined)).toEqual([
      { next: 2, length: 2, resumed: false },
      { next: 13, length: 2, resumed: false },
      { next: 18, length: 2, resumed: false },
    ]);
    const answer = found.slice(source.length);
    expect(answer[9]).toEqual({ next: 12, length: 10, resumed: true });
    expect(answer[10]).toBeUndefined(); // the change
    expect(answer[11]).toBeUndefined(); // one token is too little
    expect(answer[12]).toEqual({ next: 15, length: 2, resumed: true });
    expect(answer.at(-1)).toEqual({ next: 18, length: 5, resumed: true });
  });

  it('forgets a copy that does not go on', () => {
    const source = Array.from({ length: 60 }, (_, i) => i);
    const other = Array.from({ length: 40 }, (_, i) => 100 + i);
    const lookup = createLookup();
    const find = (tokens: number[]) => {
      for (const token of tokens) {
        lookup.push(token);
        lookup.find();
      }
      return lookup.find();
    };
    expect(find([...source, ...source.slice(0, 10)])).toMatchObject({ next: 10, resumed: true });
    expect(find([...other.slice(0, 10), 21, 22])).toEqual({ next: 23, length: 2, resumed: true });
    expect(find([...other.slice(10), 51, 52])).toEqual({ next: 53, length: 2, resumed: false });
  });
});
