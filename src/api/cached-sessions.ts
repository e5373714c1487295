/** The sessions in the browser's storage, for the page: what is there, and how to get rid of it. No model is needed. */
import type { SavedSession } from '../protocol/session-types';
import { openStore } from '../store/store';
import { removeSession, sessionId, storedSessions } from '../store/store-sessions';

/** The saved sessions, the last used first; none where the browser gives no storage. */
export async function listSessions(): Promise<SavedSession[]> {
  const store = await openStore();
  const stored = store ? await storedSessions(store) : [];
  return stored.map((session) => {
    const { name, version } = session.description.model;
    const { messages, tokens } = session.description;
    return {
      id: sessionId(session),
      name: session.name,
      model: { name, version },
      messages,
      tokens,
      bytes: session.bytes,
      savedAt: new Date(session.savedAt),
      usedAt: new Date(session.usedAt),
    };
  });
}

/**
 * Deletes a saved session. One that is not there counts as deleted; a session that was restored from it goes on.
 * @throws SternaError `busy` while another tab saves or restores it
 */
export async function deleteSession(id: string): Promise<void> {
  const store = await openStore();
  if (store) await removeSession(store, id);
}
