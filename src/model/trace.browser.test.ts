/** The kernels against Hugging Face transformers, module by module, on the stored inputs and outputs of 32 tokens. */
import { beforeAll, describe, expect, test } from 'vitest';
import { inPasses, openMachine, relativeError, type TestMachine } from '../../e2e/machine';
import { fetchModel, hfPacked, type ModelFiles, readFixture, type Tensors } from '../../e2e/reading';
import { bitLinear, prepare, quantisedRows } from './bitlinear';
import { CODES_COPY, type LayerPlan, type Matrix, ROWS, type TableHead } from './memory';
import { createShare } from './share';

type Machine = Parameters<typeof bitLinear>[0];

const rows = 32;
const layers = [0, 1];
const linears: [string, keyof LayerPlan][] = [
  ['self_attn.q_proj', 'query'],
  ['self_attn.k_proj', 'key'],
  ['self_attn.v_proj', 'value'],
  ['self_attn.o_proj', 'output'],
  ['mlp.gate_proj', 'gate'],
  ['mlp.up_proj', 'up'],
  ['mlp.down_proj', 'down'],
];
const norms: [string, keyof LayerPlan][] = [
  ['input_layernorm', 'inputNorm'],
  ['self_attn.attn_sub_norm', 'attentionNorm'],
  ['post_attention_layernorm', 'ffnInputNorm'],
  ['mlp.ffn_sub_norm', 'ffnNorm'],
];

let trace: Tensors;
let files: ModelFiles;

beforeAll(async () => {
  [trace, files] = await Promise.all([readFixture('trace.safetensors'), fetchModel(hfPacked)]);
});

/** The worst figures of one kernel, printed after its tests. */
const worst = { norm: 0, qscale: 0, output: 0, codes: 0, differing: 0, head: 0 };

/** The machine of the test, as src/model/bitlinear.ts wants it. */
async function open(kernel: 'dot32' | 'dot16' | 'lut8'): Promise<TestMachine & { machine: Machine }> {
  const opened = await openMachine(files, { kernel, kvCache: 'f32', maxRows: rows });
  const { pool, plan, words } = opened;
  return { ...opened, machine: { kernels: pool.kernels, plan, rank: 0, words } };
}

