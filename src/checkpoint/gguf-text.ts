/** Tokenizer and chat template of a GGUF file, in the form of Hugging Face's files: what `createTokenizer` takes. */
import { choice } from '../model/config';
import type { GgufMetadata } from './gguf';
import { type GgufTokens, numbersAt, readTokens, stringsAt, tokenTypes } from './gguf-tokens';

/** As tokenizer.json and tokenizer_config.json would be; or why there is none. */
export type GgufText = { json: object; config: object } | { reason: string };

/**
 * BitNet b1.58 2B4T's conversation: "Role: text<|eot_id|>" (ChatFormat in microsoft/BitNet, gpu/tokenizer.py; the
 * example of transformers' BitNet page). The template inside its GGUF is another (ikawrakow/ik_llama.cpp issue 339).
 */
export const bitnetChatTemplate =
  '{{ bos_token }}' +
  "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] | trim }}<|eot_id|>{% endfor %}" +
  '{% if add_generation_prompt %}Assistant: {% endif %}';

const llama3Words =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const qwenWords = llama3Words.replace('\\p{N}{1,3}', '\\p{N}');
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

interface Splitting {
  /** Each splits what the ones before it left. */
  patterns: string[];
  /** A word that is a token is not built from its bytes. */
  ignoreMerges?: boolean;
  /** BOS in front of a text, where the file does not say. */
  addBos?: boolean;
  /** Composed characters, as the model's tokenizer.json has it; llama.cpp leaves it out. */
  nfc?: boolean;
}
const llama3: Splitting = { patterns: [llama3Words], ignoreMerges: true, addBos: true };
const qwen2: Splitting = { patterns: [qwenWords], nfc: true };
const gpt2: Splitting = { patterns: [gpt2Words] };
const singleDigits: Splitting = { patterns: ['\\p{N}', gpt2Words] };

/**
 * How a text is split into words, by `tokenizer.ggml.pre` (llama.cpp, src/llama-vocab.cpp; `falcon_e`: ik_llama.cpp
 * issue 551). No name: the first BitNet file, with the vocabulary of Llama 3.
 */
const splittings: Record<string, Splitting> = {
  '': llama3,
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  falcon3: llama3,
  falcon_e: llama3,
  'falcon-h1': llama3,
  'smaug-bpe': { ...llama3, ignoreMerges: false, addBos: false },
  qwen2,
  'deepseek-r1-qwen': qwen2,
  megrez: qwen2,
  stablelm2: { ...qwen2, nfc: false },
  'gpt-2': gpt2,
  'phi-2': gpt2,
  mpt: gpt2,
  olmo: gpt2,
  smollm: singleDigits,
  starcoder: singleDigits,
  refact: singleDigits,
  'command-r': singleDigits,
};

/**
 * The tokenizer of a GGUF file: byte-level BPE (`tokenizer.ggml.model` "gpt2") or SentencePiece BPE ("llama"). Other
 * kinds give a reason: the model runs all the same, on ids. `vocab` is the number of ids, `file` the name in errors.
 * Throws `bad-file` for parts that contradict each other, `unsupported` for a flag that is none.
 */
export function textFromGguf(metadata: GgufMetadata, vocab: number, file: string): GgufText {
  const tokens = readTokens(metadata, vocab, file);
  const model = metadata['tokenizer.ggml.model'];
  if (tokens.texts.length === 0) return { reason: `${file} has no vocabulary` };
  const twice = new Set(tokens.texts).size < tokens.texts.length && firstTwice(tokens.texts);
  if (twice) return { reason: `two tokens of ${file} read ${JSON.stringify(twice.slice(0, 60))}` };
  const flag = (name: string, fallback: boolean) =>
    choice(metadata, `tokenizer.ggml.${name}`, fallback, [true, false], file);

  if (model === 'llama') {
    if (flag('remove_extra_whitespaces', false)) return { reason: `${file} asks for blanks to be taken out of texts` };
    const scores = numbersAt(metadata, 'tokenizer.ggml.scores', tokens.texts.length, file);
    if (!scores) return { reason: `${file} has no tokenizer.ggml.scores` };
    const merges = mergesOf(tokens, scores);
    if (!merges) return { reason: `there are too many ways to put the tokens of ${file} together` };
    const json = pieceTokenizer(tokens, merges, flag('add_space_prefix', true));
    return finish(json, tokens, flag('add_bos_token', true));
  }
  if (model !== 'gpt2') return { reason: `${file} has a vocabulary of kind ${JSON.stringify(model)?.slice(0, 60)}` };
  const pre = metadata['tokenizer.ggml.pre'] ?? '';
  const splitting = typeof pre === 'string' && Object.hasOwn(splittings, pre) ? splittings[pre] : undefined;
  if (!splitting) {
    const name = typeof pre === 'string' ? JSON.stringify(pre.slice(0, 60)) : typeof pre;
    return { reason: `${file} splits texts in a way unknown here: tokenizer.ggml.pre is ${name}` };
  }
  const merges = stringsAt(metadata, 'tokenizer.ggml.merges', file);
  if (!merges) return { reason: `${file} has no tokenizer.ggml.merges` };
  const json = byteTokenizer(tokens, merges, splitting);
  return finish(json, tokens, flag('add_bos_token', splitting.addBos ?? false));
}

function firstTwice(texts: string[]): string | undefined {
  const seen = new Set<string>();
  return texts.find((text) => seen.size === seen.add(text).size);
}

