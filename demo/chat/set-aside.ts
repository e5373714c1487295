/**
 * What the store had not confirmed when the page was closed, in localStorage. IndexedDB commits later, and a page that is closing
 * has no later; localStorage is written before the call returns. The next page that reads the chats puts it into the store.
 */
import type { Chat } from './chat';

const prefix = 'sterna.aside.';

/** A chat, or null for one that was deleted, and the text that it was read from. */
export interface Aside {
  readonly id: string;
  readonly chat: Chat | null;
  readonly text: string;
}

/** Sets a chat aside, or (null) that it is deleted. @returns the text written, also where localStorage is blocked or full */
export function setAside(id: string, chat: Chat | null): string {
  const text = JSON.stringify(chat);
  try {
    localStorage.setItem(prefix + id, text);
  } catch {
    // the store may still have it
  }
  return text;
}

/** All that is set aside, by any tab. */
export function asides(): Aside[] {
  try {
    return Object.entries(localStorage)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, text]) => ({ id: key.slice(prefix.length), chat: JSON.parse(text) as Chat | null, text }));
  } catch {
    return [];
  }
}

/** Drops what is in the store by now, unless another tab has set something else aside since. */
export function dropAside(id: string, text: string): void {
  try {
    if (localStorage.getItem(prefix + id) === text) localStorage.removeItem(prefix + id);
  } catch {
    // blocked: there is nothing
  }
}
