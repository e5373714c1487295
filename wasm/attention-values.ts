// The weighted sums of values, for every kind of cache: T is u16 for bf16, f32, or i8.
//
// Values are taken in turns: a position with its weight, f32; of an int8 cache a pair of positions with a pair of i16 codes,
// which i32x4.dot_i16x8_s multiplies and adds. Either way a turn is one row of values and four bytes of weights.
import { queryAt, SCORES, seen, sumsAt, together } from './attention';
import { MASK_HIGH } from './simd';

/** Turns whose values stay in the L1 cache while all elements pass over them. */
const SUB_BLOCK: i32 = 64;

/** How many turns n positions are. */
function turnsOf<T>(n: i32): i32 {
  return sizeof<T>() == 1 ? (n + 1) >> 1 : n;
}

/** Bytes of the values of a turn. */
function rowBytes<T>(headDim: i32): usize {
  const width: usize = sizeof<T>() == 4 ? 4 : 2;
  return <usize>headDim * width;
}

/** The first half of what lies at k, of 8 elements: as f32 elements 0..3; of int8 elements 0..3 of two positions, as i16. */
export function lower<T>(k: usize): v128 {
  if (sizeof<T>() == 1) return v128.load8x8_s(k);
  if (sizeof<T>() == 2) return i32x4.shl(v128.load(k), 16);
  return v128.load(k);
}

/** Elements 4..7. @param high MASK_HIGH */
export function upper<T>(k: usize, high: v128): v128 {
  if (sizeof<T>() == 1) return v128.load8x8_s(k, 8);
  if (sizeof<T>() == 2) return v128.and(v128.load(k), high);
  return v128.load(k, 16);
}

/** s + values x times weights a. */
function plus<T>(s: v128, x: v128, a: v128): v128 {
  if (sizeof<T>() == 1) return i32x4.add(s, i32x4.dot_i16x8_s(x, a));
  return f32x4.add(s, f32x4.mul(x, a));
}

/**
 * Adds `count` turns to the sums of 1, 2 or 4 queries (the size of H), in the order of positions. Sums begin at 0 where
 * `first` is not 0.
 */
function values<T, H>(
  p: usize,
  v: usize,
  count: i32,
  headDim: i32,
  first: i32,
  o0: usize,
  o1: usize,
  o2: usize,
  o3: usize,
): void {
  const high = v128.load(MASK_HIGH);
  const stride = (<usize>headDim) << 2,
    row = rowBytes<T>(headDim);
  const end = p + ((<usize>count) << 2);
  for (let i: usize = 0; i < stride; i += 32) {
    let s0 = i32x4.splat(0),
      t0 = s0,
      s1 = s0,
      t1 = s0,
      s2 = s0,
      t2 = s0,
      s3 = s0,
      t3 = s0;
    if (!first) {
      s0 = v128.load(o0);
      t0 = v128.load(o0, 16);
      if (sizeof<H>() > 1) {
        s1 = v128.load(o1);
        t1 = v128.load(o1, 16);
      }
      if (sizeof<H>() > 2) {
        s2 = v128.load(o2);
        t2 = v128.load(o2, 16);
        s3 = v128.load(o3);
        t3 = v128.load(o3, 16);
      }
    }
    let k = v + (sizeof<T>() == 4 ? i : i >> 1);
    for (let j = p; j < end; j += 4) {
      const x = lower<T>(k),
        y = upper<T>(k, high);
      k += row;
      const a0 = v128.load32_splat(j);
      s0 = plus<T>(s0, x, a0);
      t0 = plus<T>(t0, y, a0);
      if (sizeof<H>() > 1) {
        const a1 = v128.load32_splat(j, SCORES);
        s1 = plus<T>(s1, x, a1);
        t1 = plus<T>(t1, y, a1);
      }
      if (sizeof<H>() > 2) {
        const a2 = v128.load32_splat(j, SCORES * 2),
          a3 = v128.load32_splat(j, SCORES * 3);
        s2 = plus<T>(s2, x, a2);
        t2 = plus<T>(t2, y, a2);
        s3 = plus<T>(s3, x, a3);
        t3 = plus<T>(t3, y, a3);
      }
    }
    v128.store(o0, s0);
    v128.store(o0, t0, 16);
    o0 += 32;
    if (sizeof<H>() > 1) {
      v128.store(o1, s1);
      v128.store(o1, t1, 16);
      o1 += 32;
    }
    if (sizeof<H>() > 2) {
      v128.store(o2, s2);
      v128.store(o2, t2, 16);
      v128.store(o3, s3);
      v128.store(o3, t3, 16);
      o2 += 32;
      o3 += 32;
    }
  }
}

/**
 * Adds up the values of a block for every query: o[m] = sum of p[m][j] * v[j], f32 or, of int8, exact integers.
 * @param n positions that the first row sees; @param scratch weights of the queries, SCORES bytes apart
 * @param out, recordBytes as in attentionBlock()
 */
export function addValues<T>(
  v: usize,
  n: i32,
  queries: i32,
  group: i32,
  headDim: i32,
  scratch: usize,
  out: usize,
  recordBytes: usize,
): void {
  const headBytes = (<usize>headDim) << 2,
    sums = sumsAt(out, group);
  const last = turnsOf<T>(seen(n, queries - 1, group));
  for (let first = 0; first < last; first += SUB_BLOCK) {
    const vs = v + <usize>first * rowBytes<T>(headDim),
      start = first == 0 ? 1 : 0;
    for (let m = 0, heads = 0; m < queries; m += heads) {
      heads = together(queries - m);
      const count = min(SUB_BLOCK, turnsOf<T>(seen(n, m + heads - 1, group)) - first);
      if (count <= 0) continue;
      const ps = scratch + <usize>m * SCORES + ((<usize>first) << 2);
      const o0 = queryAt(sums, recordBytes, m, group, headBytes);
      if (heads == 1) {
        values<T, u8>(ps, vs, count, headDim, start, o0, 0, 0, 0);
        continue;
      }
      const o1 = queryAt(sums, recordBytes, m + 1, group, headBytes);
      if (heads == 2) {
        values<T, u16>(ps, vs, count, headDim, start, o0, o1, 0, 0);
        continue;
      }
      const o2 = queryAt(sums, recordBytes, m + 2, group, headBytes),
        o3 = queryAt(sums, recordBytes, m + 3, group, headBytes);
      values<T, u32>(ps, vs, count, headDim, start, o0, o1, o2, o3);
    }
  }
}
