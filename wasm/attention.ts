// Grouped-query attention of one row against one block of cached positions, and the combination of blocks.
//
// A sequence is cut into blocks of 256 positions at fixed places. Each block gives, for every query head of a group, the
// maximum m of its scores, l = sum exp(s - m) and o = sum exp(s - m) * v; blocks are combined in order. The result does
// not depend on who computed which block, nor on how many rows were computed together.
//
// Cached heads are bf16 or f32. bf16 in groups of 8 elements: i32 lane i holds element i in its low and i + 4 in its high
// half, so that a shift and a mask give elements 0..3 and 4..7.
import { MASK_HIGH, sumF32 } from './simd';
import { expPs } from './math';

export const BLOCK: i32 = 256; // positions
const SCORES: usize = 1024; // bytes of one head's scores, f32[BLOCK]
const SUB_BLOCK: i32 = 64; // positions whose values stay in the L1 cache while all elements pass over them

/** Round to nearest even to the upper half of each lane; the lower half is undefined. */
function toBf16(x: v128): v128 {
  return i32x4.add(x, i32x4.add(i32x4.splat(0x7fff), v128.and(i32x4.shr_u(x, 16), i32x4.splat(1))));
}

/** Stores one head of keys or values. x: f32[headDim], headDim multiple of 8; cache: bf16 or f32 [headDim]. */
export function storeHead(x: usize, headDim: i32, cache: usize, bf16: i32): void {
  if (!bf16) {
    memory.copy(cache, x, (<usize>headDim) << 2);
    return;
  }
  const high = v128.load(MASK_HIGH);
  for (let i = 0; i < headDim; i += 8) {
    v128.store(cache, v128.or(i32x4.shr_u(toBf16(v128.load(x)), 16), v128.and(toBf16(v128.load(x, 16)), high)));
    x += 32;
    cache += 16;
  }
}

/** The 8 elements at k, as two vectors of f32: elements 0..3. T is u16 for bf16, f32 for f32. */
function lower<T>(k: usize): v128 {
  if (sizeof<T>() == 2) return i32x4.shl(v128.load(k), 16);
  return v128.load(k);
}

/** Elements 4..7. */
function upper<T>(k: usize, high: v128): v128 {
  if (sizeof<T>() == 2) return v128.and(v128.load(k), high);
  return v128.load(k, 16);
}

/**
 * Scores of 1, 2 or 4 query heads (the size of H), which share the loads of the keys:
 * out[h][p] = q[h] . k[p] * scale. The arithmetic of a head is the same in all three.
 */
function scores<T, H>(q: usize, k: usize, n: i32, headDim: i32, scale: f32, out: usize): void {
  const high = v128.load(MASK_HIGH);
  const stride = (<usize>headDim) << 2;
  const q1 = q + stride,
    q2 = q1 + stride,
    q3 = q2 + stride;
  for (let p = 0; p < n; p++) {
    let s0 = f32x4.splat(0),
      s1 = s0,
      s2 = s0,
      s3 = s0,
      t0 = s0,
      t1 = s0,
      t2 = s0,
      t3 = s0;
    for (let i: usize = 0; i < stride; i += 32) {
      const x = lower<T>(k),
        y = upper<T>(k, high);
      k += 8 * sizeof<T>();
      s0 = f32x4.add(s0, f32x4.mul(x, v128.load(q + i)));
      t0 = f32x4.add(t0, f32x4.mul(y, v128.load(q + i, 16)));
      if (sizeof<H>() > 1) {
        s1 = f32x4.add(s1, f32x4.mul(x, v128.load(q1 + i)));
        t1 = f32x4.add(t1, f32x4.mul(y, v128.load(q1 + i, 16)));
      }
      if (sizeof<H>() > 2) {
        s2 = f32x4.add(s2, f32x4.mul(x, v128.load(q2 + i)));
        t2 = f32x4.add(t2, f32x4.mul(y, v128.load(q2 + i, 16)));
        s3 = f32x4.add(s3, f32x4.mul(x, v128.load(q3 + i)));
        t3 = f32x4.add(t3, f32x4.mul(y, v128.load(q3 + i, 16)));
      }
    }
    store<f32>(out, sumF32(f32x4.add(s0, t0)) * scale);
    if (sizeof<H>() > 1) store<f32>(out, sumF32(f32x4.add(s1, t1)) * scale, SCORES);
    if (sizeof<H>() > 2) {
      store<f32>(out, sumF32(f32x4.add(s2, t2)) * scale, SCORES * 2);
      store<f32>(out, sumF32(f32x4.add(s3, t3)) * scale, SCORES * 3);
    }
    out += 4;
  }
}

