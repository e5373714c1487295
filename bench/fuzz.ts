/**
 * Damaged inputs for everything that reads what a stranger wrote: headers, configurations, indexes, tokenizers, chat
 * templates, and what the browser's database kept. Whatever the input, it is accepted or refused with a SternaError, and
 *
 * - within 200 ms of processor time, and 100 ns for each byte of input, without a call that never returns;
 * - within 64 MB of heap and 200 bytes for each byte of input, as far as the heap's growth shows it (the runner's limit
 *   of 512 MB for the whole heap holds in any case);
 * - with a planned memory of at most 4 GiB, and every tensor inside its file.
 *
 * Each input follows from the seed and its number alone, so that any one can be made again.
 */
import { SternaError } from '../src/errors';
import { createRandom } from '../src/generate/sampler';
import { configTarget, generationTarget, indexTarget } from './fuzz-config';
import { ggufTarget } from './fuzz-gguf';
import { manifestTarget } from './fuzz-manifest';
import { safetensorsTarget } from './fuzz-safetensors';
import { type Input, sizeOf, type Target } from './fuzz-target';
import { templateTarget } from './fuzz-template';
import { tokenizerTarget } from './fuzz-tokenizer';

export const targets: Record<string, () => Target | Promise<Target>> = {
  safetensors: safetensorsTarget,
  gguf: ggufTarget,
  config: configTarget,
  generation: generationTarget,
  index: indexTarget,
  tokenizer: tokenizerTarget,
  template: templateTarget,
  manifest: manifestTarget,
};

const mostMilliseconds = 200;
const millisecondsEach = 1e-4;
const mostBytes = { base: 64 * 2 ** 20, each: 200 };

export interface FuzzOptions {
  seed: number;
  /** Inputs, shared out evenly among the parsers. */
  count: number;
  /** Only these parsers; default: all. */
  parsers?: string[];
  /** The number of the first input. Default 0. */
  from?: number;
  /** Processor time for an input. Default 200 ms. */
  milliseconds?: number;
  /** Called before each input. */
  onInput?(parser: string, number: number): void;
}

export interface FuzzFailure {
  parser: string;
  seed: number;
  number: number;
  message: string;
  input: Input;
}

export interface FuzzReport {
  /** Inputs by parser and by what became of them: 'accepted', the code of an error. */
  counts: Record<string, Record<string, number>>;
  /** Most processor time of an input, by parser, in ms. */
  slowest: Record<string, number>;
  failures: FuzzFailure[];
}

/** Input `number` of a parser. */
export function makeInput(target: Target, seed: number, number: number): Input {
  return target.input(createRandom(number * 2 ** 32 + seed));
}

const used = (): number => {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

/** What becomes of an input. Throws for anything but a SternaError of the codes that a file can deserve. */
async function outcome(target: Target, input: Input): Promise<string> {
  try {
    const kind = await target.run(input);
    return typeof kind === 'string' ? kind : 'accepted';
  } catch (error) {
    if (error instanceof SternaError && refusals.includes(error.code)) return error.code;
    throw error;
  }
}
const refusals = ['bad-file', 'unsupported', 'out-of-memory', 'bad-input'];

const tell = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

/** Runs `count` inputs. Failures are gathered, not thrown. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, count, parsers = Object.keys(targets), from = 0, milliseconds = mostMilliseconds, onInput } = options;
  const report: FuzzReport = { counts: {}, slowest: {}, failures: [] };
  for (const [i, parser] of parsers.entries()) {
    const target = await targets[parser]!();
    const counts: Record<string, number> = {};
    const share = Math.floor(count / parsers.length) + (i < count % parsers.length ? 1 : 0);
    let slowest = 0;
    for (let number = from; number < from + share; number++) {
      const input = makeInput(target, seed, number);
      onInput?.(parser, number);
      const fail = (message: string) => report.failures.push({ parser, seed, number, message, input });
      const run = async (): Promise<number> => {
        const start = process.cpuUsage();
        await outcome(target, input);
        const { user, system } = process.cpuUsage(start);
        return (user + system) / 1000;
      };
      try {
        const before = used();
        const start = process.cpuUsage();
        const kind = await outcome(target, input);
        const { user, system } = process.cpuUsage(start);
        const grown = used() - before;
        counts[kind] = (counts[kind] ?? 0) + 1;
        let took = (user + system) / 1000;
        // again: the time may have been that of the compiler, or of the collector
        for (let tries = 0; took > milliseconds / 2 && tries < 3; tries++) took = Math.min(took, await run());
        slowest = Math.max(slowest, took);
        if (took > milliseconds + sizeOf(input) * millisecondsEach) fail(`${took.toFixed(0)} ms`);
        const most = mostBytes.base + mostBytes.each * sizeOf(input);
        if (grown > most) fail(`${grown} bytes of heap, at most ${most} were expected`);
      } catch (error) {
        counts.failed = (counts.failed ?? 0) + 1;
        fail(tell(error));
      }
    }
    report.counts[parser] = counts;
    report.slowest[parser] = slowest;
  }
  return report;
}
