/**
 * Grammars as text, in the notation of GBNF (llama.cpp) and of XGrammar's EBNF, without look-ahead:
 * `root ::= "a" item ("," item)* | [^a-z\n]{2,3}  # comment`.
 */
import { SternaError } from '../errors';
import {
  character,
  choice,
  complement,
  type Expression,
  type Grammar,
  LAST_CODE_POINT,
  type Range,
  repeat,
  rule,
  sequence,
  text,
} from './expression';
import { MOST_REPETITIONS } from './regex-expression';

const NAME = /[A-Za-z_][\w.-]*/y;
const ESCAPED = /\\(?:([nrtfv0"'\\\][^-])|x([\da-fA-F]{2})|u\{([\da-fA-F]{1,6})\}|u([\da-fA-F]{4})|U([\da-fA-F]{8}))/y;
const COUNTS = /\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}/y;
const CONTROLS: Record<string, string> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', 0: '\0' };
/** Most brackets in one another. */
const DEEPEST = 200;

/**
 * The rules of a grammar.
 * @throws SternaError `bad-input`, with the line, for a text that is none, a rule that is not there or there twice, or no `root`
 */
export function parseGrammar(source: string): Grammar {
  const rules = new Map<string, Expression>();
  const named = new Map<string, number>(); // rules that are referred to, and where
  let at = 0;

  const fail = (message: string, place = at): SternaError => {
    const lines = source.slice(0, place).split('\n');
    const where = `line ${lines.length}, column ${lines.at(-1)!.length + 1}`;
    return new SternaError('bad-input', `bad grammar, ${where}: ${message}`, {
      got: source.slice(place, place + 40) || 'the end',
    });
  };
  const skip = (): void => {
    const blank = /(?:\s+|#[^\n]*)*/y;
    blank.lastIndex = at;
    at += blank.exec(source)![0].length;
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found) at += found[0].length;
    return found;
  };
  const take = (symbol: string): boolean => {
    if (!source.startsWith(symbol, at)) return false;
    at += symbol.length;
    return true;
  };
  /** Whether a new rule begins here. */
  const definition = (): string | undefined => /^([A-Za-z_][\w.-]*)\s*::=/.exec(source.slice(at, at + 200))?.[1];

  /** One character of a text or class, which may be escaped. */
  function symbol(): string {
    if (source[at] !== '\\') {
      const code = source.codePointAt(at);
      if (code === undefined || code === 10) throw fail('the line ends within a text or class');
      at += code > 0xffff ? 2 : 1;
      return String.fromCodePoint(code);
    }
    const found = match(ESCAPED);
    if (!found) throw fail('an escape that is not known');
    if (found[1] !== undefined) return CONTROLS[found[1]] ?? found[1];
    const code = Number.parseInt(found.slice(2).find((digits) => digits !== undefined)!, 16);
    if (code > LAST_CODE_POINT) throw fail('no character has this number');
    return String.fromCodePoint(code);
  }

  function literal(quote: string): Expression {
    let value = '';
    while (!take(quote)) value += symbol();
    return text(value);
  }

  function characterClass(): Expression {
    const negated = take('^');
    const ranges: Range[] = [];
    while (!take(']')) {
      const low = symbol().codePointAt(0)!;
      const ranged = source[at] === '-' && source[at + 1] !== ']' && take('-');
      const high = ranged ? symbol().codePointAt(0)! : low;
      if (high < low) throw fail('a range whose end is before its beginning');
      ranges.push([low, high]);
    }
    return character(...(negated ? complement(ranges) : ranges));
  }

  function element(depth: number): Expression {
    for (const quote of ['"', "'"]) if (take(quote)) return literal(quote);
    if (take('[')) return characterClass();
    if (take('.')) return character([0, LAST_CODE_POINT]);
    if (take('(')) {
      if (depth > DEEPEST) throw fail(`more than ${DEEPEST} brackets in one another`);
      const inner = alternatives(depth + 1);
      if (!take(')')) throw fail('expected )');
      return inner;
    }
    const start = at;
    const name = match(NAME)?.[0];
    if (!name) throw fail('expected a text, a class, a rule or (');
    if (!named.has(name)) named.set(name, start);
    return rule(name);
  }

  function repeated(of: Expression): Expression {
    if (take('*')) return repeated(repeat(of));
    if (take('+')) return repeated(repeat(of, 1));
    if (take('?')) return repeated(repeat(of, 0, 1));
    const start = at;
    const found = match(COUNTS);
    if (!found) return of;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] ? Number(found[3]) : Infinity;
    if (max < min) throw fail('a count whose most is less than its least', start);
    if (min > MOST_REPETITIONS || (max > MOST_REPETITIONS && max !== Infinity)) {
      throw fail(`more than ${MOST_REPETITIONS} repetitions`, start);
    }
    return repeated(repeat(of, min, max));
  }

  function alternatives(depth: number): Expression {
    const options: Expression[] = [];
    do {
      const parts: Expression[] = [];
      for (;;) {
        skip();
        if (at >= source.length || source[at] === '|' || source[at] === ')' || definition()) break;
        parts.push(repeated(element(depth)));
      }
      options.push(sequence(...parts));
    } while (take('|'));
    return choice(...options);
  }

  for (skip(); at < source.length; skip()) {
    const name = definition();
    if (!name) throw fail('expected a rule: name ::= ...');
    if (rules.has(name)) throw fail(`the rule ${name} is there twice`);
    at = source.indexOf('::=', at) + 3;
    rules.set(name, alternatives(0));
    if (source[at] === ')') throw fail(') without (');
  }
  if (!rules.has('root')) throw fail('there is no rule root');
  for (const [name, place] of named) if (!rules.has(name)) throw fail(`there is no rule ${name}`, place);
  return rules;
}
