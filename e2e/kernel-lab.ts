/**
 * A bench for the kernel tests (wasm/*.browser.test.ts): one of the four builds over a memory of its own, a poisoned
 * bump allocator, seeded test data, and comparisons to the bit.
 */
import { compileKernels, instantiateKernels, type Kernels } from '../src/model/kernels';
import { bitLinear, type TernaryMatrix } from '../src/model/reference-kernels';

export const BUILDS = [
  { name: 'shared-relaxed', shared: true, relaxed: true },
  { name: 'shared-baseline', shared: true, relaxed: false },
  { name: 'single-relaxed', shared: false, relaxed: true },
  { name: 'single-baseline', shared: false, relaxed: false },
] as const;
export type Build = (typeof BUILDS)[number];

const PAGE = 65536;
const FIRST = 1024; // below lie the constant table of the kernels and the words of src/model/memory.ts
const GUARD = 64;
const POISON = 0xa5;

type Data = Float32Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;

export interface Lab {
  name: string;
  build: Build;
  kernels: Kernels;
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Forgets all allocations. */
  reset(): void;
  /** Reserves bytes, poisoned, on a 64-byte line, with guard bytes behind. */
  take(bytes: number): number;
  /** Reserves and fills. */
  put(data: Data): number;
  /** Copies of what lies in memory. */
  f32(at: number, n: number): Float32Array;
  i32(at: number, n: number): Int32Array;
  i16(at: number, n: number): Int16Array;
  i8(at: number, n: number): Int8Array;
  u8(at: number, n: number): Uint8Array;
  /** Overwrites what lies in memory. */
  write(at: number, data: Data): void;
  /** Allocations whose guard bytes somebody has overwritten: must be empty. */
  overruns(): string[];
}

const bytesOf = (data: Data): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

export async function openLab(build: Build, megabytes = 8): Promise<Lab> {
  const { module, relaxedSimd } = await compileKernels(build.shared, build.relaxed);
  if (relaxedSimd !== build.relaxed) throw new Error(`this browser does not run ${build.name}`);
  const pages = megabytes * 16;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: build.shared });
  const bytes = new Uint8Array(memory.buffer);
  const kernels = instantiateKernels(module, memory);
  kernels.writeConstants();
  let top = FIRST;
  let guards: { at: number; bytes: number; end: number }[] = [];

  const take = (size: number): number => {
    const at = top;
    top = Math.ceil((at + size + GUARD) / 64) * 64;
    if (top > pages * PAGE) throw new Error(`the lab of ${megabytes} MB is too small`);
    bytes.fill(POISON, at, top);
    guards.push({ at, bytes: size, end: top });
    return at;
  };
  const write = (at: number, data: Data): void => bytes.set(bytesOf(data), at);
  const copy = (at: number, length: number): ArrayBuffer => bytes.slice(at, at + length).buffer;
  return {
    name: build.name,
    build,
    kernels,
    module,
    memory,
    reset: () => {
      top = FIRST;
      guards = [];
    },
    take,
    put: (data) => {
      const at = take(data.byteLength);
      write(at, data);
      return at;
    },
    f32: (at, n) => new Float32Array(copy(at, n * 4)),
    i32: (at, n) => new Int32Array(copy(at, n * 4)),
    i16: (at, n) => new Int16Array(copy(at, n * 2)),
    i8: (at, n) => new Int8Array(copy(at, n)),
    u8: (at, n) => new Uint8Array(copy(at, n)),
    write,
    overruns: () =>
      guards
        .filter(({ at, bytes: size, end }) => !bytes.subarray(at + size, end).every((byte) => byte === POISON))
        .map(({ at, bytes: size }) => `behind the ${size} bytes at ${at}`),
  };
}

/** All four builds, in the order of BUILDS. */
export const openLabs = (megabytes?: number): Promise<Lab[]> =>
  Promise.all(BUILDS.map((build) => openLab(build, megabytes)));

