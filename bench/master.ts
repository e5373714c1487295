import type { Part, Weights } from './families';
import { rowKey, tensorKey, word } from './random';

/**
 * Master weights of a ternary matrix: floats w with mean|w| = s (the matrix's multiplier) and round(w / s), clamped to
 * -1..1, the trits. Zeros are spread over ±0.49 s; the size of the others begins at 0.52 s and reaches as far as makes
 * the mean right, so values lie on both sides of the boundary at 0.5 s as trained weights do. The mean is found by going
 * through the matrix once, at the first row asked for. Rounding to bf16 or f16 moves it by less than 5e-4.
 */
export function masterRows(weights: Weights, part: Part): (row: number, out: Float32Array) => void {
  const { rows, cols } = part;
  const key = tensorKey(0, `${part.hf}.master`);
  const codes = new Uint8Array(cols);
  /** Uniform in 0..255, the same for an element each time. */
  const noise = (random: number, col: number) => (random >>> (8 * (col & 3))) & 255;
  const zero = (byte: number) => (0.49 * (byte - 127.5)) / 127.5;
  const scale = new Float32Array(1);
  let reach: number | undefined;
  const findReach = (): number => {
    let [zeros, ones, bytes] = [0, 0, 0];
    for (let row = 0; row < rows; row++) {
      weights.codes(part, row, codes);
      const from = rowKey(key, row);
      let random = 0;
      for (let col = 0; col < cols; col++) {
        if ((col & 3) === 0) random = word(from, col >>> 2);
        const byte = noise(random, col);
        if (codes[col] === 1) zeros += Math.abs(zero(byte));
        else {
          ones++;
          bytes += byte / 255;
        }
      }
    }
    // A matrix of zeros has no scale: its master is all 0.
    return bytes === 0 ? 0 : (rows * cols - zeros - 0.52 * ones) / bytes;
  };
  return (row, out) => {
    if (reach === undefined) {
      weights.scales(part, 0, scale);
      reach = findReach();
    }
    const unit = reach === 0 ? 0 : scale[0]!;
    weights.codes(part, row, codes);
    const from = rowKey(key, row);
    let random = 0;
    for (let col = 0; col < cols; col++) {
      if ((col & 3) === 0) random = word(from, col >>> 2);
      const byte = noise(random, col);
      const code = codes[col]!;
      out[col] = unit * (code === 1 ? zero(byte) : (code - 1) * (0.52 + (reach * byte) / 255));
    }
  };
}
