/** What a parser under test brings. */

import type { Description } from '../src/checkpoint/describe';
import { type CheckedOptions, layOut } from '../src/engine/options';
import type { Random } from './fuzz-mutate';

export interface Target {
  name: string;
  /** A damaged input: bytes and texts, as files have them. */
  input(random: Random): Input;
  /** Parses it and goes on with what comes of it, as the loader does. What it throws must be a SternaError. */
  run(input: Input): unknown;
}

export type Input = Record<string, string | number | Uint8Array>;

export const sizeOf = (input: Input): number =>
  Object.values(input).reduce<number>((sum, value) => sum + (typeof value === 'number' ? 8 : value.length), 0);

const options: CheckedOptions = {
  threads: undefined,
  kernel: 'auto',
  contextLength: undefined,
  sequences: 1,
  kvCache: 'bf16',
  lmHead: 'auto',
  screening: 'auto',
  cache: true,
  i2sOrder: 'auto',
};
const mostMemory = 2 ** 32;

/** Lays the model out as the loader does, and checks what it would allocate. */
export function plan(description: Pick<Description, 'config' | 'files' | 'style' | 'interleaved'>): void {
  const how = { kernel: 'dot16', threads: 4, shared: true } as const;
  const { plan, parts, staging } = layOut(description as Description, options, how, 2 ** 24 + 2 ** 18);
  const { bytes } = plan;
  if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes <= mostMemory)) throw new Error(`a memory of ${bytes} bytes`);
  if (!(plan.staging + staging.bytes <= bytes)) throw new Error('staging beyond the memory');
  for (const { name, file, begin, end, units, unitBytes, storedBytes } of parts) {
    const { size, dataStart } = description.files[file]!;
    if (!(begin >= dataStart && end <= size && units * unitBytes === end - begin)) throw new Error(`place of ${name}`);
    if (!(Number.isSafeInteger(units) && storedBytes > 0)) throw new Error(`units of ${name}`);
  }
}
