// Screening of the int8 lm_head: from a plane of 4 bits an element an upper bound of every logit, so that only the few
// rows that can be among the best k are computed exactly (headInt8). For greedy and top-k.
// The bound and the plane: screen-plane.ts.
//
// Groups of 32 rows have a record: f32 largest bound; f32 largest estimate less two deviations, i32 row that has it; 0.
import { headInt8 } from './lmhead';
import { DEVIATIONS } from './screen-plane';
import { MASK_0F } from './simd';

export const GROUP: i32 = 32;
const RECORD: usize = 16; // bytes of a group's record

/** The sums of the lanes of four vectors. */
function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const x = i32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7)),
    y = i32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return i32x4.add(i64x2.shuffle(x, y, 0, 2), i64x2.shuffle(x, y, 1, 3));
}

/** Ends a group: bounds in place of the sums <code, b>, none for padding rows, and the record. */
export function putGroup(
  begin: i32,
  end: i32,
  vocab: i32,
  factors: usize,
  record: usize,
  out: usize,
  groups: usize,
): void {
  const scale = v128.load32_splat(record),
    error = v128.load32_splat(record, 4),
    offset = v128.load32_splat(record, 8);
  const none = f32x4.splat(-Infinity),
    rows = i32x4.splat(vocab),
    four = i32x4.splat(4),
    two = f32x4.splat(<f32>(2 / DEVIATIONS));
  let ids = i32x4.add(i32x4.splat(begin), i32x4(0, 1, 2, 3)),
    most = none,
    best = none,
    bestIds = ids;
  for (let at = out + ((<usize>begin) << 2), stop = out + ((<usize>end) << 2); at < stop; at += 16) {
    const d = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shl(v128.load(at), 1), offset)),
      e = f32x4.mul(v128.load(factors, 16), error),
      real = i32x4.lt_s(ids, rows);
    const estimate = f32x4.mul(d, f32x4.mul(v128.load(factors), scale)),
      bound = v128.bitselect(f32x4.add(estimate, e), none, real);
    const key = v128.bitselect(f32x4.sub(estimate, f32x4.mul(e, two)), none, real),
      better = f32x4.gt(key, best);
    v128.store(at, bound);
    most = f32x4.pmax(most, bound);
    best = v128.bitselect(key, best, better);
    bestIds = v128.bitselect(ids, bestIds, better);
    ids = i32x4.add(ids, four);
    factors += 32;
  }
  const at = groups + <usize>(begin / GROUP) * RECORD;
  const key = mostF32(best),
    firsts = v128.bitselect(bestIds, i32x4.splat(i32.MAX_VALUE), f32x4.eq(best, f32x4.splat(key)));
  store<f32>(at, mostF32(most));
  store<f32>(at, key, 4);
  const first = i32x4.min_s(firsts, i32x4.shuffle(firsts, firsts, 2, 3, 0, 1));
  store<i32>(at, min(i32x4.extract_lane(first, 0), i32x4.extract_lane(first, 1)), 8);
  store<i32>(at, 0, 12);
}

function mostF32(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}

/**
 * Upper bounds of rows rowBegin..rowEnd, and the records of their groups. For x86 without an 8-bit dot product
 * (i16x8.relaxed_dot, i16 sums), and for the baseline build (i32x4.dot_i16x8_s).
 * @param rowBegin multiple of 32; @param rowEnd likewise, or the multiple of 4 that ends the table
 * @param vocab rows that are no padding; @param n multiple of 256; @param out f32[], by row; @param groups records
 */
