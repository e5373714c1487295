/** How JSON is written in answers: one spelling for each character, `", "` and `": "` between values, no other white space. */
import {
  character,
  choice,
  complement,
  type Expression,
  intersection,
  type Range,
  repeat,
  rule,
  sequence,
  text,
} from './expression';
import { numberExpression } from './schema-number';

/** Characters of a string: all but control characters that have no short escape. */
export const WRITABLE = complement([
  [0, 7],
  [0x0b, 0x0b],
  [0x0e, 0x1f],
  [0x7f, 0x9f],
]);
const ESCAPES: Record<number, string> = {
  8: '\\b',
  9: '\\t',
  10: '\\n',
  12: '\\f',
  13: '\\r',
  34: '\\"',
  92: '\\\\',
};
const ESCAPED = Object.keys(ESCAPES).map((code): Range => [Number(code), Number(code)]);

/** One character of a string, of those in `ranges` that are writable. */
export function jsonCharacter(ranges: readonly Range[]): Expression {
  const plain = intersection(intersection(ranges, WRITABLE), complement(ESCAPED));
  const escaped = intersection(ranges, ESCAPED).flatMap(([low, high]) =>
    Array.from({ length: high - low + 1 }, (_, i) => text(ESCAPES[low + i]!)),
  );
  return choice(...(plain.length > 0 ? [character(...plain)] : []), ...escaped);
}

const ANY_CHARACTER = jsonCharacter(WRITABLE);

/** A string of `min` to `max` characters (code points). */
export const jsonString = (min = 0, max = Infinity): Expression =>
  sequence(text('"'), repeat(ANY_CHARACTER, min, max), text('"'));

/** A value as it is. */
export function jsonValue(value: unknown): Expression {
  const write = (of: unknown): string => {
    if (Array.isArray(of)) return `[${of.map(write).join(', ')}]`;
    if (typeof of !== 'object' || of === null) return JSON.stringify(of);
    return `{${Object.entries(of)
      .map(([name, each]) => `${JSON.stringify(name)}: ${write(each)}`)
      .join(', ')}}`;
  };
  return text(write(value));
}

/** `open`, `min` to `max` items with commas between them, `close`. */
export function jsonList(open: string, item: Expression, close: string, min = 0, max = Infinity): Expression {
  if (max === 0) return text(open + close);
  const more = repeat(sequence(text(', '), item), Math.max(0, min - 1), max - 1);
  const some = sequence(item, more);
  return sequence(text(open), min > 0 ? some : repeat(some, 0, 1), text(close));
}

/** A key that is none of `names`, as a string. */
export function otherKey(names: readonly string[]): Expression {
  if (names.length === 0) return jsonString();
  const rest = (left: readonly string[]): Expression => {
    const next = new Map<number, string[]>();
    for (const name of left) {
      const code = name.codePointAt(0);
      if (code === undefined) continue;
      next.set(code, [...(next.get(code) ?? []), name.slice(code > 0xffff ? 2 : 1)]);
    }
    const others = intersection(WRITABLE, complement([...next.keys()].map((code): Range => [code, code])));
    const options = [sequence(jsonCharacter(others), repeat(ANY_CHARACTER), text('"'))];
    if (!left.includes('')) options.push(text('"'));
    for (const [code, tails] of next) {
      if (intersection([[code, code]], WRITABLE).length > 0)
        options.push(sequence(jsonCharacter([[code, code]]), rest(tails)));
    }
    return choice(...options);
  };
  return sequence(text('"'), rest(names));
}

/** The rules of any value (`value`) and any object (`object`). */
export function anyJson(): [string, Expression][] {
  const value = rule('value');
  const unbounded = { low: -Infinity, high: Infinity, openLow: false, openHigh: false };
  return [
    ['number', numberExpression(unbounded)!],
    ['object', jsonList('{', sequence(jsonString(), text(': '), value), '}')],
    [
      'value',
      choice(
        ...[rule('object'), jsonList('[', value, ']'), jsonString(), rule('number')],
        ...[text('true'), text('false'), text('null')],
      ),
    ],
  ];
}
