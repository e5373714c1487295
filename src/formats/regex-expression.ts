/**
 * Regular expressions of ECMAScript (with the `u` flag's idea of a character) as expressions. Anchors are allowed at the ends; an
 * answer is always matched as a whole. What no grammar can say (look-around, back-references, word borders) is refused.
 */
import { SternaError } from '../errors';
import {
  character,
  choice,
  complement,
  type Expression,
  intersection,
  LAST_CODE_POINT,
  type Range,
  repeat,
  sequence,
  text,
} from './expression';

const DIGIT: Range[] = [[0x30, 0x39]];
const WORD: Range[] = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
/** White space and line ends of ECMA-262. */
const SPACE: Range[] = [
  ...([
    [0x09, 0x0d],
    [0x20, 0x20],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
  ] as Range[]),
  ...([
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ] as Range[]),
];
const LINE_ENDS: Range[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const ESCAPES: Record<string, Range[]> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
};
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };
/** Most repetitions that a count may ask for. */
export const MOST_REPETITIONS = 10_000;
/** Most brackets in one another. */
const DEEPEST = 200;

/**
 * The expression of a pattern.
 * @param allowed characters that may be written; others are left out of every class, and refused where the pattern names them
 * @param write how a character is written, where that is not itself (a quotation mark in JSON)
 * @throws SternaError `bad-input` for a pattern that is none, `unsupported` for parts that no grammar can say
 */
