/**
 * The slots of the KV cache, one for each of its sequences, and who has which. A slot holds some timeline, whoever's it is:
 * what an answer needs of it is copied before anything is computed, and a slot is taken from another session only where
 * none is free, then from the one that has not spoken for longest.
 */
import type { MemoryPlan } from '../model/memory';
import { commonPrefix, copySession, type Session } from './session';

export interface Slot extends Session {
  /** The session (session-handle.ts) whose timeline this is; 0: nobody's, or that of calls without a session. */
  owner: number;
  /** Grows with each use. */
  used: number;
}

export const createSlots = (count: number): Slot[] =>
  Array.from({ length: count }, (_, sequence) => ({ sequence, tokens: [], owner: 0, used: 0 }));

/** The slot with most of the tokens, and how many it has. */
export function slotWithMost(slots: Slot[], tokens: number[]): { slot: Slot; common: number } {
  const shared = slots.map((slot) => ({ slot, common: commonPrefix(slot.tokens, tokens) }));
  return shared.reduce((a, b) => (b.common > a.common ? b : a));
}

/** Free slots first, then those that were not used for longest. */
const byUse = (a: Slot, b: Slot): number => Number(a.owner !== 0) - Number(b.owner !== 0) || a.used - b.used;

/**
 * The slot for a prompt. A session keeps its own; a call without one takes the free slot that has most of the prompt. A
 * session without a slot takes one of which nothing is lost, else the first by use.
 */
function choose(slots: Slot[], prompt: number[], owner: number): Slot {
  const free = slots.filter((slot) => slot.owner === 0);
  const [oldest] = [...slots].sort(byUse);
  if (owner === 0) return free.length > 0 ? slotWithMost(free, prompt).slot : oldest!;
  const own = slots.find((slot) => slot.owner === owner);
  if (own) return own;
  const wholly = free.filter(({ tokens }) => commonPrefix(tokens, prompt) === tokens.length);
  return wholly.length > 0 ? slotWithMost(wholly, prompt).slot : oldest!;
}

/**
 * Slots for `n` answers to a prompt. The first has as much of the prompt as any slot had; its tokens may go on otherwise.
 * @param owner the session that asks; 0: none
 */
export function takeSlots(
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  slots: Slot[],
  prompt: number[],
  n: number,
  owner: number,
): Slot[] {
  const first = choose(slots, prompt, owner);
  const { slot: best, common } = slotWithMost(slots, prompt);
  if (common > commonPrefix(first.tokens, prompt)) copySession(memory, plan, best, first, common);
  const others = slots.filter((slot) => slot !== first).sort(byUse);
  const taken = [first, ...others.slice(0, n - 1)];
  const now = Math.max(...slots.map(({ used }) => used)) + 1;
  for (const slot of taken) Object.assign(slot, { owner, used: now });
  return taken;
}

/** A slot for work that leaves nothing worth keeping: nobody's afterwards. */
export function takeScratch(slots: Slot[]): Slot {
  const slot = [...slots].sort(byUse)[0]!;
  slot.owner = 0;
  return slot;
}

/** The session is gone: its timeline may still serve others, until the slot is wanted. */
export function releaseSlots(slots: Slot[], owner: number): void {
  for (const slot of slots) if (slot.owner === owner) slot.owner = 0;
}
