/** An int8 lm_head with its screening plane in a lab: what the kernels are called with, and the full pass beside it. */
import type { Lab } from './kernel-lab';
import { pad } from './kernel-lab';

export type ScreenedHead = ReturnType<typeof openHead>;

/** @param rows bf16 numbers as float32, all of one length */
export function openHead(lab: Lab, rows: Float32Array[]) {
  const { kernels: k } = lab;
  lab.reset();
  const [vocab, width] = [rows.length, rows[0]!.length];
  const [padded, paddedVocab] = [pad(width, 16), pad(vocab, 4)];
  const n = pad(padded, 256);
  const count = Math.ceil(paddedVocab / 32);
  const table = lab.put(new Uint8Array(paddedVocab * padded));
  const [scales, sums] = [lab.put(new Float32Array(paddedVocab)), lab.put(new Int32Array(paddedVocab))];
  const source = lab.take(pad(width, 8) * 2);
  const bits = new Uint16Array(width);
  for (const [r, row] of rows.entries()) {
    const halves = new Uint16Array(row.slice().buffer);
    for (let i = 0; i < width; i++) bits[i] = halves[2 * i + 1]!;
    lab.write(source, bits);
    k.packInt8(source, table, r, width, padded, scales, sums);
  }
  const signs = lab.take(6 * n);
  const scratch = lab.take(4 * n + 64 * 8 + 16);
  const plane = lab.take((paddedVocab * n) / 2);
  const factors = lab.take(paddedVocab * 8);
  k.rotationSigns(signs, n);
  for (let r = 0; r < paddedVocab; r++) k.screenRow(table, scales, r, padded, n, signs, scratch, plane, factors);
  const x = lab.take(width * 4);
  const input = lab.take(padded * 4 + 16);
  const record = input + padded * 4;
  const codes = lab.take(3 * n);
  const screenRecord = lab.take(16);
  const out = lab.take(paddedVocab * 4);
  const groups = lab.take(count * 16);
  const variants = lab.build.relaxed ? [k.screenRows16, k.screenRows32] : [k.screenRows16];
  const exact = [table, input, record, scales, sums] as const;
  const head = {
    ...{ vocab, paddedVocab, n, padded, count, plane, factors, input, record, codes, screenRecord, groups, variants },
    /** Quantises and rotates a hidden state. */
    give(state: Float32Array): void {
      lab.write(x, state);
      k.quantiseHead(x, width, padded, input, record);
      k.screenActivations(input + 2 * padded, record, padded, n, signs, scratch, codes, screenRecord);
    },
    /** The logits as they lie in memory. */
    logits: (): Float32Array<ArrayBuffer> => lab.f32(out, vocab) as Float32Array<ArrayBuffer>,
    full(): Float32Array<ArrayBuffer> {
      k.headInt8(...exact, 0, paddedVocab, padded, out);
      return head.logits();
    },
    /** Bounds of all rows, by threads' ranges of whole groups. */
    bounds(variant: number, threads = 1): Float32Array {
      for (let rank = 0; rank < threads; rank++) {
        const begin = Math.floor((count * rank) / threads) * 32;
        const end = Math.min(paddedVocab, Math.floor((count * (rank + 1)) / threads) * 32);
        variants[variant]!(plane, factors, codes, screenRecord, begin, end, vocab, n, out, groups);
      }
      return lab.f32(out, paddedVocab);
    },
    threshold: (best: number, slack = 2 ** -8): number =>
      k.screenThreshold(groups, count, best, slack, ...exact, padded, scratch),
    /** After bounds(): how many rows were computed. */
    pick: (threshold: number): number => k.screenPick(groups, threshold, ...exact, 0, paddedVocab, padded, out),
  };
  return head;
}

/**
 * What is wrong with logits of which only the best `best` are wanted, or '': these must be those of the full pass, ties
 * included, and all others theirs or -Infinity.
 */
export function lostAmongBest(screened: Float32Array, full: Float32Array, best: number): string {
  const kept: number[] = [];
  for (let id = 0; id < full.length; id++) {
    const logit = screened[id]!;
    if (logit === -Infinity) continue;
    if (logit !== full[id]) return `logit ${id} is ${logit} instead of ${full[id]}`;
    kept.push(logit);
  }
  const least = kept.sort((a, b) => b - a)[best - 1];
  if (least === undefined) return `${kept.length} logits instead of ${best}`;
  const [got, wanted] = [kept.filter((v) => v >= least).length, full.reduce((sum, v) => sum + +(v >= least), 0)];
  return got === wanted ? '' : `${got} logits are at least ${least}, and should be ${wanted}`;
}
