// A fixed rotation of integer vectors, for the screening plane of the lm_head (screen.ts): it spreads every coordinate
// over all of them, so that the rounding errors of a rotated row and a rotated activation look independent whatever
// outliers either of them has. Rows and activations take the same rotation, so dot products stay, times ROTATION_GAIN.
//
// It is a randomised Hadamard transform (signs, then sums and differences; Ailon and Chazelle 2006) in two stages with
// signs of their own: blocks of 64 neighbouring vectors of four, then blocks of 64 vectors a stride apart and the four
// lanes of each. Nothing is normalised, hence all is exact in i32: |x| grows 16384 times at most, and <Rx, Ry> is
// 16384 <x, y>.

/** <Rx, Ry> / <x, y>: 64 of the first stage, 64 * 4 of the second. */
export const ROTATION_GAIN: i32 = 16384;

/** A sign for each index: the finaliser of MurmurHash3 (Appleby, public domain), its lowest bit as 0 or -1. */
function signOf(index: u32): i16 {
  let h = (index + 1) * 0x9e3779b1;
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return -(<i16>((h ^ (h >> 16)) & 1));
}

/** Writes the signs of both stages: i16[2][n], 0 or -1. */
export function rotationSigns(signs: usize, n: i32): void {
  for (let i = 0; i < 2 * n; i++) store<i16>(signs + ((<usize>i) << 1), signOf(i));
}

/** x where the mask is 0, -x where it is -1. */
export function flip16(x: v128, mask: v128): v128 {
  return i16x8.sub(v128.xor(x, mask), mask);
}

function flip32(x: v128, mask: v128): v128 {
  return i32x4.sub(v128.xor(x, mask), mask);
}

/** Three levels of the transform: sums and differences of eight vectors, `step` bytes apart. */
function butterfly(p: usize, step: usize): void {
  const p1 = p + step,
    p2 = p1 + step,
    p3 = p2 + step,
    p4 = p3 + step,
    p5 = p4 + step,
    p6 = p5 + step,
    p7 = p6 + step;
  let a = v128.load(p),
    b = v128.load(p1),
    c = v128.load(p2),
    d = v128.load(p3),
    e = v128.load(p4),
    f = v128.load(p5),
    g = v128.load(p6),
    h = v128.load(p7);
  const a1 = i32x4.add(a, b),
    b1 = i32x4.sub(a, b),
    c1 = i32x4.add(c, d),
    d1 = i32x4.sub(c, d);
  const e1 = i32x4.add(e, f),
    f1 = i32x4.sub(e, f),
    g1 = i32x4.add(g, h),
    h1 = i32x4.sub(g, h);
  a = i32x4.add(a1, c1);
  b = i32x4.add(b1, d1);
  c = i32x4.sub(a1, c1);
  d = i32x4.sub(b1, d1);
  e = i32x4.add(e1, g1);
  f = i32x4.add(f1, h1);
  g = i32x4.sub(e1, g1);
  h = i32x4.sub(f1, h1);
  v128.store(p, i32x4.add(a, e));
  v128.store(p1, i32x4.add(b, f));
  v128.store(p2, i32x4.add(c, g));
  v128.store(p3, i32x4.add(d, h));
  v128.store(p4, i32x4.sub(a, e));
  v128.store(p5, i32x4.sub(b, f));
  v128.store(p6, i32x4.sub(c, g));
  v128.store(p7, i32x4.sub(d, h));
}

/** The lanes of four vectors one behind the other: transposed, then summed and subtracted. The order is as good as any. */
function mixLanes(p: usize, signs: usize): void {
  const a = flip32(v128.load(p), v128.load16x4_s(signs)),
    b = flip32(v128.load(p, 16), v128.load16x4_s(signs, 8)),
    c = flip32(v128.load(p, 32), v128.load16x4_s(signs, 16)),
    d = flip32(v128.load(p, 48), v128.load16x4_s(signs, 24));
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5),
    cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const ef = i32x4.shuffle(a, b, 2, 6, 3, 7),
    gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
  const x0 = i64x2.shuffle(ab, cd, 0, 2),
    x1 = i64x2.shuffle(ab, cd, 1, 3),
    x2 = i64x2.shuffle(ef, gh, 0, 2),
    x3 = i64x2.shuffle(ef, gh, 1, 3);
  const s = i32x4.add(x0, x1),
    t = i32x4.sub(x0, x1),
    u = i32x4.add(x2, x3),
    v = i32x4.sub(x2, x3);
  v128.store(p, i32x4.add(s, u));
  v128.store(p, i32x4.add(t, v), 16);
  v128.store(p, i32x4.sub(s, u), 32);
  v128.store(p, i32x4.sub(t, v), 48);
}

/**
 * Rotates in place. The signs of the first stage are already applied (flip16).
 * @param x i32[n], |x| < 2^17; n multiple of 256; @param signs of rotationSigns()
 */
export function rotate(x: usize, n: i32, signs: usize): void {
  const bytes = (<usize>n) << 2;
  for (let block: usize = 0; block < bytes; block += 1024) {
    for (let g: usize = 0; g < 1024; g += 128) butterfly(x + block + g, 16);
    for (let g: usize = 0; g < 128; g += 16) butterfly(x + block + g, 128);
  }
  signs += (<usize>n) << 1;
  for (let at: usize = 0; at < bytes; at += 64) mixLanes(x + at, signs + (at >> 1));
  const stride = bytes >> 6; // between the vectors of a block: one from each 64th part
  for (let block: usize = 0; block < stride; block += 16) {
    for (let g: usize = 0; g < 8; g++) butterfly(x + block + g * 8 * stride, stride);
    for (let g: usize = 0; g < 8; g++) butterfly(x + block + g * stride, 8 * stride);
  }
}
