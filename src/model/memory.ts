/**
 * The map of the one memory: every weight, cache and buffer is a byte offset of a plan, which is made before anything is
 * loaded (plan-memory.ts). Threads share the memory; what only one thread touches lies in its own `ThreadPlan`.
 */
import type { ModelConfig } from './config';

/**
 * The three forms of the BitLinear GEMV, which also settle the byte order of the weights. dot32 and dot16 need relaxed
 * SIMD; lut8 runs on any SIMD128.
 */
export type KernelName = 'dot32' | 'dot16' | 'lut8';

/** One ternary matrix, 2 bits a weight, in the byte order of the kernel (see wasm/gemv.ts). */
export interface Matrix {
  at: number;
  rows: number;
  cols: number;
  paddedRows: number; // multiple of 16
  paddedCols: number; // multiple of 64, with groups of `group`
  /** y = (T . q) * scale / c; set by the loader. Unused with groups. */
  scale: number;
  /** Columns to one weight scale; 0: one scale a matrix. */
  group: ModelConfig['group'];
  /** Group scales f32[paddedRows / 16][paddedCols / group][16], those of padding rows 0; 0 where group is 0. */
  scales: number;
}

export interface LayerPlan {
  inputNorm: number; // f32[hidden]
  query: Matrix; // [heads * headDim, hidden]; headDim is the padded one here
  key: Matrix; // [kvHeads * headDim, hidden]
  value: Matrix; // [kvHeads * headDim, hidden]
  queryNorm: number; // f32[headDim], q_norm; 0 without
  keyNorm: number; // f32[headDim], k_norm; 0 without
  attentionNorm: number; // f32[heads * headDim], attn_sub_norm; 0 without
  output: Matrix; // [hidden, heads * headDim]
  ffnInputNorm: number; // f32[hidden], post_attention_layernorm
  gate: Matrix; // [ffn, hidden]
  up: Matrix; // [ffn, hidden]
  ffnNorm: number; // f32[ffn], ffn_sub_norm; 0 without
  down: Matrix; // [hidden, ffn]
  keys: number; // bf16, f32 or int8 [sequences, kvHeads, cachePositions, headDim]
  values: number; // the same; of int8, pairs of positions lie element by element: see wasm/attention-int8.ts
  keyScales: number; // of an int8 cache: f32[sequences, kvHeads, cachePositions]; else 0
  valueScales: number;
}

/** A row for each token, as embedding, as lm_head, or as both. bf16: scales and sums unused (0). See wasm/lmhead.ts. */
export interface TableHead {
  kind: 'bf16' | 'int8';
  table: number; // bf16[paddedVocab, hidden] or i8[paddedVocab, paddedHidden], tiles of four rows
  scales: number; // f32[paddedVocab]
  sums: number; // i32[paddedVocab]
  paddedVocab: number; // multiple of 4
  paddedHidden: number; // multiple of 16
}

/** The same as a ternary matrix [vocab, hidden] with group scales. */
export interface TernaryHead {
  kind: 'ternary';
  matrix: Matrix;
  paddedVocab: number; // matrix.paddedRows
}

export type HeadPlan = TableHead | TernaryHead;

/** What finds the best logits of an int8 lm_head without computing all of them: see wasm/screen.ts. */
export interface ScreenPlan {
  signs: number; // i16[3, width], of the rotation
  plane: number; // 4 bits [paddedVocab, width], tiles of four rows
  factors: number; // f32[2, paddedVocab], by four
  width: number; // hidden, padded to a multiple of 256
  groups: number; // SCREEN_RECORD bytes [HEAD_ROWS, groupCount]
  groupCount: number; // of SCREEN_GROUP rows; so many of the best logits can be asked for, SCREEN_BEST at most
  inputBytes: number; // of an input of a row: i8[width], i16[width], record
}

/** Scratch of one thread. */
export interface ThreadPlan {
  normed: number; // f32[widest]
  queries: number; // f32[smallRows, heads * headDim]: queries of a small pass after RoPE
  codes: number; // i8[smallRows, CODES_STRIDE], two copies each
  records: number; // recordBytes [smallRows]
  scores: number; // see wasm/attention-int8.ts: f32[runRows * group, 256], f32[4, headDim], f32[runRows * group]
  partials: number; // partial records of every block of one run of rows and one key/value head
  tables: number; // lut8: u8[smallRows, 16 * widest cols]; GEMM: 31 KB
  activations: number; // GEMM: activationBytes() [2]: 16 rows
  accumulators: number; // GEMM: i16[segment of rows, 16]
  sums: number; // GEMM: i32[segment of rows, 16]; lut8: i32[unit of rows]
  headInputs: number; // headInputBytes [HEAD_ROWS]: what the rows of a table lm_head are multiplied with
  screenInputs: number; // screening.inputBytes [HEAD_ROWS]
  rotated: number; // f32[screening.width], and what screenThreshold() needs
}

