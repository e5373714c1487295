/**
 * The forward pass, as every thread runs it (SPMD). Rows of {sequence, position, token} lie in shared memory; a prompt
 * chunk is many rows of one sequence, decode one row, parallel answers one row each of several sequences.
 * Steps meet at barriers. No float is reduced across threads, so the bits do not depend on the thread count, nor on how
 * many rows go together. docs/model.md describes the steps; wasm/ holds the arithmetic.
 */
import {
  bitLinear,
  type Quantised,
  quantisedRows,
  quantiseRow,
  rowRange,
  ternaryLogits,
  ternaryRow,
} from './bitlinear';
import type { Machine } from './machine';
import { BARRIER, BLOCK, type LayerPlan, LOGITS_FROM, pad, ROWS, STOP } from './memory';

/** Rounds to spin at a barrier before sleeping: some 100 us, longer than steps are uneven. */
const SPIN = 100_000;

export type Step =
  | 'embed'
  | 'qkv-input' // normed, quantised
  | 'qkv'
  | 'rope'
  | 'attention'
  | 'output-input'
  | 'output'
  | 'gate-up-input'
  | 'gate-up'
  | 'down-input'
  | 'down'
  | 'head';

/** Told of each finished step (before its barrier) by the thread that runs it: for tests and benchmarks. */
export type Tap = (step: Step, layer: number) => void;

/** Thrown out of a pass when another thread has failed; that thread reports the cause. */
export class PoolFailed extends Error {}

/** Thrown within a pass to leave it. */
class PassAborted extends Error {}

/**
 * Makes the forward pass of one thread. All threads call what comes back for every pass; all return the same.
 * It returns false if thread 0's `aborted`, asked at every barrier, said so (the logits are then not to be used), and
 * throws PoolFailed if another thread failed.
 */