/** Adds BOS and EOS. */
function finish(json: object, { texts, bos, eos }: GgufTokens, addBos: boolean): GgufText {
  const bosToken = bos === null ? undefined : texts[bos];
  const sequence = { Sequence: { id: 'A', type_id: 0 } };
  const single = addBos && bosToken ? [{ SpecialToken: { id: bosToken, type_id: 0 } }, sequence] : [sequence];
  const config = { bos_token: bosToken, eos_token: eos === null ? undefined : texts[eos] };
  return { json: { ...json, post_processor: { type: 'TemplateProcessing', single, pair: single } }, config };
}

/** The chat template of a GGUF file; undefined if it has none. For BitNet b1.58 2B4T it is `bitnetChatTemplate`. */
export function templateFromGguf(metadata: GgufMetadata): string | undefined {
  const arch = metadata['general.architecture'];
  const texts = metadata['tokenizer.ggml.tokens'];
  const is2B4T = (arch === 'bitnet-b1.58' || arch === 'bitnet-25') && Array.isArray(texts);
  if (is2B4T && texts.includes('<|eot_id|>')) return bitnetChatTemplate;
  const own = metadata['tokenizer.chat_template'];
  return typeof own === 'string' ? own : undefined;
}

/** Tokens that are found in a text before it is split, and the others, by their text. */
function sortTokens({ texts, types }: GgufTokens) {
  const added: object[] = [];
  const vocab: Record<string, number> = Object.create(null);
  const { control, userDefined, unknown } = tokenTypes;
  for (const [id, content] of texts.entries()) {
    const type = types[id]!;
    const special = type === control || type === unknown;
    // `normalized`: else the library would look for them in the form that SentencePiece gives to texts
    if (special || type === userDefined) added.push({ id, content, special, normalized: false });
    // a byte without a token becomes the unknown one, which the library seeks among the words
    if (type === unknown || !(special || type === userDefined)) vocab[content] = id;
  }
  return { added, vocab };
}

function byteTokenizer(tokens: GgufTokens, merges: string[], splitting: Splitting): object {
  const { added, vocab } = sortTokens(tokens);
  const splits = splitting.patterns.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    added_tokens: added,
    normalizer: splitting.nfc ? { type: 'NFC' } : null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, bytes] },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', unk_token: null, ignore_merges: splitting.ignoreMerges ?? false, vocab, merges },
  };
}

/** SentencePiece: blanks are "▁", characters without a token become their bytes, "<0xE2>" and so on. */
function pieceTokenizer(tokens: GgufTokens, merges: [string, string][], prefix: boolean): object {
  const { added, vocab } = sortTokens(tokens);
  const unknown = Array.prototype.indexOf.call(tokens.types, tokenTypes.unknown);
  const blanks = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  return {
    added_tokens: added,
    normalizer: { type: 'Sequence', normalizers: prefix ? [{ type: 'Prepend', prepend: '▁' }, blanks] : [blanks] },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [strip] : []),
      ],
    },
    model: {
      type: 'BPE',
      unk_token: unknown < 0 ? null : tokens.texts[unknown],
      byte_fallback: true,
      vocab,
      merges,
    },
  };
}

/** Longer tokens are not put together from others: SentencePiece makes none, and the work grows with the square. */
const longestPiece = 128;
/** Merges, and letters of the tokens that are tried for them; Llama 2's 32,000 tokens have 61,249 merges. */
const mostMerges = 2_000_000;
const mostLetters = 2 ** 22;
/** More than there are tokens. */
const placeRange = 2 ** 20;

/**
 * Merges of a SentencePiece vocabulary, which has scores instead: every way to put a token together from two others,
 * the best score first, then the longest left part, as transformers converts such a vocabulary (`generate_merges`).
 * undefined if there are more than `mostMerges`, or more than `mostLetters` to look at.
 */
function mergesOf({ texts, types }: GgufTokens, scores: ArrayLike<number>): [string, string][] | undefined {
  const ids = new Set<number>();
  const { normal, unused } = tokenTypes;
  for (const id of texts.keys()) if (types[id] === normal || types[id] === unused) ids.add(id);
  const parts = new Set(Array.from(ids, (id) => texts[id]!));
  const length = (id: number) => texts[id]!.length;
  const whole = Uint32Array.from(ids).filter((id) => length(id) <= longestPiece);
  if (whole.reduce((sum, id) => sum + length(id), 0) > mostLetters) return undefined;
  whole.sort((a, b) => scores[b]! - scores[a]! || length(b) - length(a) || a - b);

  // One number a merge: the rank of the score, what the left part lacks of the longest, the place in `whole`. Of equal
  // scores and left parts, the longer token, which comes first in `whole`, has the longer right part.
  const keys = new Float64Array(mostMerges);
  let count = 0;
  let rank = 0;
  for (const [place, id] of whole.entries()) {
    if (place > 0 && scores[id] !== scores[whole[place - 1]!]) rank++;
    const text = texts[id]!;
    for (let cut = 1; cut < text.length; cut++) {
      if (!parts.has(text.slice(0, cut)) || !parts.has(text.slice(cut))) continue;
      if (count === mostMerges) return undefined;
      keys[count++] = (rank * longestPiece + longestPiece - cut) * placeRange + place;
    }
  }
  return Array.from(keys.subarray(0, count).sort(), (key): [string, string] => {
    const text = texts[whole[key % placeRange]!]!;
    const cut = longestPiece - (Math.floor(key / placeRange) % longestPiece);
    return [text.slice(0, cut), text.slice(cut)];
  });
}
