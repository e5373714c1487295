/** The settings that were last in use: a new chat begins with them, but for the system prompt, which belongs to its chat. */
import type { ChatSettings } from '../chat/chat';
import { readEngine } from './engine-settings';
import { readSampling } from './sampling';

const storageKey = 'sterna.settings';

/** Empty if there are none, or none that can be used. */
export function readSettings(): ChatSettings {
  try {
    const { sampling, engine } = JSON.parse(localStorage.getItem(storageKey) ?? '{}');
    return { sampling: readSampling(sampling ?? {}), engine: readEngine(engine ?? {}) };
  } catch {
    return { sampling: {}, engine: {} };
  }
}

/** Keeps settings for the chats to come, where the browser allows it. */
export function writeSettings({ sampling, engine }: ChatSettings): void {
  try {
    localStorage.setItem(storageKey, JSON.stringify({ sampling: { ...sampling, systemPrompt: undefined }, engine }));
  } catch {
    // Storage is blocked: the settings hold until the tab is closed.
  }
}
