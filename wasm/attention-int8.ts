// Attention over cached heads of int8, one float32 scale to a position and head: code = round(x * 127 / max|x|).
//
// All products and sums are exact integers. A query has 15-bit codes, so q . k fits an i32 for heads of up to 1024
// elements: 16383 * 127 * 1024 < 2^31. The weights of a block, times the scales of its values, become 16-bit codes with
// one scale, so the sums over a block fit too: 256 * 32767 * 127 < 2^31.
//
// Keys lie as i8[positions][headDim]. Values lie in pairs of positions, i8[positions / 2][headDim][2], so that
// i32x4.dot_i16x8_s, which adds neighbours, adds two positions.
import { queryAt, SCORES, seen, softmax, storeScores, sumsAt, together, touch } from './attention';
import { addValues } from './attention-values';

const QUERY_MOST: f32 = 16383;
const WEIGHT_MOST: f32 = 32767;

/** Largest magnitude of f32[n], n multiple of 8; 0 where nothing is above 1e-30. */
function absmax(x: usize, n: i32): f32 {
  let most = f32x4.splat(0);
  for (const end = x + ((<usize>n) << 2); x < end; x += 16) most = f32x4.max(most, f32x4.abs(v128.load(x)));
  return largest(most);
}

/** The largest lane; 0 where nothing is above 1e-30. */
function largest(most: v128): f32 {
  const m = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  return m < 1e-30 ? 0 : m;
}

/** round(x * c) of eight f32, as i16. */
function codesOf(x: v128, y: v128, c: v128): v128 {
  return i16x8.narrow_i32x4_s(
    i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, c))),
    i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(y, c))),
  );
}

/** Stores a head of keys. x: f32[headDim], headDim multiple of 8; cache: i8[headDim]; scale: f32 out, max|x| / 127. */
export function storeKeyInt8(x: usize, headDim: i32, cache: usize, scale: usize): void {
  const most = absmax(x, headDim);
  const c = f32x4.splat(most == 0 ? 0 : <f32>127 / most);
  store<f32>(scale, most / <f32>127);
  for (let i = 0; i < headDim; i += 8) {
    const codes = codesOf(v128.load(x), v128.load(x, 16), c);
    v128.store64_lane(cache, i8x16.narrow_i16x8_s(codes, codes), 0);
    x += 32;
    cache += 8;
  }
}

/**
 * Stores a head of values, byte by byte, since its neighbours belong to another position.
 * @param cache the position's first byte in its pair: the pair's place, plus 1 for the second position
 */
export function storeValueInt8(x: usize, headDim: i32, cache: usize, scale: usize): void {
  const most = absmax(x, headDim);
  const c = f32x4.splat(most == 0 ? 0 : <f32>127 / most);
  store<f32>(scale, most / <f32>127);
  for (let i = 0; i < headDim; i += 8) {
    const codes = codesOf(v128.load(x), v128.load(x, 16), c);
    v128.store8_lane(cache, codes, 0);
    v128.store8_lane(cache, codes, 2, 2);
    v128.store8_lane(cache, codes, 4, 4);
    v128.store8_lane(cache, codes, 6, 6);
    v128.store8_lane(cache, codes, 8, 8);
    v128.store8_lane(cache, codes, 10, 10);
    v128.store8_lane(cache, codes, 12, 12);
    v128.store8_lane(cache, codes, 14, 14);
    x += 32;
    cache += 16;
  }
}

/** A query head f32[headDim], in place, to i16[headDim] codes round(x * 16383 / max|x|) and then f32 max|x| / 16383. */
export function quantiseQuery(x: usize, headDim: i32): void {
  const most = absmax(x, headDim);
  const c = f32x4.splat(most == 0 ? 0 : QUERY_MOST / most);
  let to = x;
  for (let i = 0; i < headDim; i += 8) {
    v128.store(to, codesOf(v128.load(x), v128.load(x, 16), c));
    x += 32;
    to += 16;
  }
  store<f32>(to, most / QUERY_MOST);
}