export function regexExpression(
  pattern: string,
  allowed: readonly Range[] = [[0, LAST_CODE_POINT]],
  write: (ranges: readonly Range[]) => Expression = (ranges) => character(...ranges),
): Expression {
  const symbols = Array.from(pattern);
  let at = 0;
  const bad = (message: string): SternaError =>
    new SternaError('bad-input', `bad pattern, at character ${at}: ${message}`, { got: pattern.slice(0, 200) });
  const unsupported = (what: string): SternaError =>
    new SternaError('unsupported', `pattern: ${what}`, { got: pattern.slice(0, 200) });
  const take = (expected: string): boolean => {
    if (symbols[at] !== expected) return false;
    at++;
    return true;
  };

  function alternatives(depth: number): Expression {
    if (depth > DEEPEST) throw unsupported(`more than ${DEEPEST} brackets in one another`);
    const options = [terms(depth)];
    while (take('|')) options.push(terms(depth));
    return choice(...options);
  }

  function terms(depth: number): Expression {
    const parts: Expression[] = [];
    while (at < symbols.length && symbols[at] !== '|' && symbols[at] !== ')') {
      if (symbols[at] === '^' || symbols[at] === '$') {
        const first = symbols[at] === '^';
        const fits = depth === 0 && (first ? parts.length === 0 : at + 1 === symbols.length || symbols[at + 1] === '|');
        if (!fits) throw unsupported(`${symbols[at]} within the pattern`);
        at++;
        if (/^[*+?{]$/.test(symbols[at] ?? '')) throw bad('nothing to repeat');
      } else parts.push(quantified(depth));
    }
    return sequence(...parts);
  }

  function quantified(depth: number): Expression {
    const of = atom(depth);
    let bounds: [number, number] | undefined;
    if (take('*')) bounds = [0, Infinity];
    else if (take('+')) bounds = [1, Infinity];
    else if (take('?')) bounds = [0, 1];
    else if (symbols[at] === '{') bounds = counts();
    if (!bounds) return of;
    take('?'); // lazy or not: the same texts
    if (/^[*+?{]$/.test(symbols[at] ?? '')) throw bad('nothing to repeat');
    return repeat(of, ...bounds);
  }

  function counts(): [number, number] {
    const found = /^\{(\d+)(,(\d*))?\}/.exec(symbols.slice(at, at + 30).join(''));
    if (!found) throw bad('{ without a count; write \\{');
    at += found[0].length;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === '' ? Infinity : Number(found[3]);
    if (max < min) throw bad('a count whose most is less than its least');
    if (min > MOST_REPETITIONS || (max > MOST_REPETITIONS && max !== Infinity)) {
      throw unsupported(`more than ${MOST_REPETITIONS} repetitions`);
    }
    return [min, max];
  }

  const oneOf = (ranges: readonly Range[]): Expression => write(intersection(ranges, allowed));
  const literal = (code: number): Expression => {
    const found = intersection([[code, code]], allowed);
    if (found.length === 0)
      throw unsupported(`the character U+${code.toString(16).padStart(4, '0')} cannot be written`);
    return write(found);
  };

  function atom(depth: number): Expression {
    const symbol = symbols[at++]!;
    if (symbol === '.') return oneOf(complement(LINE_ENDS));
    if (symbol === '[') return oneOf(characterClass());
    if (symbol === '(') {
      if (take('?') && !take(':')) {
        if (symbols[at] !== '<' || /^[=!]$/.test(symbols[at + 1] ?? '')) throw unsupported('look-around or flags');
        while (at < symbols.length && !take('>')) at++;
      }
      const inner = alternatives(depth + 1);
      if (!take(')')) throw bad('( without )');
      return inner;
    }
    if (symbol === '\\') {
      const kind = ESCAPES[symbols[at] ?? ''];
      if (kind) {
        at++;
        return oneOf(kind);
      }
      return literal(escaped(false));
    }
    if (/^[*+?{}\]]$/.test(symbol)) throw bad(`${symbol} has nothing before it; write \\${symbol}`);
    return literal(symbol.codePointAt(0)!);
  }

  /** What follows a backslash, if it means one character. */
  function escaped(inClass: boolean): number {
    const symbol = symbols[at++];
    if (symbol === undefined) throw bad('\\ at the end');
    if (symbol in CONTROLS && !/\d/.test(symbols[at] ?? '')) return CONTROLS[symbol]!;
    if (symbol === 'x' || symbol === 'u') {
      const rest = symbols.slice(at, at + 10).join('');
      const found = (symbol === 'x' ? /^([\da-f]{2})/i : /^(?:\{([\da-f]{1,6})\}|([\da-f]{4}))/i).exec(rest);
      const code = Number.parseInt(found?.[1] ?? found?.[2] ?? '', 16);
      if (!found || !(code <= LAST_CODE_POINT)) throw bad(`\\${symbol} without a character's number`);
      at += found[0].length;
      const low = /^\\u([\da-f]{4})/i.exec(symbols.slice(at, at + 6).join(''));
      const second = low ? Number.parseInt(low[1]!, 16) : 0;
      if (code >> 10 !== 0x36 || second >> 10 !== 0x37) return code;
      at += 6;
      return 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
    }
    if (inClass && symbol === 'b') return 8;
    if (symbol === 'b' || symbol === 'B') throw unsupported('word borders');
    if (symbol === 'k' || /\d/.test(symbol)) throw unsupported('back-references');
    if (symbol === 'p' || symbol === 'P') throw unsupported('Unicode properties');
    if (/^[a-z]$/i.test(symbol)) throw bad(`\\${symbol} is not known`);
    return symbol.codePointAt(0)!;
  }

  function characterClass(): Range[] {
    const negated = take('^');
    const ranges: Range[] = [];
    const member = (): Range[] => {
      if (at >= symbols.length) throw bad('[ without ]');
      if (!take('\\')) {
        const code = symbols[at++]!.codePointAt(0)!;
        return [[code, code]];
      }
      const kind = ESCAPES[symbols[at] ?? ''];
      if (kind) at++;
      const code = kind ? 0 : escaped(true);
      return kind ?? [[code, code]];
    };
    while (!take(']')) {
      const low = member();
      if (symbols[at] !== '-' || symbols[at + 1] === ']' || at + 1 >= symbols.length) {
        ranges.push(...low);
        continue;
      }
      at++;
      const high = member();
      const single = low.length === 1 && high.length === 1 && low[0]![0] === low[0]![1] && high[0]![0] === high[0]![1];
      if (!single) throw bad('a range of classes');
      if (low[0]![0] > high[0]![0]) throw bad('a range whose end is before its beginning');
      ranges.push([low[0]![0], high[0]![0]]);
    }
    return negated ? complement(ranges) : ranges;
  }

  const whole = alternatives(0);
  if (at < symbols.length) throw bad(') without (');
  return whole.kind === 'sequence' && whole.parts.length === 0 ? text('') : whole;
}
