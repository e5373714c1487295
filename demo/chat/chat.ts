/**
 * A chat as a record: a tree of turns, so that an edited question or another answer is a branch and nothing is lost.
 * Turns are only ever added, and each has an id of its own: two copies of a chat can always be joined.
 */
import type { GenerateResult } from '../../src/index';
import type { Engine } from '../settings/engine-settings';
import type { Sampling } from '../settings/sampling';

/** How an answer was made. */
export interface Figures extends Omit<GenerateResult, 'text' | 'tokens' | 'answers' | 'draft'> {
  model: string;
  /** Tokens of context that the model had. */
  contextLength: number;
}

/** One message. */
export interface Turn {
  readonly id: string;
  /** The turn it follows; null for the first. */
  readonly parent: string | null;
  readonly role: 'user' | 'assistant';
  readonly text: string;
  /** When it was begun, ms since 1970. */
  readonly at: number;
  /** Of an answer that came to its end here, or in the page that exported it. */
  readonly figures?: Figures;
  /** An answer that is being written, or was when it broke off. */
  readonly unfinished?: true | undefined;
}

export interface ChatSettings {
  readonly sampling: Sampling;
  readonly engine: Engine;
}

export interface Chat {
  readonly id: string;
  /** Empty until there is a first message. */
  readonly title: string;
  readonly createdAt: number;
  readonly changedAt: number;
  readonly settings: ChatSettings;
  /** All versions of all turns; each one after the turn that it follows. */
  readonly turns: readonly Turn[];
  /** The last turn of the branch on show; null while there are no turns. */
  readonly leaf: string | null;
}

/** 96 random bits. `crypto.randomUUID` is missing on pages without https. */
export const newId = (): string =>
  [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

export function newChat(settings: ChatSettings): Chat {
  const now = Date.now();
  return { id: newId(), title: '', createdAt: now, changedAt: now, settings, turns: [], leaf: null };
}

/** The branch on show, first turn first. */
export function branch({ turns, leaf }: Chat): Turn[] {
  const byId = new Map(turns.map((turn) => [turn.id, turn]));
  const found: Turn[] = [];
  for (let turn = leaf === null ? undefined : byId.get(leaf); turn; turn = byId.get(turn.parent ?? ''))
    found.push(turn);
  return found.reverse();
}

/** Tells all versions of a turn, oldest first: what follows the same turn. */
export function versionsIn({ turns }: Chat): (turn: Turn) => readonly Turn[] {
  const groups = new Map<string | null, Turn[]>();
  for (const turn of turns) {
    const group = groups.get(turn.parent);
    if (group) group.push(turn);
    else groups.set(turn.parent, [turn]);
  }
  return (turn) => groups.get(turn.parent) ?? [turn];
}

/** The end of the newest branch that begins with a turn. */
export function endUnder(chat: Pick<Chat, 'turns'>, id: string): string {
  const next = chat.turns.findLast((turn) => turn.parent === id);
  return next ? endUnder(chat, next.id) : id;
}

const longestTitle = 48;

/** A title made of the first message: its first line, cut between words. */
export function titleFrom(text: string): string {
  const line = (text.trim().split('\n')[0] ?? '').replace(/\s+/g, ' ').trim();
  if (line.length <= longestTitle) return line;
  const words = line.slice(0, longestTitle + 1).replace(/\s+\S*$/, '');
  return `${words.length <= longestTitle ? words : line.slice(0, longestTitle)}…`;
}

/** A chat with one more turn, which becomes the end of the branch on show. */
export function withTurn(chat: Chat, turn: Turn): Chat {
  const title = chat.title || titleFrom(turn.text);
  return { ...chat, title, turns: [...chat.turns, turn], leaf: turn.id, changedAt: Date.now() };
}

/** Of the same turn, the copy that knows more: one that came to its end, else the longer one. */
const fuller = (a: Turn, b: Turn): Turn => (a.figures || (!b.figures && a.text.length >= b.text.length) ? a : b);

/** Two copies of a chat as one: the turns of both; the rest as in the one that was changed last. */
export function joined(a: Chat, b: Chat): Chat {
  const turns = new Map(a.turns.map((turn) => [turn.id, turn]));
  for (const turn of b.turns) turns.set(turn.id, fuller(turns.get(turn.id) ?? turn, turn));
  return { ...(a.changedAt > b.changedAt ? a : b), turns: [...turns.values()] };
}

/** What of a chat is worth keeping: an answer that has no word and never ended is none. */
export function keepable(chat: Chat): Chat {
  const isNothing = ({ role, text, figures }: Turn) => role === 'assistant' && text === '' && !figures;
  const last = chat.turns.find(({ id }) => id === chat.leaf);
  const leaf = last && isNothing(last) ? last.parent : chat.leaf;
  return { ...chat, leaf, turns: chat.turns.filter((turn) => !isNothing(turn)) };
}
