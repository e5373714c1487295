/**
 * The frequencies of RoPE, once for a model: theta^(-2i/headDim), stretched or not. Every operation is float32 in the order
 * of transformers 5.18 (modeling_rope_utils.py), a scalar in front of a division being a reciprocal and a product, as in
 * PyTorch; pow and log are the kernels', so the bits are the same in every browser.
 */
import type { ModelConfig, RopeScaling } from './config';
import type { Kernels } from './kernels';
import type { MemoryPlan } from './memory';

const f = Math.fround;
const TWO_PI = 2 * Math.PI;

type Own = Pick<Kernels, 'pow' | 'log'>;
type Yarn = Extract<RopeScaling, { kind: 'yarn' }>;
type Llama3 = Extract<RopeScaling, { kind: 'llama3' }>;

/** Writes cosines and sines of every position. Frequencies that a tensor divides need it at plan.ropeFactors. */
export function writeRopeTables(kernels: Kernels, memory: WebAssembly.Memory, plan: MemoryPlan): void {
  const { config, contextLength, headDim, cosines, sines } = plan;
  const half = config.headDim / 2;
  const { ropeScaling } = config;
  const isLong = ropeScaling?.kind === 'longrope' && contextLength > ropeScaling.originalPositions;
  const factors = new Float32Array(memory.buffer, plan.ropeFactors + (isLong ? half * 4 : 0), plan.ropeFactors && half);
  new Float32Array(memory.buffer, plan.ropeFrequencies, half).set(frequencies(kernels, config, factors));
  const multiplier = multiplierOf(kernels, ropeScaling);
  for (let position = 0; position < contextLength; position++) {
    const at = position * headDim * 2;
    kernels.ropeTables(position, config.headDim, plan.ropeFrequencies, multiplier, cosines + at, sines + at);
  }
}

/** f32[headDim / 2]. `factors` divide; empty where there are none. */
function frequencies(own: Own, { headDim, ropeTheta, ropeScaling }: ModelConfig, factors: Float32Array): Float32Array {
  const periods = Float32Array.from({ length: headDim / 2 }, (_, i) => own.pow(ropeTheta, f((2 * i) / headDim)));
  const plain = periods.map((period) => 1 / period);
  switch (ropeScaling?.kind) {
    case 'linear':
      return plain.map((frequency) => frequency / f(ropeScaling.factor));
    case 'yarn':
      return yarn(own, periods, plain, ropeTheta, ropeScaling);
    case 'llama3':
      return plain.map((frequency) => llama3(frequency, ropeScaling));
    case 'factors':
    case 'longrope':
      return plain.map((frequency, i) => frequency / factors[i]!);
    default:
      return plain;
  }
}

/**
 * YaRN (arXiv 2309.00071): pairs that turn more than betaFast times within originalPositions stay, those that turn less than
 * betaSlow times are stretched by the factor, a ramp lies between. llama.cpp has the same formula, but for a ramp that
 * ends before it begins (an original context shorter than a turn or two), where this one follows transformers.
 */
function yarn(own: Own, periods: Float32Array, plain: Float32Array, theta: number, scaling: Yarn): Float32Array {
  const headDim = 2 * periods.length;
  const { factor, originalPositions, betaFast, betaSlow } = scaling;
  /** The pair, not rounded, that turns so many times. */
  const pairOf = (turns: number): number =>
    (headDim * own.log(originalPositions / (turns * TWO_PI))) / (2 * own.log(theta));
  const low = Math.max(Math.floor(pairOf(betaFast)), 0);
  const high = Math.min(Math.ceil(pairOf(betaSlow)), headDim - 1);
  const width = f((low === high ? high + 0.001 : high) - low);
  return plain.map((frequency, i) => {
    const keep = f(1 - Math.min(Math.max(f((i - low) / width), 0), 1));
    const stretched = f(1 / f(f(factor) * periods[i]!));
    return f(stretched * f(1 - keep)) + f(frequency * keep);
  });
}

/** Llama 3.1: as YaRN, but the ramp is one of turns within originalPositions. */
function llama3(frequency: number, { factor, originalPositions, lowFactor, highFactor }: Llama3): number {
  const wavelength = f(f(1 / frequency) * f(TWO_PI));
  if (wavelength < f(originalPositions / highFactor)) return frequency;
  if (wavelength > f(originalPositions / lowFactor)) return frequency / f(factor);
  const turns = f(f(1 / wavelength) * originalPositions);
  const keep = f(f(turns - f(lowFactor)) / f(highFactor - lowFactor));
  return f(f(f(1 - keep) * frequency) / f(factor)) + f(keep * frequency);
}

/** What cosines and sines are multiplied by. */
function multiplierOf({ log }: Own, scaling: RopeScaling | undefined): number {
  if (scaling?.kind === 'longrope') return scaling.attentionFactor;
  if (scaling?.kind !== 'yarn') return 1;
  return scaling.attentionFactor * (scaling.attentionLog * log(scaling.factor) + 1);
}
