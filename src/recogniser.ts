/**
 * Follows a text byte by byte through a grammar: a nondeterministic pushdown automaton whose sets of threads become states
 * with a table of transitions, made when they are first met. Every state knows its closing: the fewest bytes that complete it.
 * What can never be completed is no state, and bytes that are no UTF-8 are refused.
 */
import { SternaError } from './errors';
import type { Expression, Grammar, Range } from './expression';

/** A grammar in bytes. `cost`: the fewest bytes it takes; Infinity where there is no way. */
type Node = { id: number; cost: number } & (
  | { kind: 'byte'; low: number; high: number }
  | { kind: 'sequence'; parts: Node[] }
  | { kind: 'choice'; options: Node[] }
  | { kind: 'repeat'; of: Node; min: number; max: number }
  | { kind: 'rule'; target: Node | undefined }
);
type Unfinished = Node extends infer N ? (N extends Node ? Omit<N, 'id' | 'cost'> : never) : never;

/** What is to follow: the parts of a sequence from `at`, or a repetition of which `at` are done; then `rest`. */
interface Continuation {
  id: number;
  node: Node & { kind: 'sequence' | 'repeat' };
  at: number;
  rest: Continuation | undefined;
  cost: number;
  /** Continuations of one kind allow the same next LONGEST bytes. */
  kind: number;
}

/** A place before one byte, and what follows it. */
interface Thread {
  node: Node & { kind: 'byte' };
  next: Continuation | undefined;
}

/** Most bytes of a token that is looked at: more are runs of blanks and the like. */
export const LONGEST = 32;
/** No way on. */
export const DEAD = -1;
/** In the first place of a state's transitions: they have not been made. */
export const UNKNOWN = -2;
/** Most threads of a state: more are a grammar that reads the same text in a great many ways. */
const MOST_THREADS = 2000;
/** Most repetitions of what may be empty: each is entered at once. */
const MOST_EMPTY = 200;
/** Most states that are kept (1 kB each) before `forget` does something. */
const MOST_STATES = 4000;

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

export interface Recogniser {
  /** The state before the first byte. */
  start: number;
  /** The state after one more byte, or DEAD. */
  step(state: number, byte: number): number;
  /** Makes the transitions of a state, unless they are there. */
  expand(state: number): void;
  /** By state: transitions (256 each, by byte; UNKNOWN first: see expand) and closings. Both move as states are added. */
  tables(): { transitions: Int32Array; closings: Int32Array };
  /** Fewest bytes that complete the text; 0: it is complete. */
  closing(state: number): number;
  /** States of one kind allow the same next LONGEST bytes, and their closings change alike. */
  kind(state: number): number;
  /** Complete, and nothing can follow. */
  finished(state: number): boolean;
  /** Whether a whole text is of the grammar. */
  accepts(text: string): boolean;
  /** Lets go of states where they have become many, but for `kept`: gives their new numbers, or undefined: nothing is done. */
  forget(kept: number[]): number[] | undefined;
}

/**
 * A recogniser of a grammar.
 * @param usable bytes that can be written, by value; what needs others is left out
 * @throws SternaError `bad-input` if a rule begins with itself, or no text of finite length (and of these bytes) fits
 */
