/**
 * A BPE vocabulary in the form in which the store keeps it, and what is made of it. Llama 3's 128,000 tokens and 280,147
 * merges are read from it in a tenth of the time that their tokenizer.json takes (docs/speed.md), into half the memory.
 */

export interface Vocabulary {
  /** The tokens: by id, where there are no `ids`. */
  texts: string[];
  /** The ids of the tokens, where they are not 0, 1, 2 and so on. */
  ids?: number[];
  /** Texts of merges that are no tokens. */
  parts: string[];
  /** Two numbers a merge, the best merge first: places in `texts`, then in `parts`; -1 twice for a merge of no two texts. */
  merges: number[];
}

/** A merge as tokenizer.json has it: "left right" or ["left", "right"]. */
export type Merge = string | [string, string];

/** From the `model.vocab` and `model.merges` of a tokenizer.json. */
export function vocabularyOf(vocab: Record<string, number>, merges: Merge[]): Vocabulary {
  const entries = Object.entries(vocab);
  const byId = new Array<string>(entries.length);
  let dense = true;
  for (const [text, id] of entries) {
    dense &&= id < entries.length && byId[id] === undefined;
    byId[id] = text;
  }
  const texts = dense ? byId : entries.map(([text]) => text);
  const places = new Map(texts.map((text, place) => [text, place]));
  const parts: string[] = [];
  const placeOf = (text: string): number => {
    let place = places.get(text);
    if (place === undefined) {
      place = texts.length + parts.push(text) - 1;
      places.set(text, place);
    }
    return place;
  };
  const pairs = merges.flatMap((merge) => {
    const [left, right] = typeof merge === 'string' ? merge.split(' ', 2) : merge;
    return right === undefined ? [-1, -1] : [placeOf(left!), placeOf(right)];
  });
  return { texts, ...(dense ? {} : { ids: entries.map(([, id]) => id) }), parts, merges: pairs };
}

/** Whether parsed JSON is a vocabulary, with ids that `isId` takes. */
export function isVocabulary(value: unknown, isId: (id: unknown) => boolean): value is Vocabulary {
  const { texts, ids, parts, merges } = (value ?? {}) as Record<string, unknown>;
  const areTexts = (some: unknown): some is string[] =>
    Array.isArray(some) && some.every((one) => typeof one === 'string');
  if (!areTexts(texts) || !areTexts(parts) || !Array.isArray(merges) || merges.length % 2 !== 0) return false;
  const places = texts.length + parts.length;
  return (
    merges.every((place) => Number.isInteger(place) && place >= -1 && place < places) &&
    (ids === undefined
      ? isId(Math.max(0, texts.length - 1))
      : Array.isArray(ids) && ids.length === texts.length && ids.every(isId))
  );
}

/** The id of each token by its text, and its text by its id. */
export function tokenTables({ texts, ids }: Vocabulary): { idOf: Map<string, number>; textOf: string[] } {
  const idOf = new Map<string, number>();
  const textOf = new Array<string>(texts.length);
  for (const [place, text] of texts.entries()) {
    const id = ids ? ids[place]! : place;
    idOf.set(text, id);
    textOf[id] = text;
  }
  return { idOf, textOf };
}

/** The rank of the merge of two texts, 0 the best; undefined if there is none. Of a merge that is there twice, the last. */
export function mergeRanks({ texts, parts, merges }: Vocabulary): (left: string, right: string) => number | undefined {
  const places = new Map<string, number>();
  for (const [place, text] of texts.entries()) places.set(text, place);
  for (const [place, text] of parts.entries()) places.set(text, texts.length + place);

  // Open addressing, at most half full: 1 + rank, 0 for nothing.
  const bits = Math.max(1, Math.ceil(Math.log2(merges.length + 1)));
  const table = new Int32Array(2 ** bits);
  /** Where the pair is in the table, or would be. */
  const slotOf = (left: number, right: number): number => {
    // two odd multipliers (of xxHash); the high bits of the product are the mixed ones
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77)) >>> (32 - bits);
    for (;;) {
      const at = 2 * (table[slot]! - 1);
      if (at < 0 || (merges[at] === left && merges[at + 1] === right)) return slot;
      slot = (slot + 1) & (table.length - 1);
    }
  };
  for (let rank = 0; rank < merges.length / 2; rank++) {
    const [left, right] = [merges[2 * rank]!, merges[2 * rank + 1]!];
    if (left >= 0 && right >= 0) table[slotOf(left, right)] = rank + 1;
  }
  return (left, right) => {
    const [a, b] = [places.get(left), places.get(right)];
    if (a === undefined || b === undefined) return undefined;
    const found = table[slotOf(a, b)]!;
    return found === 0 ? undefined : found - 1;
  };
}
