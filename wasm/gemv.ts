// BitLinear for one row of activations: y = (T . q) * weightScale / c, T ternary, q int8 (spec: BitNet b1.58).
//
// Weights are stored as codes 0, 1, 2 = -1, 0, +1, two bits each; T . q = sum(code * q) - sum(q).
// Rows are padded to a multiple of 16 and columns to a multiple of 64 (padding: code 1, activation 0).
//
// Tiles (dot32, dot16): two rows to a tile; for each chunk of 64 columns 16 bytes of row 0, then 16 bytes of row 1.
// Byte i of a chunk holds four codes, field f in bits 2f..2f+1, of column 64 * chunk + 16 * f + i.
//
// Lanes (lut8): for each block of columns (lutBlock) and each group of 16 rows: for each 4 columns 16 bytes, byte = row
// of the group, holding the codes of columns 4j..4j+3, lowest column in the lowest bits.
//
// `row` is the record that quantise() wrote: f32 multiplier c, f32 max|x| / 127 (its inverse), i32 sum of the codes.
import { LUT_COEFFICIENTS, MASK_03, MASK_0C, MASK_0F, sumI32 } from './simd';

/** Distance in bytes between the two copies of the activation codes, hence the largest number of columns. */
export const CODES_COPY: usize = 16384;

/** Writes one result: overwrites, or adds to what is there (the residual stream). */
export function put(out: usize, sum: i32, scale: f32, accumulate: i32): void {
  const y = <f32>sum * scale;
  store<f32>(out, accumulate ? load<f32>(out) + y : y);
}

/**
 * dot32: i32x4.relaxed_dot_i8x16_i7x16_add_s, for CPUs with an 8-bit dot product. Tiles.
 * Activations are the signed operand (-127..127), masked codes the 7-bit one (0..8), so every lowering of the relaxed
 * instruction agrees: pairs stay within 2 * 127 * 8. Fields 1 and 3 are used at four times their value and shifted at
 * the end. Each row reads its own copy of the activations: V8 would otherwise keep the loads of row 0 alive for row 1
 * and spill the accumulators.
 * @param w tiles of the first row; @param rows multiple of 2; @param cols padded columns, at most 16384
 */
export function gemvDot32(
  w: usize,
  codes: usize,
  row: usize,
  rows: i32,
  cols: i32,
  weightScale: f32,
  out: usize,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const m3 = v128.load(MASK_03),
      mc = v128.load(MASK_0C);
    const end = codes + <usize>cols;
    const scale = weightScale * load<f32>(row, 4),
      sum = load<i32>(row, 8);
    for (let r = 0; r < rows; r += 2) {
      let p = codes;
      let s0 = i32x4.splat(0),
        q0 = i32x4.splat(0),
        t0 = i32x4.splat(0),
        v0 = i32x4.splat(0);
      let s1 = i32x4.splat(0),
        q1 = i32x4.splat(0),
        t1 = i32x4.splat(0),
        v1 = i32x4.splat(0);
      do {
        const w0 = v128.load(w),
          x0 = i16x8.shr_u(w0, 4);
        s0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p), v128.and(w0, m3), s0);
        q0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 16), v128.and(w0, mc), q0);
        t0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 32), v128.and(x0, m3), t0);
        v0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 48), v128.and(x0, mc), v0);
        const w1 = v128.load(w, 16),
          x1 = i16x8.shr_u(w1, 4);
        s1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, CODES_COPY), v128.and(w1, m3), s1);
        q1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, CODES_COPY + 16), v128.and(w1, mc), q1);
        t1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, CODES_COPY + 32), v128.and(x1, m3), t1);
        v1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, CODES_COPY + 48), v128.and(x1, mc), v1);
        w += 32;
        p += 64;
      } while (p < end);
      put(out, sumI32(i32x4.add(i32x4.add(s0, t0), i32x4.shr_s(i32x4.add(q0, v0), 2))) - sum, scale, accumulate);
      put(out + 4, sumI32(i32x4.add(i32x4.add(s1, t1), i32x4.shr_s(i32x4.add(q1, v1), 2))) - sum, scale, accumulate);
      out += 8;
    }
  } else unreachable();
}

/**
 * dot16: i16x8.relaxed_dot_i8x16_i7x16_s with i16 accumulators, for x86 without an 8-bit dot product. Tiles.
 * A lane of q gains at most 2 * 2 * 127 * 8 = 4064 per chunk, so i16 holds 8 chunks. One copy of the
 * activations serves both rows: four accumulators leave registers for their loads.
 */
