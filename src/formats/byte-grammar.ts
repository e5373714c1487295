/** Grammars in bytes (UTF-8): what expressions of characters become, and how few bytes each part of them takes. */
import { SternaError } from '../errors';
import type { Expression, Grammar, Range } from './expression';

/** A part of a grammar. `cost`: the fewest bytes it takes; Infinity where there is no way. */
export type Node = { id: number; cost: number } & (
  | { kind: 'byte'; low: number; high: number }
  | { kind: 'sequence'; parts: Node[] }
  | { kind: 'choice'; options: Node[] }
  | { kind: 'repeat'; of: Node; min: number; max: number }
  | { kind: 'rule'; target: Node | undefined }
);
type Unfinished = Node extends infer N ? (N extends Node ? Omit<N, 'id' | 'cost'> : never) : never;

/** Most repetitions of what may be empty: each is entered at once. */
const MOST_EMPTY = 200;

/** Byte sequences of UTF-8 (RFC 3629) for a range of code points: each a list of byte ranges. */
function utf8Ranges([low, high]: Range): Range[][] {
  // cut where the length changes, and around the surrogates, which UTF-8 does not have
  for (const border of [0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff]) {
    if (low <= border && high > border) return [...utf8Ranges([low, border]), ...utf8Ranges([border + 1, high])];
  }
  if (low >= 0xd800 && high <= 0xdfff) return [];
  if (high <= 0x7f) return [[[low, high]]];
  // cut so that the last bytes are either one prefix's, or whole
  for (let bits = 6; bits <= 18; bits += 6) {
    const mask = 2 ** bits - 1;
    if (low >> bits === high >> bits) break;
    if ((low & mask) !== 0) return [...utf8Ranges([low, low | mask]), ...utf8Ranges([(low | mask) + 1, high])];
    if ((high & mask) !== mask) {
      const start = high - (high & mask);
      return [...utf8Ranges([low, start - 1]), ...utf8Ranges([start, high])];
    }
  }
  const [first, last] = [low, high].map((each) => new TextEncoder().encode(String.fromCodePoint(each)));
  return [Array.from(first!, (byte, i): Range => [byte, last![i]!])];
}

/**
 * The root of a grammar, with all that it is made of.
 * @param usable bytes that can be written, by value; what needs others is left out
 * @throws SternaError `bad-input` if no text of finite length (and of these bytes) fits; `unsupported` if a rule begins with
 * itself, or what may be empty is repeated too often
 */
