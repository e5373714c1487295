/** The lm_head of one pass on one thread: final norm, and the logits of the rows that want them. */
import { bitLinear, quantisedRows, quantiseRow } from './bitlinear';
import type { Machine } from './machine';
import { HEAD_ROWS, pad, type TableHead } from './memory';
import type { Share } from './share';

/** Bytes of a table to a unit of work, read once for all rows: they stay in the L2 cache. */
const UNIT_BYTES = 131_072;

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
  const { config, head, headInputBytes } = plan;
  const { hidden, vocab, rmsNormEps, logitScale } = config;
  const own = plan.perThread[rank]!;
  const { paddedVocab } = head;
  const norm = (row: number, to: number): void =>
    k.rmsNorm(hiddenRow(row), plan.finalNorm, to, hidden, hidden, rmsNormEps);

  /** Every thread makes the inputs of all rows for itself. */
  function table({ kind, table: at, scales, sums, paddedHidden }: TableHead, row: number, count: number, out: number) {
    const input = (i: number): number => own.headInputs + i * headInputBytes;
    const record = (i: number): number => input(i) + paddedHidden * 4;
    for (let i = 0; i < count; i++) {
      if (kind === 'bf16') norm(row + i, input(i));
      else {
        norm(row + i, own.normed);
        k.quantiseHead(own.normed, hidden, paddedHidden, input(i), record(i));
      }
    }
    const unitRows = pad(UNIT_BYTES / (kind === 'bf16' ? hidden * 2 : paddedHidden), 4);
    share.each(Math.ceil(paddedVocab / unitRows), (unit) => {
      const [begin, end] = [unit * unitRows, Math.min(paddedVocab, (unit + 1) * unitRows)];
      for (let i = 0; i < count; i++) {
        const to = out + i * paddedVocab * 4;
        if (kind === 'bf16') k.headBf16(at, input(i), begin, end, hidden, to);
        else k.headInt8(at, input(i), record(i), scales, sums, begin, end, paddedHidden, to);
      }
    });
  }

  /** Rows of the head by the table's kernel, or by the GEMV. */
  function some(row: number, count: number, out: number): void {
    if (head.kind !== 'ternary') {
      table(head, row, count, out);
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
