// From the HF byte order to ours. HF packs the rows r, r + out/4, r + out/2, r + 3 out/4 into one byte a column, row
// r + i * out/4 in bits 2i..2i+1, codes 0, 1, 2 = -1, 0, +1 (transformers, integrations/bitnet.py, pack_weights).
import { lutBlock } from './gemv';

/** 1 if a byte of u8[n] (n multiple of 16) holds the code 3, which no ternary weight has; else 0. */
export function hasCode3(src: usize, n: i32): i32 {
  const ones = i8x16.splat(0x55);
  let bad = i8x16.splat(0);
  for (let i: usize = 0; i < <usize>n; i += 16) {
    const x = v128.load(src + i);
    bad = v128.or(bad, v128.and(v128.and(x, i16x8.shr_u(x, 1)), ones));
  }
  return v128.any_true(bad) ? 1 : 0;
}

/** 1 if bf16[n] (n multiple of 8) holds an infinity or NaN (all bits of the exponent set); else 0. */
export function hasNonFinite(src: usize, n: i32): i32 {
  const exponent = i16x8.splat(0x7f80);
  let bad = i16x8.splat(0);
  for (let i: usize = 0; i < (<usize>n) << 1; i += 16) {
    bad = v128.or(bad, i16x8.eq(v128.and(v128.load(src + i), exponent), exponent));
  }
  return v128.any_true(bad) ? 1 : 0;
}

/**
 * One row from the HF bytes to its place in the tiles.
 * @param src u8[cols] padded with 0x55; @param field 0..3: which row of the byte; @param row in the matrix
 */
export function packTiles(src: usize, field: i32, matrix: usize, row: i32, cols: i32): void {
  const m3 = i8x16.splat(3),
    shift = field << 1;
  let dst = matrix + <usize>(row >> 1) * <usize>(cols >> 1) + ((<usize>(row & 1)) << 4);
  for (let k: usize = 0; k < <usize>cols; k += 64) {
    const a = v128.and(i16x8.shr_u(v128.load(src + k), shift), m3);
    const b = v128.and(i16x8.shr_u(v128.load(src + k, 16), shift), m3);
    const c = v128.and(i16x8.shr_u(v128.load(src + k, 32), shift), m3);
    const d = v128.and(i16x8.shr_u(v128.load(src + k, 48), shift), m3);
    v128.store(dst, v128.or(v128.or(a, i16x8.shl(b, 2)), v128.or(i16x8.shl(c, 4), i16x8.shl(d, 6))));
    dst += 32;
  }
}

/** One row from the HF bytes to its lane. matrixRows: padded rows of the matrix. */
export function packLanes(src: usize, field: i32, matrix: usize, row: i32, matrixRows: i32, cols: i32): void {
  const block = lutBlock(cols),
    shift = field << 1;
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k);
    let dst =
      matrix + <usize>matrixRows * <usize>(k >> 2) + <usize>(row & ~15) * <usize>(width >> 2) + <usize>(row & 15);
    for (let j = 0; j < width; j += 4) {
      const v = (load<u32>(src) >> shift) & 0x03030303;
      store<u8>(dst, <u8>(v | (v >> 6) | (v >> 12) | (v >> 18)));
      src += 4;
      dst += 16;
    }
  }
}
