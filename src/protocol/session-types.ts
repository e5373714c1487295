/** The public types of sessions, and what crosses the thread for them. */
import type { GenerateResult, Message, Tool } from './generate-types';

/** What a session does when its conversation does not fit the context any more. */
export type WhenFull = 'error' | 'stop' | 'drop-oldest';

export interface SessionOptions {
  /** The system prompt: the first message, of role `system`. */
  system?: string;
  /** What has been said already. It is read with the first `append` or `chat`. */
  messages?: Message[];
  /**
   * Functions that the model may call: what `chat` is given where its own options name none. Templates tell of them at the
   * beginning: a call with others, or with `toolChoice: 'none'`, has the conversation read anew.
   */
  tools?: Tool[];
  /**
   * What to do where the context is full. `stop` (default): an answer ends with finishReason `length` at the end of the
   * context, and the next call rejects with `context-full`. `error`: a call rejects with `context-full`, before anything is
   * computed, unless the prompt and `maxTokens` (1 without) fit. `drop-oldest`: before the prompt is rendered, whole turns
   * (a message of the user and what follows it) are dropped, the oldest first, until there is room for `maxTokens`, or for
   * a quarter of the context where they are not given; system messages at the beginning stay, and so does the last turn:
   * where that alone leaves less room, the answer gets what is left, and `context-full` is for a prompt that leaves none.
   */
  whenFull?: WhenFull;
}

/** An answer of a session. */
export interface SessionResult extends GenerateResult {
  /** Messages that were dropped from the session to make room for this answer (`drop-oldest`). */
  droppedMessages: number;
}

/** How a session came back: keys and values as they were saved, or computed anew from its tokens, and then why. */
export interface Restored {
  from: 'cache' | 'prefill';
  why: string | undefined;
  ms: number;
}

/** Bytes of keys and values read from storage (`cache`), or tokens computed (`prefill`). */
export interface RestoreProgress {
  phase: Restored['from'];
  done: number;
  total: number;
}

/** A session in the browser's storage. */
export interface SavedSession {
  /** For `model.restoreSession()` and `deleteSession()`. */
  id: string;
  name: string;
  /** The model that it belongs to, as in `ModelInfo`. */
  model: { name: string; version: string };
  /** How many messages and tokens it has. */
  messages: number;
  tokens: number;
  /** Bytes it takes. */
  bytes: number;
  savedAt: Date;
  usedAt: Date;
}

/** What a session is between two calls, apart from keys and values: plain data, which the page keeps. */
export interface SessionState {
  messages: Message[];
  /** The ids of what has been read and written. */
  ids: number[];
  whenFull: WhenFull;
  tools?: Tool[];
  /** Messages that were dropped since it began. */
  dropped: number;
}

/** A session's call on the engine. `owner` names the session among those of this model. */
export interface SessionCall {
  owner: number;
  state: SessionState;
}
