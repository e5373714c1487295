// BitLinear with a weight scale and an activation scale for each group of 64 or 128 columns, for one row of activations.
// The arithmetic is that of grouped.ts; the weights are the tiles and lanes of gemv.ts.
//
// The sum of a group is at most 2 * 127 * 128 = 32512 in magnitude, so that all its partial sums fit an i16: horizontal
// sums are taken by narrowing and adding neighbours, for two rows and two groups at a time.
//
// Tiles: both rows use one load of the activations, so one copy of the codes is enough. That works because the sums of
// a chunk are set once and changed in the branch for the second chunk: binaryen moves a value that is set and read once
// to its reader, which would put row 1 wholly after row 0 and keep all activations alive until then.
import { lutBlock, lutSum } from './gemv';
import { MASK_03, MASK_0C, MASK_0F } from './simd';

/** Four neighbouring sums of each of two rows, i16x8 -> two of each, i32x4. */
function pairs(x: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_s(x);
}

/**
 * y + what two groups of two rows give.
 * @param before, sums the groups' sums, i32x4 of pairs (row 0, row 0, row 1, row 1)
 * @param a the groups' activation scales; @param total i32 sums of the activation codes; @param scales of the first group
 */
function addTwo(y: v128, before: v128, sums: v128, a: usize, total: usize, scales: usize): v128 {
  const t = v128.load64_zero(total),
    s = v128.load64_zero(a);
  const sum = i32x4.sub(pairs(i16x8.narrow_i32x4_s(before, sums)), i32x4.shuffle(t, t, 0, 0, 1, 1));
  const w = v128.load64_lane(scales + 64, v128.load64_zero(scales), 1);
  const z = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(w, i32x4.shuffle(s, s, 0, 0, 1, 1)));
  return f32x4.add(f32x4.add(y, z), i32x4.shuffle(z, z, 2, 3, 2, 3));
}

/** y + what one group of two rows gives. */
function addOne(y: v128, sums: v128, a: usize, total: usize, scales: usize): v128 {
  const sum = i32x4.sub(pairs(i16x8.narrow_i32x4_s(sums, sums)), v128.load32_splat(total));
  const scale = f32x4.mul(v128.load64_zero(scales), v128.load32_splat(a));
  return f32x4.add(y, f32x4.mul(f32x4.convert_i32x4_s(sum), scale));
}

/** Writes the results of two rows: overwrites, or adds to what is there. */
function putTwo(out: usize, y: v128, accumulate: i32): void {
  v128.store64_lane(out, accumulate ? f32x4.add(v128.load64_zero(out), y) : y, 0);
}

/** Two dot products of 16 bytes, added to i32x4 sums. */
function dot32(a: v128, x: v128, b: v128, w: v128, mask: v128, sums: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(
    a,
    v128.and(x, mask),
    i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.and(w, mask), sums),
  );
}

/** Two dot products of 16 bytes, as i16x8 sums. */
function dot16(a: v128, x: v128, b: v128, w: v128, mask: v128): v128 {
  return i16x8.add(
    i16x8.relaxed_dot_i8x16_i7x16_s(a, v128.and(x, mask)),
    i16x8.relaxed_dot_i8x16_i7x16_s(b, v128.and(w, mask)),
  );
}

/**
 * dot32 with group scales. Tiles.
 * @param w tiles of the first row; @param codes i8[cols], one copy is enough; @param record of quantiseGroups()
 * @param rows multiple of 16; @param cols multiple of group; @param scales f32[rows / 16][cols / group][16]
 */
