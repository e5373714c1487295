/**
 * The forward pass, as every thread runs it (SPMD). Rows of {sequence, position, token} lie in shared memory; a prompt
 * chunk is many rows of one sequence, decode one row, parallel answers one row each of several sequences.
 * Steps meet at barriers. No float is reduced across threads, so the bits do not depend on the thread count, nor on how
 * many rows go together. docs/model.md describes the steps; wasm/ holds the arithmetic.
 */
import { createAttention } from './attend';
import { createReading } from './bandwidth';
import { bitLinear, prepare, type Quantised, quantisedRows, quantiseRow, ternaryRow } from './bitlinear';
import { createHead } from './head';
import type { Machine } from './machine';
import { BARRIER, type LayerPlan, LOGITS_FROM, type Matrix, pad, ROWS, STOP } from './memory';
import { createShare } from './share';

/** Rounds to spin at a barrier before sleeping: some 100 us, longer than steps are uneven. */
const SPIN = 100_000;

export type Step =
  | 'embed'
  | 'qkv-input' // normed, quantised
  | 'qkv'
  | 'rope' // large passes
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
  const { config, threads, layers, embedding } = plan;
  const { hidden, ffn, heads, rmsNormEps, embeddingScale } = config;
  const own = plan.perThread[rank]!;
  const attentionWidth = heads * plan.headDim;
  const upOffset = pad(ffn, 16) * 4; // in a row of gateUp, bytes
  const gateKernel = config.gate === 'relu2' ? k.gateRelu2 : k.gateSilu;
  const share = createShare(machine);

  // Thread 0 decides before a barrier, all read after it. The words alternate, also from pass to pass: a thread that was
  // held up before reading one finds it unchanged, since thread 0 cannot write it again without meeting that thread.
  let turn = 0;
  const meet = (): void => {
    const word = STOP / 4 + turn;
    turn ^= 1;
    if (rank === 0) words[word] = +aborted();
    share.endStep();
    if (threads > 1 && k.barrier(BARRIER, threads, SPIN)) throw new PoolFailed('another thread failed');
    if (words[word]) throw new PassAborted();
  };
  const hiddenRow = (row: number): number => plan.hidden + row * plan.hiddenStride * 4;
  const attention = createAttention(machine, share);
  const lmHead = createHead(machine, share, meet, hiddenRow);

  /** act(gate) * up, in the place of gate. */
  function gated(row: number): number {
    const gate = plan.gateUp + row * plan.gateUpStride * 4;
    // every thread of a small pass needs the whole row, and may not change it under the others
    const to = words[ROWS / 4]! <= plan.smallRows ? own.normed : gate;
    gateKernel(gate, gate + upOffset, to, pad(ffn, 4));
    return to;
  }

  /**
   * The input of a BitLinear: norm and quantisation of all rows, each thread all of them for itself in a small pass, else
   * its share for everybody; and in a large pass the weights of `matrices` made ready.
   * `source` says where row r lies; it may put it together first. Without a gain (0) there is no norm. `count`: elements
   * of the width that are no padding.
   */
  function inputOf(
    matrices: Matrix[],
    n: number,
    source: (row: number) => number,
    gain: number,
    width: number,
    count = width,
  ): Quantised {
    const small = n <= plan.smallRows;
    const q = quantisedRows(machine, n);
    const quantise = (row: number): void => {
      let x = source(row);
      if (gain) {
        k.rmsNorm(x, gain, own.normed, width, count, rmsNormEps);
        x = own.normed;
      }
      quantiseRow(machine, x, width, q, row, small);
    };
    if (small) for (let row = 0; row < n; row++) quantise(row);
    else {
      share.each(n, quantise);
      prepare(machine, share, matrices);
      meet();
    }
    return q;
  }

  function embed(n: number): void {
    share.each(n, (row) => {
      const token = words[plan.rowTokens / 4 + row]!;
      const to = hiddenRow(row);
      if (embedding.kind === 'ternary') ternaryRow(machine, embedding.matrix, token, to);
      else if (embedding.kind === 'bf16') k.embedBf16(embedding.table, token, hidden, to);
      else k.embedInt8(embedding.table, token, hidden, embedding.paddedHidden, embedding.scales, to);
      if (embeddingScale !== 1) k.scale(to, hidden, embeddingScale);
    });
  }

  function attend(n: number, layer: LayerPlan, index: number): void {
    if (n <= plan.smallRows) attention.small(n, layer);
    else {
      attention.rope(n, layer);
      tap?.('rope', index);
      meet();
      attention.large(n, layer);
    }
    tap?.('attention', index);
    meet();
  }

  const readWeights = createReading(machine);

  function pass(): void {
    const n = words[ROWS / 4]!;
    const logitsFrom = words[LOGITS_FROM / 4]!; // n: no lm_head; thread 0 may then begin the next pass at the last barrier
    if (n === 0) {
      readWeights();
      meet();
      return;
    }
    const joined = n <= plan.smallRows ? attention.combined : attention.output;
    embed(n);
    tap?.('embed', 0);
    meet();
    for (const [index, layer] of layers.entries()) {
      const { query, key, value, output, gate, up, down } = layer;
      const attentionInput = inputOf([query, key, value], n, hiddenRow, layer.inputNorm, hidden);
      tap?.('qkv-input', index);
      bitLinear(machine, share, [query, key, value], attentionInput, n, plan.qkv, plan.qkvStride, false);
      tap?.('qkv', index);
      meet();
      attend(n, layer, index);
      const outputInput = inputOf([output], n, joined, layer.attentionNorm, attentionWidth, heads * config.headDim);
      tap?.('output-input', index);
      bitLinear(machine, share, [output], outputInput, n, plan.hidden, plan.hiddenStride, true);
      tap?.('output', index);
      meet();
      const ffnInput = inputOf([gate, up], n, hiddenRow, layer.ffnInputNorm, hidden);
      tap?.('gate-up-input', index);
      bitLinear(machine, share, [gate, up], ffnInput, n, plan.gateUp, plan.gateUpStride, false);
      tap?.('gate-up', index);
      meet();
      const downInput = inputOf([down], n, gated, layer.ffnNorm, ffn);
      tap?.('down-input', index);
      bitLinear(machine, share, [down], downInput, n, plan.hidden, plan.hiddenStride, true);
      tap?.('down', index);
      meet();
    }
    lmHead(logitsFrom, n);
    tap?.('head', 0);
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
