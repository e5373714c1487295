/**
 * Rows of floats in the types that embeddings and norms come in. Block types as ggml-common.h of llama.cpp lays them
 * out; Q8_0 and Q4_0 are rounded as ggml's reference does, Q6_K and Q4_K choose their sub-scales more simply than ggml does.
 */
import type { TensorBytes } from './byte-file';
import { f16Bits, f16Number } from './float-bits';

export type FloatType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q6_K' | 'Q4_K' | 'Q4_0';

/** Elements and bytes of a block. */
const floatBlocks: Record<FloatType, { elements: number; bytes: number }> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  Q8_0: { elements: 32, bytes: 34 },
  Q6_K: { elements: 256, bytes: 210 },
  Q4_K: { elements: 256, bytes: 144 },
  Q4_0: { elements: 32, bytes: 18 },
};

/** `out` begins at a multiple of 4 in its buffer; `values` is a multiple of the type's block long. */
function encodeFloats(type: FloatType, values: Float32Array, out: Uint8Array): void {
  switch (type) {
    case 'F32':
      new Float32Array(out.buffer, out.byteOffset, values.length).set(values);
      return;
    case 'BF16': {
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      const halves = new Uint16Array(out.buffer, out.byteOffset, values.length);
      for (let i = 0; i < halves.length; i++) halves[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
      return;
    }
    case 'F16': {
      const halves = new Uint16Array(out.buffer, out.byteOffset, values.length);
      const bitsOf = f16Bits; // see random-weights.ts
      for (let i = 0; i < halves.length; i++) halves[i] = bitsOf(values[i]!);
      return;
    }
    default:
      eachBlock(type, values, out, { Q8_0: encodeQ8, Q4_0: encodeQ4, Q6_K: encodeQ6, Q4_K: encodeQ4K }[type]);
  }
}

/**
 * A tensor of floats, made row by row: `fill` gives row `row` (0 where the shape has one size), f32[cols]. Throws for
 * columns that are no multiple of the type's block.
 */
export function floatTensor(
  name: string,
  type: FloatType,
  shape: number[],
  fill: (row: number, out: Float32Array) => void,
): TensorBytes {
  const cols = shape.at(-1)!;
  const { elements, bytes } = floatBlocks[type];
  if (cols % elements !== 0)
    throw new Error(`${name}: ${cols} columns are not a multiple of ${elements}, as ${type} needs`);
  const values = new Float32Array(cols);
  const make = (row: number, out: Uint8Array) => {
    fill(row, values);
    encodeFloats(type, values, out);
  };
  const units = shape.length === 1 ? 1 : shape[0]!;
  return { name, type, shape, units, unitBytes: (cols / elements) * bytes, make };
}

type EncodeBlock = (values: Float32Array, out: Uint8Array) => void;

function eachBlock(type: FloatType, values: Float32Array, out: Uint8Array, encode: EncodeBlock): void {
  const { elements, bytes } = floatBlocks[type];
  for (let i = 0, at = 0; i < values.length; i += elements, at += bytes) {
    encode(values.subarray(i, i + elements), out.subarray(at, at + bytes));
  }
}

function putF16(value: number, out: Uint8Array, at: number): void {
  const half = f16Bits(value);
  out[at] = half & 255;
  out[at + 1] = half >>> 8;
}

/** The value of largest size, with its sign; the first of equals. */
function extreme(values: Float32Array): number {
  let most = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(most)) most = value;
  return most;
}

/** f16 d = max|x| / 127, then 32 signed bytes. */
function encodeQ8(values: Float32Array, out: Uint8Array): void {
  const d = Math.fround(Math.abs(extreme(values)) / 127);
  const inverse = d ? Math.fround(1 / d) : 0;
  putF16(d, out, 0);
  for (let i = 0; i < 32; i++) {
    const scaled = Math.fround(values[i]! * inverse);
    out[2 + i] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5); // halves go away from zero, as C's roundf
  }
}

