import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type FakeHub, startFakeHub } from '../../e2e/fake-hub';
import { failure, hasty, longBytes, longFile, MB, never, RANGE, readAll, same, until } from '../../e2e/source-checks';
import type { ByteSource } from './download';
import { openOrigin } from './origin';
import { defaultPatience, firstContact, type Patience, type RetryEvent } from './request';

vi.setConfig({ testTimeout: 60_000 }); // long files, on a busy machine

const size = 4 * RANGE + 777;
const path = 'w.safetensors';
const key = `tern/long/${path}`;
const whole = longBytes(0, size);

let hub: FakeHub;
let events: RetryEvent[] = [];

beforeAll(async () => {
  const weights = longFile(size);
  hub = await startFakeHub({ 'tern/long': { files: { [path]: weights } } });
});
afterAll(() => hub.close());
beforeEach(() => {
  hub.faults.clear();
  hub.requests.length = 0;
  events = [];
});

/** The file as a source, and a log that holds requests for its bytes only. */
async function open(
  report: (event: RetryEvent) => void = () => {},
  change: Partial<Patience> = {},
): Promise<ByteSource> {
  const tell = (event: RetryEvent) => {
    events.push(event);
    report(event);
  };
  const source = { repo: 'tern/long', hubUrl: hub.url };
  const origin = await openOrigin(source, never, tell, { ...hasty, ...change });
  hub.requests.length = 0;
  return (await origin.open(path))!;
}

/** The ranges that the bytes were asked in, as [from, to), in the order of the requests. */
const asked = () =>
  hub.requests
    .filter(({ host }) => host === 'cdn')
    .map(({ range }) => {
      const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec(range!)!;
      return [Number(from), Number(last) + 1] as const;
    });

const sent = () => hub.requests.reduce((sum, request) => sum + request.sent, 0);

describe('a file in ranges', () => {
  test('of 16 MB, each asked for once', async () => {
    expect(same(await readAll(await open()), whole)).toBe(true);
    expect(asked().sort(([a], [b]) => a - b)).toEqual([
      [0, RANGE],
      [RANGE, 2 * RANGE],
      [2 * RANGE, 3 * RANGE],
      [3 * RANGE, 4 * RANGE],
      [4 * RANGE, size],
    ]);
    expect(sent()).toBe(size);
    expect(events).toEqual([]);
  });

  test('three at once, given in order, though the first comes last', async () => {
    hub.faults.set(key, { stall: { at: MB } });
    const source = await open(() => {}, { stall: 2000 });
    const reading = readAll(source);
    await until(() => asked().length).toBe(3);
    expect(
      asked()
        .map(([, to]) => to)
        .sort(),
    ).toEqual([RANGE, 2 * RANGE, 3 * RANGE].sort());
    expect(same(await reading, whole)).toBe(true);
    expect(events).toMatchObject([{ file: path, attempt: 2, reason: expect.stringMatching(/stalled.*2 s/) }]);
    expect(asked()[3]).toEqual([MB, RANGE]);
    expect(sent()).toBe(size);
  });

  test('no further ahead, while the receiver is busy', async () => {
    const pieces = (await open()).stream(0, size, never)[Symbol.asyncIterator]();
    const first = await pieces.next();
    await until(() => sent()).toBeGreaterThan(1.5 * RANGE); // a half of each is kept, the line holds more
    expect(asked()).toHaveLength(3);
    const parts = [first.value as Uint8Array];
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) parts.push(next.value);
    expect(same(Buffer.concat(parts), whole)).toBe(true);
  });

  test('a part of it, and nothing', async () => {
    const source = await open();
    const [from, to] = [RANGE - 10, 2 * RANGE + 10];
    expect(same(await readAll(source, from, to), whole.subarray(from, to))).toBe(true);
    expect(asked().sort(([a], [b]) => a - b)).toEqual([
      [from, from + RANGE],
      [from + RANGE, to],
    ]);
    expect(await readAll(source, 5, 5)).toHaveLength(0);
    expect(await readAll(source, size)).toHaveLength(0);
    expect(asked()).toHaveLength(2);
  });

  test('a small piece is one request', async () => {
    const source = await open();
    const piece = await source.read(1000, 3000, never);
    expect(same(piece, whole.subarray(1000, 3000))).toBe(true);
    expect(piece.buffer.byteLength).toBe(2000);
    expect(same(await source.read(size - 5, size + 5, never), whole.subarray(size - 5))).toBe(true);
    expect(asked()).toEqual([
      [1000, 3000],
      [size - 5, size],
    ]);
  });
});

