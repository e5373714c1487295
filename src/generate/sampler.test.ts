import { describe, expect, it } from 'vitest';
import { createRandom, createSampler, type ExpSum, logitsThatMatter, type SamplerSettings } from './sampler';

const off: SamplerSettings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: 1,
};

const expSum: ExpSum = (logits, max, inverseTemperature, out) => {
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    out[i] = Math.exp((logits[i]! - max) * inverseTemperature);
    sum += out[i]!;
  }
  return sum;
};

/** Roughly normal logits; `steps` > 0 rounds them, for many ties. */
function randomLogits(random: () => number, vocab: number, spread: number, steps = 0): Float32Array {
  return Float32Array.from({ length: vocab }, () => {
    const x = spread * (random() + random() + random() + random() - 2);
    return steps > 0 ? Math.round(x * steps) / steps : x;
  });
}

/** The tokens that the definition keeps, by id, with their weights: plain, with a full sort. */
function oracle(logits: Float32Array, { temperature, topK, topP, minP }: SamplerSettings) {
  const max = logits.reduce((a, b) => Math.max(a, b));
  const weights = new Float32Array(logits.length);
  const all = expSum(logits, max, 1 / temperature, weights);
  let kept = [...weights.entries()].filter(([, weight]) => weight > 0).sort(([i, a], [j, b]) => b - a || i - j);
  if (topK > 0) kept = kept.slice(0, topK);
  const total = (list: [number, number][]) => list.reduce((sum, [, weight]) => sum + weight, 0);
  if (topP < 1) {
    const target = topP * (topK > 0 && topK < logits.length ? total(kept) : all);
    let before = 0;
    const lengthBefore = kept.findIndex(([, weight]) => {
      before += weight;
      return before >= target;
    });
    if (lengthBefore >= 0) kept = kept.slice(0, lengthBefore + 1);
  }
  kept = kept.filter(([, weight]) => weight >= minP).sort(([i], [j]) => i - j);
  return { kept, total: total(kept) };
}

/** The oracle's token for a uniform number. */
function draw({ kept, total }: ReturnType<typeof oracle>, uniform: number): number {
  let left = uniform * total;
  for (const [id, weight] of kept) {
    left -= weight;
    if (left < 0) return id;
  }
  return kept[0]![0];
}

describe('createRandom', () => {
  // From an independent sfc32 in Python, seeded as in PractRand.
  it.each([
    [0, [0.31748144353787644, 0.18830282972553158, 0.22070574447598978]],
    [1, [0.4684900748426659, 0.39758921723365603, 0.47181193818790734]],
    [42, [0.29439390788555, 0.9125655762203799, 0.15283040785296254]],
    [2 ** 32, [0.3026299993065692, 0.6766943651720783, 0.4325985006957407]],
    [Number.MAX_SAFE_INTEGER, [0.7609843358837698, 0.760523885805499, 0.44309726632753477]],
  ])('gives the sequence of sfc32 for seed %d', (seed, expected) => {
    const random = createRandom(seed);
    expect(expected.map(() => random())).toEqual(expected);
  });

  it('is uniform', () => {
    const random = createRandom(3);
    const bins = new Array<number>(100).fill(0);
    for (let i = 0; i < 100_000; i++) bins[Math.floor(random() * 100)]!++;
    const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquare).toBeGreaterThan(60); // 99 degrees of freedom: 60 to 150 but for one in 1000
    expect(chiSquare).toBeLessThan(150);
  });
});

