import type { Model } from './families';
import type { Entry } from './write-gguf';

/** A parsed tokenizer.json and, if there is one, tokenizer_config.json. */
export interface TokenizerFiles {
  tokenizer: unknown;
  config?: unknown;
}

interface TokenizerJson {
  model: {
    type: string;
    byte_fallback?: boolean;
    vocab: Record<string, number>;
    merges: (string | [string, string])[];
  };
  added_tokens?: { id: number; content: string; special: boolean }[];
  post_processor?: unknown;
}

interface TokenizerConfigJson {
  bos_token?: string | { content: string } | null;
  eos_token?: string | { content: string } | null;
  add_bos_token?: boolean;
  chat_template?: string;
}

/** llama.cpp's token types (llama_token_type). */
const tokenTypes = { normal: 1, control: 3, userDefined: 4, unused: 5 };

/** The printable characters that stand for the 256 bytes in byte-level BPE (GPT-2's bytes_to_unicode). */
function byteLetters(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let others = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : others++));
}

/** Names of a vocabulary that stands for nothing: Llama 3's control tokens for bos and eos, letters, numbers. */
function dummyTokens({ vocab, bos, eos }: Model): { tokens: string[]; types: number[] } {
  const letters = byteLetters();
  const ends = ['<|end_of_text|>', '<|eot_id|>'];
  const control = new Map([
    [bos, '<|begin_of_text|>'],
    ...eos.map((id, i): [number, string] => [id, ends[i] ?? `<|end${i}|>`]),
  ]);
  const tokens = Array.from({ length: vocab }, (_, id) => control.get(id) ?? letters[id] ?? `<t${id}>`);
  return { tokens, types: tokens.map((_, id) => (control.has(id) ? tokenTypes.control : tokenTypes.normal)) };
}

/** A placeholder for each id that the tokenizer lacks, as llama.cpp's converter writes it. */
function tokensOf({ model, added_tokens = [] }: TokenizerJson, vocab: number): { tokens: string[]; types: number[] } {
  const tokens = Array.from({ length: vocab }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(vocab).fill(tokenTypes.unused);
  const put = (id: number, token: string, type: number) => {
    if (id >= vocab) throw new Error(`token ${id} of a vocabulary of ${vocab}`);
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(model.vocab)) put(id, token, tokenTypes.normal);
  for (const { id, content, special } of added_tokens) {
    put(id, content, special ? tokenTypes.control : tokenTypes.userDefined);
  }
  return { tokens, types };
}

/**
 * The tokenizer.* entries of a GGUF file: those of byte-level BPE, with a tokenizer of that kind or, without one, a
 * vocabulary of dummy tokens. `pre` names the pre-tokeniser; null leaves it out, as the published 2B4T does.
 */
export function tokenizerEntries(model: Model, files: TokenizerFiles | undefined, pre: string | null): Entry[] {
  const json = files?.tokenizer as TokenizerJson | undefined;
  if (json && (json.model.type !== 'BPE' || json.model.byte_fallback)) {
    throw new Error(`only byte-level BPE can be written to GGUF, not ${json.model.type}`);
  }
  const config = (files?.config ?? {}) as TokenizerConfigJson;
  const { tokens, types } = json ? tokensOf(json, model.vocab) : dummyTokens(model);
  const merges = json?.model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
  const idOf = (token: string | { content: string } | null | undefined, fallback: number): number => {
    const found = tokens.indexOf((typeof token === 'string' ? token : token?.content) ?? '');
    return found < 0 ? fallback : found;
  };
  const bos = idOf(config.bos_token, model.bos);
  // converters look whether the post-processor puts the token before the text
  const template = JSON.stringify(json?.post_processor ?? null);
  const addBos = config.add_bos_token ?? template.includes(JSON.stringify({ id: tokens[bos], type_id: 0 }));
  return [
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ...(pre === null ? [] : [['tokenizer.ggml.pre', 'string', pre] satisfies Entry]),
    ['tokenizer.ggml.tokens', 'string[]', tokens],
    ['tokenizer.ggml.token_type', 'i32[]', types],
    ['tokenizer.ggml.merges', 'string[]', merges ?? ['a b']],
    ['tokenizer.ggml.bos_token_id', 'u32', bos],
    ['tokenizer.ggml.eos_token_id', 'u32', idOf(config.eos_token, model.eos[0] ?? 0)],
    ['tokenizer.ggml.add_bos_token', 'bool', addBos],
    ...(config.chat_template ? [['tokenizer.chat_template', 'string', config.chat_template] satisfies Entry] : []),
  ];
}