export function createForward(machine: Machine, aborted: () => boolean, tap?: Tap): () => boolean {
  const { kernels: k, plan, rank, words } = machine;
  const { config, threads, layers, cacheBf16, embedding, head, headDim } = plan;
  const { hidden, ffn, heads, kvHeads, vocab, rmsNormEps, embeddingScale, logitScale } = config;
  const own = plan.perThread[rank]!;
  const group = heads / kvHeads;
  const attentionWidth = heads * headDim;
  const headBytes = headDim * 4;
  const cachedHeadBytes = headDim * (cacheBf16 ? 2 : 4);
  const keyOffset = pad(attentionWidth, 16) * 4; // in a row of qkv, bytes
  const valueOffset = keyOffset + pad(kvHeads * headDim, 16) * 4;
  const upOffset = pad(ffn, 16) * 4; // in a row of gateUp
  const scale = Math.fround(1 / Math.sqrt(config.headDim));
  const gateKernel = config.gate === 'relu2' ? k.gateRelu2 : k.gateSilu;

  // Thread 0 decides before a barrier, all read after it. The words alternate, also from pass to pass: a thread that was
  // held up before reading one finds it unchanged, since thread 0 cannot write it again without meeting that thread.
  let turn = 0;
  const meet = (): void => {
    const word = STOP / 4 + turn;
    turn ^= 1;
    if (rank === 0) words[word] = +aborted();
    if (threads > 1 && k.barrier(BARRIER, threads, SPIN)) throw new PoolFailed('another thread failed');
    if (words[word]) throw new PassAborted();
  };
  const hiddenRow = (row: number): number => plan.hidden + row * plan.hiddenStride * 4;
  const qkvRow = (row: number): number => plan.qkv + row * plan.qkvStride * 4;
  const attentionRow = (row: number): number => plan.attention + row * plan.attentionStride * 4;
  const gateUpRow = (row: number): number => plan.gateUp + row * plan.gateUpStride * 4;
  const position = (row: number): number => words[plan.rowPositions / 4 + row]!;
  /** Where the cache of a row's sequence holds a head's position 0. */
  const cacheHead = (cache: number, row: number, head: number): number =>
    cache + (words[plan.rowSequences / 4 + row]! * kvHeads + head) * plan.contextLength * cachedHeadBytes;

  /**
   * Norm and quantisation of all rows: each thread all of them for itself in a small pass, else its share for everybody.
   * `source` says where row r lies; it may put it together first. Without a gain (0) there is no norm. `count`: elements
   * of the width that are no padding.
   */
  function quantiseRows(
    n: number,
    source: (row: number) => number,
    gain: number,
    width: number,
    count = width,
  ): Quantised {
    const small = n <= plan.smallRows;
    const q = quantisedRows(machine, n);
    for (let row = small ? 0 : rank; row < n; row += small ? 1 : threads) {
      let x = source(row);
      if (gain) {
        k.rmsNorm(x, gain, own.normed, width, count, rmsNormEps);
        x = own.normed;
      }
      quantiseRow(machine, x, width, q, row, small);
    }
    if (!small) meet();
    return q;
  }

  function embed(n: number): void {
    for (let row = rank; row < n; row += threads) {
      const token = words[plan.rowTokens / 4 + row]!;
      const to = hiddenRow(row);
      if (embedding.kind === 'ternary') ternaryRow(machine, embedding.matrix, token, to);
      else if (embedding.kind === 'bf16') k.embedBf16(embedding.table, token, hidden, to);
      else k.embedInt8(embedding.table, token, hidden, embedding.paddedHidden, embedding.scales, to);
      if (embeddingScale !== 1) k.scale(to, hidden, embeddingScale);
    }
  }

  /** Norms of heads, if any, and RoPE on queries and keys; keys and values go into the cache. Units: (row, head). */
  function ropeAndStore(n: number, layer: LayerPlan): void {
    const units = heads + 2 * kvHeads;
    for (let unit = rank; unit < n * units; unit += threads) {
      const row = Math.floor(unit / units);
      const index = unit % units;
      const at = position(row);
      const cosines = plan.cosines + (at * headBytes) / 2;
      const sines = plan.sines + (at * headBytes) / 2;
      if (index < heads) {
        const x = qkvRow(row) + index * headBytes;
        if (layer.queryNorm) k.rmsNorm(x, layer.queryNorm, x, headDim, config.headDim, rmsNormEps);
        k.rope(x, headDim, cosines, sines, x);
      } else if (index < heads + kvHeads) {
        const kv = index - heads;
        const x = qkvRow(row) + keyOffset + kv * headBytes;
        const to = cacheHead(layer.keys, row, kv) + at * cachedHeadBytes;
        if (layer.keyNorm) k.rmsNorm(x, layer.keyNorm, x, headDim, config.headDim, rmsNormEps);
        k.ropeKey(x, headDim, cosines, sines, to, +cacheBf16);
      } else {
        const kv = index - heads - kvHeads;
        const to = cacheHead(layer.values, row, kv) + at * cachedHeadBytes;
        k.storeHead(qkvRow(row) + valueOffset + kv * headBytes, headDim, to, +cacheBf16);
      }
    }
  }

  /** One row, one key/value head, one block of positions. */
  function attendBlock(layer: LayerPlan, row: number, kv: number, block: number, partial: number): void {
    const first = block * BLOCK;
    const count = Math.min(BLOCK, position(row) + 1 - first);
    const keys = cacheHead(layer.keys, row, kv) + first * cachedHeadBytes;
    const values = cacheHead(layer.values, row, kv) + first * cachedHeadBytes;
    const query = qkvRow(row) + kv * group * headBytes;
    k.attentionBlock(query, keys, values, count, group, headDim, scale, +cacheBf16, own.scores, partial);
  }

  const blocksOf = (row: number): number => Math.floor(position(row) / BLOCK) + 1;
  const mostBlocks = Math.ceil(plan.contextLength / BLOCK);
  const partialAt = (row: number, kv: number): number =>
    plan.partials + (row * kvHeads + kv) * mostBlocks * plan.partialBytes;

  /** Small pass: partial results of (row, key/value head, block), shared out; combineRow() puts them together. */
  function attendSmall(n: number, layer: LayerPlan): void {
    let unit = 0;
    for (let row = 0; row < n; row++) {
      for (let kv = 0; kv < kvHeads; kv++) {
        for (let block = 0; block < blocksOf(row); block++) {
          if (unit++ % threads === rank)
            attendBlock(layer, row, kv, block, partialAt(row, kv) + block * plan.partialBytes);
        }
      }
    }
  }

  /** Puts the heads of a row together in this thread's scratch. */
  function combineRow(row: number): number {
    for (let kv = 0; kv < kvHeads; kv++) {
      const to = own.normed + kv * group * headBytes;
      k.attentionCombine(partialAt(row, kv), blocksOf(row), plan.partialBytes, group, headDim, to);
    }
    return own.normed;
  }

  /** Large pass: whole (row, key/value head) units, in the same arithmetic. */
  function attendLarge(n: number, layer: LayerPlan): void {
    for (let kv = 0; kv < kvHeads; kv++) {
      for (let row = rank; row < n; row += threads) {
        const blocks = blocksOf(row);
        for (let block = 0; block < blocks; block++) {
          attendBlock(layer, row, kv, block, own.partials + block * plan.partialBytes);
        }
        const to = attentionRow(row) + kv * group * headBytes;
        k.attentionCombine(own.partials, blocks, plan.partialBytes, group, headDim, to);
      }
    }
  }

  /** act(gate) * up for this thread's rows of both: no barrier between. */
  function gateRange(n: number, layer: LayerPlan): void {
    const { begin, rows } = rowRange(layer.gate, rank, threads);
    for (let row = 0; row < n; row++) {
      const gate = gateUpRow(row) + begin * 4;
      gateKernel(gate, gate + upOffset, gate, rows);
    }
  }

  /** Logits of this thread's part of the vocabulary. */
  function lmHead(n: number, logitsFrom: number): void {
    const tile = head.kind === 'ternary' ? 16 : 4;
    const tiles = head.paddedVocab / tile;
    const begin = Math.floor((tiles * rank) / threads) * tile;
    const end = Math.floor((tiles * (rank + 1)) / threads) * tile;
    for (let row = logitsFrom; row < n; row++) {
      const out = plan.logits + (row - logitsFrom) * head.paddedVocab * 4;
      k.rmsNorm(hiddenRow(row), plan.finalNorm, own.normed, hidden, hidden, rmsNormEps);
      if (head.kind === 'ternary') ternaryLogits(machine, head.matrix, own.normed, hidden, out);
      else if (head.kind === 'bf16') k.headBf16(head.table, own.normed, begin, end, hidden, out);
      else {
        const record = own.headCodes + head.paddedHidden * 4;
        k.quantiseHead(own.normed, hidden, head.paddedHidden, own.headCodes, record);
        k.headInt8(head.table, own.headCodes, record, head.scales, head.sums, begin, end, head.paddedHidden, out);
      }
      if (logitScale !== 1) k.scale(out + begin * 4, end - begin, logitScale);
    }
  }

  function pass(): void {
    const n = words[ROWS / 4]!;
    const small = n <= plan.smallRows;
    const logitsFrom = words[LOGITS_FROM / 4]!;
    embed(n);
    tap?.('embed', 0);
    meet();
    for (const [index, layer] of layers.entries()) {
      const attentionInput = quantiseRows(n, hiddenRow, layer.inputNorm, hidden);
      tap?.('qkv-input', index);
      bitLinear(machine, layer.query, attentionInput, n, plan.qkv, plan.qkvStride, false);
      bitLinear(machine, layer.key, attentionInput, n, plan.qkv + keyOffset, plan.qkvStride, false);
      bitLinear(machine, layer.value, attentionInput, n, plan.qkv + valueOffset, plan.qkvStride, false);
      tap?.('qkv', index);
      meet();
      ropeAndStore(n, layer);
      tap?.('rope', index);
      meet();
      if (small) attendSmall(n, layer);
      else attendLarge(n, layer);
      tap?.('attention', index);
      meet();
      const joined = small ? combineRow : attentionRow;
      const outputInput = quantiseRows(n, joined, layer.attentionNorm, attentionWidth, heads * config.headDim);
      tap?.('output-input', index);
      bitLinear(machine, layer.output, outputInput, n, plan.hidden, plan.hiddenStride, true);
      tap?.('output', index);
      meet();
      const ffnInput = quantiseRows(n, hiddenRow, layer.ffnInputNorm, hidden);
      tap?.('gate-up-input', index);
      bitLinear(machine, layer.gate, ffnInput, n, plan.gateUp, plan.gateUpStride, false);
      bitLinear(machine, layer.up, ffnInput, n, plan.gateUp + upOffset, plan.gateUpStride, false);
      gateRange(n, layer);
      tap?.('gate-up', index);
      meet();
      const downInput = quantiseRows(n, gateUpRow, layer.ffnNorm, ffn);
      tap?.('down-input', index);
      bitLinear(machine, layer.down, downInput, n, plan.hidden, plan.hiddenStride, true);
      tap?.('down', index);
      meet();
    }
    lmHead(n, logitsFrom);
    // padding of the vocabulary must not take part in a softmax; its tile belongs to the last thread
    if (rank === threads - 1 && vocab < head.paddedVocab) {
      const logits = new Float32Array(words.buffer);
      for (let row = 0; row < n - logitsFrom; row++) {
        const start = plan.logits / 4 + row * head.paddedVocab;
        logits.fill(-Infinity, start + vocab, start + head.paddedVocab);
      }
    }
    tap?.('head', 0);
    meet();
  }

  return () => {
    try {
      pass();
      return true;
    } catch (error) {
      if (error instanceof PassAborted) return false;
      throw error;
    }
  };
}