/** Puts `count` queries from m on side by side: i16[headDim / 8][count][8], then f32[count], their scales times `scale`. */
function gather(q: usize, rowBytes: usize, m: i32, group: i32, headDim: i32, count: i32, scale: f32, to: usize): void {
  const codeBytes = (<usize>headDim) << 1,
    step = (<usize>count) << 4;
  for (let i: usize = 0; i < <usize>count; i++) {
    const x = queryAt(q, rowBytes, m + <i32>i, group, codeBytes << 1);
    let dst = to + (i << 4);
    for (let j: usize = 0; j < codeBytes; j += 16) {
      v128.store(dst, v128.load(x + j));
      dst += step;
    }
    store<f32>(to + <usize>count * codeBytes + (i << 2), load<f32>(x + codeBytes) * scale);
  }
}

/** Sums of neighbours: a0 + a1, a2 + a3, b0 + b1, b2 + b3. */
function pairs(a: v128, b: v128): v128 {
  return i32x4.add(i32x4.shuffle(a, b, 0, 2, 4, 6), i32x4.shuffle(a, b, 1, 3, 5, 7));
}

/** The sums of four vectors, as f32. */
function sumsOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.convert_i32x4_s(pairs(pairs(a, b), pairs(c, d)));
}

/**
 * Scores of four gathered queries, two positions at a time: out[h][p] = q[h] . k[p], times the scales of both.
 * @param ahead values of the same positions, to be touched, or 0
 */
function scores4(q: usize, k: usize, scales: usize, n: i32, headDim: i32, ahead: usize, out: usize): void {
  const end = q + ((<usize>headDim) << 3);
  const by = v128.load(end);
  const by01 = i32x4.shuffle(by, by, 0, 0, 1, 1),
    by23 = i32x4.shuffle(by, by, 2, 2, 3, 3);
  let touched = 0;
  for (let p = 0; p < n; p += 2) {
    if (ahead) touched |= touch(ahead + <usize>p * <usize>headDim, ahead + <usize>min(p + 2, n) * <usize>headDim);
    let y = p + 1 < n ? k + <usize>headDim : k; // behind an odd last position nothing is read
    let a0 = i32x4.splat(0),
      a1 = a0,
      a2 = a0,
      a3 = a0,
      b0 = a0,
      b1 = a0,
      b2 = a0,
      b3 = a0;
    for (let z = q; z < end; z += 64) {
      const f = v128.load8x8_s(k),
        g = v128.load8x8_s(y);
      k += 8;
      y += 8;
      const q0 = v128.load(z),
        q1 = v128.load(z, 16),
        q2 = v128.load(z, 32),
        q3 = v128.load(z, 48);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(f, q0));
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(g, q0));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(f, q1));
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(g, q1));
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(f, q2));
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(g, q2));
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(f, q3));
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(g, q3));
    }
    k = y;
    const s = v128.load64_splat(scales); // a scale behind the last position counts for nothing: softmax() overwrites
    storeScores(
      f32x4.mul(sumsOf(a0, b0, a1, b1), f32x4.mul(s, by01)),
      f32x4.mul(sumsOf(a2, b2, a3, b3), f32x4.mul(s, by23)),
      out,
    );
    scales += 8;
    out += 8;
  }
  store<i32>(q, touched); // the gathered queries have served
}

/** As scores4(), of one or two queries (the size of H), four positions at a time. */
function scores2<H>(q: usize, k: usize, scales: usize, n: i32, headDim: i32, ahead: usize, out: usize): void {
  const row = <usize>headDim,
    step = sizeof<H>() << 4;
  const end = q + <usize>(headDim >> 3) * step;
  const by0 = v128.load32_splat(end),
    by1 = v128.load32_splat(end, 4);
  const last = k + <usize>(n - 1) * row;
  let touched = 0;
  for (let p = 0; p < n; p += 4) {
    if (ahead) touched |= touch(ahead + <usize>p * row, ahead + <usize>min(p + 4, n) * row);
    let x0 = k,
      x1 = min(x0 + row, last),
      x2 = min(x1 + row, last),
      x3 = min(x2 + row, last);
    let a0 = i32x4.splat(0),
      a1 = a0,
      a2 = a0,
      a3 = a0,
      b0 = a0,
      b1 = a0,
      b2 = a0,
      b3 = a0;
    for (let z = q; z < end; z += step) {
      const f = v128.load8x8_s(x0),
        g = v128.load8x8_s(x1),
        h = v128.load8x8_s(x2),
        i = v128.load8x8_s(x3);
      x0 += 8;
      x1 += 8;
      x2 += 8;
      x3 += 8;
      const q0 = v128.load(z);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(f, q0));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(g, q0));
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(h, q0));
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(i, q0));
      if (sizeof<H>() > 1) {
        const q1 = v128.load(z, 16);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(f, q1));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(g, q1));
        b2 = i32x4.add(b2, i32x4.dot_i16x8_s(h, q1));
        b3 = i32x4.add(b3, i32x4.dot_i16x8_s(i, q1));
      }
    }
    k = x3;
    const s = v128.load(scales);
    v128.store(out, f32x4.mul(sumsOf(a0, a1, a2, a3), f32x4.mul(s, by0)));
    if (sizeof<H>() > 1) v128.store(out, f32x4.mul(sumsOf(b0, b1, b2, b3), f32x4.mul(s, by1)), SCORES);
    scales += 16;
    out += 16;
  }
  store<i32>(q, touched);
}