export function screenRows16(
  plane: usize,
  factors: usize,
  codes: usize,
  record: usize,
  rowBegin: i32,
  rowEnd: i32,
  vocab: i32,
  n: i32,
  out: usize,
  groups: usize,
): void {
  const mf = v128.load(MASK_0F);
  let w = plane + <usize>(rowBegin >> 2) * 2 * <usize>n;
  for (let begin = rowBegin; begin < rowEnd; begin += GROUP) {
    const end = min(begin + GROUP, rowEnd);
    for (let r = begin; r < end; r += 4) {
      let s0 = i32x4.splat(0),
        s1 = s0,
        s2 = s0,
        s3 = s0;
      if (ASC_FEATURE_RELAXED_SIMD) {
        let p = codes;
        const last = codes + <usize>n;
        do {
          // a lane gains at most 2 * 2 * 15 * 127 = 7620 in 32 elements: four times that fits i16
          const stop = p + 128;
          let t0 = i32x4.splat(0),
            t1 = t0,
            t2 = t0,
            t3 = t0;
          do {
            const a = v128.load(p),
              b = v128.load(p, 16);
            const w0 = v128.load(w),
              w1 = v128.load(w, 16),
              w2 = v128.load(w, 32),
              w3 = v128.load(w, 48);
            t0 = i16x8.add(t0, pair(a, b, w0, mf));
            t1 = i16x8.add(t1, pair(a, b, w1, mf));
            t2 = i16x8.add(t2, pair(a, b, w2, mf));
            t3 = i16x8.add(t3, pair(a, b, w3, mf));
            w += 64;
            p += 32;
          } while (p < stop);
          s0 = i32x4.add(s0, i32x4.extadd_pairwise_i16x8_s(t0));
          s1 = i32x4.add(s1, i32x4.extadd_pairwise_i16x8_s(t1));
          s2 = i32x4.add(s2, i32x4.extadd_pairwise_i16x8_s(t2));
          s3 = i32x4.add(s3, i32x4.extadd_pairwise_i16x8_s(t3));
        } while (p < last);
      } else {
        s0 = words(w, codes + n, n);
        s1 = words(w + 16, codes + n, n);
        s2 = words(w + 32, codes + n, n);
        s3 = words(w + 48, codes + n, n);
        w += (<usize>n) << 1;
      }
      v128.store(out + ((<usize>r) << 2), sums4(s0, s1, s2, s3));
    }
    putGroup(begin, end, vocab, factors + ((<usize>begin) << 3), record, out, groups);
  }
}

/** i16 sums of 32 elements. */
function pair(a: v128, b: v128, w: v128, mf: v128): v128 {
  return i16x8.add(
    i16x8.relaxed_dot_i8x16_i7x16_s(a, v128.and(w, mf)),
    i16x8.relaxed_dot_i8x16_i7x16_s(b, v128.and(i16x8.shr_u(w, 4), mf)),
  );
}

/** Baseline: one row, half-bytes of 16-bit words; three of four are used at 1, 16 and 256 times their value. */
function words(w: usize, a: usize, n: i32): v128 {
  const m0 = i16x8.splat(0x0f),
    m1 = i16x8.splat(0xf0),
    m2 = i16x8.splat(0xf00);
  let s = i32x4.splat(0),
    t = s,
    u = s,
    v = s;
  const end = a + ((<usize>n) << 1);
  do {
    const x = v128.load(w);
    s = i32x4.add(s, i32x4.dot_i16x8_s(v128.and(x, m0), v128.load(a)));
    t = i32x4.add(t, i32x4.dot_i16x8_s(v128.and(x, m1), v128.load(a, 16)));
    u = i32x4.add(u, i32x4.dot_i16x8_s(v128.and(x, m2), v128.load(a, 32)));
    v = i32x4.add(v, i32x4.dot_i16x8_s(i16x8.shr_u(x, 12), v128.load(a, 48)));
    w += 64;
    a += 64;
  } while (a < end);
  return i32x4.add(i32x4.add(s, v), i32x4.add(i32x4.shr_s(t, 4), i32x4.shr_s(u, 8)));
}