/** f16 d = extreme / -8, then 16 bytes: element i in the low four bits of byte i, element i + 16 in the high ones. */
function encodeQ4(values: Float32Array, out: Uint8Array): void {
  const d = Math.fround(extreme(values) / -8);
  const inverse = d ? Math.fround(1 / d) : 0;
  const code = (value: number) => Math.min(15, Math.trunc(Math.fround(Math.fround(value * inverse) + 8.5)));
  putF16(d, out, 0);
  for (let i = 0; i < 16; i++) out[2 + i] = code(values[i]!) | (code(values[i + 16]!) << 4);
}

/**
 * 128 bytes of low four bits, 64 of high two, 16 signed sub-scales (one to 16 elements), f16 d. In each half of 128
 * elements, those at l, l + 32, l + 64, l + 96 (l below 32) share the high byte l, lowest first.
 */
function encodeQ6(values: Float32Array, out: Uint8Array): void {
  const wanted = Array.from({ length: 16 }, (_, i) => extreme(values.subarray(16 * i, 16 * i + 16)) / -32);
  const largest = extreme(Float32Array.from(wanted));
  putF16(largest / -128, out, 208);
  const d = f16Number((out[208] ?? 0) | (out[209]! << 8));
  const steps = wanted.map((scale) => (d ? Math.max(-128, Math.min(127, Math.round(scale / d))) : 0));
  for (const [i, step] of steps.entries()) out[192 + i] = step;
  const code = (i: number) => {
    const step = d * steps[i >> 4]!;
    return step ? Math.max(-32, Math.min(31, Math.round(values[i]! / step))) + 32 : 32;
  };
  for (let half = 0; half < 2; half++) {
    for (let l = 0; l < 32; l++) {
      const [a, b, c, e] = [0, 32, 64, 96].map((offset) => code(128 * half + l + offset)) as [
        number,
        number,
        number,
        number,
      ];
      out[64 * half + l] = (a & 15) | ((c & 15) << 4);
      out[64 * half + l + 32] = (b & 15) | ((e & 15) << 4);
      out[128 + 32 * half + l] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6);
    }
  }
}

/**
 * f16 d and dmin, 12 bytes of 6-bit scales and mins (one of each to 32 elements), 128 bytes of codes. Of 64 elements, the
 * first 32 have the low halves of 32 bytes, the others the high halves; an element is d * scale * code - dmin * min.
 */
function encodeQ4K(values: Float32Array, out: Uint8Array): void {
  const runs = Array.from({ length: 8 }, (_, r) => values.subarray(32 * r, 32 * r + 32));
  const least = runs.map((run) => Math.max(0, -Math.min(...run)));
  const range = runs.map((run, r) => Math.max(0, Math.max(...run) + least[r]!));
  putF16(Math.max(...range) / 15 / 63, out, 0);
  putF16(Math.max(...least) / 63, out, 2);
  const [d, dmin] = [f16Number(out[0]! | (out[1]! << 8)), f16Number(out[2]! | (out[3]! << 8))];
  const steps = (sizes: number[], unit: number) =>
    sizes.map((size) => (unit ? Math.min(63, Math.round(size / unit)) : 0));
  const scales = steps(range, 15 * d);
  const mins = steps(least, dmin);
  for (let r = 0; r < 4; r++) {
    out[4 + r] = scales[r]! | ((scales[r + 4]! >> 4) << 6);
    out[8 + r] = mins[r]! | ((mins[r + 4]! >> 4) << 6);
    out[12 + r] = (scales[r + 4]! & 15) | ((mins[r + 4]! & 15) << 4);
  }
  const code = (i: number) => {
    const step = d * scales[i >> 5]!;
    return step ? Math.max(0, Math.min(15, Math.round((values[i]! + dmin * mins[i >> 5]!) / step))) : 0;
  };
  for (let j = 0; j < 128; j++) {
    const low = 64 * (j >> 5) + (j % 32);
    out[16 + j] = code(low) | (code(low + 32) << 4);
  }
}
