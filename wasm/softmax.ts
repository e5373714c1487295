// What the sampler and the NLL need of one row of logits. Sums are f64, in the order of pairs of lanes.
import { exp, expPs, log } from './math';

/** Sum of exp((x - most) * scale) over f32[n]; writes the terms to out where out is not 0. n multiple of 4. */
export function expSum(x: usize, n: i32, most: f32, scale: f32, out: usize): f64 {
  const shift = f32x4.splat(most),
    factor = f32x4.splat(scale);
  let low = f64x2.splat(0),
    high = f64x2.splat(0);
  for (let i: usize = 0; i < (<usize>n) << 2; i += 16) {
    const e = expPs(f32x4.mul(f32x4.sub(v128.load(x + i), shift), factor));
    if (out) v128.store(out + i, e);
    low = f64x2.add(low, f64x2.promote_low_f32x4(e));
    high = f64x2.add(high, f64x2.promote_low_f32x4(i32x4.shuffle(e, e, 2, 3, 2, 3)));
  }
  const sum = f64x2.add(low, high);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/** Negative log likelihood of `target` under the softmax of f32[n], in nats. n multiple of 4. */
export function nll(x: usize, n: i32, target: i32): f64 {
  let most = v128.load(x);
  for (let i: usize = 16; i < (<usize>n) << 2; i += 16) most = f32x4.max(most, v128.load(x + i));
  const m = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  return log(expSum(x, n, m, 1, 0)) + <f64>m - <f64>load<f32>(x + ((<usize>target) << 2));
}