describe.each(['dot32', 'dot16', 'lut8'] as const)('modules, %s', (kernel) => {
  let model: Awaited<ReturnType<typeof open>>;
  beforeAll(async () => {
    model = await open(kernel);
  });

  test.each([
    ...layers.flatMap((layer) => norms.map(([name, key]) => [`model.layers.${layer}.${name}`, layer, key] as const)),
    ['model.norm', 0, undefined] as const,
  ])('%s', (name, layer, key) => {
    const { pool, plan, memory } = model;
    const [input, right] = [trace.f32(`${name}.in`), trace.f32(`${name}.out`)];
    const width = input.length / rows;
    const gain = key === undefined ? plan.finalNorm : (plan.layers[layer]![key] as number);
    const out = new Float32Array(input.length);
    const { normed } = plan.perThread[0]!;
    for (let row = 0; row < rows; row++) {
      new Float32Array(memory.buffer, plan.gateUp, width).set(input.subarray(row * width, (row + 1) * width));
      pool.kernels.rmsNorm(plan.gateUp, gain, normed, width, width, plan.config.rmsNormEps);
      out.set(new Float32Array(memory.buffer, normed, width), row * width);
    }
    const error = relativeError(out, right);
    worst.norm = Math.max(worst.norm, error);
    expect(error).toBeLessThan(2e-6);
  });

  /** Quantises the stored input of a BitLinear where a pass of `count` rows from `first` has its codes, and checks it. */
  function quantise(name: string, first: number, count: number) {
    const { machine, memory, plan, pool } = model;
    const [input, golden, multipliers] = [trace.f32(`${name}.in`), trace.i8(`${name}.q8`), trace.f32(`${name}.qscale`)];
    const width = input.length / rows;
    const q = quantisedRows(machine, count);
    const small = count <= plan.smallRows;
    for (let i = 0; i < count; i++) {
      const x = input.subarray((first + i) * width, (first + i + 1) * width);
      const [codesAt, record] = [q.codes + i * q.codesStride, q.records + i * 16];
      new Float32Array(memory.buffer, plan.perThread[0]!.normed, width).set(x);
      pool.kernels.quantise(plan.perThread[0]!.normed, width, Math.ceil(width / 64) * 64, codesAt, +small, record);
      const multiplier = new Float32Array(memory.buffer, record, 1)[0]!;
      const right = multipliers[first + i]!;
      worst.qscale = Math.max(worst.qscale, Math.abs(multiplier / right - 1));
      expect(Math.abs(multiplier / right - 1)).toBeLessThanOrEqual(1e-6);
      const codes = new Int8Array(memory.buffer, codesAt, width);
      for (const [j, code] of codes.entries()) {
        const wanted = golden[(first + i) * width + j]!;
        worst.codes++;
        if (code === wanted) continue;
        worst.differing++;
        const exact = x[j]! * right;
        expect(Math.abs(code - wanted), `${name} row ${first + i} column ${j}`).toBe(1);
        expect(Math.abs(exact - Math.floor(exact) - 0.5), `${name} row ${first + i} column ${j}`).toBeLessThan(1e-3);
        substitute(memory, codesAt, small, record, golden.subarray((first + i) * width, (first + i + 1) * width));
      }
    }
    return q;
  }

  test.each(
    layers.flatMap((layer) => linears.map(([name, key]) => [`model.layers.${layer}.${name}`, layer, key] as const)),
  )('%s', (name, layer, key) => {
    const { machine, memory, plan } = model;
    const share = createShare(machine);
    const matrix = plan.layers[layer]![key] as Matrix;
    const right = trace.f32(`${name}.out`);
    // all 32 rows at once (GEMM), then one by one and in pairs (GEMV); added to what is there or not
    for (const [count, add] of [
      [rows, false],
      [1, false],
      [2, true],
    ] as const) {
      const out = new Float32Array(right.length);
      const before = add ? 1 : 0;
      for (let first = 0; first < rows; first += count) {
        const q = quantise(name, first, count);
        const area = new Float32Array(memory.buffer, plan.gateUp, count * plan.gateUpStride).fill(before);
        if (count > plan.smallRows) prepare(machine, share, [matrix]);
        bitLinear(machine, share, [matrix], q, count, plan.gateUp, plan.gateUpStride, add);
        share.endStep();
        for (let i = 0; i < count; i++) {
          const y = area.subarray(i * plan.gateUpStride, i * plan.gateUpStride + matrix.rows);
          out.set(
            y.map((v) => v - before),
            (first + i) * matrix.rows,
          );
        }
      }
      const error = relativeError(out, right);
      if (!add) worst.output = Math.max(worst.output, error);
      expect(error, `${count} rows`).toBeLessThan(2e-6);
    }
  });

  test('embedding and lm_head', async () => {
    const { pool, plan, memory } = model;
    const [ids, embedded] = [trace.i32('ids'), trace.f32('model.embed_tokens.out')];
    const [input, right] = [trace.f32('lm_head.in'), trace.f32('lm_head.out')];
    const { hidden, vocab } = plan.config;
    const { table } = plan.head as TableHead;
    const out = new Float32Array(right.length);
    for (let row = 0; row < rows; row++) {
      pool.kernels.embedBf16(table, ids[row]!, hidden, plan.gateUp);
      expect(new Float32Array(memory.buffer, plan.gateUp, hidden)).toEqual(
        embedded.subarray(row * hidden, (row + 1) * hidden),
      );
      new Float32Array(memory.buffer, plan.gateUp, hidden).set(input.subarray(row * hidden, (row + 1) * hidden));
      pool.kernels.headBf16(table, plan.gateUp, 0, vocab, hidden, plan.logits);
      out.set(new Float32Array(memory.buffer, plan.logits, vocab), row * vocab);
    }
    worst.head = Math.max(worst.head, relativeError(out, right));
    expect(relativeError(out, right)).toBeLessThan(2e-6);
  });

  test('the worst of all of these', () => {
    console.log(`trace, worst so far (${kernel}):`, JSON.stringify(worst));
    expect(worst.codes).toBeGreaterThan(0);
  });
});

/** Puts golden codes in the place of the engine's, with their sum. */
function substitute(memory: WebAssembly.Memory, at: number, copy: boolean, record: number, golden: Int8Array): void {
  new Int8Array(memory.buffer, at, golden.length).set(golden);
  if (copy) new Int8Array(memory.buffer, at + CODES_COPY, golden.length).set(golden);
  new Int32Array(memory.buffer, record + 8, 1)[0] = golden.reduce((sum, code) => sum + code, 0);
}

