/**
 * What went wrong, as a word to switch on.
 *
 * - `bad-input`: an argument of the API is not what the docstring asks for
 * - `context-full`: the prompt is longer than the context
 * - `bad-file`: a file is missing, damaged, truncated, or not what its name says
 * - `unsupported`: a well-formed model or browser that this engine does not run
 * - `download`: the server refused, or the transfer failed
 * - `offline`: the server cannot be reached; a cached model still loads
 * - `quota`: the browser's storage has not enough room
 * - `no-tokenizer`: text was asked of a model that was loaded without tokenizer files
 * - `out-of-memory`: the browser refused the memory
 * - `busy`: the model is already working on another call
 * - `aborted`: the caller's AbortSignal fired
 * - `disposed`: the model was disposed
 * - `worker`: a worker failed: a bug of ours, or of the browser
 */
export type ErrorCode =
  | 'bad-input'
  | 'context-full'
  | 'bad-file'
  | 'unsupported'
  | 'download'
  | 'offline'
  | 'quota'
  | 'no-tokenizer'
  | 'out-of-memory'
  | 'busy'
  | 'aborted'
  | 'disposed'
  | 'worker';

/** The facts behind an error, where they apply: which file, what was found, what was wanted. */
export interface ErrorFacts {
  file?: string;
  got?: string | number;
  expected?: string | number;
}

/** An error as it crosses a thread. */
export interface ErrorRecord extends ErrorFacts {
  code: ErrorCode;
  message: string;
}

/**
 * The one error class of Sterna. Switch on `code`; `file`, `got` and `expected` are set where they apply.
 * An aborted call has `name` "AbortError", as elsewhere on the web platform.
 */
export class SternaError extends Error {
  readonly code: ErrorCode;
  readonly file: string | undefined;
  readonly got: string | number | undefined;
  readonly expected: string | number | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    const where = facts.file === undefined ? '' : `${facts.file}: `;
    const what =
      facts.expected === undefined
        ? facts.got === undefined
          ? ''
          : ` (got ${facts.got})`
        : ` (expected ${facts.expected}, got ${facts.got})`;
    super(`${where}${message}${what}`);
    this.name = code === 'aborted' ? 'AbortError' : 'SternaError';
    this.code = code;
    this.file = facts.file;
    this.got = facts.got;
    this.expected = facts.expected;
  }
}

/** Any thrown value as a record that survives structured cloning. */
export function toRecord(error: unknown): ErrorRecord {
  // a script that is loaded later has a class of its own
  if (error instanceof SternaError || (error instanceof Error && error.name === 'SternaError')) {
    const { code, message, file, got, expected } = error as SternaError;
    return { code, message, file, got, expected };
  }
  if (error instanceof Error && error.name === 'AbortError') return { code: 'aborted', message: error.message };
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'worker', message: text };
}

/** The typed error that a record stands for. */
export function fromRecord({ code, message, file, got, expected }: ErrorRecord): SternaError {
  const error = new SternaError(code, message);
  return Object.assign(error, { file, got, expected });
}

/** A value of a file for an error: a number as it is, the rest as JSON, cut to 60 characters. */
export function shown(value: unknown): string | number {
  if (typeof value === 'number') return value;
  try {
    return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
  } catch {
    return 'something deeply nested'; // more than the stack holds
  }
}
