// Grouped-query attention of consecutive rows of one sequence: what all kinds of cache share.
//
// A sequence is cut into blocks of 256 positions at fixed places. Each block gives, for every query head of a group, the
// maximum m of its scores, l = sum exp(s - m) and o = sum exp(s - m) * v; blocks are combined in order. The result does
// not depend on who computed which block, nor on how many rows were computed together.
//
// The heads of a group in all rows are one list of queries, row after row; up to four of them share each key and value
// that is loaded.
import { expPs } from './math';
import { sumF32 } from './simd';

export const BLOCK: i32 = 256; // positions
export const SCORES: usize = 1024; // bytes of one query's scores, f32[BLOCK]

/** Where something of query m lies: rows are `rowBytes` apart, in each of them `group` heads of `headBytes`. */
export function queryAt(at: usize, rowBytes: usize, m: i32, group: i32, headBytes: usize): usize {
  const row = m / group;
  return at + <usize>row * rowBytes + <usize>(m - row * group) * headBytes;
}

/** Positions of the block that query m sees, where the first row sees n. */
export function seen(n: i32, m: i32, group: i32): i32 {
  return min(n + m / group, BLOCK);
}

/** How many of `left` queries go together. */
export function together(left: i32): i32 {
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/** The sums o of a partial record. */
export function sumsAt(record: usize, group: i32): usize {
  return record + <usize>((group + 1) & ~1) * 8;
}

/**
 * Reads a word of each cache line, so that the lines are there when they are needed: memory is read while the sums of
 * other lines are computed. What it returns must be stored somewhere, or nothing is read.
 */
export function touch(begin: usize, end: usize): i32 {
  let all = 0;
  for (let at = begin; at < end; at += 64) all |= load<i32>(at);
  return all;
}

/** Stores the scores of four queries at two positions: of queries 0 and 1 (r), 2 and 3 (s). */
export function storeScores(r: v128, s: v128, out: usize): void {
  v128.store64_lane(out, r, 0);
  v128.store64_lane(out, r, 1, SCORES);
  v128.store64_lane(out, s, 0, SCORES * 2);
  v128.store64_lane(out, s, 1, SCORES * 3);
}

/**
 * Scores f32[n] to weights exp(s - m), in place, and m and l to the partial record. Weights up to the multiple of 4 behind
 * `end` are 0: other queries see those positions.
 */
export function softmax(scores: usize, n: i32, end: i32, record: usize): void {
  const whole = (n + 3) & ~3;
  for (let j = n; j < whole; j++) store<f32>(scores + ((<usize>j) << 2), -Infinity);
  const stop = scores + ((<usize>whole) << 2);
  // f32x4.max takes seven instructions for the sake of NaN; pmax takes one
  let most = v128.load(scores),
    nan = f32x4.ne(most, most);
  for (let p = scores + 16; p < stop; p += 16) {
    const s = v128.load(p);
    most = f32x4.pmax(most, s);
    nan = v128.or(nan, f32x4.ne(s, s));
  }
  let m = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  if (v128.any_true(nan)) m = NaN;
  const shift = f32x4.splat(m);
  let sum = f32x4.splat(0);
  for (let p = scores; p < stop; p += 16) {
    const e = expPs(f32x4.sub(v128.load(p), shift));
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  store<f32>(record, m);
  store<f32>(record, sumF32(sum), 4);
  for (let j = whole; j < end; j += 4) v128.store(scores + ((<usize>j) << 2), f32x4.splat(0));
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
  const sums = sumsAt(partials, group);
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
