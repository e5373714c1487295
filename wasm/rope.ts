// Rotary position embedding, rotate-half (NeoX) pairing: element i pairs with i + d / 2; angle = position * frequency i.
import { cos, sin } from './math';

/**
 * Tables of one position: f32 cos[d / 2] and sin[d / 2] times `multiplier`, padded to a multiple of 4 with cos 1 and sin 0.
 * Rounded as HF transformers does: the angle, cos and sin, and the product are float32.
 * @param headDim true size of a head, even; @param frequencies f32[d / 2], radians a position (src/model/rope.ts)
 */
export function ropeTables(
  position: i32,
  headDim: i32,
  frequencies: usize,
  multiplier: f32,
  cosines: usize,
  sines: usize,
): void {
  const half = headDim >> 1;
  for (let i = 0; i < half; i++) {
    const at = (<usize>i) << 2;
    const angle = <f64>(<f32>position * load<f32>(frequencies + at));
    store<f32>(cosines + at, <f32>cos(angle) * multiplier);
    store<f32>(sines + at, <f32>sin(angle) * multiplier);
  }
  for (let i = half; i & 3; i++) {
    store<f32>(cosines + ((<usize>i) << 2), 1);
    store<f32>(sines + ((<usize>i) << 2), 0);
  }
}

/** Rotates one head. x, out: f32[headDim], out may be x; headDim multiple of 8, padding of both halves included. */
export function rope(x: usize, headDim: i32, cosines: usize, sines: usize, out: usize): void {
  const half = (<usize>headDim) << 1; // bytes
  for (let i: usize = 0; i < half; i += 16) {
    const a = v128.load(x + i),
      b = v128.load(x + half + i);
    const c = v128.load(cosines + i),
      s = v128.load(sines + i);
    v128.store(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
}
