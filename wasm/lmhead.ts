// Token embedding and lm_head (tied). Rows in tiles of four, so that a worker reads one sequential stream.
//
// bf16: for each 8 elements, 16 bytes of each of the four rows; i32 lane i holds element i low, element i + 4 high.
// int8: for each 16 elements, 16 bytes of each of the four rows; row r = code * scale[r], scale = max|row| / 127.
// Activations of the int8 head have 14 bits (-8128..8128), in two 7-bit halves, so that they add nothing to the error
// of the rows; the sums are exact integers.
import { MASK_HIGH, sumF32, sumI32 } from './simd';

const TINY: f32 = 1e-30; // a row with nothing above this is a row of zeros: 127 / max would overflow

/** Where row `row` begins in a table of `rowBytes` bytes a row and 16 bytes a piece. */
function rowStart(table: usize, row: i32, rowBytes: i32): usize {
  return table + <usize>(row >> 2) * 4 * <usize>rowBytes + ((<usize>(row & 3)) << 4);
}

/** Stores one row of the checkpoint (bf16[n], natural order) in the bf16 table. n multiple of 8. */
export function packBf16(src: usize, table: usize, row: i32, n: i32): void {
  let dst = rowStart(table, row, n << 1);
  for (let i = 0; i < n; i += 8) {
    v128.store(
      dst,
      i8x16.shuffle(v128.load(src), v128.load(src), 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15),
    );
    src += 16;
    dst += 64;
  }
}

/** Quantises one row (bf16[n]) to the int8 table. padded: n rounded up to 16; scales f32[], sums i32[] by row. */
export function packInt8(src: usize, table: usize, row: i32, n: i32, padded: i32, scales: usize, sums: usize): void {
  let most4 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const x = v128.load(src + ((<usize>i) << 1));
    most4 = f32x4.max(most4, f32x4.max(f32x4.abs(lowFloats(x)), f32x4.abs(highFloats(x))));
  }
  let most = max(
    max(f32x4.extract_lane(most4, 0), f32x4.extract_lane(most4, 1)),
    max(f32x4.extract_lane(most4, 2), f32x4.extract_lane(most4, 3)),
  );
  for (; i < n; i++) most = max(most, abs(bf16At(src, i)));
  if (most < TINY) most = 0;
  const scale = most / <f32>127,
    inverse: f32 = most > 0 ? <f32>127 / most : 0;
  const dst = rowStart(table, row, padded),
    inverse4 = f32x4.splat(inverse);
  let lanes = i32x4.splat(0);
  for (i = 0; i + 16 <= n; i += 16) {
    const x = v128.load(src + ((<usize>i) << 1)),
      y = v128.load(src + ((<usize>i) << 1), 16);
    const codes = i8x16.narrow_i16x8_s(
      i16x8.narrow_i32x4_s(rounded(lowFloats(x), inverse4), rounded(highFloats(x), inverse4)),
      i16x8.narrow_i32x4_s(rounded(lowFloats(y), inverse4), rounded(highFloats(y), inverse4)),
    );
    v128.store(dst + ((<usize>i) << 2), codes);
    lanes = i32x4.add(lanes, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes)));
  }
  let sum = sumI32(lanes);
  for (; i < padded; i++) {
    const code = i < n ? <i32>nearest<f32>(bf16At(src, i) * inverse) : 0;
    store<i8>(dst + ((<usize>(i >> 4)) << 6) + <usize>(i & 15), <i8>code);
    sum += code;
  }
  store<f32>(scales + ((<usize>row) << 2), scale);
  store<i32>(sums + ((<usize>row) << 2), sum);
}

/** One row of the int8 table in natural order, i8[n]. */
export function readInt8(table: usize, row: i32, n: i32, padded: i32, out: usize): void {
  const src = rowStart(table, row, padded);
  let i = 0;
  for (; i + 16 <= n; i += 16) v128.store(out + <usize>i, v128.load(src + ((<usize>i) << 2)));
  for (; i < n; i++) store<i8>(out + <usize>i, load<i8>(src + ((<usize>(i >> 4)) << 6) + <usize>(i & 15)));
}

/** The inverse of readInt8(): one row i8[n] and its scale into the table, with its sum. */
export function placeInt8(
  src: usize,
  table: usize,
  row: i32,
  n: i32,
  padded: i32,
  scale: f32,
  scales: usize,
  sums: usize,
): void {
  const dst = rowStart(table, row, padded);
  let lanes = i32x4.splat(0);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const codes = v128.load(src + <usize>i);
    v128.store(dst + ((<usize>i) << 2), codes);
    lanes = i32x4.add(lanes, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes)));
  }
  let sum = sumI32(lanes);
  for (; i < padded; i++) {
    const code = i < n ? load<i8>(src + <usize>i) : 0;
    store<i8>(dst + ((<usize>(i >> 4)) << 6) + <usize>(i & 15), code);
    sum += code;
  }
  store<f32>(scales + ((<usize>row) << 2), scale);
  store<i32>(sums + ((<usize>row) << 2), sum);
}

