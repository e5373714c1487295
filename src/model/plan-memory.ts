/** Plans the one memory (memory.ts) for a model, its context and its threads, and makes it. */

import { SternaError } from '../errors';
import type { ModelConfig } from './config';
import {
  activationBytes,
  BLOCK,
  CACHE_BYTES,
  type CacheKind,
  CODES_STRIDE,
  denseRowBytes,
  FIRST_FREE,
  HEAD_ROWS,
  type HeadPlan,
  type KernelName,
  LANE_UNIT_ROWS,
  type LayerPlan,
  type Matrix,
  type MemoryPlan,
  pad,
  paddedHeadDim,
  RUN_ROWS,
  SCREEN_BEST,
  SCREEN_GROUP,
  SCREEN_RECORD,
  type ScreenPlan,
  SEGMENT_ROWS,
  SHARE_BYTES,
  SHARE_SETS,
  type TableHead,
  type ThreadPlan,
  ternaryMatrices,
} from './memory';

/** Four tables of partial sums for 16 tokens (wasm/gemm.ts, TABLE). */
const GEMM_TABLES = 4 * 2 * 3904;
const PAGE = 65536;
const MAX_BYTES = 65536 * PAGE;

export interface PlanOptions {
  kernel: KernelName;
  threads: number;
  contextLength: number;
  sequences: number;
  maxRows: number;
  kvCache: CacheKind;
  /** How embedding and lm_head are kept, where they are not ternary. */
  lmHead: 'bf16' | 'int8';
  /** Room to screen the lm_head, if it is int8. Default false. */
  screening?: boolean;
  /** Least bytes at plan.staging. Default: enough for one row of any tensor as float32. */
  stagingBytes?: number;
  /** Most bytes of all. Default: the 4 GiB of wasm32. */
  mostBytes?: number;
}

/**
 * Plans the memory of a model.
 * @throws SternaError `out-of-memory` if it does not fit
 */
