// From the HF byte order to ours. HF packs the rows r, r + out/4, r + out/2, r + 3 out/4 into one byte a column, row
// r + i * out/4 in bits 2i..2i+1, codes 0, 1, 2 = -1, 0, +1 (transformers, integrations/bitnet.py, pack_weights).
import { lutBlock } from './gemv';

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
