/** The options of a call, as far as the page uses them itself: what is wrong there would otherwise fail late, or in silence. */
import { SternaError } from '../errors';

const kind = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : typeof value;

const isSignal = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value;

/** What is wrong with options: they must be an object, `signal` an AbortSignal, `on...` and `logitsProcessor` functions. */
export function optionsFault(options: unknown): SternaError | undefined {
  const fault = (what: string, value: unknown, expected: string) =>
    new SternaError('bad-input', what, { got: kind(value), expected });
  if (options === undefined || options === null) return undefined;
  if (typeof options !== 'object' || Array.isArray(options)) return fault('options', options, 'an object');
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (name === 'signal' && !isSignal(value)) return fault(name, value, 'an AbortSignal');
    if (/^on[A-Z]|^logitsProcessor$/.test(name) && typeof value !== 'function') return fault(name, value, 'a function');
  }
  return undefined;
}

/**
 * The options, an empty record where there are none.
 * @throws SternaError `bad-input` as optionsFault() has it
 */
export function callOptions<T extends object>(options: T | null | undefined): T {
  const fault = optionsFault(options);
  if (fault) throw fault;
  return options ?? ({} as T);
}

/**
 * Refuses options that a call does not know.
 * @throws SternaError `bad-input`
 */
export function knownOptions<T extends object>(options: T, ...known: (keyof T & string)[]): T {
  const unknown = Object.keys(options).find((name) => !(known as string[]).includes(name));
  if (unknown === undefined) return options;
  throw new SternaError('bad-input', 'unknown option', { got: unknown, expected: known.join(', ') });
}