export function planMemory(config: ModelConfig, options: PlanOptions): MemoryPlan {
  const { hidden, ffn, heads, kvHeads, vocab, group, subNorms, qkNorm } = config;
  const { kernel, threads, contextLength, sequences, maxRows, mostBytes = MAX_BYTES } = options;
  const headDim = paddedHeadDim(config.headDim);
  let top = FIRST_FREE;
  /** Reserves bytes; regions begin on cache lines of their own. */
  const take = (bytes: number): number => {
    const at = top;
    top = pad(top + bytes, 64);
    return at;
  };
  const floats = (n: number): number => take(pad(n, 16) * 4);
  const matrix = (rows: number, cols: number): Matrix => {
    const [paddedRows, paddedCols] = [pad(rows, 16), pad(cols, group || 64)];
    const at = take((paddedRows * paddedCols) / 4);
    const scales = group ? floats((paddedRows * paddedCols) / group) : 0;
    return { at, rows, cols, paddedRows, paddedCols, scale: 0, group, scales };
  };

  const [queryRows, kvRows] = [heads * headDim, kvHeads * headDim];
  const layers = Array.from(
    { length: config.layers },
    (): LayerPlan => ({
      inputNorm: floats(hidden),
      query: matrix(queryRows, hidden),
      key: matrix(kvRows, hidden),
      value: matrix(kvRows, hidden),
      queryNorm: qkNorm ? floats(headDim) : 0,
      keyNorm: qkNorm ? floats(headDim) : 0,
      attentionNorm: subNorms ? floats(queryRows) : 0,
      output: matrix(hidden, queryRows),
      ffnInputNorm: floats(hidden),
      gate: matrix(ffn, hidden),
      up: matrix(ffn, hidden),
      ffnNorm: subNorms ? floats(ffn) : 0,
      down: matrix(hidden, ffn),
      keys: 0,
      values: 0,
      keyScales: 0,
      valueScales: 0,
    }),
  );
  const matrices = layers.flatMap((l) => [l.query, l.key, l.value, l.output, l.gate, l.up, l.down]);

  const int8 = options.lmHead === 'int8';
  const headPlan = (): HeadPlan => {
    if (config.ternaryEmbedding) {
      const rows = matrix(vocab, hidden);
      return { kind: 'ternary', matrix: rows, paddedVocab: rows.paddedRows };
    }
    const [paddedVocab, paddedHidden] = [pad(vocab, 4), pad(hidden, 16)];
    return {
      kind: options.lmHead,
      table: take(int8 ? paddedVocab * paddedHidden : paddedVocab * hidden * 2),
      scales: int8 ? floats(paddedVocab) : 0,
      sums: int8 ? floats(paddedVocab) : 0,
      paddedVocab,
      paddedHidden,
    };
  };
  const embedding = headPlan();
  const head = config.lmHead === 'tied' ? embedding : headPlan();
  const { paddedVocab } = head;
  const bytesOf = (m: Matrix): number => (m.paddedRows * m.paddedCols) / 4;
  const ternaryBytes = ternaryMatrices({ layers, embedding, head }).reduce((sum, m) => sum + bytesOf(m), 0);

  const screened = options.screening && head.kind === 'int8';
  const screening = screened ? screenPlan(head, take) : undefined;
  const finalNorm = floats(hidden);
  const ropeFrequencies = floats(headDim / 2);
  const factorTables = { factors: 1, longrope: 2 }[config.ropeScaling?.kind as string] ?? 0;
  const ropeFactors = factorTables && floats((factorTables * config.headDim) / 2);
  const cosines = floats((contextLength * headDim) / 2);
  const sines = floats((contextLength * headDim) / 2);
  const shares = take(SHARE_SETS * threads * SHARE_BYTES); // zero from the start, so not under what is staged
  // From here on lies what only passes use, and what is written before it is read.
  const staging = top;
  const { kvCache } = options;
  const cachePositions = kvCache === 'int8' ? pad(contextLength, 8) : contextLength;
  const cachedHeads = sequences * kvHeads * cachePositions;
  for (const layer of layers) {
    layer.keys = take(cachedHeads * headDim * CACHE_BYTES[kvCache]);
    layer.values = take(cachedHeads * headDim * CACHE_BYTES[kvCache]);
    layer.keyScales = kvCache === 'int8' ? floats(cachedHeads) : 0;
    layer.valueScales = kvCache === 'int8' ? floats(cachedHeads) : 0;
  }

  const queriesPerKey = heads / kvHeads;
  const blocks = Math.ceil(contextLength / BLOCK);
  const partialBytes = pad(queriesPerKey * 8, 16) + queriesPerKey * headDim * 4;
  const widestCols = Math.max(...matrices.map((m) => m.paddedCols));
  const recordBytes = group ? pad((widestCols / group) * 8, 16) : 16;
  const smallRows = Math.min(maxRows, kernel === 'lut8' ? 2 : kernel === 'dot16' && !group ? 8 : 4);
  const gemm = maxRows > smallRows;
  const runRows = Math.min(RUN_ROWS, maxRows);
  const mostRows = Math.min(SEGMENT_ROWS, Math.max(...matrices.map((m) => m.paddedRows)));
  const together = layers.flatMap((l) => [[l.query, l.key, l.value], [l.output], [l.gate, l.up], [l.down]]);
  const denseBytes = Math.max(
    ...together.map((all) => all.reduce((sum, m) => sum + m.paddedRows * denseRowBytes(m, kernel), 0)),
  );
  const codesStride = widestCols;
  const logitRows = Math.max(sequences, Math.min(maxRows, Math.floor(2 ** 21 / paddedVocab)));
  const headInputBytes =
    head.kind === 'ternary' ? 0 : pad(head.kind === 'int8' ? head.paddedHidden * 4 + 16 : hidden * 4, 64);
  // a ternary row is looked up with its padding columns
  const hiddenStride = config.ternaryEmbedding ? pad(hidden, group || 64) : pad(hidden, 16);
  const attentionStride = pad(queryRows, 16);
  const qkvStride = pad(queryRows, 16) + 2 * pad(kvRows, 16);
  const gateUpStride = 2 * pad(ffn, 16);

  const plan: MemoryPlan = {
    bytes: 0,
    config,
    kernel,
    threads,
    contextLength,
    sequences,
    maxRows,
    smallRows,
    logitRows,
    kvCache,
    cachePositions,
    headDim,
    layers,
    finalNorm,
    embedding,
    head,
    screening,
    ropeFrequencies,
    ropeFactors,
    cosines,
    sines,
    rowTokens: take(maxRows * 4),
    rowPositions: take(maxRows * 4),
    rowSequences: take(maxRows * 4),
    hidden: floats(maxRows * hiddenStride),
    hiddenStride,
    qkv: floats(maxRows * qkvStride),
    qkvStride,
    attention: floats(maxRows * attentionStride),
    attentionStride,
    gateUp: floats(maxRows * gateUpStride),
    gateUpStride,
    codes: take(maxRows * codesStride),
    codesStride,
    records: take(maxRows * recordBytes),
    recordBytes,
    partials: take(smallRows * kvHeads * blocks * partialBytes),
    partialBytes,
    dense: take(gemm ? denseBytes : 0),
    shares,
    logits: floats(logitRows * paddedVocab),
    weights: floats(paddedVocab),
    staging,
    stagingBytes: Math.max(options.stagingBytes ?? 0, Math.max(widestCols, hidden) * 4 + 64),
    headInputBytes,
    perThread: Array.from(
      { length: threads },
      (): ThreadPlan => ({
        normed: floats(Math.max(widestCols, hiddenStride)),
        queries: floats(smallRows * queryRows),
        codes: take(smallRows * CODES_STRIDE),
        records: take(smallRows * recordBytes),
        scores: floats(runRows * queriesPerKey * (BLOCK + 1) + 4 * headDim),
        partials: take(runRows * blocks * partialBytes),
        tables: take(Math.max(kernel === 'lut8' ? smallRows * 16 * widestCols : 0, gemm ? GEMM_TABLES : 0)),
        activations: take(gemm ? 2 * activationBytes(widestCols) : 0),
        accumulators: take(gemm ? mostRows * 32 : 0),
        sums: take(Math.max(LANE_UNIT_ROWS * 4, gemm ? mostRows * 64 : 0)),
        headInputs: take(HEAD_ROWS * headInputBytes),
        screenInputs: take(screening ? HEAD_ROWS * screening.inputBytes : 0),
        rotated: take(screening ? screening.width * 4 + SCREEN_BEST * 8 + 16 : 0),
      }),
    ),
    ternaryBytes,
  };
  top = Math.max(top, plan.staging + plan.stagingBytes);
  plan.bytes = pad(top, PAGE);
  if (plan.bytes > mostBytes) {
    throw new SternaError('out-of-memory', 'the model and its context do not fit WebAssembly memory, in bytes', {
      got: plan.bytes,
      expected: `at most ${mostBytes}`,
    });
  }
  return plan;
}

function screenPlan({ paddedVocab, paddedHidden }: TableHead, take: (bytes: number) => number): ScreenPlan {
  const width = pad(paddedHidden, 256);
  const groupCount = Math.ceil(paddedVocab / SCREEN_GROUP);
  return {
    signs: take(6 * width),
    plane: take((paddedVocab * width) / 2),
    factors: take(8 * paddedVocab),
    width,
    groups: take(HEAD_ROWS * groupCount * SCREEN_RECORD),
    groupCount,
    inputBytes: pad(3 * width + 16, 64),
  };
}

/**
 * The memory of a plan.
 * @throws SternaError `out-of-memory` if the browser refuses it
 */
export function createMemory(bytes: number, shared: boolean): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  } catch {
    throw new SternaError('out-of-memory', 'the browser refused the memory for the model, in bytes', {
      got: 'refused',
      expected: bytes,
    });
  }
}
