/** Where an answer ends. */
import type { Tokenizer } from './tokenizer';

/**
 * Texts of tokens that end an answer, whatever a model's files call its EOS: many name only the end of a text, and the
 * model would go on, playing both roles (llama.cpp looks for such texts as well).
 */
export const endOfTurn: readonly string[] = [
  ...['<|eot_id|>', '<|end_of_text|>', '<|eom_id|>'], // Llama 3
  ...['<|im_end|>', '<|endoftext|>', '</s>', '<|end|>', '<end_of_turn>'],
];

/** Every token that ends an answer: `eos` of the configuration, and the special ones of the vocabulary that are known to. */
export function stopTokensOf(eos: number[], tokenizer: Tokenizer | undefined): Set<number> {
  const known = endOfTurn.map((text) => tokenizer?.idOf(text));
  return new Set([...eos, ...known.filter((id) => id !== undefined && tokenizer?.special(id))] as number[]);
}
