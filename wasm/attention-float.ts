// Attention over cached heads of bf16 or f32: scores, weighted sums of values, and one block of positions of them.
//
// bf16 lies in groups of 8 elements: i32 lane i holds element i in its low and i + 4 in its high half, so that a shift and
// a mask give elements 0..3 and 4..7.
import { queryAt, SCORES, seen, softmax, storeScores, together, touch } from './attention';
import { addValues, lower, upper } from './attention-values';
import { MASK_HIGH } from './simd';

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

/** Sums of neighbours: a0 + a1, a2 + a3, b0 + b1, b2 + b3. Twice over, it is sumF32() of four vectors. */
function pairs(a: v128, b: v128): v128 {
  return f32x4.add(i32x4.shuffle(a, b, 0, 2, 4, 6), i32x4.shuffle(a, b, 1, 3, 5, 7));
}

function sumsOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return pairs(pairs(a, b), pairs(c, d));
}

/** Puts `count` queries from m on side by side: f32[headDim / 8][count][4] of elements 0..3 of 8, then of 4..7. */
function gather(q: usize, stride: usize, m: i32, group: i32, headDim: i32, count: i32, to: usize): void {
  const headBytes = (<usize>headDim) << 2,
    step = (<usize>count) << 4,
    half = <usize>count * (headBytes >> 1);
  for (let i = 0; i < count; i++) {
    const x = queryAt(q, stride, m + i, group, headBytes);
    let dst = to + ((<usize>i) << 4);
    for (let j: usize = 0; j < headBytes; j += 32) {
      v128.store(dst, v128.load(x + j));
      v128.store(dst + half, v128.load(x + j, 16));
      dst += step;
    }
  }
}

/**
 * Scores of four gathered queries, two positions at a time: out[h][p] = q[h] . k[p] * scale. Each is eight partial sums of
 * every eighth element: the lower four in one loop, the upper four in another, so that no accumulator leaves its register.
 * @param ahead values of the same positions, to be touched, or 0
 */
function scores4<T>(q: usize, k: usize, n: i32, headDim: i32, scale: f32, ahead: usize, out: usize): void {
  const high = v128.load(MASK_HIGH),
    by = f32x4.splat(scale);
  const row = <usize>headDim * sizeof<T>();
  const middle = q + ((<usize>headDim) << 3),
    end = middle + ((<usize>headDim) << 3);
  let touched = 0;
  for (let p = 0; p < n; p += 2) {
    if (ahead) touched |= touch(ahead + <usize>p * row, ahead + <usize>min(p + 2, n) * row);
    const second = p + 1 < n ? k + row : k; // behind an odd last position nothing is read
    let a0 = f32x4.splat(0),
      a1 = a0,
      a2 = a0,
      a3 = a0,
      b0 = a0,
      b1 = a0,
      b2 = a0,
      b3 = a0;
    let x = k,
      y = second;
    for (let z = q; z < middle; z += 64) {
      const f = lower<T>(x),
        g = lower<T>(y);
      x += 8 * sizeof<T>();
      y += 8 * sizeof<T>();
      const q0 = v128.load(z),
        q1 = v128.load(z, 16),
        q2 = v128.load(z, 32),
        q3 = v128.load(z, 48);
      a0 = f32x4.add(a0, f32x4.mul(f, q0));
      b0 = f32x4.add(b0, f32x4.mul(g, q0));
      a1 = f32x4.add(a1, f32x4.mul(f, q1));
      b1 = f32x4.add(b1, f32x4.mul(g, q1));
      a2 = f32x4.add(a2, f32x4.mul(f, q2));
      b2 = f32x4.add(b2, f32x4.mul(g, q2));
      a3 = f32x4.add(a3, f32x4.mul(f, q3));
      b3 = f32x4.add(b3, f32x4.mul(g, q3));
    }
    let c0 = f32x4.splat(0),
      c1 = c0,
      c2 = c0,
      c3 = c0,
      d0 = c0,
      d1 = c0,
      d2 = c0,
      d3 = c0;
    x = k;
    y = second;
    for (let z = middle; z < end; z += 64) {
      const f = upper<T>(x, high),
        g = upper<T>(y, high);
      x += 8 * sizeof<T>();
      y += 8 * sizeof<T>();
      const q0 = v128.load(z),
        q1 = v128.load(z, 16),
        q2 = v128.load(z, 32),
        q3 = v128.load(z, 48);
      c0 = f32x4.add(c0, f32x4.mul(f, q0));
      d0 = f32x4.add(d0, f32x4.mul(g, q0));
      c1 = f32x4.add(c1, f32x4.mul(f, q1));
      d1 = f32x4.add(d1, f32x4.mul(g, q1));
      c2 = f32x4.add(c2, f32x4.mul(f, q2));
      d2 = f32x4.add(d2, f32x4.mul(g, q2));
      c3 = f32x4.add(c3, f32x4.mul(f, q3));
      d3 = f32x4.add(d3, f32x4.mul(g, q3));
    }
    const r = sumsOf(f32x4.add(a0, c0), f32x4.add(b0, d0), f32x4.add(a1, c1), f32x4.add(b1, d1)),
      s = sumsOf(f32x4.add(a2, c2), f32x4.add(b2, d2), f32x4.add(a3, c3), f32x4.add(b3, d3));
    storeScores(f32x4.mul(r, by), f32x4.mul(s, by), out);
    out += 8;
    k += row << 1;
  }
  store<i32>(q, touched); // the gathered queries have served
}

