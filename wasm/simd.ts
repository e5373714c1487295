// Constants that kernels load from linear memory, and horizontal sums.
// V8 rebuilds a v128.const at each use (three instructions inside the hot loop); a loaded mask stays in a register.
// The module may hold no data segment, so one thread writes the table once with writeConstants().

export const CONSTANTS: usize = 64; // v128[8], bytes 64..191 of the memory
export const MASK_03: usize = CONSTANTS; // 0x03 in each byte
export const MASK_0C: usize = CONSTANTS + 16; // 0x0c in each byte
export const MASK_0F: usize = CONSTANTS + 32; // 0x0f in each byte
export const MASK_HIGH: usize = CONSTANTS + 48; // 0xffff0000 in each i32: the upper bf16 of a pair
export const LUT_COEFFICIENTS: usize = CONSTANTS + 64; // i16[4][8]: trit 0 of table entries 0..7, 8..15; trit 1 likewise

/** Fills the constant table. Call once per memory, before any other kernel. */
export function writeConstants(): void {
  v128.store(MASK_03, i8x16.splat(0x03));
  v128.store(MASK_0C, i8x16.splat(0x0c));
  v128.store(MASK_0F, i8x16.splat(0x0f));
  v128.store(MASK_HIGH, i32x4.splat(<i32>0xffff0000));
  for (let entry = 0; entry < 16; entry++) {
    store<i16>(LUT_COEFFICIENTS + entry * 2, <i16>((entry & 3) - 1));
    store<i16>(LUT_COEFFICIENTS + 32 + entry * 2, <i16>((entry >> 2) - 1));
  }
}

/** Sum of the four lanes of an i32x4. */
export function sumI32(a: v128): i32 {
  return i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3);
}

/** i32 sums s + those of the pairs of i16 sums. */
export function widened(s: v128, sums: v128): v128 {
  return i32x4.add(s, i32x4.extadd_pairwise_i16x8_s(sums));
}

/** Sum of the four lanes of an f32x4, in the one order used everywhere: (0 + 1) + (2 + 3). */
export function sumF32(a: v128): f32 {
  return f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3));
}
