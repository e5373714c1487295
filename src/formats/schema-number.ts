/** Numbers of JSON within bounds, as expressions: few enough digits to be read back as they are written. */
import { choice, type Expression, oneOf, optional, repeat, sequence, text } from './expression';

/** Most digits of an integer, so that it is exact in a double. */
const MOST_DIGITS = 15;
/** Most digits behind the point. */
const MOST_DECIMALS = 6;

const DIGIT = oneOf('0123456789');
const LARGEST = 10 ** MOST_DIGITS - 1;
/** Up to here doubles have the decimals. */
const MOST_EXACT = 1e8;

/** Digits of a number from `low` to `high`, in as many digits as they have both: [low, high] as texts of one length. */
function fixedWidth(low: string, high: string): Expression {
  const first = (digits: string): number => digits.charCodeAt(0) - 48;
  const digits = (from: number, to: number): Expression => oneOf('0123456789'.slice(from, to + 1));
  if (low === '') return text('');
  const rest = low.length - 1;
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeat(DIGIT, low.length, low.length);
  if (first(low) === first(high)) return sequence(text(low[0]!), fixedWidth(low.slice(1), high.slice(1)));
  const options: Expression[] = [];
  const lowIsWhole = /^0*$/.test(low.slice(1));
  const highIsWhole = /^9*$/.test(high.slice(1));
  if (!lowIsWhole) options.push(sequence(text(low[0]!), fixedWidth(low.slice(1), '9'.repeat(rest))));
  const from = first(low) + (lowIsWhole ? 0 : 1);
  const to = first(high) - (highIsWhole ? 0 : 1);
  if (from <= to) options.push(sequence(digits(from, to), repeat(DIGIT, rest, rest)));
  if (!highIsWhole) options.push(sequence(text(high[0]!), fixedWidth('0'.repeat(rest), high.slice(1))));
  return choice(...options);
}

/** Integers from low to high, both at least 0, without leading zeros; undefined if there is none. */
function naturals(low: number, high: number): Expression | undefined {
  const options: Expression[] = [];
  for (let width = 1; width <= MOST_DIGITS; width++) {
    const from = Math.max(low, width === 1 ? 0 : 10 ** (width - 1));
    const to = Math.min(high, 10 ** width - 1);
    if (from <= to) options.push(fixedWidth(String(from), String(to)));
  }
  return options.length > 0 ? choice(...options) : undefined;
}

const either = (options: (Expression | undefined)[]): Expression | undefined => {
  const found = options.filter((option) => option !== undefined);
  return found.length > 0 ? choice(...found) : undefined;
};
const negative = (of: Expression | undefined): Expression | undefined => of && sequence(text('-'), of);

/** Integers from `low` to `high`, of at most 15 digits; undefined if there is none. */
export function integerExpression(low: number, high: number): Expression | undefined {
  const from = Math.max(Math.ceil(low), -LARGEST);
  const to = Math.min(Math.floor(high), LARGEST);
  if (!(from <= to)) return undefined;
  return either([
    to >= 0 ? naturals(Math.max(0, from), to) : undefined,
    from < 0 ? negative(naturals(Math.max(1, -to), -from)) : undefined,
  ]);
}

export interface Bounds {
  low: number;
  high: number;
  /** The bound itself is out. */
  openLow: boolean;
  openHigh: boolean;
}

/** Numbers of at least 0: `integer.decimals`, where 0 <= low <= high. */
function positives({ low, high, openLow, openHigh }: Bounds): Expression | undefined {
  if (low > high || low > LARGEST) return undefined;
  const scale = 10 ** MOST_DECIMALS;
  const options: (Expression | undefined)[] = [];
  const whole = Math.floor(low); // the only integer part with decimals from a bound of its own, below
  const last = Math.floor(Math.min(high, LARGEST));
  // integers, and those with any decimals: all of k, k.d with k + 1 <= high
  const firstWhole = Number.isInteger(low) && !openLow ? low : whole + 1;
  options.push(naturals(firstWhole, Number.isInteger(high) && openHigh ? last - 1 : last));
  const before = naturals(firstWhole, last - (openHigh ? 2 : 1)); // a last part's decimals may be rounded up
  if (before) options.push(sequence(before, text('.'), repeat(DIGIT, 1, MOST_DECIMALS)));
  // decimals of the parts that a bound cuts
  for (const part of new Set([whole, last])) {
    if (part > MOST_EXACT || (part >= firstWhole && part < last)) continue;
    const from = part === whole ? Math.ceil((low - part) * scale) + 1 : 0;
    const to = part === last ? Math.floor((high - part) * scale) - 1 : scale - 1;
    const width = (value: number): string => String(value).padStart(MOST_DECIMALS, '0');
    const safe = [Math.max(from, 1), Math.min(to, scale - 1)] as const; // a step away from the bounds: no rounding crosses them
    if (safe[0] <= safe[1]) {
      options.push(sequence(text(`${part}.`), fixedWidth(width(safe[0]), width(safe[1]))));
    }
  }
  return either(options);
}

/** Numbers within bounds, with at most 15 digits before and 6 behind the point; undefined if none of these is within. */
export function numberExpression(bounds: Bounds): Expression | undefined {
  const { low, high, openLow, openHigh } = bounds;
  if (low === -Infinity && high === Infinity) {
    const integer = choice(text('0'), sequence(oneOf('123456789'), repeat(DIGIT, 0, MOST_DIGITS - 1)));
    return sequence(
      optional(text('-')),
      integer,
      optional(sequence(text('.'), repeat(DIGIT, 1, MOST_DECIMALS))),
      optional(sequence(oneOf('eE'), optional(oneOf('+-')), repeat(DIGIT, 1, 2))),
    );
  }
  const above = high >= 0 && positives({ ...bounds, low: Math.max(0, low), openLow: low >= 0 && openLow });
  const below =
    low < 0 &&
    negative(
      positives({
        low: Math.max(0, -high),
        high: -low,
        openLow: high >= 0 || openHigh, // -0 is left to the others
        openHigh: openLow,
      }),
    );
  // a bound that has decimals is a number itself
  const exact = [low, high].filter((bound, i) => {
    const open = i === 0 ? openLow : openHigh;
    return !open && Math.abs(bound) <= LARGEST && !Number.isInteger(bound) && /^-?\d+\.\d+$/.test(String(bound));
  });
  return either([above || undefined, below || undefined, ...exact.map((bound) => text(String(bound)))]);
}
