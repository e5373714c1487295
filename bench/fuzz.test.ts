/** A short run of `npm run fuzz`: the long one is for changes of a parser. */
import { expect, test } from 'vitest';
import { fuzz, makeInput, targets } from './fuzz';

test('5,000 damaged files are accepted, or refused with a typed error', async () => {
  // only what does not end counts as too slow here: the machine may be busy
  const { counts, failures } = await fuzz({ seed: 7, count: 5000, milliseconds: 10_000 });
  expect(failures).toEqual([]);
  for (const [parser, kinds] of Object.entries(counts)) {
    const { accepted = 0, failed = 0, ...refused } = kinds;
    expect({ parser, failed }).toEqual({ parser, failed: 0 });
    // both ends are reached by each
    expect(accepted, parser).toBeGreaterThan(5);
    expect(
      Object.values(refused).reduce((a, b) => a + b, 0),
      parser,
    ).toBeGreaterThan(100);
  }
}, 120_000);

test.each(Object.keys(targets))('%s: an input follows from seed and number alone', async (parser) => {
  const target = await targets[parser]!();
  const first = makeInput(target, 3, 12);
  expect(makeInput(target, 3, 12)).toEqual(first);
  expect([1, 2, 3].map((number) => makeInput(target, 3, number))).not.toContainEqual(first);
});
