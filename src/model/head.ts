/** The lm_head of one pass on one thread: final norm, and the logits of the rows that want them. */
import { bitLinear, quantisedRows, quantiseRow } from './bitlinear';
import type { Machine } from './machine';
import {
  BEST,
  HEAD_ROWS,
  pad,
  SCREEN_BEST,
  SCREEN_GROUP,
  SCREEN_RECORD,
  type ScreenPlan,
  type TableHead,
} from './memory';
import type { Share } from './share';

/** Bytes of a table to a unit of work, read once for all rows: they stay in the L2 cache. */
const UNIT_BYTES = 131_072;
/**
 * How far below the k-th best logit others are computed too. The sampler may order logits this close differently: float32
 * exponents of (logit - best) / temperature are off by some 1e-5, times the highest temperature, 100.
 */
const SLACK = 2 ** -8;

/** Rows of activations that the int8 head takes at once, and up to which width. */
const ROWS_AT_ONCE = 4;
const WIDEST_AT_ONCE = 8192;

/** Of so many rows of activations, how many dot16 screens at once. */
const together = (rows: number): number => (rows >= 4 ? 4 : rows >= 2 ? 2 : 1);

/** This thread's part of the screening plane, from the table that the loader has filled. */
function makePlane({ kernels: k, plan, rank }: Machine, screening: ScreenPlan, head: TableHead): void {
  const { signs, plane, factors, width } = screening;
  const { table, scales, paddedHidden, paddedVocab } = head;
  const { rotated } = plan.perThread[rank]!;
  k.rotationSigns(signs, width); // the same bytes from every thread
  const rowOf = (part: number): number => Math.floor((paddedVocab * part) / plan.threads);
  for (let row = rowOf(rank); row < rowOf(rank + 1); row++) {
    k.screenRow(table, scales, row, paddedHidden, width, signs, rotated, plane, factors);
  }
}

/**
 * Makes the lm_head of one thread: logits of rows `from`..`n` - 1 of the residual stream to plan.logits.
 * @param meet a barrier, at the end of each step; @param hiddenRow where a row of the residual stream lies
 */
