/**
 * From the tensors of a packed HF checkpoint (BitNetForCausalLM) to the planned memory: names, shapes, and the packing
 * of every row on its way in. Formats: docs/model.md.
 */
import { SternaError } from './errors';
import type { Kernels } from './kernels';
import type { Matrix, MemoryPlan } from './memory';
import type { Dtype, SafetensorsHeader, TensorInfo } from './safetensors';

/** What a tensor of the file is to the plan. */
type Part =
  | { kind: 'gain'; at: number; shape: number[] } // norm gain, to f32
  | { kind: 'ternary'; matrix: Matrix; shape: number[] } // U8 [rows / 4, cols], four rows to a byte
  | { kind: 'scale'; matrix: Matrix; shape: number[] } // weight_scale [1]
  | { kind: 'embedding'; shape: number[] };

const FLOATS: Dtype[] = ['BF16', 'F16', 'F32'];

/** Every tensor the model consists of, by its name in the file. */
function parts(plan: MemoryPlan): Map<string, Part> {
  const { hidden, ffn, heads, headDim, vocab } = plan.config;
  const all = new Map<string, Part>();
  const gain = (name: string, at: number, width: number): void => {
    all.set(`${name}.weight`, { kind: 'gain', at, shape: [width] });
  };
  const linear = (name: string, matrix: Matrix): void => {
    all.set(`${name}.weight`, { kind: 'ternary', matrix, shape: [Math.ceil(matrix.rows / 4), matrix.cols] });
    all.set(`${name}.weight_scale`, { kind: 'scale', matrix, shape: [1] });
  };
  all.set('model.embed_tokens.weight', { kind: 'embedding', shape: [vocab, hidden] });
  for (const [index, layer] of plan.layers.entries()) {
    const prefix = `model.layers.${index}`;
    gain(`${prefix}.input_layernorm`, layer.inputNorm, hidden);
    linear(`${prefix}.self_attn.q_proj`, layer.query);
    linear(`${prefix}.self_attn.k_proj`, layer.key);
    linear(`${prefix}.self_attn.v_proj`, layer.value);
    gain(`${prefix}.self_attn.attn_sub_norm`, layer.attentionNorm, heads * headDim);
    linear(`${prefix}.self_attn.o_proj`, layer.output);
    gain(`${prefix}.post_attention_layernorm`, layer.ffnInputNorm, hidden);
    linear(`${prefix}.mlp.gate_proj`, layer.gate);
    linear(`${prefix}.mlp.up_proj`, layer.up);
    gain(`${prefix}.mlp.ffn_sub_norm`, layer.ffnNorm, ffn);
    linear(`${prefix}.mlp.down_proj`, layer.down);
  }
  gain('model.norm', plan.finalNorm, hidden);
  return all;
}

/** A little-endian float tensor as float32. */
function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: Dtype): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  if (dtype === 'BF16') return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
  return Float32Array.from(halves, (bits) => {
    const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + mantissa) : 2 ** -24 * mantissa);
  });
}

/**
 * Checks that a checkpoint holds exactly the tensors of the model.
 * @throws SternaError `bad-file` for a missing tensor or a wrong shape, `unsupported` for a tensor or data type the
 * engine does not use, with `got` and `expected`
 */
function checkTensors(header: SafetensorsHeader, expected: Map<string, Part>, file: string): void {
  for (const [name, part] of expected) {
    const tensor = header.tensors.get(name);
    if (!tensor) throw new SternaError('bad-file', 'tensor is missing', { file, got: 'none', expected: name });
    if (tensor.shape.join() !== part.shape.join()) {
      const facts = { file, got: `[${tensor.shape}]`, expected: `[${part.shape}]` };
      throw new SternaError('bad-file', `shape of tensor ${name}`, facts);
    }
    const dtypes: Dtype[] = part.kind === 'ternary' ? ['U8'] : part.kind === 'embedding' ? ['BF16'] : FLOATS;
    if (!dtypes.includes(tensor.dtype)) {
      const facts = { file, got: tensor.dtype, expected: dtypes.join(' or ') };
      throw new SternaError('unsupported', `data type of tensor ${name}`, facts);
    }
  }
  for (const name of header.tensors.keys()) {
    if (!expected.has(name)) {
      throw new SternaError('unsupported', 'tensor the engine has no use for', { file, got: name, expected: 'none' });
    }
  }
}