export function createRecogniser(grammar: Grammar, usable: (byte: number) => boolean = () => true): Recogniser {
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
    if (node.kind !== 'repeat' || node.of.cost > 0 || node.max === Infinity || node.max <= MOST_EMPTY) continue;
    const facts = { got: node.max, expected: `at most ${MOST_EMPTY}` };
    throw new SternaError('unsupported', 'so many repetitions of what may be empty', facts);
  }

  const kinds = new Map<string, number>();
  function kindOf(key: string): number {
    const kind = kinds.get(key) ?? kinds.size;
    kinds.set(key, kind);
    return kind;
  }

  let continuations = new Map<string, Continuation>();
  let lastContinuation = 0;
  function continuation(
    node: Continuation['node'],
    at: number,
    rest: Continuation | undefined,
  ): Continuation | undefined {
    if (node.kind === 'sequence' && at === node.parts.length) return rest; // a last part needs nothing behind it
    const key = `${node.id},${at},${rest?.id ?? ''}`;
    const known = continuations.get(key);
    if (known) return known;
    const missing =
      node.kind === 'sequence'
        ? node.parts.slice(at).reduce((sum, part) => sum + part.cost, 0)
        : node.min > at
          ? (node.min - at) * node.of.cost
          : 0;
    const kind = kindOf(`${node.id},${node.kind === 'repeat' ? nearBound(node, at) : at},${rest?.kind ?? ''}`);
    const made = { id: ++lastContinuation, node, at, rest, cost: missing + (rest?.cost ?? 0), kind };
    continuations.set(key, made);
    return made;
  }

  /** Threads by key, and whether the end has been reached. */
  class Closure {
    threads = new Map<string, Thread>();
    complete = false;
    private seen = new Set<string>();

    enter(node: Node, next: Continuation | undefined): void {
      if (node.cost === Infinity || next?.cost === Infinity) return;
      const key = `${node.id},${next?.id ?? ''}`;
      if (node.kind === 'byte') {
        this.threads.set(key, { node, next });
        if (this.threads.size > MOST_THREADS) throw tooAmbiguous();
        return;
      }
      if (this.seen.has(key)) return;
      this.seen.add(key);
      if (node.kind === 'choice') for (const option of node.options) this.enter(option, next);
      else if (node.kind === 'rule') this.enter(node.target!, next);
      else this.follow(node, 0, next);
    }

    private follow(node: Continuation['node'], at: number, rest: Continuation | undefined): void {
      if (node.kind === 'sequence') {
        if (at === node.parts.length) this.leave(rest);
        else this.enter(node.parts[at]!, continuation(node, at + 1, rest));
        return;
      }
      if (at >= node.min) this.leave(rest);
      // without a most, all counts from the least on are alike
      if (at < node.max) {
        const then = node.max === Infinity ? Math.min(at + 1, node.min) : at + 1;
        this.enter(node.of, continuation(node, then, rest));
      }
    }

    leave(next: Continuation | undefined): void {
      if (!next) this.complete = true;
      else {
        const key = `after ${next.id}`;
        if (this.seen.has(key)) return;
        this.seen.add(key);
        this.follow(next.node, next.at, next.rest);
      }
    }
  }

  let states: { threads: Thread[]; complete: boolean; kind: number }[] = [];
  let stateOf = new Map<string, number>();
  let closings = new Int32Array(64);
  let transitions = new Int32Array(64 * 256);
  function state({ threads, complete }: Pick<Closure, 'threads' | 'complete'>): number {
    if (threads.size === 0 && !complete) return DEAD;
    const key = `${complete}${[...threads.keys()].sort().join(' ')}`;
    const known = stateOf.get(key);
    if (known !== undefined) return known;
    let closing = complete ? 0 : Infinity;
    for (const { next } of threads.values()) closing = Math.min(closing, 1 + (next?.cost ?? 0));
    // with what each way costs more than the closing, so that closings change alike too
    const alike = [...threads.values()].map(
      ({ node, next }) => `${node.id},${next?.kind ?? ''},${1 + (next?.cost ?? 0) - closing}`,
    );
    const kind = kindOf(`state ${complete} ${alike.sort().join(' ')}`);
    const made = states.push({ threads: [...threads.values()], complete, kind }) - 1;
    stateOf.set(key, made);
    if (made === closings.length) {
      closings = grown(closings);
      transitions = grown(transitions);
    }
    closings[made] = closing;
    transitions[made * 256] = UNKNOWN;
    return made;
  }

  function expand(of: number): void {
    if (transitions[of * 256] !== UNKNOWN) return;
    const from = states[of]!;
    const row = new Int32Array(256).fill(DEAD);
    // between two borders the same threads go on
    const borders = [...new Set(from.threads.flatMap(({ node }) => [node.low, node.high + 1]))].sort((a, b) => a - b);
    for (let i = 0; i + 1 < borders.length; i++) {
      const [low, end] = [borders[i]!, borders[i + 1]!];
      const closure = new Closure();
      for (const { node, next } of from.threads) if (node.low <= low && low <= node.high) closure.leave(next);
      row.fill(state(closure), low, end);
    }
    transitions.set(row, of * 256);
  }

  const first = (): number => {
    const closure = new Closure();
    closure.enter(root, undefined);
    return state(closure);
  };
  const start = first();
  const step = (from: number, byte: number): number => {
    if (from === DEAD) return DEAD;
    expand(from);
    return transitions[from * 256 + byte]!;
  };
  return {
    start,
    step,
    expand,
    tables: () => ({ transitions, closings }),
    closing: (of) => (of === DEAD ? Infinity : closings[of]!),
    kind: (of) => states[of]!.kind,
    finished: (of) => of !== DEAD && states[of]!.complete && states[of]!.threads.length === 0,
    accepts: (value) => {
      const end = new TextEncoder().encode(value).reduce(step, start);
      return end !== DEAD && states[end]!.complete;
    },
    forget: (kept) => {
      if (states.length < MOST_STATES) return undefined;
      const old = kept.map((each) => states[each]!);
      states = [];
      stateOf = new Map();
      continuations = new Map();
      first(); // number 0, as before
      return old.map(({ threads, complete }) => {
        const byKey = new Map(threads.map((thread) => [`${thread.node.id},${thread.next?.id ?? ''}`, thread]));
        return state({ threads: byKey, complete });
      });
    },
  };
}

function grown(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

const tooAmbiguous = (): SternaError =>
  new SternaError('unsupported', 'the response format can be read in too many ways at once', {
    got: `more than ${MOST_THREADS}`,
    expected: 'a less ambiguous grammar',
  });

/** How many repetitions are done, where a bound is so near that this matters. */
function nearBound({ min, max }: { min: number; max: number }, at: number): number | string {
  if (at < min) return min - at > LONGEST ? 'below' : at;
  return max - at > LONGEST ? 'between' : at;
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
