/**
 * Sampling: one row of logits -> one token. Same settings, seed and logits give the same tokens on every machine:
 * the only function beyond + - * / is `exp`, which is passed in, and every sum has one order.
 */
import { SternaError } from '../errors';

export interface SamplerSettings {
  temperature: number; // 0 = greedy
  topK: number; // 0 = off
  topP: number; // 1 = off
  minP: number; // 0 = off
  repetitionPenalty: number; // 1 = off
  frequencyPenalty: number; // 0 = off
  presencePenalty: number; // 0 = off
  seed: number; // 0 to 2^53 - 1
}

/** Writes exp((logits[i] - max) * inverseTemperature) to `out` and returns the sum of these weights. */
export type ExpSum = (logits: Float32Array, max: number, inverseTemperature: number, out: Float32Array) => number;

export interface Sampler {
  /** The next token. May overwrite `logits` (penalties). Throws `bad-input` if none is left, `worker` if they are not finite. */
  sample(logits: Float32Array): number;
  /** Counts a token of the prompt or of the answer, for the penalties. */
  accept(token: number, fromPrompt: boolean): void;
}

/**
 * Uniform numbers in [0, 1) with 53 bits, two outputs each of the generator sfc32, which takes its 64-bit seed as
 * in PractRand (a = 0, b = low word, c = high word, counter = 1, 12 rounds thrown away).
 */
export function createRandom(seed: number): () => number {
  let a = 0;
  let b = seed | 0;
  let c = Math.floor(seed / 0x100000000) | 0;
  let counter = 1;
  const next = () => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let round = 0; round < 12; round++) next();
  return () => ((next() >>> 5) * 0x4000000 + (next() >>> 6)) / 0x20000000000000;
}

/** The tokens seen, and what they do to the logits. Formulas: Hugging Face (repetition), OpenAI (the other two). */
function createPenalties(settings: SamplerSettings, vocab: number) {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = settings;
  const seen: number[] = []; // each token once
  const known = new Uint8Array(vocab);
  const counts = new Uint32Array(vocab); // in the answer
  return {
    accept(token: number, fromPrompt: boolean) {
      if (!known[token]) seen.push(token);
      known[token] = 1;
      if (!fromPrompt) counts[token]!++;
    },
    apply(logits: Float32Array) {
      for (const token of seen) {
        const logit = logits[token]!;
        const repeated = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
        const count = counts[token]!;
        logits[token] = repeated - count * frequencyPenalty - (count > 0 ? presencePenalty : 0);
      }
    },
  };
}

/**
 * The id of the largest logit, the lowest of equals. Throws `bad-input` if all are -Infinity, `worker` if a logit is NaN or
 * the largest Infinity.
 */
function argmax(logits: Float32Array): number {
  let best = 0;
  let max = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit <= max) continue;
    max = logit;
    best = id;
    if (Number.isNaN(logit)) break;
  }
  if (max === -Infinity) throw new SternaError('bad-input', 'every token is forbidden, all logits are', { got: max });
  if (!Number.isFinite(max)) throw new SternaError('worker', 'logits are not finite', { got: max });
  return best;
}

/**
 * A weight's bucket is its exponent and 3 bits of its mantissa: its float32 bits without the last 20. The order of
 * non-negative floats is that of their bits.
 */
const BUCKET_SHIFT = 20;
const BUCKETS = 0x800;
/** A token's rank key is (INFINITY_BITS - weight bits) * ID_SPAN + id: the likeliest first, then the lower id. */
const INFINITY_BITS = 0x7f800000;
const ID_SPAN = 0x200000;
/** Weight bits of 2^-20: the likeliest tokens mostly lie above, so that the tail is read only once. */
const COMMON_BITS = 0x35800000;

/** How many of the largest logits settle every token that these settings can give; 0: all logits do. */
export function logitsThatMatter(settings: SamplerSettings): number {
  const { temperature, topK, repetitionPenalty, frequencyPenalty, presencePenalty } = settings;
  if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0) return 0;
  return temperature === 0 ? 1 : topK;
}

/** Room to sort candidates in; free between calls of `sample`, so samplers that take turns share it. */
export interface SamplerRoom {
  keys: Float64Array;
  ids: Uint32Array; // the candidates, ascending
}

/** The room for samplers of these settings. */
export function samplerRoom({ temperature, topK }: SamplerSettings, vocab: number): SamplerRoom {
  const length = temperature === 0 || topK === 1 ? 0 : vocab;
  return { keys: new Float64Array(length), ids: new Uint32Array(length) };
}