/**
 * Adds n positions of values to the sums of 1, 2 or 4 heads (the size of H): out[h] += p[h][j] * v[j], in the order of
 * positions.
 */
function values<T, H>(p: usize, v: usize, n: i32, headDim: i32, out: usize): void {
  const high = v128.load(MASK_HIGH);
  const stride = (<usize>headDim) << 2,
    row = <usize>headDim * sizeof<T>();
  const end = p + ((<usize>n) << 2);
  for (let i: usize = 0; i < stride; i += 32) {
    const o0 = out + i,
      o1 = o0 + stride,
      o2 = o1 + stride,
      o3 = o2 + stride;
    let s0 = v128.load(o0),
      t0 = v128.load(o0, 16),
      s1 = s0,
      t1 = s0,
      s2 = s0,
      t2 = s0,
      s3 = s0,
      t3 = s0;
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
    let k = v + (sizeof<T>() == 2 ? i >> 1 : i);
    for (let j = p; j < end; j += 4) {
      const x = lower<T>(k),
        y = upper<T>(k, high);
      k += row;
      const a0 = v128.load32_splat(j);
      s0 = f32x4.add(s0, f32x4.mul(x, a0));
      t0 = f32x4.add(t0, f32x4.mul(y, a0));
      if (sizeof<H>() > 1) {
        const a1 = v128.load32_splat(j, SCORES);
        s1 = f32x4.add(s1, f32x4.mul(x, a1));
        t1 = f32x4.add(t1, f32x4.mul(y, a1));
      }
      if (sizeof<H>() > 2) {
        const a2 = v128.load32_splat(j, SCORES * 2),
          a3 = v128.load32_splat(j, SCORES * 3);
        s2 = f32x4.add(s2, f32x4.mul(x, a2));
        t2 = f32x4.add(t2, f32x4.mul(y, a2));
        s3 = f32x4.add(s3, f32x4.mul(x, a3));
        t3 = f32x4.add(t3, f32x4.mul(y, a3));
      }
    }
    v128.store(o0, s0);
    v128.store(o0, t0, 16);
    if (sizeof<H>() > 1) {
      v128.store(o1, s1);
      v128.store(o1, t1, 16);
    }
    if (sizeof<H>() > 2) {
      v128.store(o2, s2);
      v128.store(o2, t2, 16);
      v128.store(o3, s3);
      v128.store(o3, t3, 16);
    }
  }
}

