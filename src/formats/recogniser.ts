/**
 * Follows a text byte by byte through a grammar: a nondeterministic pushdown automaton whose sets of threads become states
 * with a table of transitions, made when they are first met. Every state knows its closing: the fewest bytes that complete it.
 * What can never be completed is no state, and bytes that are no UTF-8 are refused.
 */

import { SternaError } from '../errors';
import { byteGrammar, type Node } from './byte-grammar';
import type { Grammar } from './expression';

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
/** Closings from here on are this one: more than any answer has room for. */
const MOST_CLOSING = 2 ** 31 - 1;
/** Most threads of a state: more are a grammar that reads the same text in a great many ways. */
const MOST_THREADS = 2000;
/** Most places that a byte is looked for from at once, those before which nothing is read among them. */
const MOST_PLACES = 50_000;
/** Most states that are kept (1 kB each) before `forget` does something. */
const MOST_STATES = 4000;

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
  /**
   * Lets go of states where they have become many, but for `kept`: gives their new numbers, or undefined: nothing is done.
   * Kinds have new numbers then, too.
   */
  forget(kept: number[]): number[] | undefined;
}

/**
 * A recogniser of a grammar.
 * @param usable bytes that can be written, by value; what needs others is left out
 * @throws SternaError as byteGrammar(); `unsupported`, also later, if it can be read in too many ways at once
 */
export function createRecogniser(grammar: Grammar, usable: (byte: number) => boolean = () => true): Recogniser {
  const root = byteGrammar(grammar, usable);

  let kinds = new Map<string, number>();
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

  /** A continuation from before `continuations` were let go of. @param made those that have been made again */
  function madeAgain(old: Continuation, made: Map<Continuation, Continuation | undefined>): Continuation | undefined {
    const chain: Continuation[] = [];
    let last: Continuation | undefined = old;
    for (; last && !made.has(last); last = last.rest) chain.push(last);
    let rest = last && made.get(last);
    for (const each of chain.reverse()) {
      rest = continuation(each.node, each.at, rest);
      made.set(each, rest);
    }
    return rest;
  }

  /** Threads by key, and whether the end has been reached. */
  class Closure {
    threads = new Map<string, Thread>();
    complete = false;
    private seen = new Set<string>();
    /** Places to go on from: before a node, or before what is to follow. A list, since they may lie deep in one another. */
    private open: { node: Node | undefined; next: Continuation | undefined }[] = [];

    /** Adds what can come first in a node, and then in `next`. */
    enter(node: Node, next: Continuation | undefined): void {
      this.add(node, next);
      this.goOn();
    }

    /** Adds what can come first in what is to follow. */
    leave(next: Continuation | undefined): void {
      this.add(undefined, next);
      this.goOn();
    }

    private add(node: Node | undefined, next: Continuation | undefined): void {
      if (!node && !next) this.complete = true;
      if (!(node ?? next) || node?.cost === Infinity || next?.cost === Infinity) return;
      const key = keyOf(node, next);
      if (node?.kind === 'byte') {
        this.threads.set(key, { node, next });
        if (this.threads.size > MOST_THREADS) throw tooAmbiguous(MOST_THREADS);
      } else if (!this.seen.has(key)) {
        this.seen.add(key);
        if (this.seen.size > MOST_PLACES) throw tooAmbiguous(MOST_PLACES);
        this.open.push({ node, next });
      }
    }

    private goOn(): void {
      for (let place = this.open.pop(); place; place = this.open.pop()) {
        const { node, next } = place;
        if (!node) this.follow(next!.node, next!.at, next!.rest);
        else if (node.kind === 'choice') for (const option of node.options) this.add(option, next);
        else if (node.kind === 'rule') this.add(node.target!, next);
        else if (node.kind !== 'byte') this.follow(node, 0, next);
      }
    }

    private follow(node: Continuation['node'], at: number, rest: Continuation | undefined): void {
      if (node.kind === 'sequence') {
        if (at === node.parts.length) this.add(undefined, rest);
        else this.add(node.parts[at]!, continuation(node, at + 1, rest));
        return;
      }
      if (at >= node.min) this.add(undefined, rest);
      // without a most, all counts from the least on are alike
      if (at < node.max) {
        const then = node.max === Infinity ? Math.min(at + 1, node.min) : at + 1;
        this.add(node.of, continuation(node, then, rest));
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
    closings[made] = Math.min(closing, MOST_CLOSING);
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
      kinds = new Map();
      first(); // number 0, as before
      const made = new Map<Continuation, Continuation | undefined>();
      return old.map(({ threads, complete }) => {
        const again = threads.map(({ node, next }) => ({ node, next: next && madeAgain(next, made) }));
        return state({ threads: new Map(again.map((thread) => [keyOf(thread.node, thread.next), thread])), complete });
      });
    },
  };
}

const keyOf = (node: Node | undefined, next: Continuation | undefined): string =>
  `${node?.id ?? 'after'},${next?.id ?? ''}`;

function grown(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

const tooAmbiguous = (most: number): SternaError =>
  new SternaError('unsupported', 'the response format can be read in too many ways at once', {
    got: `more than ${most}`,
    expected: 'a less ambiguous grammar',
  });

/** How many repetitions are done, where a bound is so near that this matters. */
function nearBound({ min, max }: { min: number; max: number }, at: number): number | string {
  if (at < min) return min - at > LONGEST ? 'below' : at;
  return max - at > LONGEST ? 'between' : at;
}