export function gemvDot32Grouped(
  w: usize,
  codes: usize,
  record: usize,
  rows: i32,
  cols: i32,
  group: i32,
  scales: usize,
  out: usize,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const m3 = v128.load(MASK_03),
      mc = v128.load(MASK_0C);
    const groups = cols / group,
      totals = (<usize>groups) << 2,
      wide = group > 64;
    for (let r = 0; r < rows; r += 2) {
      let p = codes,
        a = record,
        s = scales + ((<usize>(r >> 4) * groups) << 6) + ((<usize>(r & 15)) << 2);
      let y = f32x4.splat(0),
        before = i32x4.splat(0);
      let g = 0;
      do {
        const w0 = v128.load(w),
          x0 = i16x8.shr_u(w0, 4),
          w1 = v128.load(w, 16),
          x1 = i16x8.shr_u(w1, 4);
        const a2 = v128.load(p, 32),
          a0 = v128.load(p);
        let s0 = dot32(a2, x0, a0, w0, m3, i32x4.splat(0)),
          s1 = dot32(a2, x1, a0, w1, m3, i32x4.splat(0));
        const a3 = v128.load(p, 48),
          a1 = v128.load(p, 16);
        let q0 = dot32(a3, x0, a1, w0, mc, i32x4.splat(0)),
          q1 = dot32(a3, x1, a1, w1, mc, i32x4.splat(0));
        w += 32;
        p += 64;
        if (wide) {
          const w0 = v128.load(w),
            x0 = i16x8.shr_u(w0, 4),
            w1 = v128.load(w, 16),
            x1 = i16x8.shr_u(w1, 4);
          const a2 = v128.load(p, 32),
            a0 = v128.load(p);
          s0 = dot32(a2, x0, a0, w0, m3, s0);
          s1 = dot32(a2, x1, a0, w1, m3, s1);
          const a3 = v128.load(p, 48),
            a1 = v128.load(p, 16);
          q0 = dot32(a3, x0, a1, w0, mc, q0);
          q1 = dot32(a3, x1, a1, w1, mc, q1);
          w += 32;
          p += 64;
        }
        // fields 1 and 3 were used at four times their value
        const low = i16x8.narrow_i32x4_s(s0, s1),
          high = i16x8.narrow_i32x4_s(q0, q1);
        const sums = pairs(i16x8.add(low, i16x8.shr_s(high, 2)));
        if (g & 1) {
          y = addTwo(y, before, sums, a, a + totals, s);
          a += 8;
          s += 128;
        } else before = sums;
      } while (++g < groups);
      if (groups & 1) y = addOne(y, before, a, a + totals, s);
      putTwo(out, y, accumulate);
      out += 8;
    }
  } else unreachable();
}

/**
 * dot16 with group scales. Tiles; the parameters of gemvDot32Grouped().
 * i16 sums of a group: a lane gains at most 2 * 2 * 127 * 8 = 4064 per chunk, and a group has at most two.
 */
export function gemvDot16Grouped(
  w: usize,
  codes: usize,
  record: usize,
  rows: i32,
  cols: i32,
  group: i32,
  scales: usize,
  out: usize,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const m3 = v128.load(MASK_03),
      mc = v128.load(MASK_0C);
    const groups = cols / group,
      totals = (<usize>groups) << 2,
      wide = group > 64;
    for (let r = 0; r < rows; r += 2) {
      let p = codes,
        a = record,
        s = scales + ((<usize>(r >> 4) * groups) << 6) + ((<usize>(r & 15)) << 2);
      let y = f32x4.splat(0),
        before = i32x4.splat(0);
      let g = 0;
      do {
        const w0 = v128.load(w),
          x0 = i16x8.shr_u(w0, 4),
          w1 = v128.load(w, 16),
          x1 = i16x8.shr_u(w1, 4);
        const a2 = v128.load(p, 32),
          a0 = v128.load(p);
        let s0 = dot16(a2, x0, a0, w0, m3),
          s1 = dot16(a2, x1, a0, w1, m3);
        const a3 = v128.load(p, 48),
          a1 = v128.load(p, 16);
        let q0 = dot16(a3, x0, a1, w0, mc),
          q1 = dot16(a3, x1, a1, w1, mc);
        w += 32;
        p += 64;
        if (wide) {
          const w0 = v128.load(w),
            x0 = i16x8.shr_u(w0, 4),
            w1 = v128.load(w, 16),
            x1 = i16x8.shr_u(w1, 4);
          const a2 = v128.load(p, 32),
            a0 = v128.load(p);
          s0 = i16x8.add(s0, dot16(a2, x0, a0, w0, m3));
          s1 = i16x8.add(s1, dot16(a2, x1, a0, w1, m3));
          const a3 = v128.load(p, 48),
            a1 = v128.load(p, 16);
          q0 = i16x8.add(q0, dot16(a3, x0, a1, w0, mc));
          q1 = i16x8.add(q1, dot16(a3, x1, a1, w1, mc));
          w += 32;
          p += 64;
        }
        // fields 1 and 3 were used at four times their value
        const row0 = pairs(i16x8.add(s0, i16x8.shr_s(q0, 2))),
          row1 = pairs(i16x8.add(s1, i16x8.shr_s(q1, 2)));
        const sums = pairs(i16x8.narrow_i32x4_s(row0, row1));
        if (g & 1) {
          y = addTwo(y, before, sums, a, a + totals, s);
          a += 8;
          s += 128;
        } else before = sums;
      } while (++g < groups);
      if (groups & 1) y = addOne(y, before, a, a + totals, s);
      putTwo(out, y, accumulate);
      out += 8;
    }
  } else unreachable();
}