/** Scores to weights exp(s - m), in place; writes m and l to the partial record. Pads to a multiple of 4 with 0. */
function softmax(scores: usize, n: i32, partial: usize): void {
  for (let j = n; j & 3; j++) store<f32>(scores + ((<usize>j) << 2), -Infinity);
  const end = scores + ((<usize>((n + 3) & ~3)) << 2);
  let most = v128.load(scores);
  for (let p = scores + 16; p < end; p += 16) most = f32x4.max(most, v128.load(p));
  const m = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  const shift = f32x4.splat(m);
  let sum = f32x4.splat(0);
  for (let p = scores; p < end; p += 16) {
    const e = expPs(f32x4.sub(v128.load(p), shift));
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  store<f32>(partial, m);
  store<f32>(partial, sumF32(sum), 4);
}

/** How many of `left` query heads go together. */
function together(left: i32): i32 {
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

function partial<T>(
  q: usize,
  k: usize,
  v: usize,
  n: i32,
  group: i32,
  headDim: i32,
  scale: f32,
  scratch: usize,
  out: usize,
): void {
  const headBytes = (<usize>headDim) << 2;
  for (let h = 0; h < group; h += together(group - h)) {
    const qh = q + <usize>h * headBytes,
      to = scratch + <usize>h * SCORES;
    const heads = together(group - h);
    if (heads == 4) scores<T, u32>(qh, k, n, headDim, scale, to);
    else if (heads == 2) scores<T, u16>(qh, k, n, headDim, scale, to);
    else scores<T, u8>(qh, k, n, headDim, scale, to);
  }
  for (let h = 0; h < group; h++) softmax(scratch + <usize>h * SCORES, n, out + <usize>h * 8);

  const sums = out + <usize>group * 8 + ((<usize>(group & 1)) << 3);
  memory.fill(sums, 0, <usize>group * headBytes);
  for (let first = 0; first < n; first += SUB_BLOCK) {
    const count = min(SUB_BLOCK, n - first);
    const vs = v + <usize>first * <usize>headDim * sizeof<T>();
    for (let h = 0; h < group; h += together(group - h)) {
      const ps = scratch + <usize>h * SCORES + ((<usize>first) << 2),
        to = sums + <usize>h * headBytes;
      const heads = together(group - h);
      if (heads == 4) values<T, u32>(ps, vs, count, headDim, to);
      else if (heads == 2) values<T, u16>(ps, vs, count, headDim, to);
      else values<T, u8>(ps, vs, count, headDim, to);
    }
  }
}

/**
 * One row, one group of query heads that share a key/value head, one block of at most 256 positions.
 * @param q f32[group][headDim]; @param k, v bf16 or f32 [n][headDim], the block's first position
 * @param scores scratch f32[group][256]; @param out partial record: group * (f32 m, f32 l), padded to 16 bytes, then
 * f32[group][headDim] of o
 */
export function attentionBlock(
  q: usize,
  k: usize,
  v: usize,
  n: i32,
  group: i32,
  headDim: i32,
  scale: f32,
  bf16: i32,
  scores: usize,
  out: usize,
): void {
  if (bf16) partial<u16>(q, k, v, n, group, headDim, scale, scores, out);
  else partial<f32>(q, k, v, n, group, headDim, scale, scores, out);
}

/**
 * Combines the partial records of `blocks` blocks, `stride` bytes apart, in order. out: f32[group][headDim].
 */
export function attentionCombine(
  partials: usize,
  blocks: i32,
  stride: i32,
  group: i32,
  headDim: i32,
  out: usize,
): void {
  const headBytes = (<usize>headDim) << 2;
  const sums = partials + <usize>group * 8 + ((<usize>(group & 1)) << 3);
  for (let h: usize = 0; h < <usize>group; h++) {
    let m: f32 = load<f32>(partials + h * 8);
    for (let b = 1; b < blocks; b++) m = max(m, load<f32>(partials + h * 8 + <usize>b * <usize>stride));
    const dst = out + h * headBytes;
    let l: f32 = 0;
    for (let b = 0; b < blocks; b++) {
      const at = <usize>b * <usize>stride;
      const weight = f32x4.extract_lane(expPs(f32x4.splat(load<f32>(partials + h * 8 + at) - m)), 0);
      l += weight * load<f32>(partials + h * 8 + at, 4);
      const w = f32x4.splat(weight),
        src = sums + h * headBytes + at;
      for (let i: usize = 0; i < headBytes; i += 16) {
        const x = f32x4.mul(v128.load(src + i), w);
        v128.store(dst + i, b == 0 ? x : f32x4.add(v128.load(dst + i), x));
      }
    }
    const inverse = f32x4.splat(<f32>1 / l);
    for (let i: usize = 0; i < headBytes; i += 16) v128.store(dst + i, f32x4.mul(v128.load(dst + i), inverse));
  }
}
