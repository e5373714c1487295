/**
 * Attention of one pass on one thread: norms of heads, RoPE, the KV cache, and attention over blocks of positions.
 * Units of work are shared out; a head's arithmetic has one order, whoever does it.
 */
import type { Machine } from './machine';
import { BLOCK, CACHE_BYTES, type LayerPlan, pad, RUN_ROWS } from './memory';
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

/** Units for each thread, at least, before rows are made to share one. */
const LEAST_UNITS = 4;

/** Consecutive rows of one sequence, which go through attention together. */
interface Run {
  row: number;
  rows: number;
}

export function createAttention(machine: Machine, share: Share): Attention {
  const { kernels: k, plan, rank, words } = machine;
  const { config, kvCache, headDim, threads } = plan;
  const int8 = kvCache === 'int8';
  const bf16 = +(kvCache === 'bf16');
  const { heads, kvHeads, rmsNormEps } = config;
  const own = plan.perThread[rank]!;
  const group = heads / kvHeads;
  const headBytes = headDim * 4;
  const queryBytes = heads * headBytes;
  const cachedHeadBytes = headDim * CACHE_BYTES[kvCache];
  const keyOffset = pad(heads * headDim, 16) * 4; // in a row of qkv, bytes
  const valueOffset = keyOffset + pad(kvHeads * headDim, 16) * 4;
  const scale = Math.fround(1 / Math.sqrt(config.headDim));

  const qkvRow = (row: number): number => plan.qkv + row * plan.qkvStride * 4;
  const output = (row: number): number => plan.attention + row * plan.attentionStride * 4;
  const position = (row: number): number => words[plan.rowPositions / 4 + row]!;
  const sequence = (row: number): number => words[plan.rowSequences / 4 + row]!;
  /** Number, among all cached heads, of a key/value head of a row's sequence at a position. */
  const cached = (row: number, kv: number, at: number): number =>
    (sequence(row) * kvHeads + kv) * plan.cachePositions + at;
  const cosines = (row: number): number => plan.cosines + (position(row) * headBytes) / 2;
  const sines = (row: number): number => plan.sines + (position(row) * headBytes) / 2;

  /** A query head, ready for the kernels of the cache. */
  function turnQuery(row: number, head: number, layer: LayerPlan, to: number): void {
    ropeHead(row, qkvRow(row) + head * headBytes, layer.queryNorm, to);
    if (int8) k.quantiseQuery(to, headDim);
  }

  /** Norm, if any, and RoPE of one head. @param gain of the norm, 0 without one; @param to may be x */
  function ropeHead(row: number, x: number, gain: number, to: number): void {
    if (gain) k.rmsNorm(x, gain, to, headDim, config.headDim, rmsNormEps);
    k.rope(gain ? to : x, headDim, cosines(row), sines(row), to);
  }

  function storeKey(row: number, kv: number, layer: LayerPlan): void {
    const x = qkvRow(row) + keyOffset + kv * headBytes; // others may read it, and write the same
    ropeHead(row, x, layer.keyNorm, own.normed);
    const number = cached(row, kv, position(row));
    const to = layer.keys + number * cachedHeadBytes;
    if (int8) k.storeKeyInt8(own.normed, headDim, to, layer.keyScales + number * 4);
    else k.storeHead(own.normed, headDim, to, bf16);
  }

  function storeValue(row: number, kv: number, layer: LayerPlan): void {
    const x = qkvRow(row) + valueOffset + kv * headBytes;
    const number = cached(row, kv, position(row));
    if (!int8) k.storeHead(x, headDim, layer.values + number * cachedHeadBytes, bf16);
    else {
      const odd = number % 2; // the second of a pair of positions
      k.storeValueInt8(x, headDim, layer.values + (number - odd) * headDim + odd, layer.valueScales + number * 4);
    }
  }

  function rope(n: number, layer: LayerPlan): void {
    share.each(n, (row) => {
      for (let head = 0; head < heads; head++) turnQuery(row, head, layer, qkvRow(row) + head * headBytes);
      for (let kv = 0; kv < kvHeads; kv++) {
        storeKey(row, kv, layer);
        storeValue(row, kv, layer);
      }
    });
  }

  /**
   * One run, one key/value head, one block of positions: of every row that sees some of it.
   * @param queries of the run's first row, after RoPE, others rowBytes on; @param partial record of the first row, others
   * recordBytes on
   */
  function attendBlock(
    layer: LayerPlan,
    run: Run,
    queries: number,
    rowBytes: number,
    kv: number,
    block: number,
    partial: number,
    recordBytes: number,
  ): void {
    const first = block * BLOCK;
    const blind = Math.max(0, first - position(run.row)); // rows before the block
    const count = Math.min(BLOCK, position(run.row + blind) + 1 - first);
    const number = cached(run.row, kv, first);
    const keys = layer.keys + number * cachedHeadBytes;
    const values = layer.values + number * cachedHeadBytes;
    const query = queries + blind * rowBytes + kv * group * headBytes;
    const [rows, to] = [run.rows - blind, partial + blind * recordBytes];
    if (int8) {
      const [keyScales, valueScales] = [layer.keyScales + number * 4, layer.valueScales + number * 4];
      // biome-ignore format: as the kernel has them
      k.attentionBlockInt8(
        query, rowBytes, rows, group, keys, keyScales, values, valueScales, count, headDim, scale, own.scores, to,
        recordBytes,
      );
      return;
    }
    // biome-ignore format: as the kernel has them
    k.attentionBlock(
      query, rowBytes, rows, group, keys, values, count, headDim, scale, bf16, own.scores, to, recordBytes,
    );
  }

  const blocksOf = (row: number): number => Math.floor(position(row) / BLOCK) + 1;
  const mostBlocks = Math.ceil(plan.contextLength / BLOCK);
  const rowPartialBytes = kvHeads * mostBlocks * plan.partialBytes;
  const partialAt = (row: number, kv: number): number =>
    plan.partials + row * rowPartialBytes + kv * mostBlocks * plan.partialBytes;

  /** The rows of a pass in runs, so short that every thread finds some of `units` (of one row each) to do. */
  function runsOf(n: number, units: number): Run[] {
    const most = Math.min(RUN_ROWS, Math.max(1, Math.floor(units / (LEAST_UNITS * threads))));
    const runs: Run[] = [];
    for (let row = 0; row < n; ) {
      let rows = 1;
      while (
        rows < most &&
        row + rows < n &&
        sequence(row + rows) === sequence(row) &&
        position(row + rows) === position(row) + rows
      )
        rows++;
      runs.push({ row, rows });
      row += rows;
    }
    return runs;
  }
  const lastOf = ({ row, rows }: Run): number => row + rows - 1;

  function small(n: number, layer: LayerPlan): void {
    let rowUnits = 0;
    for (let row = 0; row < n; row++) {
      rowUnits += kvHeads * blocksOf(row);
      for (let head = 0; head < heads; head++)
        turnQuery(row, head, layer, own.queries + row * queryBytes + head * headBytes);
      for (let kv = 0; kv < kvHeads; kv++) {
        storeKey(row, kv, layer);
        storeValue(row, kv, layer);
      }
    }
    const runs = runsOf(n, rowUnits);
    const unitsOf = (run: Run): number => kvHeads * blocksOf(lastOf(run));
    const units = runs.reduce((sum, run) => sum + unitsOf(run), 0);
    share.each(units, (unit) => {
      let left = unit;
      let at = 0;
      for (; left >= unitsOf(runs[at]!); at++) left -= unitsOf(runs[at]!);
      const run = runs[at]!;
      const blocks = blocksOf(lastOf(run));
      const [kv, block] = [Math.floor(left / blocks), left % blocks];
      const to = partialAt(run.row, kv) + block * plan.partialBytes;
      attendBlock(layer, run, own.queries + run.row * queryBytes, queryBytes, kv, block, to, rowPartialBytes);
    });
  }

  function combined(row: number): number {
    for (let kv = 0; kv < kvHeads; kv++) {
      const to = own.normed + kv * group * headBytes;
      k.attentionCombine(partialAt(row, kv), blocksOf(row), plan.partialBytes, group, headDim, to);
    }
    return own.normed;
  }

  /**
   * Units: whole (run, key/value head), in the same arithmetic. A block of keys and values stays in the cache while all rows
   * of a run go over it; runs that share a key/value head follow each other.
   */
  function large(n: number, layer: LayerPlan): void {
    const runs = runsOf(n, n * kvHeads);
    const { partialBytes } = plan;
    share.each(runs.length * kvHeads, (unit) => {
      const run = runs[unit % runs.length]!;
      const kv = Math.floor(unit / runs.length);
      const blockBytes = run.rows * partialBytes;
      const blocks = blocksOf(lastOf(run));
      for (let block = 0; block < blocks; block++) {
        const to = own.partials + block * blockBytes;
        attendBlock(layer, run, qkvRow(run.row), plan.qkvStride * 4, kv, block, to, partialBytes);
      }
      for (let i = 0; i < run.rows; i++) {
        const row = run.row + i;
        const to = output(row) + kv * group * headBytes;
        k.attentionCombine(own.partials + i * partialBytes, blocksOf(row), blockBytes, group, headDim, to);
      }
    });
  }

  return { small, combined, rope, large, output };
}
