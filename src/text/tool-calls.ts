/** Reads the calls of tools out of an answer, as its text arrives. */

import { isObject } from '../json';
import type { ToolCall } from '../protocol/generate-types';
import type { ToolFormat } from './tool-format';

/** What is sure by now: text of the answer, and calls. */
export interface Read {
  text: string;
  calls: ToolCall[];
}

export interface CallReader {
  /** Takes the next piece of the answer. Text that may be a call, or the white space before one, is held back. */
  push(piece: string): Read;
  /** What was still held back. */
  end(): Read;
}

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';

/** The place after the JSON object or list that begins at `from`; undefined if the text ends before it does. */
function endOfJson(text: string, from: number): number | undefined {
  let depth = 0;
  let inText = false;
  for (let i = from; i < text.length; i++) {
    const char = text[i];
    if (inText) {
      if (char === '\\') i++;
      else if (char === '"') inText = false;
    } else if (char === '"') inText = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return i + 1;
  }
  return undefined;
}

const newId = (): string =>
  `call_${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

/** One call, `{name, arguments}` or `{name, parameters}`; undefined if it is none, or of a function that is not there. */
function callOf(value: unknown, names: ReadonlySet<string>): ToolCall | undefined {
  if (!isObject(value) || typeof value.name !== 'string' || !names.has(value.name)) return undefined;
  const given = value.arguments ?? value.parameters ?? {};
  if (!isObject(given)) return undefined;
  return { id: newId(), type: 'function', function: { name: value.name, arguments: JSON.stringify(given) } };
}

/** The calls that a JSON text holds, one or a list; undefined if there is anything else in it. */
function callsOf(json: string, names: ReadonlySet<string>): ToolCall[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  const calls = (Array.isArray(value) ? value : [value]).map((each) => callOf(each, names));
  return calls.length > 0 && calls.every((call) => call !== undefined) ? (calls as ToolCall[]) : undefined;
}

/** What was found in the text: a call that may begin at `start`, and, once it is decided, its end and its calls. */
interface Found {
  start: number;
  /** Not there: it is not decided yet. */
  end?: number;
  /** Not there: it is text up to `end`. */
  calls?: ToolCall[];
}

/** Where the next call in `text` begins and ends; undefined if there is none. */
type Find = (text: string, names: ReadonlySet<string>, atEnd: boolean, begins: boolean) => Found | undefined;

/** `<tool_call>`, one JSON value, `</tool_call>`, which may be missing at the end of the answer. */
const findHermes: Find = (text, names, atEnd) => {
  const start = text.indexOf(OPEN);
  if (start < 0) {
    for (let length = Math.min(OPEN.length - 1, text.length); length > 0; length--) {
      if (OPEN.startsWith(text.slice(-length))) return { start: text.length - length };
    }
    return undefined;
  }
  const inside = start + OPEN.length;
  const json = inside + /^\s*/.exec(text.slice(inside))![0].length;
  if (json === text.length) return { start };
  if (!'{['.includes(text[json]!)) return { start, end: inside };
  const end = endOfJson(text, json);
  if (end === undefined) return { start };
  const calls = callsOf(text.slice(json, end), names);
  if (!calls) return { start, end: inside };
  const rest = text.slice(end).trimStart();
  if (rest.startsWith(CLOSE)) return { start, end: text.length - rest.length + CLOSE.length, calls };
  if (!CLOSE.startsWith(rest)) return { start, end: inside };
  return atEnd ? { start, end: text.length, calls } : { start };
};

/** A JSON object whose first field is that of a call, at the beginning of a line or after another call. */
const findObject: Find = (text, names, _, begins) => {
  for (const { index, 1: before = '' } of text.matchAll(/(^|\n)[ \t]*(?=\{)/g)) {
    if (index === 0 && before === '' && !begins) continue;
    const start = text.indexOf('{', index);
    const first = /^\{\s*(?:$|"([^"\\]*)("?))/.exec(text.slice(start));
    const field = first?.[1] ?? '';
    const possible = ['name', 'type', 'arguments', 'parameters'];
    if (!first || !possible.some((name) => (first[2] ? name === field : name.startsWith(field)))) continue;
    const end = endOfJson(text, start);
    if (end === undefined) return { start };
    const calls = callsOf(text.slice(start, end), names);
    return { start, end, calls };
  }
  return undefined;
};

/**
 * Reads calls in one of the forms of `ToolFormat`, or `json`: an answer that is nothing but the object of a call. What
 * looks like a call but is not well-formed, or names no known function, stays text. White space between text and a call,
 * and after one, is left out.
 * @param functions the names that may be called
 */
export function createCallReader(format: ToolFormat | 'json', functions: readonly string[]): CallReader {
  const names = new Set(functions);
  const find = format === 'hermes' ? findHermes : findObject;
  const between = format === 'hermes' ? /^\s+/ : /^[\s;]+/; // Llama puts semicolons between calls
  let held = '';
  /** The last thing read was a call. */
  let afterCall = false;
  /** `held` is at the beginning of a line. */
  let begins = true;

  function read(atEnd: boolean): Read {
    let text = '';
    const calls: ToolCall[] = [];
    const release = (length: number): void => {
      if (length > 0) {
        text += held.slice(0, length);
        afterCall = false;
        begins = held[length - 1] === '\n';
        held = held.slice(length);
      }
    };
    for (;;) {
      if (afterCall) held = held.replace(between, '');
      const found = find(held, names, atEnd, begins);
      const before = found ? found.start : held.length;
      const blank = /\s*$/.exec(held.slice(0, before))![0].length;
      if (found?.calls) {
        release(before - blank);
        held = held.slice(blank + found.end! - before);
        calls.push(...found.calls);
        afterCall = true;
        begins = true;
        continue;
      }
      if (found?.end !== undefined) {
        release(found.end);
        continue;
      }
      release(atEnd ? held.length : before - blank);
      return { text, calls };
    }
  }
  return {
    push: (piece) => {
      held += piece;
      return read(false);
    },
    end: () => read(true),
  };
}
