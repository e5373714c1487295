/** Whether a conversation fits the context, and what is left out of it where it may be. */
import { SternaError } from '../errors';
import type { Message } from '../protocol/generate-types';
import type { WhenFull } from '../protocol/session-types';

/** The part of the context that `drop-oldest` keeps for an answer of unknown length. */
const ROOM_SHARE = 1 / 4;

export interface Fitting {
  whenFull: WhenFull;
  contextLength: number;
  /** Most tokens of the answer, where that is known. */
  maxTokens: number | undefined;
}

/** Where turns begin: the first message after the system prompt, and each message of the user after it. */
function turnsOf(messages: Message[]): { system: number; starts: number[] } {
  const first = messages.findIndex(({ role }) => role !== 'system');
  const system = first < 0 ? messages.length : first;
  const starts = messages.flatMap(({ role }, i) => (i > system && role === 'user' ? i : []));
  return { system, starts: system < messages.length ? [system, ...starts] : [] };
}

/**
 * The messages that go into the prompt, and its ids.
 * @param render ids of the prompt of some messages
 * @throws SternaError `context-full`: see SessionOptions.whenFull; what `render` throws
 */
export function fitMessages(
  messages: Message[],
  render: (messages: Message[]) => number[],
  { whenFull, contextLength, maxTokens }: Fitting,
): { messages: Message[]; ids: number[]; dropped: number } {
  const room = {
    error: maxTokens ?? 1,
    stop: 1,
    'drop-oldest': maxTokens ?? Math.floor(contextLength * ROOM_SHARE),
  }[whenFull];
  let kept = messages;
  let ids = render(kept);
  while (whenFull === 'drop-oldest' && ids.length + room > contextLength) {
    const { system, starts } = turnsOf(kept);
    if (starts.length < 2) break;
    kept = [...kept.slice(0, system), ...kept.slice(starts[1])];
    ids = render(kept);
  }
  const needed = whenFull === 'error' ? room : 1;
  if (ids.length + needed > contextLength) {
    const facts = { got: ids.length, expected: `at most ${contextLength - needed}` };
    throw new SternaError('context-full', 'the tokens of the session leave no room for an answer', facts);
  }
  return { messages: kept, ids, dropped: messages.length - kept.length };
}