/** The same with the 8-bit dot product (i32x4.relaxed_dot), for CPUs that have one. Relaxed builds only. */
export function screenRows32(
  plane: usize,
  factors: usize,
  codes: usize,
  record: usize,
  rowBegin: i32,
  rowEnd: i32,
  vocab: i32,
  n: i32,
  out: usize,
  groups: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const mf = v128.load(MASK_0F);
    let w = plane + <usize>(rowBegin >> 2) * 2 * <usize>n;
    for (let begin = rowBegin; begin < rowEnd; begin += GROUP) {
      const end = min(begin + GROUP, rowEnd);
      for (let r = begin; r < end; r += 4) {
        let s0 = i32x4.splat(0),
          s1 = s0,
          s2 = s0,
          s3 = s0,
          t0 = s0,
          t1 = s0,
          t2 = s0,
          t3 = s0;
        let p = codes;
        const last = codes + <usize>n;
        do {
          const a = v128.load(p),
            b = v128.load(p, 16);
          const w0 = v128.load(w),
            w1 = v128.load(w, 16),
            w2 = v128.load(w, 32),
            w3 = v128.load(w, 48);
          s0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, v128.and(w0, mf), s0);
          t0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.and(i16x8.shr_u(w0, 4), mf), t0);
          s1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, v128.and(w1, mf), s1);
          t1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.and(i16x8.shr_u(w1, 4), mf), t1);
          s2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, v128.and(w2, mf), s2);
          t2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.and(i16x8.shr_u(w2, 4), mf), t2);
          s3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, v128.and(w3, mf), s3);
          t3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.and(i16x8.shr_u(w3, 4), mf), t3);
          w += 64;
          p += 32;
        } while (p < last);
        const sums = sums4(i32x4.add(s0, t0), i32x4.add(s1, t1), i32x4.add(s2, t2), i32x4.add(s3, t3));
        v128.store(out + ((<usize>r) << 2), sums);
      }
      putGroup(begin, end, vocab, factors + ((<usize>begin) << 3), record, out, groups);
    }
  } else unreachable();
}

/**
 * A logit that k rows reach: the least exact one of the rows that the records of k groups name, those with the largest
 * estimates (of equal ones the first), less `slack`. NaN if a logit is.
 * @param count groups, at least k; @param k at least 1; @param scratch f32[k] | i32[k] | f32[4]; the rest as headInt8()
 */
export function screenThreshold(
  groups: usize,
  count: i32,
  k: i32,
  slack: f32,
  table: usize,
  codes: usize,
  record: usize,
  scales: usize,
  sums: usize,
  padded: i32,
  scratch: usize,
): f32 {
  const rows = scratch + ((<usize>k) << 2),
    logits = rows + ((<usize>k) << 2);
  for (let i = 0; i < count; i++) {
    const at = groups + <usize>i * RECORD,
      key = load<f32>(at, 4);
    let place = min(i, k); // of those found so far; the k-th falls out
    while (place > 0 && key > load<f32>(scratch + ((<usize>place - 1) << 2))) place--;
    if (place == k) continue;
    const tail = (<usize>(min(i, k - 1) - place)) << 2,
      to = (<usize>place) << 2;
    memory.copy(scratch + to + 4, scratch + to, tail);
    memory.copy(rows + to + 4, rows + to, tail);
    store<f32>(scratch + to, key);
    store<i32>(rows + to, load<i32>(at, 8));
  }
  let least: f32 = Infinity;
  for (let i = 0; i < k; i++) {
    const row = load<i32>(rows + ((<usize>i) << 2)),
      tile = row & ~3;
    headInt8(table, codes, record, scales, sums, tile, tile + 4, padded, logits - ((<usize>tile) << 2));
    least = min(least, load<f32>(logits + ((<usize>(row & 3)) << 2)));
  }
  return least - slack;
}

/**
 * Turns the bounds of rows rowBegin..rowEnd into logits: exact ones for each four rows of which one reaches the
 * threshold, else -Infinity. A threshold of NaN is reached by all.
 * @param rowBegin multiple of 32; the rest as headInt8() and screenRows16()
 * @returns how many rows were computed
 */
export function screenPick(
  groups: usize,
  threshold: f32,
  table: usize,
  codes: usize,
  record: usize,
  scales: usize,
  sums: usize,
  rowBegin: i32,
  rowEnd: i32,
  padded: i32,
  out: usize,
): i32 {
  const least = f32x4.splat(threshold),
    none = f32x4.splat(-Infinity);
  let picked = 0;
  for (let begin = rowBegin; begin < rowEnd; begin += GROUP) {
    const end = min(begin + GROUP, rowEnd),
      below = load<f32>(groups + <usize>(begin / GROUP) * RECORD) < threshold;
    for (let r = begin; r < end; r += 4) {
      const at = out + ((<usize>r) << 2);
      if (below || v128.all_true<i32>(f32x4.lt(v128.load(at), least))) v128.store(at, none);
      else {
        headInt8(table, codes, record, scales, sums, r, r + 4, padded, out);
        picked += 4;
      }
    }
  }
  return picked;
}