export function byteGrammar(grammar: Grammar, usable: (byte: number) => boolean): Node {
  const nodes: Node[] = [];
  const make = (node: Unfinished): Node => {
    const made = { ...node, id: nodes.length, cost: Infinity } as Node;
    nodes.push(made);
    return made;
  };
  const rules = new Map([...grammar.keys()].map((name) => [name, make({ kind: 'rule', target: undefined })]));

  const bytes = ([low, high]: Range): Node => {
    const runs: Node[] = [];
    for (let from = low; from <= high; from++) {
      if (!usable(from)) continue;
      let to = from;
      while (to < high && usable(to + 1)) to++;
      runs.push(make({ kind: 'byte', low: from, high: to }));
      from = to;
    }
    return runs.length === 1 ? runs[0]! : make({ kind: 'choice', options: runs });
  };
  const inOrder = (parts: Node[]): Node => (parts.length === 1 ? parts[0]! : make({ kind: 'sequence', parts }));
  const characters = new Map<string, Node>();
  const built = new Map<Expression, Node>(); // an expression may be in several places
  function build(expression: Expression): Node {
    const node = built.get(expression) ?? buildAnew(expression);
    built.set(expression, node);
    return node;
  }
  function buildAnew(expression: Expression): Node {
    switch (expression.kind) {
      case 'text':
        return inOrder(Array.from(new TextEncoder().encode(expression.text), (byte) => bytes([byte, byte])));
      case 'character': {
        const key = expression.ranges.join(';');
        const known = characters.get(key);
        if (known) return known;
        const ways = expression.ranges.flatMap(utf8Ranges).map((way) => inOrder(way.map(bytes)));
        const made = ways.length === 1 ? ways[0]! : make({ kind: 'choice', options: ways });
        characters.set(key, made);
        return made;
      }
      case 'sequence':
        return inOrder(expression.parts.map(build));
      case 'choice':
        return make({ kind: 'choice', options: expression.options.map(build) });
      case 'repeat': {
        const { min, max } = expression;
        return make({ kind: 'repeat', of: build(expression.of), min, max });
      }
      case 'rule': {
        const target = rules.get(expression.name);
        if (target) return target;
        throw new SternaError('bad-input', 'a rule that is not there', { got: expression.name, expected: 'a rule' });
      }
    }
  }
  for (const [name, node] of rules) if (node.kind === 'rule') node.target = build(grammar.get(name)!);

  computeCosts(nodes);
  const root = rules.get('root');
  if (!root) throw new SternaError('bad-input', 'grammar', { got: [...rules.keys()].join(', '), expected: 'a root' });
  if (root.cost === Infinity) {
    throw new SternaError('bad-input', 'no answer of finite length fits the response format', {
      got: 'a grammar without an end, or one that the vocabulary cannot write',
      expected: 'at least one answer',
    });
  }
  refuseLeftRecursion(rules);
  for (const node of nodes) {
    if (node.kind !== 'repeat' || node.of.cost > 0) continue;
    const times = node.max === Infinity ? node.min : node.max;
    if (times <= MOST_EMPTY) continue;
    const facts = { got: times, expected: `at most ${MOST_EMPTY}` };
    throw new SternaError('unsupported', 'so many repetitions of what may be empty', facts);
  }
  return root;
}

/** The fewest bytes of each node, from below until nothing changes. */
function computeCosts(nodes: Node[]): void {
  const costOf = (node: Node): number => {
    if (node.kind === 'byte') return 1;
    if (node.kind === 'sequence') return node.parts.reduce((sum, part) => sum + part.cost, 0);
    if (node.kind === 'choice') return Math.min(...node.options.map((option) => option.cost));
    if (node.kind === 'rule') return node.target!.cost;
    return node.min === 0 ? 0 : node.min * node.of.cost;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes) {
      const cost = costOf(node);
      if (cost >= node.cost) continue;
      node.cost = cost;
      changed = true;
    }
  }
}

/** A rule that begins with itself would be entered for ever. */
function refuseLeftRecursion(rules: ReadonlyMap<string, Node>): void {
  /** What may come first in a node, until a rule or a byte. */
  function heads(node: Node, found: Set<Node>): void {
    if (node.cost === Infinity) return;
    if (node.kind === 'rule') found.add(node);
    else if (node.kind === 'choice') for (const option of node.options) heads(option, found);
    else if (node.kind === 'repeat') heads(node.of, found);
    else if (node.kind === 'sequence') {
      for (const part of node.parts) {
        heads(part, found);
        if (part.cost > 0) break;
      }
    }
  }
  const headsOf = new Map<Node, Set<Node>>();
  for (const node of rules.values()) {
    const found = new Set<Node>();
    if (node.kind === 'rule') heads(node.target!, found);
    headsOf.set(node, found);
  }
  for (const [name, node] of rules) {
    const reached = new Set<Node>();
    const open = [...headsOf.get(node)!];
    while (open.length > 0) {
      const next = open.pop()!;
      if (reached.has(next)) continue;
      reached.add(next);
      open.push(...headsOf.get(next)!);
    }
    if (reached.has(node)) {
      throw new SternaError('unsupported', 'a rule that begins with itself', {
        got: name,
        expected: 'repetition behind what is repeated, such as item*',
      });
    }
  }
}
