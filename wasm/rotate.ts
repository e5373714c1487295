// A fixed rotation of vectors, for the screening plane of the lm_head (screen.ts): it spreads every coordinate over all
// of them, so that the rounding errors of a rotated row and of rotated activations look independent whatever outliers
// either of them has. Rows and activations take the same rotation, so dot products stay, times ROTATION_GAIN.
//
// Three rounds of random signs and a Hadamard transform (sums and differences): two leave structure between vectors of
// few elements, three do not (Andoni et al. 2015, Practical and Optimal LSH for Angular Distance). Rounds 1 and 3 work on
// blocks of 64 neighbouring vectors of four floats, round 2 on blocks of 64 vectors a stride apart; between them the four
// lanes of each vector are mixed. Nothing is normalised; rounding in f32 is some 1e-6 of the vector's norm.

/** <Rx, Ry> / <x, y>: 64 a round, and twice 4. */
export const ROTATION_GAIN: i32 = 1 << 22;

/** A sign for each index: the finaliser of MurmurHash3 (Appleby, public domain), its lowest bit as 0 or -1. */
function signOf(index: u32): i16 {
  let h = (index + 1) * 0x9e3779b1;
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return -(<i16>((h ^ (h >> 16)) & 1));
}

/** Writes the signs of the rounds: i16[3][n], 0 or -1. */
export function rotationSigns(signs: usize, n: i32): void {
  for (let i = 0; i < 3 * n; i++) store<i16>(signs + ((<usize>i) << 1), signOf(i));
}

/** Eight numbers with the signs of the first round, as floats. */
export function putSigned(x: v128, signs: usize, out: usize): void {
  const mask = v128.load(signs),
    y = i16x8.sub(v128.xor(x, mask), mask);
  v128.store(out, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(y)));
  v128.store(out, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(y)), 16);
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
  const a1 = f32x4.add(a, b),
    b1 = f32x4.sub(a, b),
    c1 = f32x4.add(c, d),
    d1 = f32x4.sub(c, d);
  const e1 = f32x4.add(e, f),
    f1 = f32x4.sub(e, f),
    g1 = f32x4.add(g, h),
    h1 = f32x4.sub(g, h);
  a = f32x4.add(a1, c1);
  b = f32x4.add(b1, d1);
  c = f32x4.sub(a1, c1);
  d = f32x4.sub(b1, d1);
  e = f32x4.add(e1, g1);
  f = f32x4.add(f1, h1);
  g = f32x4.sub(e1, g1);
  h = f32x4.sub(f1, h1);
  v128.store(p, f32x4.add(a, e));
  v128.store(p1, f32x4.add(b, f));
  v128.store(p2, f32x4.add(c, g));
  v128.store(p3, f32x4.add(d, h));
  v128.store(p4, f32x4.sub(a, e));
  v128.store(p5, f32x4.sub(b, f));
  v128.store(p6, f32x4.sub(c, g));
  v128.store(p7, f32x4.sub(d, h));
}

/**
 * Between two rounds: each 16 numbers get the signs of the next round, then the four lanes of each vector are transformed,
 * which is done on their transpose, and stays transposed.
 */
function mixLanes(x: usize, bytes: usize, signs: usize): void {
  for (const end = x + bytes; x < end; x += 64) {
    const a = v128.xor(v128.load(x), i32x4.shl(v128.load16x4_s(signs), 31)),
      b = v128.xor(v128.load(x, 16), i32x4.shl(v128.load16x4_s(signs, 8), 31)),
      c = v128.xor(v128.load(x, 32), i32x4.shl(v128.load16x4_s(signs, 16), 31)),
      d = v128.xor(v128.load(x, 48), i32x4.shl(v128.load16x4_s(signs, 24), 31));
    const ab = i32x4.shuffle(a, b, 0, 4, 1, 5),
      cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
    const ef = i32x4.shuffle(a, b, 2, 6, 3, 7),
      gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
    const x0 = i64x2.shuffle(ab, cd, 0, 2),
      x1 = i64x2.shuffle(ab, cd, 1, 3),
      x2 = i64x2.shuffle(ef, gh, 0, 2),
      x3 = i64x2.shuffle(ef, gh, 1, 3);
    const s = f32x4.add(x0, x1),
      t = f32x4.sub(x0, x1),
      u = f32x4.add(x2, x3),
      v = f32x4.sub(x2, x3);
    v128.store(x, f32x4.add(s, u));
    v128.store(x, f32x4.add(t, v), 16);
    v128.store(x, f32x4.sub(s, u), 32);
    v128.store(x, f32x4.sub(t, v), 48);
    signs += 32;
  }
}

/** Blocks of 64 neighbouring vectors. */
function nearBlocks(x: usize, bytes: usize): void {
  for (const end = x + bytes; x < end; x += 1024) {
    for (let g: usize = 0; g < 1024; g += 128) butterfly(x + g, 16);
    for (let g: usize = 0; g < 128; g += 16) butterfly(x + g, 128);
  }
}

/**
 * Rotates in place what putSigned() has put there.
 * @param x f32[n], n multiple of 256; @param signs of rotationSigns()
 */
export function rotate(x: usize, n: i32, signs: usize): void {
  const bytes = (<usize>n) << 2,
    ofRound = (<usize>n) << 1;
  nearBlocks(x, bytes);
  mixLanes(x, bytes, signs + ofRound);
  const stride = bytes >> 6; // between the vectors of a block: one from each 64th part
  for (let block: usize = 0; block < stride; block += 16) {
    for (let g: usize = 0; g < 8; g++) butterfly(x + block + g * 8 * stride, stride);
    for (let g: usize = 0; g < 8; g++) butterfly(x + block + g * stride, 8 * stride);
  }
  mixLanes(x, bytes, signs + 2 * ofRound);
  nearBlocks(x, bytes);
}
