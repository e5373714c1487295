import { describe, expect, test } from 'vitest';
import { SternaError } from '../errors';
import type { ModelConfig } from './config';
import { type HeadPlan, type Matrix, type MemoryPlan, paddedHeadDim, type ScreenPlan } from './memory';
import { type PlanOptions, planMemory } from './plan-memory';

const bitnet: ModelConfig = {
  family: 'bitnet',
  hidden: 400,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 100,
  ffn: 540,
  vocab: 77,
  maxPositions: 4096,
  ropeTheta: 10_000,
  rmsNormEps: 1e-5,
  gate: 'silu',
  subNorms: true,
  qkNorm: false,
  lmHead: 'tied',
  ternaryEmbedding: false,
  group: 0,
  embeddingScale: 1,
  residualScale: 1,
  logitScale: 1,
  scaleSense: 'multiply',
  bos: null,
  eos: [],
};
const llama: ModelConfig = { ...bitnet, family: 'llama', subNorms: false, lmHead: 'untied', headDim: 256, heads: 6 };
const bonsai: ModelConfig = {
  ...bitnet,
  family: 'qwen3',
  subNorms: false,
  qkNorm: true,
  headDim: 64,
  ternaryEmbedding: true,
  group: 128,
};
const options: PlanOptions = {
  kernel: 'lut8',
  threads: 3,
  contextLength: 300,
  sequences: 2,
  maxRows: 40,
  kvCache: 'bf16',
  lmHead: 'int8',
};

type Region = [name: string, at: number, bytes: number];

const matrixRegions = (name: string, m: Matrix): Region[] => [
  [name, m.at, (m.paddedRows * m.paddedCols) / 4],
  ...(m.group ? [[`${name} scales`, m.scales, ((m.paddedRows * m.paddedCols) / m.group) * 4] as Region] : []),
];

function headRegions(name: string, head: HeadPlan, hidden: number): Region[] {
  if (head.kind === 'ternary') return matrixRegions(name, head.matrix);
  if (head.kind === 'bf16') return [[name, head.table, head.paddedVocab * hidden * 2]];
  return [
    [name, head.table, head.paddedVocab * head.paddedHidden],
    [`${name} scales`, head.scales, head.paddedVocab * 4],
    [`${name} sums`, head.sums, head.paddedVocab * 4],
  ];
}

/** Width 512 for 400 hidden, 80 rows for 77 tokens, three groups of 32. */
const screenRegions = ({ signs, plane, factors, groups }: ScreenPlan): Region[] => [
  ['signs', signs, 3 * 512 * 2],
  ['plane', plane, (80 * 512) / 2],
  ['factors', factors, 80 * 8],
  ['groups', groups, 8 * 3 * 16],
];

/** What the loader writes: weights and tables. */
function loaded(plan: MemoryPlan): Region[] {
  const { hidden, ffn, heads, subNorms, qkNorm } = plan.config;
  const tables = plan.contextLength * plan.headDim * 2;
  return [
    ...plan.layers.flatMap((layer, index): Region[] => [
      ...(['query', 'key', 'value', 'output', 'gate', 'up', 'down'] as const).flatMap((name) =>
        matrixRegions(`${name} ${index}`, layer[name]),
      ),
      [`inputNorm ${index}`, layer.inputNorm, hidden * 4],
      [`ffnInputNorm ${index}`, layer.ffnInputNorm, hidden * 4],
      ...(subNorms ? [[`attentionNorm ${index}`, layer.attentionNorm, heads * plan.headDim * 4] as Region] : []),
      ...(subNorms ? [[`ffnNorm ${index}`, layer.ffnNorm, ffn * 4] as Region] : []),
      ...(qkNorm ? [[`queryNorm ${index}`, layer.queryNorm, plan.headDim * 4] as Region] : []),
      ...(qkNorm ? [[`keyNorm ${index}`, layer.keyNorm, plan.headDim * 4] as Region] : []),
    ]),
    ...headRegions('embedding', plan.embedding, hidden),
    ...(plan.head === plan.embedding ? [] : headRegions('head', plan.head, hidden)),
    ...(plan.screening ? screenRegions(plan.screening) : []),
    ['finalNorm', plan.finalNorm, hidden * 4],
    ['ropeFrequencies', plan.ropeFrequencies, plan.headDim * 2],
    ...(plan.ropeFactors ? [['ropeFactors', plan.ropeFactors, plan.config.headDim * 4] as Region] : []),
    ['cosines', plan.cosines, tables],
    ['sines', plan.sines, tables],
  ];
}