describe('a transfer that fails', () => {
  test.each([
    ['in the first range', 5 * MB],
    ['in one that is read ahead', 2 * RANGE + 5 * MB],
    ['in the last bytes', size - 1],
    ['before the first byte of a range', RANGE],
  ])('%s goes on at the byte that is missing', async (_, at) => {
    hub.faults.set(key, { cut: { at } });
    expect(same(await readAll(await open()), whole)).toBe(true);
    expect(events).toMatchObject([{ file: path, attempt: 2, tries: 6 }]);
    const ends = asked().map(([, to]) => to);
    const again = asked().filter(([, to], index) => ends.indexOf(to) < index);
    // What had arrived but was not read yet is lost with its connection.
    expect(again).toHaveLength(1);
    expect(again[0]![0]).toBeLessThanOrEqual(at);
    expect(again[0]![0]).toBeGreaterThan(at - 2 * MB);
    expect(sent()).toBe(size + at - again[0]![0]);
  });

  test('may fail more often than there are tries, as long as something arrives', async () => {
    let at = MB;
    const further = () => {
      at += MB / 2;
      hub.faults.set(key, { cut: { at } });
    };
    further();
    expect(same(await readAll(await open(further)), whole)).toBe(true);
    expect(events.length).toBeGreaterThan(hasty.tries);
    expect(events.every(({ attempt }) => attempt === 2)).toBe(true);
  });

  test('always at the same byte ends, after all that came before', async () => {
    hub.faults.set(key, { cut: { at: MB, times: 99 } });
    const source = await open();
    let received = 0;
    const error = await failure(async () => {
      for await (const part of source.stream(0, size, never)) received += part.length;
    });
    expect(error).toMatchObject({ code: 'download', file: path, message: expect.stringMatching(/was cut/) });
    expect(received).toBe(MB);
    expect(events.at(-1)).toMatchObject({ attempt: 6 });
    expect((await failure(() => source.read(MB, MB + 1, never))).code).toBe('download');
  });

  test('because the server stalls, before or in the body', async () => {
    hub.faults.set(key, { stall: { at: 100, times: 99 } });
    const source = await open(() => {}, { stall: 50 });
    const error = await failure(() => source.read(0, 1000, never));
    expect(error).toMatchObject({ code: 'download', file: path, got: 'nothing for 0.05 s' });
    expect(events.map(({ attempt }) => attempt)).toEqual(expect.arrayContaining([2, 3, 4, 5, 6]));
  });

  test('is not waited for long at first contact', () => {
    const first = firstContact(defaultPatience);
    expect(first).toMatchObject({ tries: 2, unreachableTries: 2, longestRetryAfter: 4000, stall: 8000 });
    expect(firstContact(hasty)).toMatchObject({ tries: 2, longestRetryAfter: 4000, stall: hasty.stall });
  });

  test('with fewer bytes than its range', async () => {
    hub.faults.set(key, { lack: 100 });
    expect(same(await readAll(await open(() => hub.faults.clear())), whole)).toBe(true);
    hub.faults.set(key, { lack: 100 });
    const error = await failure(async () => (await open()).read(0, 5000, never));
    expect(error).toMatchObject({ code: 'download', got: 0, expected: 100 });
  });

  test.each([
    ['another size', { size: size + 1 }, { got: size + 1, expected: size }],
    ['another ETag', { etag: '"other"' }, { got: 'ETag "other"' }],
  ])('because the file has %s now', async (_, fault, facts) => {
    const source = await open();
    expect(await source.read(0, 10, never)).toHaveLength(10);
    hub.faults.set(key, fault);
    const error = await failure(() => readAll(source));
    expect(error).toMatchObject({ code: 'download', message: expect.stringMatching(/changed during/), ...facts });
    expect(events).toEqual([]);
  });

  test('passes a flipped byte on: digests are the receiver’s', async () => {
    hub.faults.set(key, { flip: { at: 1234 } });
    const source = await open();
    const piece = await source.read(1230, 1240, never);
    expect(piece[4]).toBe(whole[1234]! ^ 1);
    expect(same(await source.read(1230, 1240, never), whole.subarray(1230, 1240))).toBe(true);
  });
});