export function gemvDot16(
  w: usize,
  codes: usize,
  row: usize,
  rows: i32,
  cols: i32,
  weightScale: f32,
  out: usize,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const m3 = v128.load(MASK_03),
      mc = v128.load(MASK_0C);
    const scale = weightScale * load<f32>(row, 4),
      sum = load<i32>(row, 8);
    for (let r = 0; r < rows; r += 2) {
      let p = codes;
      let left = cols >> 6;
      let s0 = i32x4.splat(0),
        q0 = i32x4.splat(0),
        s1 = i32x4.splat(0),
        q1 = i32x4.splat(0);
      do {
        let n = min(left, 8);
        left -= n;
        let a0 = i32x4.splat(0),
          b0 = i32x4.splat(0),
          a1 = i32x4.splat(0),
          b1 = i32x4.splat(0);
        do {
          const w0 = v128.load(w),
            x0 = i16x8.shr_u(w0, 4);
          a0 = i16x8.add(
            a0,
            i16x8.add(
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p), v128.and(w0, m3)),
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 32), v128.and(x0, m3)),
            ),
          );
          b0 = i16x8.add(
            b0,
            i16x8.add(
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 16), v128.and(w0, mc)),
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 48), v128.and(x0, mc)),
            ),
          );
          const w1 = v128.load(w, 16),
            x1 = i16x8.shr_u(w1, 4);
          a1 = i16x8.add(
            a1,
            i16x8.add(
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p), v128.and(w1, m3)),
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 32), v128.and(x1, m3)),
            ),
          );
          b1 = i16x8.add(
            b1,
            i16x8.add(
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 16), v128.and(w1, mc)),
              i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(p, 48), v128.and(x1, mc)),
            ),
          );
          w += 32;
          p += 64;
        } while (--n);
        s0 = i32x4.add(s0, i32x4.extadd_pairwise_i16x8_s(a0));
        q0 = i32x4.add(q0, i32x4.extadd_pairwise_i16x8_s(b0));
        s1 = i32x4.add(s1, i32x4.extadd_pairwise_i16x8_s(a1));
        q1 = i32x4.add(q1, i32x4.extadd_pairwise_i16x8_s(b1));
      } while (left);
      put(out, sumI32(i32x4.add(s0, i32x4.shr_s(q0, 2))) - sum, scale, accumulate);
      put(out + 4, sumI32(i32x4.add(s1, i32x4.shr_s(q1, 2))) - sum, scale, accumulate);
      out += 8;
    }
  } else unreachable();
}

/**
 * Columns to a block of the lane layout: near-equal multiples of 64 (of 128 where cols is one, so that no group of
 * columns with a scale of its own crosses a block), at most 640, so that the tables of a block (16 bytes a column) stay
 * in the L1 cache.
 */
export function lutBlock(cols: i32): i32 {
  const unit = cols & 127 ? 64 : 128;
  const blocks = (cols + 639) / 640;
  return ((cols / unit + blocks - 1) / blocks) * unit;
}

/**
 * lut8, first half: for each pair of columns the 16 sums (t0 * a0 + t1 * a1 + 256), t from a nibble of two codes, as
 * 16 low nibbles and 16 upper parts. u8[cols / 2][2][16]. Activations must lie in -127..127 (absmax gives that): then
 * the upper part is at most 31 and eight of them still fit a byte.
 */
export function lutTables(codes: usize, cols: i32, tables: usize): void {
  const c0 = v128.load(LUT_COEFFICIENTS),
    c1 = v128.load(LUT_COEFFICIENTS, 16);
  const c2 = v128.load(LUT_COEFFICIENTS, 32),
    c3 = v128.load(LUT_COEFFICIENTS, 48);
  const offset = i16x8.splat(256),
    m15 = i16x8.splat(15);
  for (let k = 0; k < cols; k += 2) {
    const a0 = i16x8.splat(<i16>load<i8>(codes + k)),
      a1 = i16x8.splat(<i16>load<i8>(codes + k, 1));
    const x = i16x8.add(offset, i16x8.add(i16x8.mul(c0, a0), i16x8.mul(c2, a1)));
    const y = i16x8.add(offset, i16x8.add(i16x8.mul(c1, a0), i16x8.mul(c3, a1)));
    v128.store(tables, i8x16.narrow_i16x8_u(v128.and(x, m15), v128.and(y, m15)));
    v128.store(tables, i8x16.narrow_i16x8_u(i16x8.shr_u(x, 4), i16x8.shr_u(y, 4)), 16);
    tables += 32;
  }
}

