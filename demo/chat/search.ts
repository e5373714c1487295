/** Finds words in chats. */
import { branch, type Chat, type Turn } from './chat';

/** A chat in which all words were found. */
export interface Hit {
  chat: Chat;
  /** The turn with the first of the words, and the text around it; none where the title has it. */
  turn?: Turn;
  snippet?: readonly [before: string, word: string, after: string];
}

/** Without case and accents, letter by letter, so that places in it are places in the text. */
const folded = (text: string): string =>
  [...text]
    .map((letter) => {
      const plain = letter.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
      return plain.length === letter.length ? plain : letter;
    })
    .join('');

const around = 36; // characters of text on each side of a word

function snippetOf(text: string, at: number, length: number): Hit['snippet'] {
  const flat = (part: string) => part.replace(/\s+/g, ' ');
  const [from, to] = [Math.max(0, at - around), Math.min(text.length, at + length + around)];
  return [
    (from > 0 ? '…' : '') + flat(text.slice(from, at)),
    text.slice(at, at + length),
    flat(text.slice(at + length, to)) + (to < text.length ? '…' : ''),
  ];
}

/** The chats that hold every word of `query`, in title or messages of any branch, in the order given. */
export function search(chats: readonly Chat[], query: string): Hit[] {
  const words = folded(query).split(/\s+/).filter(Boolean);
  return chats.flatMap((chat) => {
    const title = folded(chat.title);
    const shown = new Set(branch(chat));
    const turns = [...chat.turns].sort((a, b) => Number(shown.has(b)) - Number(shown.has(a)));
    const texts = turns.map((turn) => folded(turn.text));
    if (!words.every((word) => title.includes(word) || texts.some((text) => text.includes(word)))) return [];
    const word = words.find((each) => !title.includes(each));
    const index = word === undefined ? -1 : texts.findIndex((text) => text.includes(word));
    if (word === undefined || index < 0) return [{ chat }];
    const turn = turns[index]!;
    return [{ chat, turn, snippet: snippetOf(turn.text, texts[index]!.indexOf(word), word.length) }];
  });
}