describe('the sampler', () => {
  it('takes the largest logit at temperature 0 or top-k 1, the lower id of equals', () => {
    const logits = Float32Array.from([-1, 3, 2, 3, -0, 0]);
    const unused: ExpSum = () => {
      throw new Error('greedy needs no exp');
    };
    expect(createSampler({ ...off, temperature: 0 }, 6, unused).sample(logits)).toBe(1);
    expect(createSampler({ ...off, topK: 1 }, 6, unused).sample(logits)).toBe(1);
    expect(createSampler({ ...off, temperature: 0 }, 2, unused).sample(Float32Array.from([-0, 0]))).toBe(0);
  });

  const cases: Partial<SamplerSettings>[] = [];
  for (const temperature of [0.05, 0.8, 100]) {
    for (const topK of [0, 2, 5, 40, 400, 5000]) {
      for (const topP of [0, 0.1, 0.5, 0.9, 0.999, 1]) {
        for (const minP of [0, 0.02, 0.5, 1]) {
          cases.push({ temperature, topK, topP, minP });
        }
      }
    }
  }

  it.each([
    ['wide', 8, 0],
    ['narrow', 0.5, 0],
    ['tied', 4, 2],
    ['equal', 0, 0],
  ])(`draws as the full sort does: %s logits, ${cases.length} settings`, (_, spread, steps) => {
    const random = createRandom(11);
    const vocab = 400;
    let distinct = 0;
    for (const [i, change] of cases.entries()) {
      const settings = { ...off, ...change, seed: i };
      const sampler = createSampler(settings, vocab, expSum);
      const uniform = createRandom(i);
      const seen = new Set<number>();
      for (let round = 0; round < 3; round++) {
        const logits = randomLogits(random, vocab, spread, steps);
        if (round === 1) logits.fill(-Infinity, 10, 300);
        const expected = draw(oracle(logits, settings), uniform());
        expect(sampler.sample(logits), JSON.stringify({ ...settings, round })).toBe(expected);
        seen.add(expected);
      }
      distinct += seen.size;
    }
    expect(distinct).toBeGreaterThan(cases.length * 1.5);
  });

  it('draws as the full sort does with the vocabulary of Llama 3', () => {
    const random = createRandom(12);
    const vocab = 128_256;
    for (const change of [{ topP: 0.9, temperature: 0.6 }, { topK: 40 }, { minP: 0.05 }, { topK: 100, topP: 0.95 }]) {
      const settings = { ...off, ...change };
      const logits = randomLogits(random, vocab, 12);
      const uniform = createRandom(settings.seed)();
      expect(createSampler(settings, vocab, expSum).sample(logits)).toBe(draw(oracle(logits, settings), uniform));
    }
  });

  it.each([{ topP: 0.999 }, { topK: 130_000 }])('finds the mass of a long, unlikely tail: %j', (change) => {
    const vocab = 131_072; // one token of weight 1, the others of 2^-20.05 each: 12 % together
    const logits = new Float32Array(vocab).fill(-13.9);
    logits[77] = 0;
    const settings = { ...off, ...change };
    const sampler = createSampler(settings, vocab, expSum);
    const uniform = createRandom(settings.seed);
    const expected = oracle(logits, settings);
    let tail = 0;
    for (let i = 0; i < 60; i++) {
      const id = draw(expected, uniform());
      expect(sampler.sample(logits)).toBe(id);
      if (id !== 77) tail++;
    }
    expect(tail).toBeGreaterThan(2);
  });

  it.each([
    ['all', {}],
    ['top-p', { topP: 0.8 }],
    ['top-k', { topK: 3 }],
    ['min-p', { minP: 0.3, temperature: 1.5 }],
  ])('draws each token as often as its probability says: %s', (_, change) => {
    const logits = Float32Array.from([0.5, -1, 2, 1.5, 0, -3, 1.2, -Infinity]);
    const settings = { ...off, ...change };
    const sampler = createSampler(settings, logits.length, expSum);
    const counts = new Array<number>(logits.length).fill(0);
    const draws = 40_000;
    for (let i = 0; i < draws; i++) counts[sampler.sample(logits)]!++;
    const { kept, total } = oracle(logits, settings);
    for (const [id, weight] of kept) {
      const p = weight / total;
      expect(Math.abs(counts[id]! - draws * p)).toBeLessThan(4 * Math.sqrt(draws * p * (1 - p)) + 1);
      counts[id] = 0;
    }
    expect(Math.max(...counts)).toBe(0);
  });

  it('gives the same ids for the same seed, on every machine', () => {
    // The ids of an independent Python program; weights by division only, so that the pinned ids do not depend on this machine's Math.exp.
    const rational: ExpSum = (logits, max, inverseTemperature, out) => {
      for (const [i, x] of logits.entries()) {
        const gap = 1 + (max - x) * inverseTemperature;
        out[i] = 1 / (gap * gap * gap * gap);
      }
      return out.reduce((sum, x) => sum + x, 0);
    };
    const run = (settings: SamplerSettings) => {
      const sampler = createSampler(settings, 64, rational);
      const logits = Float32Array.from({ length: 64 }, (_, i) => ((i * 37) % 64) / 4);
      return Array.from({ length: 12 }, () => {
        const id = sampler.sample(logits.slice());
        sampler.accept(id, false);
        return id;
      });
    };
    const settings = { ...off, temperature: 2, topP: 0.9, frequencyPenalty: 0.5, seed: 2026 };
    expect(run(settings)).toEqual(run(settings));
    expect(run(settings)).toEqual([19, 19, 38, 31, 57, 57, 12, 19, 50, 12, 19, 24]);
    expect(run({ ...off, seed: 2026 })).toEqual([19, 19, 19, 19, 38, 57, 19, 19, 38, 19, 19, 19]);
    expect(run({ ...settings, seed: 2026 + 2 ** 32 })).not.toEqual(run(settings));
  });

  it('takes a top-k of the whole vocabulary, or more, for off', () => {
    const random = createRandom(5);
    const samplers = [0, 50, 51].map((topK) => createSampler({ ...off, topK }, 50, expSum));
    for (let round = 0; round < 50; round++) {
      const logits = randomLogits(random, 50, 3);
      expect(new Set(samplers.map((sampler) => sampler.sample(logits))).size).toBe(1);
    }
  });

  it('writes its weights where it is told to', () => {
    const weights = new Float32Array(new SharedArrayBuffer(64), 16, 4);
    const sampler = createSampler({ ...off, topK: 2 }, 4, expSum, weights);
    expect([0, 3]).toContain(sampler.sample(Float32Array.from([1, 0, -1, 2])));
    expect([...weights]).toEqual([-1, -2, -3, 0].map((x) => Math.fround(Math.exp(x))));
  });

  it('takes the likeliest at the smallest temperatures', () => {
    const logits = Float32Array.from([1, 1.001, 0.5]);
    const single: ExpSum = (row, max, inverse, out) => {
      expect(Math.fround(inverse)).toBeLessThan(Infinity); // a kernel may compute in float32
      return expSum(row, max, inverse, out);
    };
    for (const temperature of [1e-5, 1e-40, Number.MIN_VALUE]) {
      for (const topP of [0.9, 1]) {
        expect(createSampler({ ...off, temperature, topP }, 3, single).sample(logits)).toBe(1);
      }
    }
  });

  it.each([
    ['NaN', [0, Number.NaN, 1], 'worker', 'not finite'],
    ['NaN in front', [Number.NaN, 5, 1], 'worker', 'not finite'],
    ['NaN among what is forbidden', [-Infinity, Number.NaN], 'worker', 'not finite'],
    ['Infinity', [0, Infinity, 1], 'worker', 'not finite'],
    ['nothing possible', [-Infinity, -Infinity, -Infinity], 'bad-input', 'every token is forbidden'],
  ])('throws for logits with %s', (_, logits, code, message) => {
    for (const temperature of [0, 1]) {
      const sampler = createSampler({ ...off, temperature }, 3, expSum);
      const error = { code, message: expect.stringContaining(message) };
      expect(() => sampler.sample(Float32Array.from(logits))).toThrow(expect.objectContaining(error));
    }
  });
});

