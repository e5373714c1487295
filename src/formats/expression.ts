/** Grammars as data: what an answer may be, before it is a matter of bytes and tokens. */

/** Unicode code points, inclusive. */
export type Range = readonly [low: number, high: number];

export type Expression =
  | { kind: 'text'; text: string }
  /** One character of any of the ranges. */
  | { kind: 'character'; ranges: readonly Range[] }
  | { kind: 'sequence'; parts: readonly Expression[] }
  | { kind: 'choice'; options: readonly Expression[] }
  /** `of`, at least `min` and at most `max` times (Infinity: without end). */
  | { kind: 'repeat'; of: Expression; min: number; max: number }
  | { kind: 'rule'; name: string };

/** Rules by name; an answer is a `root`. */
export type Grammar = ReadonlyMap<string, Expression>;

export const LAST_CODE_POINT = 0x10ffff;

export const text = (value: string): Expression => ({ kind: 'text', text: value });
export const sequence = (...parts: Expression[]): Expression =>
  parts.length === 1 ? parts[0]! : { kind: 'sequence', parts };
export const choice = (...options: Expression[]): Expression =>
  options.length === 1 ? options[0]! : { kind: 'choice', options };
export const repeat = (of: Expression, min = 0, max = Infinity): Expression => ({ kind: 'repeat', of, min, max });
export const optional = (of: Expression): Expression => repeat(of, 0, 1);
export const rule = (name: string): Expression => ({ kind: 'rule', name });
export const character = (...ranges: Range[]): Expression => ({ kind: 'character', ranges: normalised(ranges) });

/** Each of the characters of a text. */
export const oneOf = (characters: string): Expression =>
  character(...Array.from(characters, (each): Range => [each.codePointAt(0)!, each.codePointAt(0)!]));

/** Sorted, without overlap. */
function normalised(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = merged.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

/** All characters that are in none of the ranges. */
export function complement(ranges: readonly Range[]): Range[] {
  const left: Range[] = [];
  let from = 0;
  for (const [low, high] of normalised(ranges)) {
    if (low > from) left.push([from, low - 1]);
    from = high + 1;
  }
  if (from <= LAST_CODE_POINT) left.push([from, LAST_CODE_POINT]);
  return left;
}

/** Characters that are in both. */
export const intersection = (a: readonly Range[], b: readonly Range[]): Range[] =>
  complement([...complement(a), ...complement(b)]);
