/** The tokens of a vocabulary by their bytes, and which of them may follow in a state of a recogniser. */
import { LONGEST, type Recogniser, UNKNOWN } from './recogniser';

/**
 * A trie in depth-first order. Node i is reached from the last node before it that is one less deep, by `byte[i]`; what begins
 * as it does ends before node `end[i]`.
 */
export interface TokenTrie {
  byte: Uint8Array;
  depth: Uint8Array;
  end: Uint32Array;
  /** The token that ends at a node, or -1; others of the same bytes follow in `alike`, by token. */
  token: Int32Array;
  alike: Int32Array;
  /** Bytes that are a token by themselves. */
  single: Uint8Array;
  vocab: number;
}

/**
 * A trie of the tokens 0 to vocab - 1. Those of more than LONGEST bytes and those without text (special tokens, ids without a token) are in no answer.
 * @param bytesOf the bytes of a token, empty for those without text
 */
export function createTokenTrie(vocab: number, bytesOf: (token: number) => Uint8Array): TokenTrie {
  // as binary strings, whose order is that of their bytes
  const texts = Array.from({ length: vocab }, (_, token) => {
    const bytes = bytesOf(token);
    let text = '';
    if (bytes.length <= LONGEST) for (const byte of bytes) text += String.fromCharCode(byte);
    return text;
  });
  const tokensOf = new Map<string, number>(); // the last one; the others are alike
  const alike = new Int32Array(vocab).fill(-1);
  const single = new Uint8Array(256);
  let most = 0;
  for (const [token, text] of texts.entries()) {
    if (text === '') continue;
    alike[token] = tokensOf.get(text) ?? -1;
    tokensOf.set(text, token);
    most += text.length;
    if (text.length === 1) single[text.charCodeAt(0)] = 1;
  }
  const byte = new Uint8Array(most);
  const depth = new Uint8Array(most);
  const end = new Uint32Array(most);
  const token = new Int32Array(most).fill(-1);
  const path: number[] = []; // the nodes of the text before
  let count = 0;
  let before = '';
  const close = (length: number): void => {
    while (path.length > length) end[path.pop()!] = count;
  };
  for (const text of [...tokensOf.keys()].sort()) {
    let shared = 0;
    while (shared < before.length && text.charCodeAt(shared) === before.charCodeAt(shared)) shared++;
    close(shared);
    for (let i = shared; i < text.length; i++) {
      byte[count] = text.charCodeAt(i);
      depth[count] = i;
      path.push(count++);
    }
    token[count - 1] = tokensOf.get(text)!;
    before = text;
  }
  close(0);
  const nodes = { byte: byte.slice(0, count), depth: depth.slice(0, count), end: end.slice(0, count) };
  return { ...nodes, token: token.slice(0, count), alike, single, vocab };
}

/** Tokens that may follow: bit (token & 31) of word (token >> 5). */
export interface TokenMask {
  words: Uint32Array;
  count: number;
  /** The most bytes that are missing after one of them. */
  closing: number;
}

/**
 * The tokens after which the text can still be completed with `most` bytes more.
 * @param most Infinity: all tokens that the grammar allows
 */
export function tokensThatFollow(trie: TokenTrie, recogniser: Recogniser, state: number, most: number): TokenMask {
  const { byte, depth, end, token, alike } = trie;
  const nodes = byte.length;
  const words = new Uint32Array((trie.vocab + 31) >> 5);
  const path = new Int32Array(LONGEST + 1); // the state before the byte of each depth
  path[0] = state;
  recogniser.expand(state);
  let { transitions, closings } = recogniser.tables();
  let count = 0;
  let closing = 0;
  for (let node = 0; node < nodes; ) {
    const level = depth[node]!;
    const next = transitions[path[level]! * 256 + byte[node]!]!;
    if (next < 0) {
      node = end[node]!;
      continue;
    }
    const missing = closings[next]!;
    if (missing <= most) {
      if (token[node]! >= 0 && missing > closing) closing = missing;
      for (let each = token[node]!; each >= 0; each = alike[each]!) {
        words[each >> 5]! |= 1 << (each & 31);
        count++;
      }
    }
    if (end[node]! > node + 1) {
      path[level + 1] = next;
      if (transitions[next * 256] === UNKNOWN) {
        recogniser.expand(next);
        ({ transitions, closings } = recogniser.tables());
      }
    }
    node++;
  }
  return { words, count, closing };
}

/** Makes the logits of all other tokens -Infinity. */
export function keepTokens(logits: Float32Array, { words }: TokenMask): void {
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const from = at << 5;
    if (word === 0xffffffff) continue;
    if (word === 0) {
      logits.fill(-Infinity, from, from + 32);
      continue;
    }
    for (let bit = 0; bit < 32 && from + bit < logits.length; bit++) {
      if (((word >>> bit) & 1) === 0) logits[from + bit] = -Infinity;
    }
  }
}