describe('the whole model with the golden codes forced', () => {
  const inputs: Partial<Record<string, string[]>> = {
    'qkv-input': ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
    'output-input': ['self_attn.o_proj'],
    'gate-up-input': ['mlp.gate_proj', 'mlp.up_proj'],
    'down-input': ['mlp.down_proj'],
  };

  /** Logits of the 32 tokens in passes of `size` rows; `shift` is added to one code of one position. */
  async function forced(kernel: 'dot32' | 'dot16' | 'lut8', size: number, shift = 0) {
    const counts = { codes: 0, differing: 0, steps: 0 };
    const machine = await openMachine(
      files,
      { kernel, kvCache: 'f32', maxRows: rows },
      () => false,
      ({ plan, memory, words }) =>
        (step, layer) => {
          const names = inputs[step];
          if (!names) return;
          counts.steps++;
          const n = words[ROWS / 4]!;
          const q = quantisedRows({ plan, rank: 0 } as Machine, n);
          for (let i = 0; i < n; i++) {
            const position = words[plan.rowPositions / 4 + i]!;
            for (const name of names) {
              const all = trace.i8(`model.layers.${layer}.${name}.q8`);
              const width = all.length / rows;
              const golden = all.subarray(position * width, (position + 1) * width);
              const at = q.codes + i * q.codesStride;
              for (const [j, code] of new Int8Array(memory.buffer, at, width).entries()) {
                counts.codes++;
                if (code === golden[j]) continue;
                counts.differing++;
                expect(Math.abs(code - golden[j]!), `${step} ${layer}, position ${position}, column ${j}`).toBe(1);
              }
              if (step === 'down-input' && position === 7 && layer === 1) golden[100] = golden[100]! + shift;
              substitute(memory, at, n <= plan.smallRows, q.records + i * 16, golden);
            }
          }
        },
    );
    const tokens = [...trace.i32('ids')].map((token, position) => ({ sequence: 0, position, token }));
    const got = await machine.logits(inPasses(tokens, [size]));
    return { got, counts };
  }

  test.each(
    (['dot32', 'dot16', 'lut8'] as const).flatMap((kernel) => [32, 1, 3].map((size) => [kernel, size] as const)),
  )('%s, passes of %i rows', async (kernel, size) => {
    const { got, counts } = await forced(kernel, size);
    const error = relativeError(got, trace.f32('lm_head.out'));
    console.log(`forced codes, ${kernel}, passes of ${size}: ${JSON.stringify({ ...counts, error })}`);
    expect(counts.steps).toBe(Math.ceil(rows / size) * layers.length * 4);
    expect(error).toBeLessThan(1e-5);
  });

  test('a wrong code in one place shows', async () => {
    for (const size of [32, 1]) {
      const { got } = await forced('dot32', size, 8);
      expect(relativeError(got, trace.f32('lm_head.out'))).toBeGreaterThan(1e-5);
    }
  });
});

describe('no code forced', () => {
  test.each(['dot32', 'dot16', 'lut8'] as const)('prompts far from every rounding boundary, %s', async (kernel) => {
    const prompts = await readFixture('flip-safe.safetensors');
    const machine = await openMachine(files, { kernel, kvCache: 'f32' });
    let most = 0;
    for (let prompt = 0; prompt < 8; prompt++) {
      const rowsOf = [...prompts.i32(`prompt${prompt}.ids`)].map((token, position) => ({
        sequence: 0,
        position,
        token,
      }));
      expect(rowsOf).toHaveLength(4);
      const right = prompts.f32(`prompt${prompt}.logits`);
      for (const passes of [[rowsOf], rowsOf.map((row) => [row])]) {
        const got = await machine.logits(passes);
        expect(got).toHaveLength(right.length);
        most = got.reduce((m, v, i) => Math.max(m, Math.abs(v - right[i]!)), most);
      }
    }
    console.log(`flip-safe prompts, ${kernel}: at most ${most.toExponential(2)} apart`);
    expect(most).toBeLessThan(1e-4);
  });

  test('56 other tokens: as near as rounding flips allow, the same best token where it is clear', async () => {
    const greedy = await readFixture('greedy.safetensors');
    const machine = await openMachine(files, { kernel: 'dot32', kvCache: 'f32' });
    const right = greedy.f32('logits');
    const { vocab } = machine.plan.config;
    const count = right.length / vocab;
    const ids = [...greedy.i32('ids')].slice(0, count);
    const got = await machine.logits([ids.map((token, position) => ({ sequence: 0, position, token }))]);
    let clear = 0;
    for (let position = 0; position < count; position++) {
      const row = right.subarray(position * vocab, (position + 1) * vocab);
      const [best = 0, second = 0] = [...row].sort((a, b) => b - a);
      if (best - second < 0.5) continue;
      clear++;
      const own = got.subarray(position * vocab, (position + 1) * vocab);
      expect(own.indexOf(Math.max(...own)), `position ${position}`).toBe(row.indexOf(best));
    }
    const error = relativeError(got, right);
    console.log(`greedy path: ${clear} of ${count} positions clear, relative error ${error.toExponential(2)}`);
    expect(clear).toBeGreaterThan(count / 2);
    expect(error).toBeLessThan(0.02); // docs/model.md: flips move a run by about 0.5 %
  });
});