export const pad = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Pseudo-random numbers in [0, 1): mulberry32. */
export function prng(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normally distributed float32 (Box-Muller). */
export function gaussian(n: number, random: () => number, deviation = 1): Float32Array {
  return Float32Array.from(
    { length: n },
    () => deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}

/** Rows one behind the other. */
export function joined(rows: Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

/** Where two arrays of float32 first differ in their bits (NaN equals NaN), or '' if they do not. */
export function bitDifference(got: Float32Array, expected: Float32Array): string {
  if (got.length !== expected.length) return `length ${got.length} instead of ${expected.length}`;
  const a = new Uint32Array(got.buffer, got.byteOffset, got.length);
  const b = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  const i = a.findIndex((bits, j) => bits !== b[j] && !(Number.isNaN(got[j]) && Number.isNaN(expected[j])));
  return i < 0 ? '' : `[${i}] is ${got[i]} instead of ${expected[i]}`;
}

/** Where two arrays of integers first differ, or ''. */
export function difference(got: ArrayLike<number>, expected: ArrayLike<number>): string {
  if (got.length !== expected.length) return `length ${got.length} instead of ${expected.length}`;
  for (let i = 0; i < got.length; i++)
    if (got[i] !== expected[i]) return `[${i}] is ${got[i]} instead of ${expected[i]}`;
  return '';
}

const word64 = new BigInt64Array(1);
const float64 = new Float64Array(word64.buffer);
const word32 = new Int32Array(1);
const float32 = new Float32Array(word32.buffer);

/** How many float64 lie between (units in the last place); from NaN to a number: infinite. */
export function ulps(got: number, expected: number): number {
  if (Number.isNaN(got) || Number.isNaN(expected)) return Object.is(got, expected) ? 0 : Number.POSITIVE_INFINITY;
  const order = (x: number): bigint => {
    float64[0] = x;
    const bits = word64[0]!;
    return bits < 0n ? -(bits & 0x7fffffffffffffffn) : bits;
  };
  const distance = order(got) - order(expected);
  return Number(distance < 0n ? -distance : distance);
}

/** How many float32 lie between. */
export function ulps32(got: number, expected: number): number {
  if (Number.isNaN(got) || Number.isNaN(expected)) return Object.is(got, expected) ? 0 : Number.POSITIVE_INFINITY;
  const order = (x: number): number => {
    float32[0] = x;
    const bits = word32[0]!;
    return bits < 0 ? -(bits & 0x7fffffff) : bits;
  };
  return Math.abs(order(got) - order(expected));
}

export const WEIGHTS = ['random', 'all -1', 'all 0', 'all +1'] as const;

/** Columns and rows for the BitLinear tests: multiples of nothing, and the widths of real models. */
export const COLS = [1, 7, 63, 64, 65, 100, 130, 640, 1153, 2560, 2561, 6912, 8640, 14336, 16384];
export const ROWS = [1, 2, 15, 16, 17, 37, 100, 640];

/** A ternary matrix of a pattern; scale 1. */
export function ternary(rows: number, cols: number, pattern: (typeof WEIGHTS)[number], seed: number): TernaryMatrix {
  const trits = new Int8Array(rows * cols);
  if (pattern === 'random') {
    const random = prng(seed);
    for (let i = 0; i < trits.length; i++) trits[i] = Math.floor(random() * 3) - 1;
  } else trits.fill(WEIGHTS.indexOf(pattern) - 2);
  return { trits, rows, cols, scale: 1 };
}

/**
 * The bytes of a matrix as transformers stores it (integrations/bitnet.py, pack_weights): u8[ceil(rows / 4)][cols], field
 * i of byte row r is row r + i * ceil(rows / 4), codes 0, 1, 2 = -1, 0, +1.
 */
export function hfBytes({ trits, rows, cols }: TernaryMatrix): Uint8Array {
  const byteRows = Math.ceil(rows / 4);
  const bytes = new Uint8Array(byteRows * cols);
  for (let row = 0; row < rows; row++) {
    const field = Math.floor(row / byteRows);
    const to = (row - field * byteRows) * cols;
    for (let c = 0; c < cols; c++) bytes[to + c]! |= (trits[row * cols + c]! + 1) << (2 * field);
  }
  return bytes;
}

export type Layout = 'tiles' | 'lanes';

/** Packs a matrix through the kernels, row by row from its HF bytes; padding rows and columns are code 1. */
export function packMatrix(lab: Lab, { rows, cols }: TernaryMatrix, hf: Uint8Array, layout: Layout): number {
  const [paddedRows, paddedCols] = [pad(rows, 16), pad(cols, 64)];
  const byteRows = Math.ceil(rows / 4);
  const matrix = lab.take((paddedRows * paddedCols) / 4);
  const source = lab.take(paddedCols);
  const zeros = new Uint8Array(paddedCols).fill(0x55);
  const line = zeros.slice();
  for (let row = 0; row < paddedRows; row++) {
    const field = row < rows ? Math.floor(row / byteRows) : 0;
    if (row < rows) line.set(hf.subarray((row - field * byteRows) * cols, (row - field * byteRows + 1) * cols));
    lab.write(source, row < rows ? line : zeros);
    if (layout === 'tiles') lab.kernels.packTiles(source, field, matrix, row, paddedCols);
    else lab.kernels.packLanes(source, field, matrix, row, paddedRows, paddedCols);
  }
  return matrix;
}

export const ACTIVATIONS = ['random', 'all -127', 'all 127', 'alternating', 'zeros'] as const;

/** T . q by the oracle, as float32, with the padding rows of a matrix in memory, which are zeros. */
export function expectedRows(matrix: TernaryMatrix, codes: Int8Array): Float32Array {
  const y = new Float32Array(pad(matrix.rows, 16));
  y.set(bitLinear(matrix, { codes, multiplier: 1, inverse: 1 }));
  return y;
}

/** int8 activation codes of a pattern. */
export function activations(n: number, pattern: (typeof ACTIVATIONS)[number], seed: number): Int8Array {
  const random = prng(seed);
  const value = {
    random: () => Math.floor(random() * 255) - 127,
    'all -127': () => -127,
    'all 127': () => 127,
    alternating: (i: number) => (i & 1 ? 127 : -127),
    zeros: () => 0,
  }[pattern];
  return Int8Array.from({ length: n }, (_, i) => value(i));
}

/** Makes a thing when it is first asked for. */
export function once<T>(make: () => T): () => T {
  let made: { thing: T } | undefined;
  return () => {
    made ??= { thing: make() };
    return made.thing;
  };
}

/** The 16-byte record of quantise(): f32 multiplier, f32 inverse, i32 sum of the codes, 0. */
export function record(codes: Int8Array, inverse: number): Int32Array {
  const words = new Int32Array(4);
  new Float32Array(words.buffer).set([1 / inverse, inverse]);
  words[2] = codes.reduce((sum, code) => sum + code, 0);
  return words;
}

/** Part `index` of `parts` of a matrix's rows: whole groups of 16, as units of work are. */
export function rowRange(
  { paddedRows }: { paddedRows: number },
  index: number,
  parts: number,
): { begin: number; rows: number } {
  const groups = paddedRows / 16;
  const begin = Math.floor((groups * index) / parts) * 16;
  return { begin, rows: Math.floor((groups * (index + 1)) / parts) * 16 - begin };
}
