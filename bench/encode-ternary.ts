/**
 * Rows of codes 0, 1, 2 (= -1, 0, +1), one a byte, in the ternary types of safetensors and GGUF. Sources of the layouts:
 * transformers' integrations/bitnet.py (HF packed), microsoft/BitNet (I2_S), ggml-quants.c and ggml-common.h of llama.cpp
 * (TQ1_0, TQ2_0, Q2_0). Codes and outputs begin at a multiple of 4 in their buffers where words are named below.
 */
import { f16Bits } from './float-bits';

const words = (bytes: Uint8Array, n: number) => new Uint32Array(bytes.buffer, bytes.byteOffset, n);

/**
 * HF packed: a byte holds one column of four rows, a quarter of the matrix apart, the first in the lowest bits.
 * `rows`: u8[cols] each; `out`: u8[cols]; all at multiples of 4.
 */
export function packFour(rows: [Uint8Array, Uint8Array, Uint8Array, Uint8Array], cols: number, out: Uint8Array): void {
  const whole = cols >>> 2;
  const [a, b, c, d] = [words(rows[0], whole), words(rows[1], whole), words(rows[2], whole), words(rows[3], whole)];
  const to = words(out, whole);
  for (let i = 0; i < whole; i++) to[i] = a[i]! | (b[i]! << 2) | (c[i]! << 4) | (d[i]! << 6);
  for (let i = 4 * whole; i < cols; i++) {
    out[i] = rows[0][i]! | (rows[1][i]! << 2) | (rows[2][i]! << 4) | (rows[3][i]! << 6);
  }
}

/**
 * I2_S: blocks of `block` codes (128 as x86 builds write them, 64 as ARM builds do) in block / 4 bytes; a byte holds
 * four codes a quarter of the block apart, the first in the highest bits. `out`: u8[codes / 4]; both at multiples of 4.
 */
export function encodeI2S(codes: Uint8Array, block: 64 | 128, out: Uint8Array): void {
  const quarter = block / 16; // in words of four codes
  const from = words(codes, codes.length / 4);
  const to = words(out, codes.length / 16);
  for (let begin = 0, at = 0; begin < from.length; begin += 4 * quarter) {
    for (let i = begin; i < begin + quarter; i++, at++) {
      to[at] = (from[i]! << 6) | (from[i + quarter]! << 4) | (from[i + 2 * quarter]! << 2) | from[i + 3 * quarter]!;
    }
  }
}

/** TQ2_0: 256 codes in 66 bytes; two halves of 32 bytes, 4 codes 32 apart in each, the first lowest; then f16 d. */
export function encodeTQ2(codes: Uint8Array, scales: Float32Array, out: Uint8Array): void {
  for (let begin = 0, at = 0, g = 0; begin < codes.length; begin += 256, at += 66, g++) {
    const d = f16Bits(scales[g]!);
    for (let half = 0; half < 2; half++) {
      for (let m = 0; m < 32; m++) {
        const i = begin + 128 * half + m;
        out[at + 32 * half + m] = codes[i]! | (codes[i + 32]! << 2) | (codes[i + 64]! << 4) | (codes[i + 96]! << 6);
      }
    }
    out[at + 64] = d & 255;
    out[at + 65] = d >>> 8;
  }
}

/** Five base-3 digits as a byte, ceil(value * 256 / 243), so that digits come off the top by multiplying by 3. */
const fixedPoint = Uint8Array.from({ length: 243 }, (_, value) => Math.ceil((value * 256) / 243));

/** TQ1_0: 256 codes in 54 bytes: 5 to a byte, 32 apart, then 16 apart; the last 16 codes 4 to a byte; then f16 d. */
export function encodeTQ1(codes: Uint8Array, scales: Float32Array, out: Uint8Array): void {
  for (let begin = 0, at = 0, g = 0; begin < codes.length; begin += 256, at += 54, g++) {
    const d = f16Bits(scales[g]!);
    for (let m = 0; m < 52; m++) {
      const width = m < 32 ? 32 : m < 48 ? 16 : 4;
      const i = begin + (m < 32 ? m : m < 48 ? m + 128 : m + 192);
      const four = 27 * codes[i]! + 9 * codes[i + width]! + 3 * codes[i + 2 * width]! + codes[i + 3 * width]!;
      out[at + m] = fixedPoint[3 * four + (m < 48 ? codes[i + 4 * width]! : 0)]!;
    }
    out[at + 52] = d & 255;
    out[at + 53] = d >>> 8;
  }
}

/** Q2_0: groups of 64 or 128 codes: f16 d, then 4 codes to a byte in order, the first lowest. `scales`: one a group. */
export function encodeQ2(codes: Uint8Array, group: 64 | 128, scales: Float32Array, out: Uint8Array): void {
  for (let begin = 0, at = 0, g = 0; begin < codes.length; begin += group, g++) {
    const d = f16Bits(scales[g]!);
    out[at++] = d & 255;
    out[at++] = d >>> 8;
    for (let i = begin; i < begin + group; i += 4) {
      out[at++] = codes[i]! | (codes[i + 1]! << 2) | (codes[i + 2]! << 4) | (codes[i + 3]! << 6);
    }
  }
}
