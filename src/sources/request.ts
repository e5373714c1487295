/** One HTTP request as a download wants it: aborted at once, cut when it stalls, and tried again where that can help. */
import { SternaError } from '../errors';

/** How long a download waits, in milliseconds, and how often it tries. */
export interface Patience {
  /** Tries in a row that bring nothing, before it gives up. */
  tries: number;
  /** The same while no server has answered at all. */
  unreachableTries: number;
  /** Wait before the second try; it doubles with each further one, and half of it is left to chance. */
  backOff: number;
  longestBackOff: number;
  /** The longest wait that a server may ask for (Retry-After). */
  longestRetryAfter: number;
  /** Without a byte for so long, a connection counts as dead. */
  stall: number;
}

export const defaultPatience: Patience = {
  tries: 6,
  unreachableTries: 6,
  backOff: 500,
  longestBackOff: 10_000,
  longestRetryAfter: 300_000,
  stall: 30_000,
};

/** A server that is down, busy or silent is asked but twice at the start: a cached model should not wait for it. */
export const firstContact = (patience: Patience): Patience => ({
  ...patience,
  tries: 2,
  unreachableTries: 2,
  longestRetryAfter: Math.min(patience.longestRetryAfter, 4000),
  stall: Math.min(patience.stall, 8000),
});

/** Text files are tokenizers and configurations; none is longer than this. */
export const MOST_TEXT_BYTES = 256 * 2 ** 20;

/** A try that failed, and what comes next; for display. */
export interface RetryEvent {
  file: string;
  /** The try that comes next, counted from the last byte that arrived, and how many there are: 2 of 6. */
  attempt: number;
  tries: number;
  waitMs: number;
  /** Message of the error. */
  reason: string;
}

/** What the requests of one file or one call have in common. */
export interface Call {
  /** Name of the file in errors. */
  file: string;
  patience: Patience;
  report?: ((event: RetryEvent) => void) | undefined;
  /** Turns a status that is no success into an error that says more than `HTTP 404`. */
  explain?: ((response: Response, file: string) => SternaError | undefined) | undefined;
}

/** Trouble that may pass: thrown inside of `withRetries`, which throws `error` when it gives up. */
export class Transient extends Error {
  readonly error: SternaError;
  /** The wait that the server asks for, in milliseconds. */
  readonly retryAfter: number;

  constructor(error: SternaError, retryAfter = 0) {
    super(error.message);
    this.error = error;
    this.retryAfter = retryAfter;
  }
}

/** The answer to a request. It must be closed; that ends the transfer if it is still under way. */
export interface Answer {
  response: Response;
  /** The body as it arrives. */
  pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>;
  close(): void;
}

export function throwIfAborted(signal: AbortSignal, file: string): void {
  if (signal.aborted) throw new SternaError('aborted', 'the load was aborted', { file });
}

/**
 * Sends one request and waits for the answer's headers.
 * @throws Transient `offline` without an answer, `download` if it stalls, or if the body is cut (then from `pieces`)
 * @throws SternaError `aborted`
 */
export async function ask(url: string, init: RequestInit, call: Call, signal: AbortSignal): Promise<Answer> {
  const { file, patience } = call;
  throwIfAborted(signal, file);
  const control = new AbortController();
  const abort = () => control.abort();
  signal.addEventListener('abort', abort);
  const close = () => {
    signal.removeEventListener('abort', abort);
    control.abort();
  };

  /** Waits for the network, but not for ever. */
  async function arrival<T>(promise: Promise<T>, failed: (error: unknown) => SternaError): Promise<T> {
    let stalled = false;
    const timer = setTimeout(() => {
      stalled = true;
      control.abort();
    }, patience.stall);
    try {
      return await promise;
    } catch (error) {
      throwIfAborted(signal, file);
      const got = `nothing for ${patience.stall / 1000} s`;
      throw new Transient(stalled ? new SternaError('download', 'the server stalled', { file, got }) : failed(error));
    } finally {
      clearTimeout(timer);
    }
  }

  async function* read(body: ReadableStream<Uint8Array<ArrayBuffer>> | null) {
    const reader = body?.getReader();
    for (let received = 0; reader; ) {
      const { done, value } = await arrival(reader.read(), (error) => {
        return new SternaError('download', 'the connection was cut', {
          file,
          got: `${received} bytes, then ${error}`,
          expected: 'the rest',
        });
      });
      throwIfAborted(signal, file);
      if (done) return;
      received += value.length;
      if (value.length > 0) yield value;
    }
  }

  try {
    // The bytes go to our own store: the browser's cache must not keep them a second time.
    const sent = fetch(url, { ...init, cache: 'no-store', signal: control.signal });
    const response = await arrival(sent, (error) => {
      const what = 'the server cannot be reached, or does not allow this page (CORS)';
      return new SternaError('offline', what, { file, got: `${error}` });
    });
    return { response, pieces: read(response.body), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The error for a status that is no success: `Transient` where the server may think better of it (429, 5xx). */
export function refusal(response: Response, expected: string, { file, explain }: Call): SternaError | Transient {
  const { status, statusText, headers } = response;
  const got = `HTTP ${status} ${statusText}`.trim();
  const error = explain?.(response, file) ?? new SternaError('download', 'the server refused', { file, got, expected });
  return status === 429 || status >= 500 ? new Transient(error, waitOf(headers.get('Retry-After'))) : error;
}

/** Retry-After (RFC 9110, 10.2.3), seconds or a date, in milliseconds; 0 if there is none. */
function waitOf(retryAfter: string | null): number {
  if (retryAfter === null) return 0;
  const wait = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Number.isNaN(wait) ? 0 : Math.max(0, wait);
}

/** Counts the tries of one piece of work. */
export interface Tries {
  /** Something new arrived: the count begins again. */
  progress(): void;
  /** Waits for the next try. Throws the error instead if it is not `Transient`, or if it was the last try. */
  again(error: unknown): Promise<void>;
}

export function countTries({ file, patience, report }: Call, signal: AbortSignal): Tries {
  let failed = 0;
  return {
    progress() {
      failed = 0;
    },
    async again(thrown) {
      if (!(thrown instanceof Transient)) throw thrown;
      const { error, retryAfter } = thrown;
      const tries = error.code === 'offline' ? patience.unreachableTries : patience.tries;
      failed++;
      if (failed >= tries || retryAfter > patience.longestRetryAfter) throw error;
      const backOff = Math.min(patience.backOff * 2 ** (failed - 1), patience.longestBackOff);
      const waitMs = Math.max(backOff * (0.5 + Math.random() / 2), retryAfter);
      report?.({ file, attempt: failed + 1, tries, waitMs, reason: error.message });
      await sleep(waitMs, signal);
      throwIfAborted(signal, file);
    },
  };
}

/** Runs `act` until it succeeds, as `countTries` allows. */
export async function withRetries<T>(call: Call, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  const tries = countTries(call, signal);
  for (;;) {
    try {
      return await act();
    } catch (error) {
      await tries.again(error);
    }
  }
}

/** Resolves after `ms`, or as soon as the signal fires. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** The pieces in one array. Throws `bad-file` as soon as there are more than `most` bytes. */
export async function joinPieces(
  pieces: AsyncIterable<Uint8Array<ArrayBuffer>>,
  most: number,
  file: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > most) {
      throw new SternaError('bad-file', 'too long', { file, got: length, expected: `at most ${most} bytes` });
    }
    parts.push(piece);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