/**
 * A sampler for one sequence. The order: penalties, temperature, top-k, softmax, top-p, min-p (relative to the
 * largest logit's token), draw. "Most likely" means by weight as a float32; ties go to the lower id. Top-k 1 is greedy.
 * `vocab`, the length of a row of logits, is at most 2^21. `weights` is the room for `expSum` to write to (of `vocab`
 * elements, free between calls); a WASM kernel needs it in its own memory.
 */
export function createSampler(
  settings: SamplerSettings,
  vocab: number,
  expSum: ExpSum,
  weights?: Float32Array,
  { keys, ids }: SamplerRoom = samplerRoom(settings, vocab),
): Sampler {
  const { temperature, topK, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty } = settings;
  const greedy = temperature === 0 || topK === 1;
  const inverseTemperature = Math.min(1 / temperature, 1e6); // finite also in float32, whatever the temperature
  const penalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  const penalties = penalised ? createPenalties(settings, vocab) : undefined;
  const random = createRandom(settings.seed);

  const out = weights ?? new Float32Array(greedy ? 0 : vocab);
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  let found = 0; // candidates in `ids`
  const tokensIn = new Uint32Array(BUCKETS);
  const weightIn = new Float64Array(BUCKETS);

  /** Makes the tokens with at least these weight bits the candidates; returns their weight. */
  function collect(lowestBits: number): number {
    let weight = 0;
    found = 0;
    for (let id = 0; id < vocab; id++) {
      if (bits[id]! < lowestBits) continue;
      ids[found++] = id;
      weight += out[id]!;
    }
    return weight;
  }

  function fillBuckets(): void {
    tokensIn.fill(0);
    weightIn.fill(0);
    for (let i = 0; i < found; i++) {
      const id = ids[i]!;
      const bucket = bits[id]! >>> BUCKET_SHIFT;
      tokensIn[bucket]!++;
      weightIn[bucket]! += out[id]!;
    }
  }

  /** Takes the likeliest candidates until they are `count` or weigh `target`: the last one's key, and their weight. */
  function takeUntil(count: number, target: number): { last: number; weight: number } {
    let bucket = BUCKETS - 1;
    let tokens = 0;
    let weight = 0;
    for (; bucket > 0; bucket--) {
      if (tokensIn[bucket] === 0) continue;
      if (tokens + tokensIn[bucket]! >= count || weight + weightIn[bucket]! >= target) break;
      tokens += tokensIn[bucket]!;
      weight += weightIn[bucket]!;
    }
    if (bucket === 0) return { last: Infinity, weight }; // what is left weighs less than 1e-38 a token
    // Only the bucket that is taken in part has to be sorted.
    let length = 0;
    for (let i = 0; i < found; i++) {
      const id = ids[i]!;
      if (bits[id]! >>> BUCKET_SHIFT === bucket) keys[length++] = (INFINITY_BITS - bits[id]!) * ID_SPAN + id;
    }
    keys.subarray(0, length).sort();
    for (let i = 0; i < length; i++) {
      weight += out[keys[i]! % ID_SPAN]!;
      if (++tokens >= count || weight >= target) return { last: keys[i]!, weight };
    }
    return { last: keys[length - 1]!, weight }; // short of the target by a rounding error
  }

  function sample(logits: Float32Array): number {
    penalties?.apply(logits);
    const best = argmax(logits);
    if (greedy) return best;
    const sum = expSum(logits, logits[best]!, inverseTemperature, out);
    const limited = topK > 0 && topK < vocab;
    const truncated = limited || topP < 1;
    const weight = collect(truncated ? COMMON_BITS : 1);
    if (truncated && (limited ? found < topK : weight < topP * sum)) collect(1);

    let last = Infinity; // key of the last token kept
    let mass = sum;
    if (truncated) fillBuckets();
    if (limited) ({ last, weight: mass } = takeUntil(topK, Infinity));
    if (topP < 1) ({ last } = takeUntil(limited ? topK : Infinity, topP * mass));

    const lowest = minP * out[best]!;
    let count = 0;
    let total = 0;
    for (let i = 0; i < found; i++) {
      const id = ids[i]!;
      const weight = out[id]!;
      if (weight < lowest || (INFINITY_BITS - bits[id]!) * ID_SPAN + id > last) continue;
      ids[count++] = id;
      total += weight;
    }
    let left = random() * total;
    for (let i = 0; i < count; i++) {
      left -= out[ids[i]!]!;
      if (left < 0) return ids[i]!;
    }
    return best; // by a rounding error only
  }

  return { sample, accept: (token, fromPrompt) => penalties?.accept(token, fromPrompt) };
}