/**
 * Weights f32[n] times the scales of the values, in place to i16 codes, n rounded up to 8 (weights behind n are 0).
 * Returns what a code is worth.
 */
function quantiseWeights(weights: usize, scales: usize, n: i32): f32 {
  const end = weights + ((<usize>((n + 7) & ~7)) << 2);
  const zero = f32x4.splat(0);
  let most = zero;
  for (let p = weights; p < end; p += 16) {
    const w = v128.load(p);
    // where the weight is 0, the scale may be anything: there may be no value yet
    const product = v128.and(f32x4.mul(w, v128.load(scales)), f32x4.gt(w, zero));
    v128.store(p, product);
    most = f32x4.max(most, product);
    scales += 16;
  }
  const m = largest(most);
  const c = f32x4.splat(m == 0 ? 0 : WEIGHT_MOST / m);
  let to = weights;
  for (let p = weights; p < end; p += 32) {
    v128.store(to, codesOf(v128.load(p), v128.load(p, 16), c));
    to += 16;
  }
  return m / WEIGHT_MOST;
}

/** Integer sums i32[headDim] to f32, times `by`, in place. */
function scaleSums(o: usize, headDim: i32, by: f32): void {
  const scale = f32x4.splat(by);
  for (const end = o + ((<usize>headDim) << 2); o < end; o += 16)
    v128.store(o, f32x4.mul(f32x4.convert_i32x4_s(v128.load(o)), scale));
}

/**
 * attentionBlock() of attention-float.ts for an int8 cache.
 * @param q of the first row: quantiseQuery() heads, headDim * 4 bytes apart
 * @param k i8[positions][headDim]; @param v i8[positions / 2][headDim][2], the block's first position
 * @param keyScales, valueScales f32[positions], of the same; read up to the multiple of 8 behind the last position
 * @param scratch f32[rows * group][256], then f32[4][headDim], then f32[rows * group]
 */
export function attentionBlockInt8(
  q: usize,
  rowBytes: usize,
  rows: i32,
  group: i32,
  k: usize,
  keyScales: usize,
  v: usize,
  valueScales: usize,
  n: i32,
  headDim: i32,
  scale: f32,
  scratch: usize,
  out: usize,
  recordBytes: usize,
): void {
  const queries = rows * group;
  const headBytes = (<usize>headDim) << 2,
    gathered = scratch + <usize>queries * SCORES,
    worths = gathered + headBytes * 4;
  for (let m = 0; m < queries; ) {
    const heads = together(queries - m),
      most = seen(n, m + heads - 1, group),
      to = scratch + <usize>m * SCORES;
    gather(q, rowBytes, m, group, headDim, heads, scale, gathered);
    const ahead: usize = m == 0 ? v : 0; // the values come into the cache while the first scores are computed
    if (heads == 4) scores4(gathered, k, keyScales, most, headDim, ahead, to);
    else if (heads == 2) scores2<u16>(gathered, k, keyScales, most, headDim, ahead, to);
    else scores2<u8>(gathered, k, keyScales, most, headDim, ahead, to);
    for (const end = m + heads; m < end; m++) {
      const weights = scratch + <usize>m * SCORES;
      softmax(weights, seen(n, m, group), (most + 7) & ~7, queryAt(out, recordBytes, m, group, 8));
      store<f32>(worths + ((<usize>m) << 2), quantiseWeights(weights, valueScales, most));
    }
  }
  addValues<i8>(v, n, queries, group, headDim, scratch, out, recordBytes);
  const sums = sumsAt(out, group);
  for (let m = 0; m < queries; m++)
    scaleSums(queryAt(sums, recordBytes, m, group, headBytes), headDim, load<f32>(worths + ((<usize>m) << 2)));
}
