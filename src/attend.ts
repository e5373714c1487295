/**
 * Attention of one pass on one thread: norms of heads, RoPE, the KV cache, and attention over blocks of positions.
 * Units of work are shared out; a head's arithmetic has one order, whoever does it.
 */
import type { Machine } from './machine';
import { BLOCK, type LayerPlan, pad } from './memory';
import type { Share } from './share';

export interface Attention {
  /**
   * A small pass: RoPE, cache and attention in one step. Every thread makes RoPE of all queries for itself, and writes
   * all keys and values (the same bits as the others), so that it needs no other thread's.
   */
  small(n: number, layer: LayerPlan): void;
  /** After small(): one row of outputs, in this thread's scratch. */
  combined(row: number): number;
  /** A large pass: RoPE and cache, shared out. */
  rope(n: number, layer: LayerPlan): void;
  /** After rope() and a barrier: the outputs of all rows, shared out. */
  large(n: number, layer: LayerPlan): void;
  /** After large(): one row of outputs. */
  output(row: number): number;
}

export function createAttention(machine: Machine, share: Share): Attention {
  const { kernels: k, plan, rank, words } = machine;
  const { config, cacheBf16, headDim } = plan;
  const { heads, kvHeads, rmsNormEps } = config;
  const own = plan.perThread[rank]!;
  const group = heads / kvHeads;
  const headBytes = headDim * 4;
  const queryBytes = heads * headBytes;
  const cachedHeadBytes = headDim * (cacheBf16 ? 2 : 4);
  const keyOffset = pad(heads * headDim, 16) * 4; // in a row of qkv, bytes
  const valueOffset = keyOffset + pad(kvHeads * headDim, 16) * 4;
  const scale = Math.fround(1 / Math.sqrt(config.headDim));

  const qkvRow = (row: number): number => plan.qkv + row * plan.qkvStride * 4;
  const output = (row: number): number => plan.attention + row * plan.attentionStride * 4;
  const position = (row: number): number => words[plan.rowPositions / 4 + row]!;
  /** Where the cache of a row's sequence holds a head's position 0. */
  const cacheHead = (cache: number, row: number, head: number): number =>
    cache + (words[plan.rowSequences / 4 + row]! * kvHeads + head) * plan.contextLength * cachedHeadBytes;
  const cosines = (row: number): number => plan.cosines + (position(row) * headBytes) / 2;
  const sines = (row: number): number => plan.sines + (position(row) * headBytes) / 2;

  /** Norm, if any, and RoPE of one head. @param gain of the norm, 0 without one; @param to may be x */
  function ropeHead(row: number, x: number, gain: number, to: number): void {
    if (gain) k.rmsNorm(x, gain, to, headDim, config.headDim, rmsNormEps);
    k.rope(gain ? to : x, headDim, cosines(row), sines(row), to);
  }

  function storeKey(row: number, kv: number, layer: LayerPlan): void {
    const x = qkvRow(row) + keyOffset + kv * headBytes; // others may read it, and write the same
    ropeHead(row, x, layer.keyNorm, own.normed);
    const to = cacheHead(layer.keys, row, kv) + position(row) * cachedHeadBytes;
    k.storeHead(own.normed, headDim, to, +cacheBf16);
  }

  function storeValue(row: number, kv: number, layer: LayerPlan): void {
    const to = cacheHead(layer.values, row, kv) + position(row) * cachedHeadBytes;
    k.storeHead(qkvRow(row) + valueOffset + kv * headBytes, headDim, to, +cacheBf16);
  }

  function rope(n: number, layer: LayerPlan): void {
    share.each(n, (row) => {
      for (let head = 0; head < heads; head++) {
        const x = qkvRow(row) + head * headBytes;
        ropeHead(row, x, layer.queryNorm, x);
      }
      for (let kv = 0; kv < kvHeads; kv++) {
        storeKey(row, kv, layer);
        storeValue(row, kv, layer);
      }
    });
  }

  /** One row, one key/value head, one block of positions. @param queries of the row, after RoPE */
  function attendBlock(
    layer: LayerPlan,
    row: number,
    queries: number,
    kv: number,
    block: number,
    partial: number,
  ): void {
    const first = block * BLOCK;
    const count = Math.min(BLOCK, position(row) + 1 - first);
    const keys = cacheHead(layer.keys, row, kv) + first * cachedHeadBytes;
    const values = cacheHead(layer.values, row, kv) + first * cachedHeadBytes;
    const query = queries + kv * group * headBytes;
    k.attentionBlock(query, keys, values, count, group, headDim, scale, +cacheBf16, own.scores, partial);
  }

  const blocksOf = (row: number): number => Math.floor(position(row) / BLOCK) + 1;
  const mostBlocks = Math.ceil(plan.contextLength / BLOCK);
  const partialAt = (row: number, kv: number): number =>
    plan.partials + (row * kvHeads + kv) * mostBlocks * plan.partialBytes;

  function small(n: number, layer: LayerPlan): void {
    let units = 0;
    for (let row = 0; row < n; row++) {
      units += kvHeads * blocksOf(row);
      for (let head = 0; head < heads; head++) {
        const to = own.queries + row * queryBytes + head * headBytes;
        ropeHead(row, qkvRow(row) + head * headBytes, layer.queryNorm, to);
      }
      for (let kv = 0; kv < kvHeads; kv++) {
        storeKey(row, kv, layer);
        storeValue(row, kv, layer);
      }
    }
    share.each(units, (unit) => {
      let row = 0;
      for (let left = unit; ; row++) {
        const blocks = blocksOf(row);
        if (left >= kvHeads * blocks) {
          left -= kvHeads * blocks;
          continue;
        }
        const [kv, block] = [Math.floor(left / blocks), left % blocks];
        const to = partialAt(row, kv) + block * plan.partialBytes;
        attendBlock(layer, row, own.queries + row * queryBytes, kv, block, to);
        return;
      }
    });
  }

  function combined(row: number): number {
    for (let kv = 0; kv < kvHeads; kv++) {
      const to = own.normed + kv * group * headBytes;
      k.attentionCombine(partialAt(row, kv), blocksOf(row), plan.partialBytes, group, headDim, to);
    }
    return own.normed;
  }

  /** Units: whole (row, key/value head), in the same arithmetic; rows that share a key/value head follow each other. */
  function large(n: number, layer: LayerPlan): void {
    share.each(n * kvHeads, (unit) => {
      const [row, kv] = [unit % n, Math.floor(unit / n)];
      const blocks = blocksOf(row);
      for (let block = 0; block < blocks; block++) {
        attendBlock(layer, row, qkvRow(row), kv, block, own.partials + block * plan.partialBytes);
      }
      const to = output(row) + kv * group * headBytes;
      k.attentionCombine(own.partials, blocks, plan.partialBytes, group, headDim, to);
    });
  }

  return { small, combined, rope, large, output };
}