export function createHead(
  machine: Machine,
  share: Share,
  meet: () => void,
  hiddenRow: (row: number) => number,
): (from: number, n: number) => void {
  const { kernels: k, plan, rank, words } = machine;
  const { config, head, headInputBytes, screening } = plan;
  const { hidden, vocab, rmsNormEps, logitScale } = config;
  const own = plan.perThread[rank]!;
  const { paddedVocab } = head;
  const norm = (row: number, to: number): void =>
    k.rmsNorm(hiddenRow(row), plan.finalNorm, to, hidden, hidden, rmsNormEps);

  if (screening && head.kind === 'int8') makePlane(machine, screening, head);
  const screenRows = plan.kernel === 'dot32' ? k.screenRows32 : k.screenRows16;

  function tableInput(kind: 'bf16' | 'int8', row: number, to: number, paddedHidden: number): void {
    if (kind === 'bf16') norm(row, to);
    else {
      norm(row, own.normed);
      k.quantiseHead(own.normed, hidden, paddedHidden, to, to + paddedHidden * 4);
    }
  }

  /** Every thread makes the inputs of all rows for itself. */
  function table({ kind, table: at, scales, sums, paddedHidden }: TableHead, row: number, count: number, out: number) {
    const input = (i: number): number => own.headInputs + i * headInputBytes;
    const record = (i: number): number => input(i) + paddedHidden * 4;
    for (let i = 0; i < count; i++) tableInput(kind, row + i, input(i), paddedHidden);
    const unitRows = pad(UNIT_BYTES / (kind === 'bf16' ? hidden * 2 : paddedHidden), 4);
    const bytes = paddedVocab * 4; // of a row of logits
    // not for CPUs with an 8-bit dot product, where it was not measured
    const several = kind === 'int8' && plan.kernel !== 'dot32' && paddedHidden <= WIDEST_AT_ONCE;
    const atOnce = several ? ROWS_AT_ONCE : 1;
    share.each(Math.ceil(paddedVocab / unitRows), (unit) => {
      const [begin, end] = [unit * unitRows, Math.min(paddedVocab, (unit + 1) * unitRows)];
      for (let i = 0; i < count; i += atOnce) {
        const [rows, to] = [Math.min(atOnce, count - i), out + i * bytes];
        if (kind === 'bf16') k.headBf16(at, input(i), begin, end, hidden, to);
        else if (rows === 1) k.headInt8(at, input(i), record(i), scales, sums, begin, end, paddedHidden, to);
        else {
          const of = [at, input(i), record(i), headInputBytes, scales] as const;
          k.headInt8Rows(rows, ...of, begin, end, paddedHidden, to, bytes);
        }
      }
    });
  }

  /** The best `best` logits of the rows, and -Infinity or the logit for all others. */
  function screen(screening: ScreenPlan, table: TableHead, row: number, count: number, best: number, out: number) {
    const { table: at, scales, sums, paddedHidden } = table;
    const { signs, plane, factors, width, groupCount, inputBytes } = screening;
    const input = (i: number): number => own.headInputs + i * headInputBytes;
    const record = (i: number): number => input(i) + paddedHidden * 4;
    const codes = (i: number): number => own.screenInputs + i * inputBytes;
    const groupsBytes = groupCount * SCREEN_RECORD;
    const groups = (i: number): number => screening.groups + i * groupsBytes;
    const bytes = paddedVocab * 4; // of a row of bounds
    for (let i = 0; i < count; i++) {
      tableInput('int8', row + i, input(i), paddedHidden);
      const a = input(i) + paddedHidden * 2;
      k.screenActivations(a, record(i), paddedHidden, width, signs, own.rotated, codes(i), codes(i) + 3 * width);
    }
    const unitRows = pad(UNIT_BYTES / (width / 2), SCREEN_GROUP);
    const units = Math.ceil(paddedVocab / unitRows);
    share.each(units, (unit) => {
      const [begin, end] = [unit * unitRows, Math.min(paddedVocab, (unit + 1) * unitRows)];
      for (let i = 0; i < count; ) {
        const [to, own] = [out + i * bytes, codes(i) + 3 * width];
        const rows = plan.kernel === 'dot16' ? together(count - i) : 1;
        if (rows === 1) screenRows(plane, factors, codes(i), own, begin, end, vocab, width, to, groups(i));
        else {
          const of = [plane, factors, codes(i), own, inputBytes] as const;
          k.screenRows16Several(rows, ...of, begin, end, vocab, width, to, bytes, groups(i), groupsBytes);
        }
        i += rows;
      }
    });
    meet();
    const thresholds = Array.from({ length: count }, (_, i) => {
      const [records, slack] = [groups(i), SLACK / logitScale];
      const of = [at, input(i), record(i), scales, sums, paddedHidden] as const;
      return k.screenThreshold(records, groupCount, best, slack, ...of, own.rotated);
    });
    share.each(units, (unit) => {
      const [begin, end] = [unit * unitRows, Math.min(paddedVocab, (unit + 1) * unitRows)];
      for (const [i, threshold] of thresholds.entries()) {
        const to = out + i * bytes;
        const of = [at, input(i), record(i), scales, sums] as const;
        k.screenPick(groups(i), threshold, ...of, begin, end, paddedHidden, to);
      }
    });
  }

  /** Rows of the head by screening, by the table's kernel, or by the GEMV. */
  function some(row: number, count: number, out: number): void {
    if (head.kind !== 'ternary') {
      const best = words[BEST / 4]!;
      const few = screening && best > 0 && best <= Math.min(SCREEN_BEST, screening.groupCount);
      if (few) screen(screening, head, row, count, best, out);
      else table(head, row, count, out);
      return;
    }
    const q = quantisedRows(machine, count);
    for (let i = 0; i < count; i++) {
      norm(row + i, own.normed);
      quantiseRow(machine, own.normed, hidden, q, i, true);
    }
    bitLinear(machine, share, [head.matrix], q, count, out, paddedVocab, false);
  }

  return (from, n) => {
    const most = head.kind === 'ternary' ? plan.smallRows : HEAD_ROWS;
    for (let row = from; row < n; row += most) {
      some(row, Math.min(most, n - row), plan.logits + (row - from) * paddedVocab * 4);
      meet();
    }
    if (rank > 0) return;
    const logits = new Float32Array(words.buffer);
    for (let row = 0; row < n - from; row++) {
      const at = plan.logits + row * paddedVocab * 4;
      if (logitScale !== 1) k.scale(at, paddedVocab, logitScale);
      // padding of the vocabulary must not take part in a softmax
      logits.fill(-Infinity, at / 4 + vocab, at / 4 + paddedVocab);
    }
  };
}
