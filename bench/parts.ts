/** Weights in several files: which tensor goes where, and what the files are called. */
import { bytesOf, type TensorBytes } from './byte-file';

/** Cuts tensors into `parts` runs of about equal bytes, none empty. */
export function cutTensors(tensors: TensorBytes[], parts: number): TensorBytes[][] {
  if (parts > tensors.length) throw new Error(`${tensors.length} tensors do not make ${parts} files`);
  const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const runs: TensorBytes[][] = [[]];
  let sum = 0;
  for (const [i, tensor] of tensors.entries()) {
    const due = sum >= (total * runs.length) / parts || tensors.length - i === parts - runs.length;
    if (due && runs.at(-1)!.length > 0 && runs.length < parts) runs.push([]);
    runs.at(-1)!.push(tensor);
    sum += bytesOf(tensor);
  }
  return runs;
}

/** Name of file `part` (from 0) of `parts`, as the hub and llama.cpp number them. */
export const partName = (base: string, part: number, parts: number, ending: string): string =>
  parts === 1
    ? `${base}.${ending}`
    : `${base}-${`${part + 1}`.padStart(5, '0')}-of-${`${parts}`.padStart(5, '0')}.${ending}`;