/** Eight table look-ups, added up: 16 columns of 16 rows. t: the low nibbles of the first table, or 16 bytes on the upper parts. */
export function lutSum(t: usize, a0: v128, b0: v128, a1: v128, b1: v128, a2: v128, b2: v128, a3: v128, b3: v128): v128 {
  return i8x16.add(
    i8x16.add(
      i8x16.add(
        i8x16.add(
          i8x16.add(
            i8x16.add(
              i8x16.add(i8x16.swizzle(v128.load(t), a0), i8x16.swizzle(v128.load(t, 32), b0)),
              i8x16.swizzle(v128.load(t, 64), a1),
            ),
            i8x16.swizzle(v128.load(t, 96), b1),
          ),
          i8x16.swizzle(v128.load(t, 128), a2),
        ),
        i8x16.swizzle(v128.load(t, 160), b2),
      ),
      i8x16.swizzle(v128.load(t, 192), a3),
    ),
    i8x16.swizzle(v128.load(t, 224), b3),
  );
}

/** One block of columns over `rows` rows (multiple of 16); sums: i32[rows], overwritten by the first block. */
function lutBlockRows(w: usize, tables: usize, sums: usize, rows: i32, cols: i32, first: bool): void {
  const mf = v128.load(MASK_0F);
  const offset = i32x4.splat(cols << 7); // 256 for each pair of columns
  for (let r = 0; r < rows; r += 16) {
    let t = tables;
    let n = cols >> 4;
    let l0 = i32x4.splat(0),
      l1 = i32x4.splat(0),
      h0 = i32x4.splat(0),
      h1 = i32x4.splat(0);
    do {
      const w0 = v128.load(w),
        a0 = v128.and(w0, mf),
        b0 = v128.and(i16x8.shr_u(w0, 4), mf);
      const w1 = v128.load(w, 16),
        a1 = v128.and(w1, mf),
        b1 = v128.and(i16x8.shr_u(w1, 4), mf);
      const w2 = v128.load(w, 32),
        a2 = v128.and(w2, mf),
        b2 = v128.and(i16x8.shr_u(w2, 4), mf);
      const w3 = v128.load(w, 48),
        a3 = v128.and(w3, mf),
        b3 = v128.and(i16x8.shr_u(w3, 4), mf);
      const l = lutSum(t, a0, b0, a1, b1, a2, b2, a3, b3),
        h = lutSum(t + 16, a0, b0, a1, b1, a2, b2, a3, b3);
      l0 = i16x8.add(l0, i16x8.extend_low_i8x16_u(l));
      l1 = i16x8.add(l1, i16x8.extend_high_i8x16_u(l));
      h0 = i16x8.add(h0, i16x8.extend_low_i8x16_u(h));
      h1 = i16x8.add(h1, i16x8.extend_high_i8x16_u(h));
      w += 64;
      t += 256;
    } while (--n);
    let o0 = i32x4.sub(i32x4.add(i32x4.extend_low_i16x8_u(l0), i32x4.shl(i32x4.extend_low_i16x8_u(h0), 4)), offset);
    let o1 = i32x4.sub(i32x4.add(i32x4.extend_high_i16x8_u(l0), i32x4.shl(i32x4.extend_high_i16x8_u(h0), 4)), offset);
    let o2 = i32x4.sub(i32x4.add(i32x4.extend_low_i16x8_u(l1), i32x4.shl(i32x4.extend_low_i16x8_u(h1), 4)), offset);
    let o3 = i32x4.sub(i32x4.add(i32x4.extend_high_i16x8_u(l1), i32x4.shl(i32x4.extend_high_i16x8_u(h1), 4)), offset);
    if (!first) {
      o0 = i32x4.add(o0, v128.load(sums));
      o1 = i32x4.add(o1, v128.load(sums, 16));
      o2 = i32x4.add(o2, v128.load(sums, 32));
      o3 = i32x4.add(o3, v128.load(sums, 48));
    }
    v128.store(sums, o0);
    v128.store(sums, o1, 16);
    v128.store(sums, o2, 32);
    v128.store(sums, o3, 48);
    sums += 64;
  }
}

/**
 * lut8, second half: table look-ups by i8x16.swizzle, for engines without relaxed SIMD. Lanes.
 * @param w the whole matrix; @param rowBegin first row (multiple of 16); @param matrixRows padded rows of the matrix
 * @param tables of lutTables() for all columns; @param sums scratch i32[rows]
 */
export function gemvLut8(
  w: usize,
  tables: usize,
  row: usize,
  rowBegin: i32,
  rows: i32,
  matrixRows: i32,
  cols: i32,
  weightScale: f32,
  sums: usize,
  out: usize,
  accumulate: i32,
): void {
  const block = lutBlock(cols);
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k);
    const blockStart = w + <usize>matrixRows * <usize>(k >> 2);
    lutBlockRows(blockStart + <usize>rowBegin * <usize>(width >> 2), tables + <usize>k * 16, sums, rows, width, k == 0);
  }
  const scale = weightScale * load<f32>(row, 4);
  for (let r = 0; r < rows; r++) put(out + ((<usize>r) << 2), load<i32>(sums + ((<usize>r) << 2)), scale, accumulate);
}