export interface MemoryPlan {
  bytes: number;
  config: ModelConfig;
  kernel: KernelName;
  threads: number;
  contextLength: number;
  sequences: number;
  /** Most rows in one forward pass. */
  maxRows: number;
  /** Up to this many rows every thread quantises for itself and takes the GEMV; above, rows are shared out and take the GEMM. */
  smallRows: number;
  /** Most rows of one pass whose logits can be asked for. */
  logitRows: number;
  kvCache: CacheKind;
  /** Positions from one head's cache to the next: contextLength, of an int8 cache rounded up. */
  cachePositions: number;
  /** Elements of a head in memory, padding included: see paddedHeadDim(). */
  headDim: number;
  layers: LayerPlan[];
  finalNorm: number; // f32[hidden]
  embedding: HeadPlan;
  head: HeadPlan; // the same record as embedding where they are tied
  screening: ScreenPlan | undefined;
  ropeFrequencies: number; // f32[headDim / 2]: radians a position
  ropeFactors: number; // f32[true headDim / 2] divisors of the frequencies, of longrope short then long; 0 without
  cosines: number; // f32[contextLength, headDim / 2]
  sines: number;
  rowTokens: number; // i32[maxRows]: the rows of the pass
  rowPositions: number;
  rowSequences: number;
  hidden: number; // f32[maxRows, hiddenStride]: the residual stream
  hiddenStride: number; // elements
  qkv: number; // f32[maxRows, qkvStride]: query | key | value, each padded
  qkvStride: number;
  attention: number; // f32[maxRows, attentionStride]
  attentionStride: number;
  gateUp: number; // f32[maxRows, gateUpStride]: gate | up
  gateUpStride: number;
  codes: number; // i8[maxRows, codesStride]: quantised rows of a large pass
  codesStride: number;
  records: number; // recordBytes [maxRows]
  /** Bytes of a quantised row's record: wasm/absmax.ts, with groups wasm/grouped.ts. */
  recordBytes: number;
  partials: number; // partial records [smallRows, kvHeads, blocks]
  partialBytes: number;
  dense: number; // GEMM: the weights of one step in dense order
  shares: number; // counters of the work shared out (share.ts)
  logits: number; // f32[logitRows, paddedVocab]
  weights: number; // softmax terms of the sampler, f32[paddedVocab]
  /** Room for the loader, over the caches and what comes after them: it is done before the first pass. */
  staging: number;
  stagingBytes: number;
  /** int8 head: 4 bytes [paddedHidden], then the record; bf16: f32[hidden]; ternary: 0. */
  headInputBytes: number;
  perThread: ThreadPlan[];
  /** Bytes of the ternary matrices alone, without group scales. */
  ternaryBytes: number;
}

/** Fixed words, below everything that is planned. The constant table of the kernels lies at 64..191. */
export const BARRIER = 256; // i32[4], see wasm/barrier.ts
export const PASS = 320; // i32[2]: pass counter, sleepers
export const ABORT = 384; // i32: id of the request to abort; written by the page
export const REQUEST = 388; // i32: id of the request at work
export const STOP = 392; // i32[2]: thread 0's decision to leave the pass, by turns; read by all after a barrier
export const ROWS = 448; // i32: rows of the pass
export const LOGITS_FROM = 452; // i32: logits are wanted of rows logitsFrom..rows-1; rows: of none
export const BEST = 456; // i32: how many of the best logits of a row are wanted; the others may be -Infinity. 0: all are
/** Where what is planned begins. */
export const FIRST_FREE = 1024;

/** Bytes to the second copy of a row of codes in thread scratch, of at most 16384 columns (as in wasm/gemv.ts). */
export const CODES_COPY = 16384;
/** Bytes between two rows of them: 576 more than both copies take, so that rows do not share the sets of a cache. */
export const CODES_STRIDE = 2 * CODES_COPY + 576;
/** Bytes of a cached element. */
export const CACHE_BYTES = { bf16: 2, f32: 4, int8: 1 } as const;
export type CacheKind = keyof typeof CACHE_BYTES;
/** Positions to an attention block (wasm/attention.ts, BLOCK). */
export const BLOCK = 256;
/** Rows of one sequence that go through attention together, at most. */
export const RUN_ROWS = 8;
/** Counters of the work shared out (share.ts): sets of one a thread, each on a cache line of its own. */
export const SHARE_SETS = 4;
export const SHARE_BYTES = 64;
/** Rows of a table lm_head that go over a piece of it together. */
export const HEAD_ROWS = 8;
/** Rows of the lm_head to a record of screening, and its bytes (wasm/screen.ts, GROUP, RECORD). */
export const SCREEN_GROUP = 32;
export const SCREEN_RECORD = 16;
/** Most of the best logits that screening finds: with more, it computes too many rows to pay. */
export const SCREEN_BEST = 64;
/** Rows of the lane layout to a unit of work: each unit goes through all tables, block by block. */
export const LANE_UNIT_ROWS = 256;
/** Most rows of a matrix that a group of tokens is multiplied with at once: 110 KB of accumulators. */
export const SEGMENT_ROWS = 3456;

export const pad = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Bytes of one row of a matrix in the dense order of the GEMM (wasm/dense.ts): one for 5 columns, 4 where none can be joined. */
export function denseRowBytes({ paddedCols, group }: Pick<Matrix, 'paddedCols' | 'group'>, kernel: KernelName): number {
  if (group) return paddedCols / 4;
  if (kernel === 'lut8') return Math.ceil(paddedCols / 20) * 4;
  const chunks = paddedCols / 64;
  return (Math.floor(chunks / 5) * 4 + (chunks % 5)) * 16;
}

/** Bytes of 8 rows of activations in the positions of the GEMM (wasm/dense.ts). */
export const activationBytes = (paddedCols: number): number => (paddedCols + 16) * 16;

/**
 * Elements of a head in memory. Each half is padded to a multiple of 4, so that the kernels' vectors fit: element i of a
 * head lies at i in the first half, at i + (paddedHeadDim - headDim) / 2 in the second. Padding elements are 0.
 */
export const paddedHeadDim = (headDim: number): number => pad(headDim, 8);

/** Every ternary matrix, each once. */
export function ternaryMatrices({
  layers,
  embedding,
  head,
}: Pick<MemoryPlan, 'layers' | 'embedding' | 'head'>): Matrix[] {
  const heads = [...new Set([embedding, head])].flatMap((one) => (one.kind === 'ternary' ? [one.matrix] : []));
  return [...layers.flatMap((l) => [l.query, l.key, l.value, l.output, l.gate, l.up, l.down]), ...heads];
}
