/** The session over the pool: what is reused, and that passes that were aborted or have failed leave nothing behind. */
import { beforeAll, describe, expect, test } from 'vitest';
import { packedCheckpoint, shapeOdd } from '../../bench/synthesize';
import { bitDifference, openMachine, rowsOf, someTokens } from '../../e2e/machine';
import { type ModelFiles, syntheticModel } from '../../e2e/reading';
import { openRemote } from '../../e2e/remote';
import { fromRecord, SternaError } from '../errors';
import { append, commonPrefix, logitsView, rowsOf as nextRows, prefill, type Session } from './session';

const files: ModelFiles = syntheticModel(packedCheckpoint({ ...shapeOdd, layers: 3 }));
const { vocab } = shapeOdd;
const tokens = someTokens(60, vocab);
const options = { kernel: 'dot32', contextLength: 64, maxRows: 16 } as const;
const always = async () => true;

test.each([
  [[], [], 0],
  [[1, 2, 3], [1, 2, 3], 3],
  [[1, 2, 3], [1, 2], 2],
  [[1, 2], [1, 2, 3], 2],
  [[1, 2, 3], [1, 5, 3], 1],
  [[4], [1], 0],
])('common prefix of %j and %j: %i', (a, b, length) => expect(commonPrefix(a, b)).toBe(length));

describe('one timeline', () => {
  /** Barriers until the next abort; Infinity: never. */
  let left = Number.POSITIVE_INFINITY;
  let machine: Awaited<ReturnType<typeof openMachine>>;
  let session: Session;
  /** The logits after each of the tokens, from a machine that was never aborted. */
  let right: Float32Array<ArrayBuffer>;

  beforeAll(async () => {
    const calm = await openMachine(files, options);
    right = await calm.logits(rowsOf(tokens).map((row) => [row]));
    machine = await openMachine(files, options, () => left-- <= 0);
  });

  /** The logits of the session's last token are those of a fresh run. */
  function expectRight(): void {
    const last = session.tokens.length - 1;
    expect(session.tokens).toEqual(tokens.slice(0, last + 1));
    const got = logitsView(machine.memory, machine.plan, 0).slice();
    expect(bitDifference(got, right.slice(last * vocab, (last + 1) * vocab), vocab)).toBe('');
  }
  function fresh(): void {
    machine.poison();
    session = { tokens: [], sequence: 0 };
    left = Number.POSITIVE_INFINITY;
  }

  test('the longest common prefix is reused, but the last token is always computed', async () => {
    fresh();
    const to = (n: number) => prefill(machine.pool, session, tokens.slice(0, n), always);
    expect(await to(20)).toEqual({ cached: 0, complete: true });
    expectRight();
    expect(await to(37)).toEqual({ cached: 20, complete: true });
    expectRight();
    expect(await to(37)).toEqual({ cached: 36, complete: true });
    expectRight();
    expect(await to(9)).toEqual({ cached: 8, complete: true });
    expectRight();
    expect(await to(1)).toEqual({ cached: 0, complete: true });
    expectRight();
  });

  test('another branch, then back', async () => {
    fresh();
    const other = [...tokens.slice(0, 10), (tokens[10]! + 1) % vocab, ...tokens.slice(11, 30)];
    await prefill(machine.pool, session, tokens.slice(0, 30), always);
    expect(await prefill(machine.pool, session, other, always)).toEqual({ cached: 10, complete: true });
    expect(await prefill(machine.pool, session, tokens.slice(0, 30), always)).toEqual({ cached: 10, complete: true });
    expectRight();
  });

  // a large pass meets at 1 + 3 * 10 + 1 barriers, a decode step at 1 + 3 * 5 + 1
  test.each([0, 1, 2, 10, 31, 32, 33, 50, 63, 64, 95])(
    'aborted after %i barriers of a prefill, then whole',
    async (barriers) => {
      fresh();
      left = barriers;
      const { complete } = await prefill(machine.pool, session, tokens.slice(0, 40), always);
      expect(complete).toBe(false);
      const done = Math.floor(barriers / 32) * 16; // whole passes of 16 rows
      expect(session.tokens).toEqual(tokens.slice(0, done));
      left = Number.POSITIVE_INFINITY;
      expect(await prefill(machine.pool, session, tokens.slice(0, 40), always)).toEqual({
        cached: done,
        complete: true,
      });
      expectRight();
    },
  );

  test('ended between two passes', async () => {
    fresh();
    const none = async () => false;
    expect(await prefill(machine.pool, session, tokens.slice(0, 40), none)).toEqual({ cached: 0, complete: false });
    expect(session.tokens).toEqual(tokens.slice(0, 16));
    expect(await prefill(machine.pool, session, tokens.slice(0, 40), always)).toEqual({ cached: 16, complete: true });
    expectRight();
  });

  test.each([0, 1, 2, 6, 16])('aborted after %i barriers of a decode step, then again', async (barriers) => {
    fresh();
    await prefill(machine.pool, session, tokens.slice(0, 20), always);
    left = barriers;
    expect(await append(machine.pool, session, nextRows(session, [tokens[20]!]), 0)).toBe(false);
    expect(session.tokens).toHaveLength(20);
    left = Number.POSITIVE_INFINITY;
    expect(await append(machine.pool, session, nextRows(session, [tokens[20]!]), 0)).toBe(true);
    expectRight();
    expect(await append(machine.pool, session, nextRows(session, [tokens[21]!]), 0)).toBe(true);
    expectRight();
  });
});

describe('a thread that fails', () => {
  /** A token whose row of the embedding lies outside every memory of this size. */
  const absurd = Math.floor(3.5e9 / (shapeOdd.hidden * 2));

  // rows are shared out by turns: row r is embedded by thread r modulo threads
  test.each([
    { threads: 1, failing: 0, rows: 1 },
    { threads: 2, failing: 0, rows: 1 },
    { threads: 2, failing: 1, rows: 2 },
    { threads: 2, failing: 1, rows: 12 },
    { threads: 3, failing: 2, rows: 3 },
    { threads: 3, failing: 0, rows: 12 },
    { threads: 3, failing: 1, rows: 12 },
  ])('thread $failing of $threads in a pass of $rows rows', async ({ threads, failing, rows }) => {
    const host = await openRemote(files, { ...options, threads });
    const good = rowsOf(tokens.slice(0, rows));
    expect(await host.failure(good)).toBeUndefined();
    const record = await host.failure(good.map((row, i) => (i === failing ? { ...row, token: absurd } : row)));
    expect(record).toMatchObject({ code: 'worker' });
    expect(record?.message).toMatch(/out of bounds/i);
    const error = record && fromRecord(record);
    expect(error).toBeInstanceOf(SternaError);
    for (let again = 0; again < 2; again++) expect(await host.failure(good)).toMatchObject({ code: 'worker' });
  });
});
