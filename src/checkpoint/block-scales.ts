/**
 * Whether the blocks of TQ1_0 and TQ2_0 weights carry one scale or several. Llama's architecture has both kinds: models
 * with one scale a matrix (Falcon-E, Llama3-8B-1.58), and TriLM, whose matrices were trained in shards with a scale each
 * (https://github.com/ggml-org/llama.cpp/pull/8151). The header does not tell them apart.
 */

import { SternaError } from '../errors';
import { limits } from '../model/config';
import type { ByteSource } from '../sources/download';
import { blockOf, type TensorInfo } from './tensors';

/** The matrix to look at: of every layer's, the queries' is among the smallest, and sharded like all others. */
export function probedTensor(tensors: TensorInfo[]): TensorInfo | undefined {
  return tensors.find(({ name, type }) => name === 'blk.0.attn_q.weight' && /^TQ[12]_0$/.test(type));
}

/**
 * Whether the blocks of the tensor differ in scale. Blocks of zeros may have scale 0 beside any other.
 * @throws SternaError `unsupported` for a tensor larger than any that the engine takes, before it is read
 */
export async function hasSeveralScales(source: ByteSource, tensor: TensorInfo, signal: AbortSignal): Promise<boolean> {
  const [, size] = blockOf(tensor);
  const most = (limits.width ** 2 / 256) * size;
  const got = tensor.end - tensor.begin;
  if (got > most) {
    const facts = { file: source.name, got, expected: `at most ${most}` };
    throw new SternaError('unsupported', `bytes of tensor ${tensor.name}`, facts);
  }
  const bytes = await source.read(tensor.begin, tensor.end, signal);
  let one = 0;
  // the last two bytes of a block are its scale
  for (let at = size - 2; at < bytes.length; at += size) {
    const half = bytes[at]! | (bytes[at + 1]! << 8);
    if ((half & 0x7fff) === 0 || half === one) continue;
    if (one !== 0) return true;
    one = half;
  }
  return false;
}