/** sums[4] += f32(x) * (w * a): four rows of one group, exact integers x. */
function addFour(sums: usize, x: v128, w: usize, a: v128): void {
  v128.store(sums, f32x4.add(v128.load(sums), f32x4.mul(f32x4.convert_i32x4_s(x), f32x4.mul(v128.load(w), a))));
}

/**
 * One block of columns over `rows` rows (multiple of 16).
 * @param record of the block's first group; @param scales of the first row and the block's first group
 * @param scaleBytes from 16 rows to the next 16; @param sums f32[rows], added to
 */
function lutGroups(
  w: usize,
  tables: usize,
  record: usize,
  rows: i32,
  groups: i32,
  group: i32,
  scales: usize,
  scaleBytes: usize,
  sums: usize,
): void {
  const mf = v128.load(MASK_0F);
  const offset = i16x8.splat(<i16>(group << 7)); // 256 for each pair of columns
  for (let r = 0; r < rows; r += 16) {
    let t = tables,
      a = record,
      s = scales;
    const end = a + ((<usize>groups) << 2);
    do {
      let n = group >> 4;
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
      // below 2 ** 15 before the offset goes off, above -2 ** 15 after it
      const x0 = i16x8.sub(i16x8.add(l0, i16x8.shl(h0, 4)), offset),
        x1 = i16x8.sub(i16x8.add(l1, i16x8.shl(h1, 4)), offset);
      const scale = v128.load32_splat(a);
      addFour(sums, i32x4.extend_low_i16x8_s(x0), s, scale);
      addFour(sums + 16, i32x4.extend_high_i16x8_s(x0), s + 16, scale);
      addFour(sums + 32, i32x4.extend_low_i16x8_s(x1), s + 32, scale);
      addFour(sums + 48, i32x4.extend_high_i16x8_s(x1), s + 48, scale);
      a += 4;
      s += 64;
    } while (a < end);
    scales += scaleBytes;
    sums += 64;
  }
}

/**
 * lut8 with group scales. Lanes.
 * @param w the whole matrix; @param tables of lutTables() for all columns; @param record of quantiseGroups()
 * @param rowBegin, rows multiples of 16; @param matrixRows padded rows of the matrix; @param cols multiple of group
 * @param scales of the whole matrix, f32[matrixRows / 16][cols / group][16]; @param sums scratch f32[rows]
 */
export function gemvLut8Grouped(
  w: usize,
  tables: usize,
  record: usize,
  rowBegin: i32,
  rows: i32,
  matrixRows: i32,
  cols: i32,
  group: i32,
  scales: usize,
  sums: usize,
  out: usize,
  accumulate: i32,
): void {
  const block = lutBlock(cols),
    scaleBytes = (<usize>(cols / group)) << 6;
  const firstScale = scales + <usize>(rowBegin >> 4) * scaleBytes;
  memory.fill(sums, 0, (<usize>rows) << 2);
  for (let k = 0; k < cols; k += block) {
    const width = min(block, cols - k),
      g = <usize>(k / group);
    lutGroups(
      w + <usize>matrixRows * <usize>(k >> 2) + <usize>rowBegin * <usize>(width >> 2),
      tables + <usize>k * 16,
      record + (g << 2),
      rows,
      width / group,
      group,
      firstScale + (g << 6),
      scaleBytes,
      sums,
    );
  }
  for (let r: usize = 0; r < (<usize>rows) << 2; r += 16) {
    const y = v128.load(sums + r);
    v128.store(out + r, accumulate ? f32x4.add(v128.load(out + r), y) : y);
  }
}
