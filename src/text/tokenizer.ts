/**
 * Text <-> token ids, around `@huggingface/tokenizers`, for BPE vocabularies of bytes (Llama 3, GPT-2, NeoX, Qwen) and
 * those of SentencePiece that fall back to bytes (Llama 2, MiniCPM).
 */
import { type BPE, Tokenizer as Library } from '@huggingface/tokenizers';
import { SternaError } from '../errors';
import { isObject, type Json } from '../json';
import { checkTokenizerFile, kindOf, type TokenizerFile } from './tokenizer-file';
import { mergeRanks, tokenTables } from './vocabulary';

/** A control token: its text in a prompt may mean the token, never the letters, and it has no text in an answer. */
export interface SpecialToken {
  id: number;
  content: string;
  /** The token swallows the white space before (lstrip) or after (rstrip) it. */
  lstrip: boolean;
  rstrip: boolean;
}

export interface EncodeOptions {
  /** Put the BOS token in front, where the model has one. Default false. */
  bos?: boolean;
  /** Put the EOS token behind, where the model has one. Default false. */
  eos?: boolean;
  /** Read the text of special tokens as these tokens. Default false: it is ordinary text and gives no special id. */
  special?: boolean;
}

export interface Tokenizer {
  /** The ids of `text`. The file's post-processor is never applied: BOS and EOS come only when asked for. */
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of `ids`. Special tokens and ids without a token are left out; broken UTF-8 becomes U+FFFD. */
  decode(ids: readonly number[]): string;
  /** The UTF-8 bytes of one token, perhaps half a character; empty for special tokens and ids without a token. */
  bytesOf(id: number): Uint8Array;
  special(id: number): boolean;
  /** The id of a token, written as in tokenizer.json (a leading space of a byte-level token is "Ġ"). */
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** All special tokens: those with `special: true` in tokenizer.json. */
  specials: readonly SpecialToken[];
  bos: number | null;
  eos: number | null;
  /** The token's text, empty where the model has none. */
  bosToken: string;
  eosToken: string;
  /** Whether Hugging Face's tokenizer would begin a plain text with BOS. */
  addsBos: boolean;
  /** One more than the highest id. The model's `vocab` may be larger (padding). */
  size: number;
}

/** The byte-level alphabet: the byte that each character of a vocabulary entry stands for (GPT-2, `bytes_to_unicode`). */
const BYTE_OF: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173);
  let shifted = 256;
  const pairs = Array.from({ length: 256 }, (_, byte): [string, number] => [
    String.fromCharCode(printable(byte) ? byte : shifted++),
    byte,
  ]);
  return new Map(pairs);
})();

const utf8 = new TextEncoder();

/** The bytes of a SentencePiece token: one that stands for a byte, or text with "▁" for blanks. */
function bytesOfPiece(token: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
  return byte ? Uint8Array.of(Number.parseInt(byte, 16)) : utf8.encode(token.replaceAll('▁', ' '));
}

/** The name that tokenizer_config.json gives a token: a string, or an object with `content`; undefined if none. */
function tokenName(config: unknown, key: string, file: string): string | undefined {
  const value = isObject(config) ? config[key] : undefined;
  const name = isObject(value) ? value.content : value;
  if (name === undefined || name === null) return undefined;
  if (typeof name !== 'string')
    throw new SternaError('bad-file', `bad ${key}`, { file, expected: 'a string', got: kindOf(name) });
  return name;
}

/**
 * Gives the library's empty model its tokens, and its ranks of merges another form: its own are a text for each merge,
 * half of the time and of the memory that it takes.
 */
function fillModel(model: BPE, { vocabulary, added_tokens }: TokenizerFile): void {
  const { idOf, textOf } = tokenTables(vocabulary);
  const unknown = model.unk_token === undefined ? undefined : idOf.get(model.unk_token);
  for (const { content, id } of added_tokens) {
    idOf.set(content, id);
    textOf[id] = content;
  }
  const rankOf = mergeRanks(vocabulary);
  /** What the library's own does (0.2.0): a node goes into the queue if its text and the next one's have a merge. */
  const add_node = (queue: Queue, node: Node): void => {
    const rank = rankOf(node.token, node.next.token);
    if (rank === undefined) return;
    node.score = rank + node.bias;
    queue.push(node);
  };
  Object.assign(model, { tokens_to_ids: idOf, vocab: textOf, unk_token_id: unknown, add_node });
}

/** A part of a word, as the library's BPE has it. */
interface Node {
  token: string;
  next: Node;
  bias: number;
  score?: number;
}

interface Queue {
  push(node: Node): void;
}

/**
 * A tokenizer from the parsed tokenizer.json, as it is or of `withVocabulary`, and tokenizer_config.json (undefined if the model has none; then there
 * is no BOS and no EOS). `files` are the names for error messages.
 * Throws `bad-file` if a file has not the expected shape, `unsupported` if it is not a BPE of the kinds above or has a
 * part that the library does not know.
 */