/** As scores4(), of one or two queries (the size of H), four positions at a time. */
function scores2<T, H>(q: usize, k: usize, n: i32, headDim: i32, scale: f32, ahead: usize, out: usize): void {
  const high = v128.load(MASK_HIGH),
    by = f32x4.splat(scale);
  const row = <usize>headDim * sizeof<T>();
  const step = sizeof<H>() << 4;
  const middle = q + <usize>(headDim >> 3) * step,
    end = middle + <usize>(headDim >> 3) * step;
  const last = k + <usize>(n - 1) * row;
  let touched = 0;
  for (let p = 0; p < n; p += 4) {
    if (ahead) touched |= touch(ahead + <usize>p * row, ahead + <usize>min(p + 4, n) * row);
    let x0 = k,
      x1 = min(x0 + row, last),
      x2 = min(x1 + row, last),
      x3 = min(x2 + row, last);
    k = x3 + row;
    const back = <usize>headDim * sizeof<T>();
    let a0 = f32x4.splat(0),
      a1 = a0,
      a2 = a0,
      a3 = a0,
      b0 = a0,
      b1 = a0,
      b2 = a0,
      b3 = a0;
    for (let z = q; z < middle; z += step) {
      const f = lower<T>(x0),
        g = lower<T>(x1),
        h = lower<T>(x2),
        i = lower<T>(x3);
      x0 += 8 * sizeof<T>();
      x1 += 8 * sizeof<T>();
      x2 += 8 * sizeof<T>();
      x3 += 8 * sizeof<T>();
      const q0 = v128.load(z);
      a0 = f32x4.add(a0, f32x4.mul(f, q0));
      a1 = f32x4.add(a1, f32x4.mul(g, q0));
      a2 = f32x4.add(a2, f32x4.mul(h, q0));
      a3 = f32x4.add(a3, f32x4.mul(i, q0));
      if (sizeof<H>() > 1) {
        const q1 = v128.load(z, 16);
        b0 = f32x4.add(b0, f32x4.mul(f, q1));
        b1 = f32x4.add(b1, f32x4.mul(g, q1));
        b2 = f32x4.add(b2, f32x4.mul(h, q1));
        b3 = f32x4.add(b3, f32x4.mul(i, q1));
      }
    }
    x0 -= back;
    x1 -= back;
    x2 -= back;
    x3 -= back;
    let c0 = f32x4.splat(0),
      c1 = c0,
      c2 = c0,
      c3 = c0,
      d0 = c0,
      d1 = c0,
      d2 = c0,
      d3 = c0;
    for (let z = middle; z < end; z += step) {
      const f = upper<T>(x0, high),
        g = upper<T>(x1, high),
        h = upper<T>(x2, high),
        i = upper<T>(x3, high);
      x0 += 8 * sizeof<T>();
      x1 += 8 * sizeof<T>();
      x2 += 8 * sizeof<T>();
      x3 += 8 * sizeof<T>();
      const q0 = v128.load(z);
      c0 = f32x4.add(c0, f32x4.mul(f, q0));
      c1 = f32x4.add(c1, f32x4.mul(g, q0));
      c2 = f32x4.add(c2, f32x4.mul(h, q0));
      c3 = f32x4.add(c3, f32x4.mul(i, q0));
      if (sizeof<H>() > 1) {
        const q1 = v128.load(z, 16);
        d0 = f32x4.add(d0, f32x4.mul(f, q1));
        d1 = f32x4.add(d1, f32x4.mul(g, q1));
        d2 = f32x4.add(d2, f32x4.mul(h, q1));
        d3 = f32x4.add(d3, f32x4.mul(i, q1));
      }
    }
    const r = sumsOf(f32x4.add(a0, c0), f32x4.add(a1, c1), f32x4.add(a2, c2), f32x4.add(a3, c3));
    v128.store(out, f32x4.mul(r, by));
    if (sizeof<H>() > 1) {
      const s = sumsOf(f32x4.add(b0, d0), f32x4.add(b1, d1), f32x4.add(b2, d2), f32x4.add(b3, d3));
      v128.store(out, f32x4.mul(s, by), SCORES);
    }
    out += 16;
  }
  store<i32>(q, touched);
}

