/** The byte order of GGUF I2_S weights: builds for x86 and for ARM write it differently, and nothing in the file tells. */

import type { Packer } from '../checkpoint/packer';
import type { I2sOrder } from '../checkpoint/ternary';
import { perplexity } from '../generate/score';
import type { MemoryPlan } from '../model/memory';
import type { Pool } from '../model/pool';
import type { Tokenizer } from '../text/tokenizer';

/** Plain English, such as every model knows. In the wrong order the weights are noise, and any text is as unlikely. */
const TEXT =
  'Once upon a time there was a little dog. He liked to play in the park with his friends. One day he found a big red ' +
  'ball under a tree. He was very happy and wanted to take it home.';

/**
 * The order in which a short text is more likely; the weights in memory are then in this order. x86 if it makes no
 * difference, or if there is no tokenizer.
 * @param packer of the weights, which are in x86 order
 */
export async function chooseI2sOrder(
  pool: Pool,
  memory: WebAssembly.Memory,
  tokenizer: Tokenizer | undefined,
  packer: Packer,
): Promise<I2sOrder> {
  const { plan } = pool;
  const ids = tokenizer?.encode(TEXT, { bos: true }).filter((id) => id < plan.config.vocab) ?? [];
  if (ids.length < 2) return 'x86';
  const score = async (): Promise<number> => {
    const session = { tokens: [], sequence: 0 };
    const context = { pool, memory, session, between: async () => {} };
    return (await perplexity(context, ids.slice(0, windowOf(plan)))).nll;
  };
  const x86 = await score();
  packer.reorder('arm');
  if ((await score()) < x86) return 'arm';
  packer.reorder('x86');
  return 'x86';
}

const windowOf = ({ contextLength }: MemoryPlan): number => Math.min(contextLength, 64);