describe('a server that ignores ranges', () => {
  test('is read from the start; what is not wanted is dropped', async () => {
    hub.faults.set(key, { ignoreRange: true });
    const source = await open();
    expect(same(await readAll(source), whole)).toBe(true);
    // The first answer says so, the second brings the rest.
    expect(asked()).toEqual([
      [0, RANGE],
      [RANGE, size],
    ]);
    expect(same(await readAll(source, 3 * RANGE), whole.subarray(3 * RANGE))).toBe(true);
    expect(asked()).toHaveLength(3);
    expect(same(await source.read(RANGE, RANGE + 9, never), whole.subarray(RANGE, RANGE + 9))).toBe(true);
  });

  test('is read again if it is cut', async () => {
    // The first answer would be cut, too, but is left at the end of its range.
    hub.faults.set(key, { ignoreRange: true, cut: { at: 2 * RANGE, times: 2 } });
    expect(same(await readAll(await open()), whole)).toBe(true);
    expect(asked()).toHaveLength(3);
    expect(events).toHaveLength(1);
  });

  test('must still have a file of the right size', async () => {
    const source = await open();
    hub.faults.set(key, { ignoreRange: true, size: 10 });
    expect(await failure(() => readAll(source))).toMatchObject({ code: 'download', got: 10, expected: size });
  });
});

describe('abort', () => {
  /** The timers of our own code that have neither fired nor been cleared. */
  const timers = new Set<unknown>();
  beforeEach(() => {
    timers.clear();
    const { setTimeout: set, clearTimeout: clear } = globalThis;
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((act: () => void, ms: number) => {
      // undici and the test runner have timers of their own
      if (!new Error().stack?.includes('/src/sources/request.ts')) return set(act, ms);
      const timer = set(() => {
        timers.delete(timer);
        act();
      }, ms);
      timers.add(timer);
      return timer;
    }) as typeof setTimeout);
    vi.spyOn(globalThis, 'clearTimeout').mockImplementation((timer) => {
      timers.delete(timer);
      clear(timer);
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    expect(timers.size).toBe(0);
  });

  test('in the middle of a body', async () => {
    hub.faults.set(key, { stall: { at: 400 } });
    const stop = new AbortController();
    const source = await open();
    let received = 0;
    const reading = failure(async () => {
      for await (const part of source.stream(0, size, stop.signal)) received += part.length;
    });
    await until(() => received).toBe(400);
    await until(() => timers.size).toBeGreaterThan(0);
    stop.abort();
    expect(await reading).toMatchObject({ code: 'aborted', name: 'AbortError', file: path });
    expect(received).toBe(400);
  });

  test('during the wait before a try', async () => {
    hub.faults.set(key, { refuse: { status: 503, retryAfter: 4 } });
    const stop = new AbortController();
    const reading = failure(async () => (await open()).read(0, 10, stop.signal));
    await until(() => events.length).toBe(1);
    stop.abort();
    expect((await reading).code).toBe('aborted');
    expect(hub.requests).toHaveLength(1);
  });

  test('while the receiver is busy: nothing more is given', async () => {
    const stop = new AbortController();
    const source = await open();
    let pieces = 0;
    const error = await failure(async () => {
      for await (const _ of source.stream(0, size, stop.signal)) {
        pieces++;
        await until(() => sent()).toBeGreaterThan(RANGE);
        stop.abort();
      }
    });
    expect(error.code).toBe('aborted');
    expect(pieces).toBe(1);
  });

  test('before anything is asked for', async () => {
    const stop = new AbortController();
    const source = await open();
    stop.abort();
    expect((await failure(() => readAll(source, 0, size, stop.signal))).code).toBe('aborted');
    expect((await failure(() => source.read(0, 1, stop.signal))).code).toBe('aborted');
    expect(hub.requests).toEqual([]);
  });

  test('a receiver that leaves early closes the connections', async () => {
    hub.faults.set(key, { bytesPerSecond: 2 * MB });
    const source = await open();
    for await (const _ of source.stream(0, size, never)) break;
    const then = sent();
    hub.faults.clear();
    expect(same(await source.read(0, 100, never), whole.subarray(0, 100))).toBe(true);
    expect(sent()).toBeLessThan(then + MB);
  });
});