const pad16 = (n: number): number => Math.ceil(n / 16) * 16;
const widestCols = (n: number, { config }: MemoryPlan): number =>
  Math.ceil(n / (config.group || 64)) * (config.group || 64);

/** What passes use beside it. */
function working(plan: MemoryPlan): Region[] {
  const { heads, kvHeads, hidden, ffn } = plan.config;
  const blocks = Math.ceil(plan.contextLength / 256);
  const widest = Math.max(hidden, ffn, heads * plan.headDim);
  const { head } = plan;
  const cachedHeads = plan.sequences * kvHeads * plan.cachePositions;
  const cache = cachedHeads * plan.headDim * { bf16: 2, f32: 4, int8: 1 }[plan.kvCache];
  const { maxRows, smallRows } = plan;
  const headInput = head.kind === 'int8' ? head.paddedHidden * 4 + 16 : hidden * 4;
  return [
    ...plan.layers.flatMap((layer, index): Region[] => [
      [`keys ${index}`, layer.keys, cache],
      [`values ${index}`, layer.values, cache],
      ...(plan.kvCache === 'int8' ? [[`keyScales ${index}`, layer.keyScales, cachedHeads * 4] as Region] : []),
      ...(plan.kvCache === 'int8' ? [[`valueScales ${index}`, layer.valueScales, cachedHeads * 4] as Region] : []),
    ]),
    ['hidden', plan.hidden, maxRows * plan.hiddenStride * 4],
    ['qkv', plan.qkv, maxRows * plan.qkvStride * 4],
    ['attention', plan.attention, maxRows * plan.attentionStride * 4],
    ['gateUp', plan.gateUp, maxRows * plan.gateUpStride * 4],
    ['codes', plan.codes, maxRows * plan.codesStride],
    ['records', plan.records, maxRows * plan.recordBytes],
    ['partials', plan.partials, smallRows * kvHeads * blocks * plan.partialBytes],
    // the widest step: gate and up; lut8 joins 5 columns to a byte where there are no groups
    ['dense', plan.dense, plan.config.group ? (2 * pad16(ffn) * widestCols(hidden, plan)) / 4 : 2 * pad16(ffn) * 92],
    ['shares', plan.shares, 4 * 3 * 64],
    ['logits', plan.logits, plan.logitRows * head.paddedVocab * 4],
    ['weights', plan.weights, head.paddedVocab * 4],
    ...plan.perThread.flatMap((own, rank): Region[] => [
      [`codes of ${rank}`, own.codes, smallRows * (32768 + 576)],
      [`records of ${rank}`, own.records, smallRows * plan.recordBytes],
      [`normed of ${rank}`, own.normed, widest * 4],
      [`scores of ${rank}`, own.scores, 8 * (heads / kvHeads) * 1028 + plan.headDim * 16],
      [`partials of ${rank}`, own.partials, 8 * blocks * plan.partialBytes],
      [`queries of ${rank}`, own.queries, smallRows * heads * plan.headDim * 4],
      [`tables of ${rank}`, own.tables, Math.max(smallRows * widest * 16, 8 * 3904)],
      [`activations of ${rank}`, own.activations, 2 * widest * 16],
      [`accumulators of ${rank}`, own.accumulators, pad16(ffn) * 32],
      [`sums of ${rank}`, own.sums, pad16(ffn) * 64],
      ...(plan.screening
        ? ([
            [`screenInputs of ${rank}`, own.screenInputs, 8 * (3 * 512 + 16)],
            [`rotated of ${rank}`, own.rotated, 512 * 4 + 64 * 8 + 16],
          ] as Region[])
        : []),
      ...(head.kind === 'ternary' ? [] : [[`headInputs of ${rank}`, own.headInputs, 8 * headInput] as Region]),
    ]),
  ];
}

function overlaps(regions: Region[], end: number): string[] {
  const sorted = [...regions].sort((a, b) => a[1] - b[1]);
  return sorted.flatMap(([name, at, bytes], i) => {
    const next = sorted[i + 1];
    if (at < 1024 || at % 16 !== 0 || bytes <= 0) return [`${name} at ${at}, ${bytes} bytes`];
    if (at + bytes > (next ? next[1] : end)) return [`${name} runs into ${next ? next[0] : 'the end'}`];
    return [];
  });
}

