// Gates of the feed-forward block: out = act(gate) * up. All f32[n], n multiple of 4; out may be gate.
import { expPs } from './math';

/** ReLU squared: max(g, 0)^2 * u. */
export function gateRelu2(gate: usize, up: usize, out: usize, n: i32): void {
  const zero = f32x4.splat(0);
  for (let i: usize = 0; i < (<usize>n) << 2; i += 16) {
    const r = f32x4.max(v128.load(gate + i), zero);
    v128.store(out + i, f32x4.mul(f32x4.mul(r, r), v128.load(up + i)));
  }
}

/** SiLU: g / (1 + exp(-g)) * u. */
export function gateSilu(gate: usize, up: usize, out: usize, n: i32): void {
  const one = f32x4.splat(1);
  for (let i: usize = 0; i < (<usize>n) << 2; i += 16) {
    const g = v128.load(gate + i);
    const s = f32x4.div(g, f32x4.add(one, expPs(f32x4.neg(g))));
    v128.store(out + i, f32x4.mul(s, v128.load(up + i)));
  }
}