function block<T>(
  q: usize,
  rowBytes: usize,
  rows: i32,
  group: i32,
  k: usize,
  v: usize,
  n: i32,
  headDim: i32,
  scale: f32,
  scratch: usize,
  out: usize,
  recordBytes: usize,
): void {
  const queries = rows * group;
  const headBytes = (<usize>headDim) << 2,
    gathered = scratch + <usize>queries * SCORES;
  for (let m = 0; m < queries; ) {
    const heads = together(queries - m),
      most = seen(n, m + heads - 1, group),
      to = scratch + <usize>m * SCORES;
    gather(q, rowBytes, m, group, headDim, heads, gathered);
    const ahead: usize = m == 0 ? v : 0; // the values come into the cache while the first scores are computed
    if (heads == 4) scores4<T>(gathered, k, most, headDim, scale, ahead, to);
    else if (heads == 2) scores2<T, u16>(gathered, k, most, headDim, scale, ahead, to);
    else scores2<T, u8>(gathered, k, most, headDim, scale, ahead, to);
    for (const end = m + heads; m < end; m++)
      softmax(scratch + <usize>m * SCORES, seen(n, m, group), most, queryAt(out, recordBytes, m, group, 8));
  }
  addValues<T>(v, n, queries, group, headDim, scratch, out, recordBytes);
}

/**
 * Consecutive rows of one sequence, the group of query heads that share a key/value head, and one block of at most 256
 * positions. The first row sees the block's first n positions, each further row one more, up to the end of the block.
 * @param q the first row's f32[group][headDim]; @param rowBytes from row to row
 * @param k, v bf16 or f32 [positions][headDim], the block's first position
 * @param scratch f32[rows * group][256], then f32[4][headDim]
 * @param out the first row's partial record: group * (f32 m, f32 l), padded to 16 bytes, then f32[group][headDim] of o;
 * @param recordBytes from row to row
 */
export function attentionBlock(
  q: usize,
  rowBytes: usize,
  rows: i32,
  group: i32,
  k: usize,
  v: usize,
  n: i32,
  headDim: i32,
  scale: f32,
  bf16: i32,
  scratch: usize,
  out: usize,
  recordBytes: usize,
): void {
  if (bf16) block<u16>(q, rowBytes, rows, group, k, v, n, headDim, scale, scratch, out, recordBytes);
  else block<f32>(q, rowBytes, rows, group, k, v, n, headDim, scale, scratch, out, recordBytes);
}
