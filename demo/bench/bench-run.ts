/** What the bench page measures of a model, through the public API: medians of rounds, told as they come. */
import type { Bandwidth, Model } from '../../src/index';

/** Tokens of the prompt or the context, and tokens a second. */
export interface Point {
  tokens: number;
  perSecond: number;
}

export interface BenchFigures {
  bandwidth: Bandwidth | undefined;
  decode: Point[];
  prefill: Point[];
  /** From a prompt of so many tokens to the first token of the answer. */
  firstToken: { tokens: number; ms: number } | undefined;
}

const ROUNDS = 3;
const DECODED = 32;
const CONTEXTS = [128, 512, 2048];
const PROMPTS = [32, 128, 512];

const median = (numbers: number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

/** Sizes that a context has room for; the last is as large as fits. */
function fitting(sizes: number[], room: number): number[] {
  return [...new Set(sizes.map((size) => Math.min(size, room)))].filter((size) => size > 0);
}

/**
 * Measures decode at several lengths of the context, prefill of several prompts and the bandwidth, by turns.
 * @param tell hears what is being measured, and all medians so far
 */
export async function measure(
  model: Model,
  signal: AbortSignal,
  tell: (doing: string, figures: BenchFigures) => void,
): Promise<BenchFigures> {
  const { contextLength, config } = model.info;
  const contexts = fitting(CONTEXTS, contextLength - DECODED - 1);
  const prompts = fitting(PROMPTS, contextLength - 1);
  const reads: Bandwidth[] = [];
  const decodes = new Map<number, number[]>();
  const prefills = new Map<number, { promptMs: number; firstTokenMs: number }[]>();

  /** Prompts with one seed begin alike, so that the second one finds its keys and values in the cache. */
  const tokens = (count: number, seed: number): number[] =>
    Array.from({ length: count }, (_, i) => ((i + 1) * 7919 + seed * 104_729) % config.vocab);
  const answer = async (prompt: number[], maxTokens: number) => {
    const settings = { temperature: 0, ignoreEos: true, draft: false, maxTokens, signal };
    const { timings, usage } = await model.complete(prompt, settings).result;
    signal.throwIfAborted();
    return { ...timings, made: usage.completionTokens };
  };
  const add = <T>(to: Map<number, T[]>, size: number, figure: T): void =>
    void to.set(size, [...(to.get(size) ?? []), figure]);
  const points = <T>(from: Map<number, T[]>, perSecond: (figure: T, size: number) => number): Point[] =>
    [...from]
      .sort(([a], [b]) => a - b)
      .map(([size, all]) => ({ tokens: size, perSecond: median(all.map((one) => perSecond(one, size))) }));
  const figures = (): BenchFigures => {
    const [size, firsts] = [...prefills].find(([tokenCount]) => tokenCount >= 128) ?? [...prefills].at(-1) ?? [];
    return {
      bandwidth: reads.toSorted((a, b) => a.ms - b.ms)[reads.length >> 1],
      decode: points(decodes, (perSecond) => perSecond),
      prefill: points(prefills, ({ promptMs }, count) => (count * 1000) / promptMs),
      firstToken: firsts && { tokens: size!, ms: median(firsts.map(({ firstTokenMs }) => firstTokenMs)) },
    };
  };

  await answer(tokens(16, 0), 8);
  let seed = 1;
  for (let round = 1; round <= ROUNDS; round++) {
    for (const size of prompts) {
      tell(`Round ${round} of ${ROUNDS}: a prompt of ${size} tokens`, figures());
      add(prefills, size, await answer(tokens(size, ++seed), 1));
    }
    // the longest first: the others begin it
    for (const size of contexts.toReversed()) {
      tell(`Round ${round} of ${ROUNDS}: writing after ${size} tokens`, figures());
      reads.push(await model.measureBandwidth({ signal }));
      const { decodeMs, made } = await answer(tokens(size, seed), DECODED + 1);
      add(decodes, size, ((made - 1) * 1000) / decodeMs);
    }
  }
  return figures();
}
