/** `GenerateOptions.responseFormat` as a stage: which tokens may follow, until the answer is whole. */

import { SternaError } from '../errors';
import { parseGrammar } from '../formats/ebnf-grammar';
import type { Grammar } from '../formats/expression';
import { createRecogniser, DEAD, type Recogniser } from '../formats/recogniser';
import { jsonObjectGrammar, patternGrammar, schemaGrammar } from '../formats/schema-grammar';
import { createTokenTrie, keepTokens, type TokenMask, type TokenTrie, tokensThatFollow } from '../formats/token-trie';
import type { ResponseFormat } from '../protocol/generate-types';
import type { Tokenizer } from '../text/tokenizer';
import type { LogitsStage } from './logits-stage';

/** Formats that are kept for the next answer, with the masks that were made for them (a bit for each token). */
const MOST_FORMATS = 8;
const MOST_MASKS = 256;

/** The grammar of a format, or undefined for any text. @throws SternaError `bad-input`, `unsupported` */
function grammarOf(format: ResponseFormat): Grammar | undefined {
  if (format.type === 'json_object') return jsonObjectGrammar();
  if (format.type === 'json_schema') return schemaGrammar(format.schema);
  if (format.type === 'regex') return patternGrammar(format.pattern);
  if (format.type === 'grammar') return parseGrammar(format.grammar);
  return undefined;
}

/** A recogniser, and the masks of its states by their kind. `more`: the bytes that a token of the mask can add to the closing. */
interface Compiled {
  recogniser: Recogniser;
  masks: Map<number, { mask: TokenMask; more: number }>;
}

export interface Formats {
  /**
   * Makes the stages of the answers of one call, or undefined for any text. Those of the call before are no longer valid.
   * @param ignoreEos no stop token: the answer goes on as long as the format allows
   */
  stagesOf(format: ResponseFormat, ignoreEos: boolean): ((room: number) => LogitsStage) | undefined;
}

/** The formats of a model's answers: what is made of its vocabulary is made once. */
export function createFormats(
  vocab: number,
  { bytesOf }: Pick<Tokenizer, 'bytesOf'>,
  stopTokens: ReadonlySet<number>,
): Formats {
  const textOf = (token: number): Uint8Array => (stopTokens.has(token) ? new Uint8Array() : bytesOf(token));
  let trie: TokenTrie | undefined;
  const kept = new Map<string, Compiled>();

  function compile(format: ResponseFormat): Compiled | undefined {
    const key = JSON.stringify(format);
    const known = kept.get(key);
    kept.delete(key);
    const grammar = known ? undefined : grammarOf(format);
    if (!known && !grammar) return undefined;
    trie ??= createTokenTrie(vocab, textOf);
    const { single } = trie;
    const compiled = known ?? {
      recogniser: createRecogniser(grammar!, (byte) => single[byte] === 1),
      masks: new Map(),
    };
    kept.set(key, compiled); // the last one is the latest
    if (kept.size > MOST_FORMATS) kept.delete(kept.keys().next().value!);
    return compiled;
  }

  return {
    stagesOf(format, ignoreEos) {
      const compiled = compile(format);
      if (!compiled) return undefined;
      const ends = ignoreEos ? [] : [...stopTokens].filter((token) => token < vocab);
      const places: { state: number }[] = []; // of all answers of this call
      return (room) => {
        const place = { state: compiled.recogniser.start };
        places.push(place);
        return formatStage(compiled, trie!, place, places, room, ends, textOf);
      };
    },
  };
}

function formatStage(
  { recogniser, masks }: Compiled,
  trie: TokenTrie,
  place: { state: number },
  places: { state: number }[],
  room: number,
  ends: readonly number[],
  textOf: (token: number) => Uint8Array,
): LogitsStage {
  let left = room;

  /** The tokens after which the rest still fits into what is left; where not even the shortest does, all. */
  function mask(): TokenMask {
    const kind = recogniser.kind(place.state);
    const closing = recogniser.closing(place.state);
    let known = masks.get(kind);
    if (!known) {
      const made = tokensThatFollow(trie, recogniser, place.state, Infinity);
      known = { mask: made, more: made.closing - closing };
      if (masks.size >= MOST_MASKS) masks.delete(masks.keys().next().value!);
    }
    masks.delete(kind);
    masks.set(kind, known);
    if (closing > left || closing + known.more < left) return known.mask;
    return tokensThatFollow(trie, recogniser, place.state, left - 1);
  }

  const complete = (): boolean => recogniser.closing(place.state) === 0;
  return {
    apply(logits) {
      const kept = complete() ? ends.map((token) => logits[token]!) : [];
      keepTokens(logits, mask());
      for (const [i, logit] of kept.entries()) logits[ends[i]!] = logit;
    },
    accept(token) {
      for (const byte of textOf(token)) place.state = recogniser.step(place.state, byte);
      if (place.state === DEAD) throw new SternaError('worker', 'a token that the format forbids', { got: token });
      left--;
      const states = recogniser.forget(places.map(({ state }) => state));
      if (!states) return;
      masks.clear(); // kinds have other numbers
      for (const [i, each] of places.entries()) each.state = states[i]!;
    },
    format: {
      complete,
      finished: () => recogniser.finished(place.state) || (complete() && ends.length === 0 && mask().count === 0),
      accepts: recogniser.accepts,
    },
  };
}
