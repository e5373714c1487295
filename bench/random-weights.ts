import { type ModelShape, modelOf, type Part, type Weights } from './families';
import { bf16Number } from './float-bits';
import { rowKey, tensorKey, word } from './random';

/** Odds of the codes 0, 1, 2 in 200: 39 % zeros, as in trained models. */
const odds = [61, 78, 61];

/** Four codes, a byte each, for a random byte: the 81 combinations, each about as often as its odds say. */
const quads = Uint32Array.from({ length: 256 }, (_, byte) => {
  let place = ((2 * byte + 1) * 200 ** 4) / 512; // a point of [0, 200^4), which the combinations share out
  let codes = 0;
  for (let i = 0, width = 200 ** 4; i < 4; i++) {
    let code = 0;
    for (; place >= (width / 200) * odds[code]!; code++) place -= (width / 200) * odds[code]!;
    width = (width / 200) * odds[code]!;
    codes |= code << (8 * i);
  }
  return codes;
});

/** Levels that a sum of four random bytes chooses from: about normal, bfloat16 numbers. */
function levelsOf(mean: number, deviation: number): Float32Array {
  const unit = Math.sqrt((4 * (256 ** 2 - 1)) / 12); // deviation of the sum of four bytes
  return Float32Array.from({ length: 4 * 255 + 1 }, (_, sum) => bf16Number(mean + (deviation * (sum - 510)) / unit));
}

/** What does not change from row to row. */
interface Tensor {
  key: number;
  levels: Float32Array; // gain, table
  scales: Float32Array; // linear: f32[256], bfloat16 numbers; without groups the first is the matrix's
}

/**
 * Random weights of the given sizes: each row follows from seed, tensor name and row alone. Scales are such that an
 * input of unit size gives an output of about unit size, and logits deviate by 2.5: else every softmax would be one-hot.
 */
export function randomWeights(shape: ModelShape, seed = 1): Weights {
  const model = modelOf(shape);
  const { group, hidden } = model;
  const tensors = new Map<string, Tensor>();
  const wordAt = word; // development servers turn imported names into getters, which halve the speed of these loops
  const tensorOf = (part: Part): Tensor => {
    const found = tensors.get(part.hf);
    if (found) return found;
    const key = tensorKey(seed, part.hf);
    const levels = part.kind === 'gain' ? levelsOf(1, 0.12) : levelsOf(0, 2.5 / Math.sqrt(hidden));
    const isTable = part.hf === 'model.embed_tokens' || part.hf === 'lm_head';
    const unit = (isTable ? 2.5 : 1) / Math.sqrt(0.61 * part.cols);
    const scales = Float32Array.from({ length: 256 }, (_, i) => bf16Number(unit * (0.8 + (0.4 * i) / 255)));
    const made = { key, levels, scales };
    tensors.set(part.hf, made);
    return made;
  };
  let wide = new Uint32Array(0);
  return {
    model,
    codes(part, row, out) {
      const key = rowKey(tensorOf(part).key, row);
      const words = Math.ceil(part.cols / 16);
      if (wide.length < 4 * words) wide = new Uint32Array(4 * words);
      const codes = wide;
      for (let i = 0; i < words; i++) {
        const random = wordAt(key, i);
        codes[4 * i] = quads[random & 255]!;
        codes[4 * i + 1] = quads[(random >>> 8) & 255]!;
        codes[4 * i + 2] = quads[(random >>> 16) & 255]!;
        codes[4 * i + 3] = quads[random >>> 24]!;
      }
      out.set(new Uint8Array(codes.buffer, 0, part.cols));
    },
    scales(part, row, out) {
      const { key, scales } = tensorOf(part);
      const from = rowKey(~key, group === 0 ? 0 : row);
      for (let i = 0; i < out.length; i++) out[i] = scales[word(from, i) & 255]!;
    },
    floats(part, row, out) {
      const { key, levels } = tensorOf(part);
      const from = rowKey(key, row);
      for (let i = 0; i < part.cols; i++) {
        const random = wordAt(from, i);
        out[i] = levels[(random & 255) + ((random >>> 8) & 255) + ((random >>> 16) & 255) + (random >>> 24)]!;
      }
    },
  };
}