/** The first, and the last, four of eight bf16 numbers. */
function lowFloats(x: v128): v128 {
  return i32x4.shl(i32x4.extend_low_i16x8_u(x), 16);
}

function highFloats(x: v128): v128 {
  return i32x4.shl(i32x4.extend_high_i16x8_u(x), 16);
}

function rounded(x: v128, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, inverse)));
}

function bf16At(src: usize, i: i32): f32 {
  return reinterpret<f32>((<u32>load<u16>(src + ((<usize>i) << 1))) << 16);
}

/** One row of the bf16 table as f32[n]. n multiple of 8. */
export function embedBf16(table: usize, row: i32, n: i32, out: usize): void {
  const high = v128.load(MASK_HIGH);
  let src = rowStart(table, row, n << 1);
  for (let i = 0; i < n; i += 8) {
    const z = v128.load(src);
    v128.store(out, i32x4.shl(z, 16));
    v128.store(out, v128.and(z, high), 16);
    src += 64;
    out += 32;
  }
}

/** One row of the int8 table as f32[n]. n multiple of 4. */
export function embedInt8(table: usize, row: i32, n: i32, padded: i32, scales: usize, out: usize): void {
  const scale = f32x4.splat(load<f32>(scales + ((<usize>row) << 2)));
  const src = rowStart(table, row, padded);
  for (let i = 0; i < n; i += 4) {
    const codes = i32x4.extend_low_i16x8_s(
      i16x8.extend_low_i8x16_s(v128.load32_zero(src + ((<usize>(i >> 4)) << 6) + <usize>(i & 15))),
    );
    v128.store(out + ((<usize>i) << 2), f32x4.mul(f32x4.convert_i32x4_s(codes), scale));
  }
}

/**
 * Logits of rows rowBegin..rowEnd (multiples of 4) from the bf16 table: out[r] = row . x, in f32.
 * @param x f32[n], n multiple of 8; @param out f32[], by row
 */
export function headBf16(table: usize, x: usize, rowBegin: i32, rowEnd: i32, n: i32, out: usize): void {
  const high = v128.load(MASK_HIGH);
  let w = rowStart(table, rowBegin, n << 1);
  const end = x + ((<usize>n) << 2);
  out += (<usize>rowBegin) << 2;
  for (let r = rowBegin; r < rowEnd; r += 4) {
    let s0 = f32x4.splat(0),
      s1 = s0,
      s2 = s0,
      s3 = s0,
      t0 = s0,
      t1 = s0,
      t2 = s0,
      t3 = s0;
    let p = x;
    do {
      const a = v128.load(p),
        b = v128.load(p, 16);
      const w0 = v128.load(w),
        w1 = v128.load(w, 16),
        w2 = v128.load(w, 32),
        w3 = v128.load(w, 48);
      s0 = f32x4.add(s0, f32x4.mul(i32x4.shl(w0, 16), a));
      t0 = f32x4.add(t0, f32x4.mul(v128.and(w0, high), b));
      s1 = f32x4.add(s1, f32x4.mul(i32x4.shl(w1, 16), a));
      t1 = f32x4.add(t1, f32x4.mul(v128.and(w1, high), b));
      s2 = f32x4.add(s2, f32x4.mul(i32x4.shl(w2, 16), a));
      t2 = f32x4.add(t2, f32x4.mul(v128.and(w2, high), b));
      s3 = f32x4.add(s3, f32x4.mul(i32x4.shl(w3, 16), a));
      t3 = f32x4.add(t3, f32x4.mul(v128.and(w3, high), b));
      w += 64;
      p += 32;
    } while (p < end);
    store<f32>(out, sumF32(f32x4.add(s0, t0)));
    store<f32>(out, sumF32(f32x4.add(s1, t1)), 4);
    store<f32>(out, sumF32(f32x4.add(s2, t2)), 8);
    store<f32>(out, sumF32(f32x4.add(s3, t3)), 12);
    out += 16;
  }
}

/**
 * 14-bit activations of the int8 head: a = round(x * 8128 / max|x|) = 128 * (high - 64) + low.
 * @param x f32[n]; @param codes out: u8 high[padded], u8 low[padded], i16 a[padded]; padding: a = 0
 * @param record out: f32 max|x| / 8128
 */
