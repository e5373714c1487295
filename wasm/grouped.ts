// BitLinear with a weight scale for each row and group of 64 or 128 columns, and activations quantised by the same
// groups (checkpoints such as Ternary Bonsai). GEMV in grouped-gemv.ts, GEMM in grouped-gemm.ts; all give the same bits:
//   y = 0;  for each group g in order:  y = y + f32(sum(trit * code)) * (w[row][g] * a[g])
// with exact integer sums and every operation rounded to float32.
//
// Weight scales: f32[padded rows / 16][groups][16], so that one load serves neighbouring rows in the order in which the
// kernels read them. The scales of padding rows are 0.
// Record of a row of activations: f32 a[groups], then i32 sum of the codes [groups].
import { lutBlock } from './gemv';
import { sumI32 } from './simd';

/** max|x| of f32[n]. */
function absmax(x: usize, n: i32): f32 {
  const whole = n & ~3;
  let m = f32x4.splat(0);
  for (let i = 0; i < whole; i += 4) m = f32x4.max(m, f32x4.abs(v128.load(x + ((<usize>i) << 2))));
  let most = max(
    max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  );
  for (let i = whole; i < n; i++) most = max(most, abs(load<f32>(x + ((<usize>i) << 2))));
  return most;
}

/** code = round(x * c), half to even; returns the sum of the codes. x: f32[n]; codes: i8[n]. */
function quantiseGroup(x: usize, n: i32, c: f32, codes: usize): i32 {
  const whole = n & ~15,
    scale = f32x4.splat(c);
  let sums = i32x4.splat(0);
  for (let i = 0; i < whole; i += 16) {
    const p = x + ((<usize>i) << 2);
    const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p), scale)));
    const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 16), scale)));
    const d = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 32), scale)));
    const e = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(p, 48), scale)));
    sums = i32x4.add(sums, i32x4.add(i32x4.add(a, b), i32x4.add(d, e)));
    v128.store(codes + i, i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(d, e)));
  }
  let sum = sumI32(sums);
  for (let i = whole; i < n; i++) {
    const code = <i32>nearest<f32>(load<f32>(x + ((<usize>i) << 2)) * c);
    store<i8>(codes + i, <i8>code);
    sum += code;
  }
  return sum;
}

/**
 * Absmax quantisation group by group: m = max|x|, code = round(x * (127 / m)), a = m / 127. A group with m < 1e-30 gets
 * codes 0 and a = 0.
 * @param x f32[n]; @param n any; @param padded n rounded up to a multiple of group (codes beyond n are 0)
 * @param codes i8[padded]
 * @param record f32 a[padded / group], then i32 sum of the codes [padded / group]
 */
export function quantiseGroups(x: usize, n: i32, padded: i32, group: i32, codes: usize, record: usize): void {
  const totals = (<usize>(padded / group)) << 2;
  memory.fill(codes, 0, padded);
  for (let k = 0; k < padded; k += group) {
    const width = max(0, min(group, n - k));
    const p = x + ((<usize>k) << 2);
    const most = absmax(p, width);
    const dead = most < <f32>1e-30;
    store<f32>(record, dead ? <f32>0 : most / <f32>127);
    store<i32>(record + totals, dead ? 0 : quantiseGroup(p, width, <f32>127 / most, codes + k));
    record += 4;
  }
}

/** Four trits times their scale. codes: i32x4 in 0..2. */
function fourWeights(codes: v128, w: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(codes, i32x4.splat(1))), w);
}

/** Where the scale of a row and group 0 lies; groups follow 64 bytes apart. */
function scaleOf(scales: usize, row: i32, groups: i32): usize {
  return scales + ((<usize>(row >> 4) * <usize>groups) << 6) + ((<usize>(row & 15)) << 2);
}

/**
 * One row of a matrix in tiles as float32: (code - 1) * w, for a ternary embedding.
 * @param scales of the whole matrix; @param out f32[cols]
 */
export function embedTiles(matrix: usize, row: i32, cols: i32, group: i32, scales: usize, out: usize): void {
  let src = matrix + <usize>(row >> 1) * <usize>(cols >> 1) + ((<usize>(row & 1)) << 4);
  let s = scaleOf(scales, row, cols / group);
  const m3 = i8x16.splat(3);
  for (let k = 0; k < cols; k += 64) {
    const w = v128.load32_splat(s),
      bytes = v128.load(src);
    for (let field = 0; field < 4; field++) {
      const codes = v128.and(i16x8.shr_u(bytes, field << 1), m3);
      const low = i16x8.extend_low_i8x16_u(codes),
        high = i16x8.extend_high_i8x16_u(codes);
      v128.store(out, fourWeights(i32x4.extend_low_i16x8_u(low), w));
      v128.store(out, fourWeights(i32x4.extend_high_i16x8_u(low), w), 16);
      v128.store(out, fourWeights(i32x4.extend_low_i16x8_u(high), w), 32);
      v128.store(out, fourWeights(i32x4.extend_high_i16x8_u(high), w), 48);
      out += 64;
    }
    src += 32;
    if (((k + 64) & (group - 1)) == 0) s += 64;
  }
}

/** One row of a matrix in lanes as float32. matrixRows: padded rows of the matrix; the rest as in embedTiles(). */
export function embedLanes(
  matrix: usize,
  row: i32,
  matrixRows: i32,
  cols: i32,
  group: i32,
  scales: usize,
  out: usize,
): void {
  const block = lutBlock(cols);
  const s = scaleOf(scales, row, cols / group);
  // brings field f of a byte to bits 6 and 7
  const factors = i32x4(64, 16, 4, 1),
    m3 = i32x4.splat(3);
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k);
    let src =
      matrix + <usize>matrixRows * <usize>(k >> 2) + <usize>(row & ~15) * <usize>(width >> 2) + <usize>(row & 15);
    for (let j = k; j < k + width; j += 4) {
      const w = v128.load32_splat(s + ((<usize>(j / group)) << 6));
      const codes = v128.and(i32x4.shr_u(i32x4.mul(i32x4.splat(load<u8>(src)), factors), 6), m3);
      v128.store(out, fourWeights(codes, w));
      src += 16;
      out += 16;
    }
  }
}