describe.each([
  ['first b1.58 recipe', bitnet],
  ['Llama', llama],
  ['Bonsai', bonsai],
  ['Bonsai, untied', { ...bonsai, lmHead: 'untied' }],
  ['longrope', { ...llama, ropeScaling: { kind: 'longrope', originalPositions: 100, attentionFactor: 1 } }],
] as [string, ModelConfig][])('%s', (_, config) => {
  test.each([
    ['bf16', 'bf16'],
    ['int8', 'int8'],
    ['int8', 'f32'],
  ] as const)('nothing lies over anything else, lm_head %s, cache %s', (lmHead, kvCache) => {
    const plan = planMemory(config, { ...options, lmHead, kvCache });
    expect(overlaps([...loaded(plan), ...working(plan)], plan.bytes)).toEqual([]);
    expect(plan.head === plan.embedding).toBe(config.lmHead === 'tied');
    const screened = planMemory(config, { ...options, lmHead, kvCache, screening: true });
    expect(overlaps([...loaded(screened), ...working(screened)], screened.bytes)).toEqual([]);
    const has = lmHead === 'int8' && !config.ternaryEmbedding;
    expect(screened.screening !== undefined).toBe(has);
    if (has) expect(screened.screening).toMatchObject({ width: 512, groupCount: 3 });
    else expect(screened).toEqual(plan);
    expect(plan.screening).toBe(undefined);
  });

  test('staging lies over what passes use, and grows the memory only where it must', () => {
    const plan = planMemory(config, options);
    const room = plan.bytes - plan.staging;
    expect(Math.max(...loaded(plan).map(([, at, bytes]) => at + bytes))).toBeLessThanOrEqual(plan.staging);
    expect(plan.stagingBytes).toBeGreaterThanOrEqual(Math.max(config.hidden, config.ffn) * 4);
    const fits = planMemory(config, { ...options, stagingBytes: room });
    expect(fits).toEqual({ ...plan, stagingBytes: room });
    const larger = planMemory(config, { ...options, stagingBytes: room + 1 });
    expect(larger).toEqual({ ...plan, stagingBytes: room + 1, bytes: plan.bytes + 65536 });
  });
});

test('heads are padded by halves to whole vectors', () => {
  expect([2, 8, 12, 20, 24, 100, 128].map(paddedHeadDim)).toEqual([8, 8, 16, 24, 24, 104, 128]);
  const plan = planMemory(bitnet, options);
  const [layer] = plan.layers;
  expect(plan.headDim).toBe(104);
  expect(layer?.query).toMatchObject({ rows: 416, cols: 400, paddedRows: 416, paddedCols: 448, group: 0, scales: 0 });
  expect(layer?.value).toMatchObject({ rows: 208, cols: 400 });
  expect(layer?.output).toMatchObject({ rows: 400, cols: 416, paddedCols: 448 });
  expect(layer).toMatchObject({ queryNorm: 0, keyNorm: 0 });
  expect(planMemory(llama, options).layers[0]).toMatchObject({ attentionNorm: 0, ffnNorm: 0 });
});

test('with groups, columns are padded to whole groups, and records hold every group of the widest matrix', () => {
  const plan = planMemory(bonsai, options);
  expect(plan.layers[0]?.down).toMatchObject({ cols: 540, paddedCols: 640, group: 128 });
  expect(plan.recordBytes).toBe(48); // 5 groups, 8 bytes each
  expect(plan.hiddenStride).toBe(512); // a looked-up row comes with its padding
  expect(plan.embedding).toMatchObject({ kind: 'ternary', paddedVocab: 80, matrix: { rows: 77, paddedCols: 512 } });
  expect(planMemory({ ...bonsai, group: 64 }, options).recordBytes).toBe(80); // 9 groups
  expect(planMemory(bitnet, options).recordBytes).toBe(16);
});

test('says when 4 GiB are not enough', () => {
  const huge = { ...llama, hidden: 16_384, ffn: 16_384, layers: 512 };
  expect(() => planMemory(huge, options)).toThrow(SternaError);
  expect(() => planMemory(huge, options)).toThrow(/do not fit WebAssembly memory/);
});