export function quantiseHead(x: usize, n: i32, padded: i32, codes: usize, record: usize): void {
  let most: f32 = 0;
  for (let i = 0; i < n; i++) most = max(most, abs(load<f32>(x + ((<usize>i) << 2))));
  if (most < TINY) most = 0;
  const c: f32 = most > 0 ? <f32>8128 / most : 0;
  for (let i = 0; i < padded; i++) {
    const a = i < n ? <i32>nearest<f32>(load<f32>(x + ((<usize>i) << 2)) * c) : 0;
    store<u8>(codes + i, <u8>((a >> 7) + 64));
    store<u8>(codes + padded + i, <u8>(a & 127));
    store<i16>(codes + ((<usize>padded) << 1) + ((<usize>i) << 1), <i16>a);
  }
  store<f32>(record, most / <f32>8128);
}

/** Logits of rows rowBegin..rowEnd (multiples of 4) from the int8 table and the codes of quantiseHead(). */
export function headInt8(
  table: usize,
  codes: usize,
  record: usize,
  scales: usize,
  sums: usize,
  rowBegin: i32,
  rowEnd: i32,
  padded: i32,
  out: usize,
): void {
  let w = rowStart(table, rowBegin, padded);
  const scale = <f64>load<f32>(record);
  for (let r = rowBegin; r < rowEnd; r += 4) {
    const at = (<usize>r) << 2;
    if (ASC_FEATURE_RELAXED_SIMD) {
      // rows are the signed operand, the halves the 7-bit one: pairs stay within 2 * 127 * 127 < 2^15
      let h0 = i32x4.splat(0),
        h1 = h0,
        h2 = h0,
        h3 = h0,
        l0 = h0,
        l1 = h0,
        l2 = h0,
        l3 = h0;
      let p = codes;
      const end = codes + <usize>padded;
      do {
        const a = v128.load(p),
          b = v128.load(p + <usize>padded);
        const w0 = v128.load(w),
          w1 = v128.load(w, 16),
          w2 = v128.load(w, 32),
          w3 = v128.load(w, 48);
        h0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w0, a, h0);
        l0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w0, b, l0);
        h1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w1, a, h1);
        l1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w1, b, l1);
        h2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w2, a, h2);
        l2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w2, b, l2);
        h3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w3, a, h3);
        l3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(w3, b, l3);
        w += 64;
        p += 16;
      } while (p < end);
      putHalves(out + at, h0, l0, load<i32>(sums + at), load<f32>(scales + at), scale);
      putHalves(out + at + 4, h1, l1, load<i32>(sums + at, 4), load<f32>(scales + at, 4), scale);
      putHalves(out + at + 8, h2, l2, load<i32>(sums + at, 8), load<f32>(scales + at, 8), scale);
      putHalves(out + at + 12, h3, l3, load<i32>(sums + at, 12), load<f32>(scales + at, 12), scale);
    } else {
      for (let lane: usize = 0; lane < 4; lane++) {
        const sum = dot16(w + lane * 16, codes + ((<usize>padded) << 1), padded);
        store<f32>(out + at + lane * 4, <f32>(sum * (<f64>load<f32>(scales + at + lane * 4) * scale)));
      }
      w += (<usize>padded) << 2;
    }
  }
}

function putHalves(out: usize, high: v128, low: v128, rowSum: i32, rowScale: f32, scale: f64): void {
  const sum = <f64>sumI32(high) * 128 + <f64>sumI32(low) - <f64>rowSum * 8192;
  store<f32>(out, <f32>(sum * (<f64>rowScale * scale)));
}

/** Exact dot product of an interleaved int8 row and i16 codes. i32 lanes hold 4096 columns: 1024 * 127 * 8128 < 2^31. */
function dot16(row: usize, a: usize, n: i32): f64 {
  let total: f64 = 0;
  for (let first = 0; first < n; first += 4096) {
    let s = i32x4.splat(0);
    for (let i = min(4096, n - first); i > 0; i -= 16) {
      const w = v128.load(row);
      s = i32x4.add(s, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(w), v128.load(a)));
      s = i32x4.add(s, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(w), v128.load(a, 16)));
      row += 64;
      a += 32;
    }
    total +=
      <f64>i32x4.extract_lane(s, 0) +
      <f64>i32x4.extract_lane(s, 1) +
      <f64>i32x4.extract_lane(s, 2) +
      <f64>i32x4.extract_lane(s, 3);
  }
  return total;
}