export function createTokenizer(
  json: unknown,
  config: unknown,
  files = { tokenizer: 'tokenizer.json', config: 'tokenizer_config.json' },
): Tokenizer {
  const file = checkTokenizerFile(json, files.tokenizer);
  if (config !== undefined && !isObject(config)) {
    throw new SternaError('bad-file', 'not an object', {
      file: files.config,
      expected: 'an object',
      got: kindOf(config),
    });
  }
  // `parsing` reads special tokens; `plain` does not know them, but shares the vocabulary. Both read added tokens that
  // are not special (runs of spaces in NeoX, <think> in Qwen), as Hugging Face always does.
  let parsing: Library;
  let plain: Library;
  let first: number | undefined;
  try {
    const options = { clean_up_tokenization_spaces: false };
    const { vocabulary: _, ...steps } = file;
    const ordinary = file.added_tokens.filter((token) => !token.special);
    const model = { ...file.model, vocab: {}, merges: [] };
    parsing = new Library({ ...steps, model }, options);
    plain = new Library({ ...steps, added_tokens: ordinary, model, post_processor: null }, options);
    fillModel(parsing.model as BPE, file);
    plain.model = parsing.model;
    first = parsing.encode('').ids[0];
    parsing.post_processor = null;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SternaError('unsupported', `the tokenizer library refused it: ${reason}`, { file: files.tokenizer });
  }
  const idOf = (token: string) => parsing.token_to_id(token);
  const tokenOf = (id: number) => parsing.id_to_token(id);
  const pieces = file.decoder.type === 'Sequence';
  // encode() begins a text with a blank that is not in it
  const strips = pieces && (file.decoder.decoders as Json[]).some((one) => one.type === 'Strip');
  const addedById = new Map(file.added_tokens.map((token) => [token.id, token]));
  const special = (id: number) => addedById.get(id)?.special === true;
  const specials = file.added_tokens
    .filter((token) => token.special)
    .map(({ id, content, lstrip, rstrip }) => ({ id, content, lstrip, rstrip }));

  const [bosToken = '', eosToken = ''] = ['bos_token', 'eos_token'].map((key) => tokenName(config, key, files.config));
  const idOfName = (token: string) => {
    if (token === '') return null;
    const id = idOf(token);
    if (id === undefined)
      throw new SternaError('bad-file', `${token} is not in ${files.tokenizer}`, { file: files.config });
    return id;
  };
  const bos = idOfName(bosToken);
  const eos = idOfName(eosToken);

  /** A vocabulary may hold "<|eot_id|>" as a word too; ordinary text then gets the ids of its single bytes. */
  const defuse = (id: number) => (special(id) ? [...(tokenOf(id) ?? '')].flatMap((byte) => idOf(byte) ?? []) : [id]);

  function encode(text: string, options: EncodeOptions = {}): number[] {
    let { ids } = (options.special ? parsing : plain).encode(text, { add_special_tokens: false });
    if (!options.special && ids.some(special)) ids = ids.flatMap(defuse);
    if (options.bos && bos !== null) ids.unshift(bos);
    if (options.eos && eos !== null) ids.push(eos);
    return ids;
  }

  function bytesOf(id: number): Uint8Array {
    const token = tokenOf(id);
    if (token === undefined || special(id)) return new Uint8Array();
    if (addedById.has(id)) return utf8.encode(token);
    if (pieces) return bytesOfPiece(token);
    const bytes: number[] = [];
    for (const char of token) {
      const byte = BYTE_OF.get(char);
      if (byte === undefined) return utf8.encode(token); // not byte-level: as it stands, like the Rust decoder
      bytes.push(byte);
    }
    return Uint8Array.from(bytes);
  }

  function decode(ids: readonly number[]): string {
    const decoder = createTextDecoder({ bytesOf });
    const text = ids.map(decoder.push).join('') + decoder.end();
    return strips && text.startsWith(' ') ? text.slice(1) : text;
  }

  const addsBos = bos !== null && first === bos;
  const size = parsing.model?.vocab.length ?? 0;
  return { encode, decode, bytesOf, special, idOf, tokenOf, specials, bos, eos, bosToken, eosToken, addsBos, size };
}

/** Text from tokens one by one; see `createTextDecoder`. */
export interface IncrementalDecoder {
  /** The text that this token completes: empty inside a character. */
  push(id: number): string;
  /** What is left at the end: empty, or U+FFFD for a character that was never completed. */
  end(): string;
}

/**
 * An incremental UTF-8 decoder. The pieces joined are exactly `tokenizer.decode` of all ids, and a character that is
 * split over tokens appears whole, with its last token. Special tokens add nothing. Only the blank in front of a text
 * that SentencePiece tokenizers add in `encode`, and `decode` takes off, stays here: what is decoded bit by bit goes on
 * with a text.
 */
export function createTextDecoder(tokenizer: Pick<Tokenizer, 'bytesOf'>): IncrementalDecoder {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (id) => decoder.decode(tokenizer.bytesOf(id), { stream: true }),
    end: () => decoder.decode(),
  };
}

const newline = '\n';

/**
 * The ids of a text that goes on with what was decoded bit by bit: without the blank that SentencePiece tokenizers put in
 * front of a text. Where they do, it is put in front of a newline, which is taken off again.
 */
export function encodeOn(tokenizer: Pick<Tokenizer, 'encode' | 'bytesOf'>, text: string): number[] {
  const lead = tokenizer.encode(newline);
  if (createTextDecoder(tokenizer).push(lead[0] ?? -1) !== newline) {
    const ids = tokenizer.encode(newline + text);
    if (lead.every((id, i) => ids[i] === id)) return ids.slice(lead.length);
  }
  return tokenizer.encode(text);
}
