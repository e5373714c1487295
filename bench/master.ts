import type { Part, Weights } from './families';
import { rowKey, tensorKey, word } from './random';

/**
 * Master weights of a ternary matrix: floats w with mean|w| = s (the matrix's multiplier) and round(w / s), clamped to
 * -1..1, the trits. Zeros are spread over ±0.49 s; the size of the others begins at 0.52 s and reaches as far as makes
 * the mean right, so values lie on both sides of the boundary at 0.5 s as trained weights do. How far is found by going
 * through the matrix once, at the first row asked for. Rounding to bf16 or f16 moves the mean by less than 5e-4.
 */
export function masterRows(weights: Weights, part: Part): (row: number, out: Float32Array) => void {
  const { rows, cols } = part;
  const key = tensorKey(0, `${part.hf}.master`);
  const wordAt = word; // see random-weights.ts
  const codes = new Uint8Array(cols);
  const places = new Uint16Array(cols);
  /** Fills `places` with 256 * code + a random byte, always the same one for an element. */
  const placeRow = (row: number) => {
    weights.codes(part, row, codes);
    const from = rowKey(key, row);
    let random = 0;
    for (let col = 0; col < cols; col++) {
      random = (col & 3) === 0 ? wordAt(from, col >>> 2) : random >>> 8;
      places[col] = (codes[col]! << 8) | (random & 255);
    }
  };
  const spread = (byte: number) => (0.49 * (byte - 127.5)) / 127.5;
  /** The weight of each place. */
  const findValues = (): Float32Array => {
    const counts = new Uint32Array(3 * 256);
    for (let row = 0; row < rows; row++) {
      placeRow(row);
      for (let col = 0; col < cols; col++) counts[places[col]!]!++;
    }
    let [zeros, others, bytes] = [0, 0, 0]; // sum of |w| / s of the zeros, number of the others and sum of their bytes
    for (const [place, count] of counts.entries()) {
      if (place >> 8 === 1) zeros += count * Math.abs(spread(place & 255));
      else {
        others += count;
        bytes += (count * (place & 255)) / 255;
      }
    }
    // A matrix of zeros has no scale: its master is all 0.
    if (bytes === 0) return new Float32Array(3 * 256);
    const reach = (rows * cols - zeros - 0.52 * others) / bytes;
    const scale = new Float32Array(1);
    weights.scales(part, 0, scale);
    const sizeOf = (byte: number) => 0.52 + (reach * byte) / 255;
    return Float32Array.from(counts, (_, place) => {
      const trit = (place >> 8) - 1;
      return scale[0]! * (trit === 0 ? spread(place & 255) : trit * sizeOf(place & 255));
    });
  };
  let values: Float32Array | undefined;
  return (row, out) => {
    values ??= findValues();
    const table = values;
    placeRow(row);
    for (let col = 0; col < cols; col++) out[col] = table[places[col]!]!;
  };
}
