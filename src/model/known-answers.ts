/**
 * Known-answer tests, on a small memory of their own, before a kernel is used. An engine is known that validates the relaxed
 * dot product and doubles it.
 */
import type { Kernels } from './kernels';
import { CODES_COPY, type KernelName, SCREEN_GROUP, SCREEN_RECORD } from './memory';

// The trial memory: everything the tests and the micro-benchmark need, at fixed places.
export const TRIAL = {
  hf: 1024,
  codes: 16384,
  record: 50176,
  out: 51200,
  several: 53248,
  tables: 65536,
  sums: 131072,
  matrix: 139264,
  pages: 12,
};
/** How a candidate is called on the trial memory, `rows` rows of `cols` columns. */
export function gemv(k: Kernels, kernel: KernelName, rows: number, cols: number): void {
  const { matrix, codes, record, out, tables, sums } = TRIAL;
  if (kernel === 'dot32') k.gemvDot32(matrix, codes, record, rows, cols, 1, out, 0);
  else if (kernel === 'dot16') k.gemvDot16(matrix, codes, record, rows, cols, 1, out, 0);
  else {
    k.lutTables(codes, cols, tables);
    k.gemvLut8(matrix, tables, record, 0, rows, rows, cols, 1, sums, out, 0);
  }
}

/** A small fixed sequence of pseudo-random integers (an LCG of Numerical Recipes), for test data only. */
export function lcg(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

const KNOWN_ACTIVATIONS: ((k: number, random: () => number) => number)[] = [
  () => -127,
  () => 127,
  (k) => (k & 1 ? 127 : -127),
  (_, random) => (random() % 255) - 127,
];

/**
 * Known-answer test: 16 rows over extreme and random activations must give the exact integers. (An engine is known that
 * validates the relaxed dot product and doubles it.)
 */
export function gemvAnswersRight(k: Kernels, memory: WebAssembly.Memory, kernel: KernelName): boolean {
  const [rows, cols] = [16, 448];
  const bytes = new Uint8Array(memory.buffer);
  const i8 = new Int8Array(memory.buffer);
  const f32 = new Float32Array(memory.buffer);
  return KNOWN_ACTIVATIONS.every((activation, pattern) => {
    const random = lcg(pattern + 1);
    const trits: number[][] = Array.from({ length: rows }, () => []);
    for (let quarter = 0; quarter < rows / 4; quarter++) {
      for (let c = 0; c < cols; c++) {
        let byte = 0;
        for (let field = 0; field < 4; field++) {
          const code = random() % 3;
          byte |= code << (2 * field);
          trits[quarter + (field * rows) / 4]![c] = code - 1;
        }
        bytes[TRIAL.hf + c] = byte;
      }
      for (let field = 0; field < 4; field++) {
        const row = quarter + (field * rows) / 4;
        if (kernel === 'lut8') k.packLanes(TRIAL.hf, field, TRIAL.matrix, row, rows, cols);
        else k.packTiles(TRIAL.hf, field, TRIAL.matrix, row, cols);
      }
    }
    let sum = 0;
    for (let c = 0; c < cols; c++) {
      const code = activation(c, random);
      i8[TRIAL.codes + c] = code;
      i8[TRIAL.codes + CODES_COPY + c] = code;
      sum += code;
    }
    f32[TRIAL.record / 4 + 1] = 1;
    new Int32Array(memory.buffer)[TRIAL.record / 4 + 2] = sum;
    const answers = trits.map((row) => row.reduce((total, trit, c) => total + trit * i8[TRIAL.codes + c]!, 0));
    const said = (at: number): boolean => answers.every((answer, r) => f32[at / 4 + r] === answer);
    gemv(k, kernel, rows, cols);
    if (kernel !== 'dot16') return said(TRIAL.out);
    const { matrix, codes, record, several } = TRIAL;
    k.gemvDot16Rows(2, matrix, codes, 0, record, 0, rows, cols, 1, several, rows * 4, 0); // the same row twice
    return said(TRIAL.out) && said(several) && said(several + rows * 4);
  });
}

/** Known-answer test of the int8 lm_head, which uses the relaxed dot product with other ranges. */
export function headAnswersRight(k: Kernels, memory: WebAssembly.Memory): boolean {
  const n = 64;
  const f32 = new Float32Array(memory.buffer);
  const random = lcg(7);
  const rows = Array.from({ length: 4 }, (_, r) =>
    Array.from({ length: n }, () => (r === 0 ? -127 : r === 1 ? 127 : (random() % 255) - 127)),
  );
  const x = Array.from({ length: n }, (_, i) => (i === 0 ? 8128 : (random() % 16257) - 8128));
  rows.forEach((row, r) => {
    // small integers are exact in bf16; the largest of each row is 127, so that its scale is 1
    row[r] = 127;
    const bf16 = new Uint16Array(memory.buffer, TRIAL.hf, n);
    row.forEach((value, i) => {
      f32[TRIAL.out / 4] = value;
      bf16[i] = new Uint16Array(memory.buffer)[TRIAL.out / 2 + 1]!;
    });
    k.packInt8(TRIAL.hf, TRIAL.matrix, r, n, n, TRIAL.tables, TRIAL.tables + 64);
  });
  f32.set(x, TRIAL.hf / 4);
  k.quantiseHead(TRIAL.hf, n, n, TRIAL.codes, TRIAL.record);
  k.headInt8(TRIAL.matrix, TRIAL.codes, TRIAL.record, TRIAL.tables, TRIAL.tables + 64, 0, 4, n, TRIAL.out);
  return rows.every((row, r) => f32[TRIAL.out / 4 + r] === row.reduce((sum, w, i) => sum + w * x[i]!, 0));
}

/** The places of the half-bytes in the i16 codes that the baseline build reads: see screenActivations(). */
function wordOrder(codes: Int8Array): Int16Array {
  const order = Array.from({ length: 32 }, (_, i) => (i & 7) * 2 + ((i >> 3) & 1) * 16 + (i >> 4));
  return Int16Array.from(codes, (_, i) => codes[(i & ~31) + order[i & 31]!]!);
}

/**
 * Known-answer test of the bounds of screening: those of a group of rows must be the formula's bits, for extreme and random
 * half-bytes and activations. The sums in them are exact, and float32 rounds alike in JavaScript.
 */
export function boundsRight(k: Kernels, memory: WebAssembly.Memory, kernel: KernelName): boolean {
  const [rows, n, f] = [SCREEN_GROUP, 512, Math.fround];
  const { hf: record, codes: at, out, tables: factors, sums: groups, matrix: plane } = TRIAL;
  const f32 = new Float32Array(memory.buffer);
  const halfBytes = [() => 0, () => 15, (random: () => number) => random() % 16];
  return KNOWN_ACTIVATIONS.every((activation, pattern) => {
    const random = lcg(pattern + 17);
    const codes = Int8Array.from({ length: n }, (_, i) => activation(i, random));
    new Int8Array(memory.buffer).set(codes, at);
    new Int16Array(memory.buffer).set(wordOrder(codes), (at + n) / 2);
    const table = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: n }, () => halfBytes[Math.min(row, 2)]!(random)),
    );
    const bytes = new Uint8Array(memory.buffer, plane, (rows * n) / 2);
    for (const [row, line] of table.entries()) {
      const start = (row >> 2) * 2 * n + (row & 3) * 16;
      for (let i = 0; i < n; i += 32) {
        for (let j = 0; j < 16; j++) bytes[start + i * 2 + j] = line[i + j]! | (line[i + 16 + j]! << 4);
      }
    }
    const [scale, error] = [f(0.37), f(1.9)];
    const offset = 15 * codes.reduce((sum, code) => sum + code, 0);
    f32.set([scale, error], record / 4);
    new Int32Array(memory.buffer)[record / 4 + 2] = offset;
    const factor = (row: number): [number, number] => [f(0.01 * (row + 1)), f(3 / (row + 1))];
    for (let row = 0; row < rows; row++) {
      const place = factors / 4 + (row >> 2) * 8 + (row & 3);
      [f32[place], f32[place + 4]] = factor(row);
    }
    const bounds = kernel === 'dot32' ? k.screenRows32 : k.screenRows16;
    bounds(plane, factors, at, record, 0, rows, rows, n, out, groups);
    if (kernel === 'dot16') {
      const [last, groupsEnd] = [out + rows * 4, groups + SCREEN_RECORD];
      const of = [plane, factors, at, record, 0] as const; // the same row twice
      k.screenRows16Several(2, ...of, 0, rows, rows, n, last, rows * 4, groupsEnd, SCREEN_RECORD);
      for (let row = 0; row < 2 * rows; row++) if (f32[last / 4 + row] !== f32[out / 4 + (row % rows)]) return false;
    }
    return table.every((line, row) => {
      const dot = line.reduce((sum, code, i) => sum + code * codes[i]!, 0);
      const [own, ownError] = factor(row);
      const estimate = f(f(2 * dot - offset) * f(own * scale));
      return f32[out / 4 + row] === f(estimate + f(ownError * error));
    });
  });
}
