/** Stop strings: find them in text that arrives in pieces, and show nothing of them. */
import { SternaError } from '../errors';

export interface StopMatcher {
  /** Takes the next piece; returns the text that is safe to show. After `stopped` all further text is dropped. */
  push(text: string): { text: string; stopped: boolean };
  /** The text still held back when the answer ends without a match. */
  end(): string;
}

/**
 * A matcher for `stops`. It holds back text that may be the beginning of a stop string until this is decided.
 * The match that is complete first wins (of several that end together, the longest), so that the result does not
 * depend on how the text is cut into pieces. Throws `bad-input` for an empty stop string.
 */
export function createStopMatcher(stops: readonly string[]): StopMatcher {
  for (const stop of stops) {
    if (typeof stop !== 'string' || stop === '') {
      throw new SternaError('bad-input', 'bad stop string', { expected: 'non-empty text', got: JSON.stringify(stop) });
    }
  }
  const longest = stops.reduce((length, stop) => Math.max(length, stop.length), 0);
  let held = '';
  let stopped = false;

  /** Where the winning match starts in `text`, or -1. */
  function find(text: string): number {
    let start = -1;
    let end = Infinity;
    for (const stop of stops) {
      const at = text.indexOf(stop);
      if (at < 0) continue;
      if (at + stop.length < end || (at + stop.length === end && at < start)) {
        start = at;
        end = at + stop.length;
      }
    }
    return start;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  function openLength(text: string): number {
    for (let length = Math.min(longest - 1, text.length); length > 0; length--) {
      const tail = text.slice(-length);
      if (stops.some((stop) => stop.startsWith(tail))) return length;
    }
    return 0;
  }

  return {
    push(text) {
      if (stopped) return { text: '', stopped };
      const all = held + text;
      const start = find(all);
      stopped = start >= 0;
      const safe = stopped ? start : all.length - openLength(all);
      held = stopped ? '' : all.slice(safe);
      return { text: all.slice(0, safe), stopped };
    },
    end() {
      const rest = held;
      held = '';
      return rest;
    },
  };
}
