// Multipliers on whole vectors: the embedding and logit scales of MiniCPM.

/** x = x * factor, f32[n], n multiple of 4. */
export function scale(x: usize, n: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (let i: usize = 0; i < (<usize>n) << 2; i += 16) v128.store(x + i, f32x4.mul(v128.load(x + i), f));
}
