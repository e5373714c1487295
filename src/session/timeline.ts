/**
 * The token ids of a session as its conversation grows: what was read and written stays as it was, where the chat
 * template still renders it to the same text.
 */
import { createTextDecoder, type Tokenizer } from '../text/tokenizer';

type Ids = readonly number[];

/** Ids by the special tokens in them: each piece is the text before one, and ends with it; the last ends with none. */
function piecesOf(tokenizer: Tokenizer, ids: Ids): { text: Ids; special: number | undefined }[] {
  const pieces: { text: Ids; special: number | undefined }[] = [];
  let from = 0;
  for (const [i, id] of ids.entries()) {
    if (!tokenizer.special(id)) continue;
    pieces.push({ text: ids.slice(from, i), special: id });
    from = i + 1;
  }
  return [...pieces, { text: ids.slice(from), special: undefined }];
}

/** The text of ordinary tokens, with the blank that SentencePiece puts in front. */
function textOf(tokenizer: Tokenizer, ids: Ids): string {
  const decoder = createTextDecoder(tokenizer);
  return ids.map(decoder.push).join('') + decoder.end();
}

/**
 * The ids of a conversation that goes on from a timeline. A rendered conversation is tokenised piece by piece between its
 * special tokens; as long as the pieces of both are the same text, the timeline's ids are kept: an answer stays the
 * tokens that were sampled, also where its text would be tokenised otherwise. From the first piece of another text on
 * (a template that trims or leaves out what was said, a stop string, turns that were dropped) the rendered ids count.
 * @param known ids of the timeline so far
 * @param rendered ids of the whole conversation, as encodeChat() gives them
 */
export function continueTimeline(tokenizer: Tokenizer, known: Ids, rendered: Ids): number[] {
  const [had, wanted] = [piecesOf(tokenizer, known), piecesOf(tokenizer, rendered)];
  const ids: number[] = [];
  let at = 0; // pieces that are the same
  for (const [i, piece] of wanted.entries()) {
    const old = had[i];
    if (!old) break;
    const [before, now] = [textOf(tokenizer, old.text), textOf(tokenizer, piece.text)];
    if (before === now && (old.special === piece.special || i === had.length - 1)) {
      for (const id of old.text) ids.push(id);
    } else if (i === had.length - 1 && old.special === undefined && now.startsWith(before)) {
      // the text goes on after what is known; what a tokenizer puts in front of a text cannot be in the middle of one
      const rest = tokenizer.encode(now.slice(before.length));
      if (textOf(tokenizer, rest) !== now.slice(before.length)) break;
      for (const id of [...old.text, ...rest]) ids.push(id);
    } else break;
    if (piece.special !== undefined) ids.push(piece.special);
    at = i + 1;
    if (old.special !== piece.special) break;
  }
  for (const { text, special } of wanted.slice(at)) {
    for (const id of text) ids.push(id);
    if (special !== undefined) ids.push(special);
  }
  return ids;
}
