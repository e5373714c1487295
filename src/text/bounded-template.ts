/**
 * Runs a chat template, which is a program that came with the model, within bounds: loops over loops and texts that
 * double end with an error, before they end the browser tab.
 */
import { Environment, Interpreter, type Template } from '@huggingface/jinja';
import { SternaError } from '../errors';

/** Characters of any text, besides four times those of the variables; elements of a list; size of a whole number. */
const mostText = 2 ** 16;
const mostElements = 2 ** 16;
const mostNumber = 2 ** 20;
/** Steps: some thousand messages of a template of Llama's kind. A hundred characters or elements are one more. */
const mostSteps = 300_000;
/** Steps of an element that is looped over, whatever is done with it. */
const elementSteps = 5;

const tooMuch = (what: string, expected: number): SternaError =>
  new SternaError('unsupported', `the chat template does too much: ${what}`, { got: 'more', expected });

type Statement = Parameters<Interpreter['evaluate']>[0];

class BoundedInterpreter extends Interpreter {
  #steps: number;
  readonly #text: number;
  readonly #loopedOver = new Set<Statement>();

  constructor(global: Environment, characters: number) {
    super(global);
    this.#steps = mostSteps + characters;
    this.#text = mostText + 4 * characters;
  }

  override evaluate(statement: Statement, environment: Environment) {
    if (statement?.type === 'For') {
      const { iterable } = statement as unknown as { iterable: Statement & { lhs?: Statement } };
      this.#loopedOver.add(iterable.type === 'SelectExpression' ? iterable.lhs : iterable);
    }
    const result = super.evaluate(statement, environment);
    const value: unknown = result.value;
    let cost = 1;
    if (typeof value === 'string') {
      if (value.length > this.#text) throw tooMuch('characters', this.#text);
      cost += value.length / 100;
    } else if (Array.isArray(value) || value instanceof Map) {
      const length = Array.isArray(value) ? value.length : value.size;
      if (length > mostElements) throw tooMuch('elements', mostElements);
      cost += length * (this.#loopedOver.has(statement) ? elementSteps : 0.01);
    } else if (typeof value === 'number' && Math.abs(value) > mostNumber) throw tooMuch('numbers', mostNumber);
    this.#steps -= cost;
    if (this.#steps < 0) throw tooMuch('steps', mostSteps);
    return result;
  }
}

function range(start: number, stop?: number, step = 1): number[] {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  const length = Math.max(0, Math.ceil((end - first) / step));
  if (!Number.isInteger(length)) throw new Error('range() of something else than numbers');
  if (length > mostElements) throw tooMuch('elements', mostElements);
  return Array.from({ length }, (_, i) => first + i * step);
}

/** Python's `strftime` of now, as far as templates ask for a date. */
function strftimeNow(format: string): string {
  const now = new Date();
  const month = (style: 'short' | 'long') => new Intl.DateTimeFormat('en', { month: style }).format(now);
  const two = (n: number) => String(n).padStart(2, '0');
  const parts: Record<string, () => string> = {
    '%Y': () => String(now.getFullYear()),
    '%m': () => two(now.getMonth() + 1),
    '%d': () => two(now.getDate()),
    '%b': () => month('short'),
    '%B': () => month('long'),
    '%H': () => two(now.getHours()),
    '%M': () => two(now.getMinutes()),
    '%%': () => '%',
  };
  return format.replace(/%[YmdbBHM%]/g, (code) => parts[code]!());
}

/** What every template of transformers may use besides its variables. */
const globals = {
  false: false,
  true: true,
  none: null,
  False: false,
  True: true,
  None: null,
  range,
  strftime_now: strftimeNow,
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
};

/**
 * The text of a compiled template with these variables, `characters` the length of all their texts.
 * @throws SternaError `unsupported` for a template that goes beyond the bounds; Error for what the template refuses
 */
export function renderBounded({ parsed }: Template, variables: Record<string, unknown>, characters: number): string {
  const environment = new Environment();
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
  return String(new BoundedInterpreter(environment, characters).run(parsed).value);
}