/** Gains this small are dead channels; as denormal numbers they would only be slow. */
const TINY = 1e-30;

/**
 * Packs a checkpoint into the memory as it streams in: `header` first, then `data` front to back. Each row is copied
 * once, into the staging buffer, and packed from there.
 */
export function createPacker(kernels: Kernels, memory: WebAssembly.Memory, plan: MemoryPlan, file: string) {
  const { hidden, scaleSense } = plan.config;
  const bytes = new Uint8Array(memory.buffer);
  const staged = bytes.subarray(plan.staging, plan.staging + plan.stagingBytes);
  const all = parts(plan);
  let small = new Uint8Array(0); // a gain or a scale being put together

  /** One row of packed bytes: up to four rows of the matrix. */
  function packTernary(matrix: Matrix, row: number): void {
    const { at, rows, cols, paddedRows, paddedCols } = matrix;
    staged.fill(0x55, cols, paddedCols);
    if (kernels.hasCode3(plan.staging, paddedCols)) {
      throw new SternaError('bad-file', 'packed weight that is no trit', { file, got: 3, expected: '0, 1 or 2' });
    }
    for (let field = 0; field < 4; field++) {
      const target = row + field * Math.ceil(rows / 4);
      if (target >= rows) break;
      if (plan.kernel === 'lut8') kernels.packLanes(plan.staging, field, at, target, paddedRows, paddedCols);
      else kernels.packTiles(plan.staging, field, at, target, paddedCols);
    }
  }

  function packEmbedding(row: number): void {
    if (kernels.hasNonFinite(plan.staging, hidden)) {
      throw new SternaError('bad-file', `row ${row} of the embedding`, {
        file,
        got: 'infinity or NaN',
        expected: 'finite numbers',
      });
    }
    const { head } = plan;
    if (head.kind === 'bf16') kernels.packBf16(plan.staging, head.table, row, hidden);
    else if (head.kind === 'int8')
      kernels.packInt8(plan.staging, head.table, row, hidden, head.paddedHidden, head.scales, head.sums);
  }

  /** A whole small tensor has arrived. */
  function finishSmall(part: Part, tensor: TensorInfo): void {
    const values = toFloat32(small, tensor.dtype);
    const bad = values.find((v) => !Number.isFinite(v));
    if (bad !== undefined) {
      throw new SternaError('bad-file', `tensor ${tensor.name}`, { file, got: bad, expected: 'finite numbers' });
    }
    if (part.kind === 'gain') {
      new Float32Array(memory.buffer, part.at, values.length).set(values.map((v) => (Math.abs(v) < TINY ? 0 : v)));
    } else if (part.kind === 'scale') {
      const [value] = values;
      if (!value || value < 0) {
        throw new SternaError('bad-file', `tensor ${tensor.name}`, { file, got: String(value), expected: 'above 0' });
      }
      part.matrix.scale = scaleSense === 'divide' ? Math.fround(1 / value) : value;
    }
  }

  return {
    header(header: SafetensorsHeader): void {
      checkTensors(header, all, file);
      for (const part of all.values()) {
        if (part.kind !== 'ternary') continue;
        const { at, rows, paddedRows, paddedCols } = part.matrix;
        if (rows < paddedRows) bytes.fill(0x55, at, at + (paddedRows * paddedCols) / 4); // padding rows are 0
      }
    },
    data(tensor: TensorInfo, offset: number, chunk: Uint8Array): void {
      const part = all.get(tensor.name)!;
      const isSmall = part.kind === 'gain' || part.kind === 'scale';
      const unit = isSmall ? tensor.end - tensor.begin : part.kind === 'ternary' ? part.matrix.cols : hidden * 2;
      if (isSmall && offset === 0) small = new Uint8Array(unit);
      const target = isSmall ? small : staged;
      for (let done = 0; done < chunk.length; ) {
        const row = Math.floor((offset + done) / unit);
        const within = (offset + done) % unit;
        const piece = chunk.subarray(done, done + unit - within);
        target.set(piece, within);
        done += piece.length;
        if (within + piece.length < unit) return;
        if (isSmall) finishSmall(part, tensor);
        else if (part.kind === 'ternary') packTernary(part.matrix, row);
        else packEmbedding(row);
      }
    },
  };
}
