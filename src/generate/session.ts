/**
 * A session is one timeline: the tokens whose keys and values the cache holds. It is handed the full token list each
 * time and reuses the longest common prefix by itself.
 */
import { CACHE_BYTES, type MemoryPlan, pad } from '../model/memory';
import type { Pool, Row } from '../model/pool';

export interface Session {
  /** Tokens in the cache, from position 0. */
  tokens: number[];
  sequence: number;
}

export interface Prefill {
  /** Leading tokens that were already in the cache. */
  cached: number;
  /** False if it was aborted: what was computed until then stays in the cache. */
  complete: boolean;
}

/** Length of the longest common prefix. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  for (let i = 0; i < most; i++) if (a[i] !== b[i]) return i;
  return most;
}

/**
 * Brings the cache to `tokens` in chunks of plan.maxRows rows. Afterwards the logits of the last token lie at
 * plan.logits, row 0; so at least the last token is computed anew.
 * @param between called between two chunks; false ends the prefill
 * @param best how many of the best logits are wanted, as in Pool.run()
 * @param onProgress told how many tokens are in the cache, at the beginning and after each chunk
 */
export async function prefill(
  pool: Pool,
  session: Session,
  tokens: number[],
  between: () => Promise<boolean>,
  best = 0,
  onProgress: (done: number) => void = () => {},
): Promise<Prefill> {
  const cached = Math.min(commonPrefix(session.tokens, tokens), tokens.length - 1);
  session.tokens.length = cached;
  onProgress(cached);
  while (session.tokens.length < tokens.length) {
    const from = session.tokens.length;
    const rows = rowsOf(session, tokens.slice(from, from + pool.plan.maxRows));
    if (!(await append(pool, session, rows, rows.length - 1, best))) return { cached, complete: false };
    onProgress(session.tokens.length);
    if (session.tokens.length < tokens.length && !(await between())) return { cached, complete: false };
  }
  return { cached, complete: true };
}

/** Rows for the tokens that follow the session's. */
export function rowsOf(session: Session, tokens: number[]): Row[] {
  const from = session.tokens.length;
  return tokens.map((token, i) => ({ sequence: session.sequence, position: from + i, token }));
}

/** Runs the rows of rowsOf(); the session grows by them unless the pass was aborted. */
export async function append(
  pool: Pool,
  session: Session,
  rows: Row[],
  logitsFrom: number,
  best = 0,
): Promise<boolean> {
  if (!(await pool.run(rows, logitsFrom, best))) return false;
  for (const { token } of rows) session.tokens.push(token);
  return true;
}

/** Positions that cannot be told apart: values of an int8 cache lie in pairs. */
const together = ({ kvCache }: MemoryPlan): number => (kvCache === 'int8' ? 2 : 1);

/**
 * Where the keys and values of positions [from, to) of a sequence lie, as pieces of the memory in an order that depends
 * on the configuration and the kind of the cache alone. Pieces hold whole pairs of positions where the cache does.
 */
export function cachePieces(plan: MemoryPlan, sequence: number, from: number, to: number): Piece[] {
  const { cachePositions, headDim, kvCache, layers } = plan;
  const { kvHeads } = plan.config;
  const first = Math.floor(from / together(plan)) * together(plan);
  const count = pad(to, together(plan)) - first;
  const pieces: Piece[] = [];
  const add = (cache: number, positionBytes: number): void => {
    for (let head = 0; head < kvHeads; head++) {
      const at = cache + ((sequence * kvHeads + head) * cachePositions + first) * positionBytes;
      pieces.push({ at, bytes: count * positionBytes });
    }
  };
  for (const { keys, values, keyScales, valueScales } of layers) {
    for (const cache of [keys, values]) add(cache, headDim * CACHE_BYTES[kvCache]);
    if (kvCache === 'int8') for (const scales of [keyScales, valueScales]) add(scales, 4);
  }
  return pieces;
}

/** A piece of the memory. */
export interface Piece {
  at: number;
  bytes: number;
}

/**
 * Makes `to` the same timeline as the first `count` tokens of `from` (default: all): the keys and values of what they do
 * not have in common are copied. Runs between passes, on one thread: that reads and writes memory once, as fast as the
 * machine can.
 */
export function copySession(
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  from: Session,
  to: Session,
  count = from.tokens.length,
): void {
  const bytes = new Uint8Array(memory.buffer);
  const first = Math.min(commonPrefix(to.tokens, from.tokens), count);
  const sources = cachePieces(plan, from.sequence, first, count);
  for (const [i, { at, bytes: size }] of cachePieces(plan, to.sequence, first, count).entries()) {
    bytes.copyWithin(at, sources[i]!.at, sources[i]!.at + size);
  }
  to.tokens = from.tokens.slice(0, count);
}

/** The logits of one row of the last pass, as a view: overwritten by the next pass. f32[vocab] */
export function logitsView(memory: WebAssembly.Memory, plan: MemoryPlan, row: number): Float32Array {
  return new Float32Array(memory.buffer, plan.logits + row * plan.head.paddedVocab * 4, plan.config.vocab);
}