describe('penalties', () => {
  /** The logits after penalties, seen through the kernel. */
  function penalised(change: Partial<SamplerSettings>, logits: number[], prompt: number[], answer: number[]): number[] {
    let seen: number[] = [];
    const sampler = createSampler({ ...off, ...change }, logits.length, (row, max, inverse, out) => {
      seen = [...row];
      return expSum(row, max, inverse, out);
    });
    for (const id of prompt) sampler.accept(id, true);
    for (const id of answer) sampler.accept(id, false);
    sampler.sample(Float32Array.from(logits));
    return seen;
  }

  it('repetition: divides positive and multiplies negative logits of prompt and answer, once', () => {
    expect(penalised({ repetitionPenalty: 2 }, [4, -4, 3, 0, 1], [0, 0, 1], [2, 2, 3])).toEqual([2, -8, 1.5, 0, 1]);
  });

  it('frequency: subtracts per occurrence in the answer only', () => {
    expect(penalised({ frequencyPenalty: 0.5 }, [4, 4, 4], [0, 0], [1, 1, 1])).toEqual([4, 2.5, 4]);
    expect(penalised({ frequencyPenalty: -1 }, [4, 4, 4], [], [1])).toEqual([4, 5, 4]);
  });

  it('presence: subtracts once, in the answer only', () => {
    expect(penalised({ presencePenalty: 1.5 }, [4, 4, 4], [0, 0], [1, 1, 1])).toEqual([4, 2.5, 4]);
  });

  it('together: repetition first', () => {
    const all = { repetitionPenalty: 2, frequencyPenalty: 0.25, presencePenalty: 1 };
    expect(penalised(all, [4, -4, 4], [2], [0, 1, 1])).toEqual([4 / 2 - 0.25 - 1, -8 - 0.5 - 1, 2]);
  });

  it('work on greedy too', () => {
    const sampler = createSampler({ ...off, temperature: 0, presencePenalty: 1 }, 3, expSum);
    const next = () => {
      const id = sampler.sample(Float32Array.from([2, 1.5, 0]));
      sampler.accept(id, false);
      return id;
    };
    expect([next(), next(), next()]).toEqual([0, 1, 0]);
  });
});

describe('logitsThatMatter', () => {
  it.each([
    [{ temperature: 0 }, 1],
    [{ temperature: 0, topK: 40, topP: 0.5 }, 1],
    [{ temperature: 0.8, topK: 1 }, 1],
    [{ temperature: 0.8, topK: 40, topP: 0.5, minP: 0.1 }, 40],
    [{ temperature: 0.8, topP: 0.5 }, 0],
    [{ temperature: 0.8 }, 0],
    [{ temperature: 0, repetitionPenalty: 1.1 }, 0],
    [{ temperature: 0, frequencyPenalty: -1 }, 0],
    [{ temperature: 0.8, topK: 40, presencePenalty: 1 }, 0],
  ])('%j: %d', (settings, count) => expect(logitsThatMatter({ ...off, ...settings })).toBe(count));
});
