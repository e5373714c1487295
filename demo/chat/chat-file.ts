/** Chats as a JSON file, to take along and to bring back. */
import { SternaError } from '../../src/index';
import { readEngine } from '../settings/engine-settings';
import { readSampling } from '../settings/sampling';
import { type Chat, endUnder, type Figures, type Turn } from './chat';

const format = 'sterna-chats';
const version = 1;
/** A file larger than this (bytes) is no collection of chats. */
const largest = 100e6;

/** The text of a file with these chats. */
export const chatFile = (chats: readonly Chat[]): string =>
  JSON.stringify({ format, version, exportedAt: new Date().toISOString(), chats }, undefined, 1);

/** A name for the file: of the chat, if it is one, and of the day. */
export function chatFileName(chats: readonly Chat[]): string {
  const day = new Date().toISOString().slice(0, 10);
  const words = chats.length === 1 ? chats[0]!.title.toLowerCase().match(/[\p{L}\p{N}]+/gu) : null;
  return `sterna-${words ? words.slice(0, 6).join('-') : 'chats'}-${day}.json`;
}

type Fields = Record<string, unknown>;

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 60);

/** One check of an imported file: throws with the place, what is wanted there and what was found. */
function want<T>(file: string, place: string, expected: string, value: unknown, fits: (value: unknown) => boolean): T {
  if (!fits(value)) throw new SternaError('bad-file', place, { file, expected, got: shown(value) });
  return value as T;
}

const isRecord = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const isId = (value: unknown): boolean => typeof value === 'string' && /^[\w-]{1,64}$/.test(value);
const isTime = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= 8.64e15;
const isCount = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/**
 * The chats of a file.
 * @throws SternaError `bad-file`: which place of the file is not as it must be
 */
export async function readChatFile(file: File): Promise<Chat[]> {
  if (file.size > largest) {
    throw new SternaError('bad-file', 'too large', { file: file.name, expected: `${largest} bytes`, got: file.size });
  }
  const text = await file.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SternaError('bad-file', 'not JSON', {
      file: file.name,
      expected: 'a file that Sterna has exported',
      got: shown(text),
    });
  }
  const check = <T>(place: string, expected: string, found: unknown, fits: (value: unknown) => boolean) =>
    want<T>(file.name, place, expected, found, fits);
  const outer = check<Fields>('the file', 'a record', value, isRecord);
  check('format', format, outer.format, (found) => found === format);
  check('version', String(version), outer.version, (found) => found === version);
  return check<unknown[]>('chats', 'a list', outer.chats, Array.isArray).map((chat, index) =>
    readChat(`chats[${index}]`, chat, check),
  );
}

type Check = <T>(place: string, expected: string, found: unknown, fits: (value: unknown) => boolean) => T;

function readChat(place: string, value: unknown, check: Check): Chat {
  const chat = check<Fields>(place, 'a record', value, isRecord);
  const settings = (isRecord(chat.settings) ? chat.settings : {}) as Fields;
  const part = (key: string) => (isRecord(settings[key]) ? settings[key] : {}) as Fields;
  const seen = new Map<string, Turn>();
  const list = check<unknown[]>(`${place}.turns`, 'a list', chat.turns, Array.isArray);
  for (const [index, item] of list.entries()) {
    const turn = readTurn(`${place}.turns[${index}]`, item, seen, check);
    seen.set(turn.id, turn);
  }
  const turns = [...seen.values()];
  const newest = turns[0] ? endUnder({ turns }, turns[0].id) : null;
  return {
    id: check(`${place}.id`, 'an id', chat.id, isId),
    title: check<string>(`${place}.title`, 'a text', chat.title, isText).slice(0, 200),
    createdAt: check(`${place}.createdAt`, 'a time in ms', chat.createdAt, isTime),
    changedAt: check(`${place}.changedAt`, 'a time in ms', chat.changedAt, isTime),
    settings: { sampling: readSampling(part('sampling')), engine: readEngine(part('engine')) },
    turns,
    leaf: seen.has(chat.leaf as string) ? (chat.leaf as string) : newest,
  };
}

/** `seen`: the turns before it, one of which it must follow, so that turns make a tree. */
function readTurn(place: string, value: unknown, seen: ReadonlyMap<string, Turn>, check: Check): Turn {
  const turn = check<Fields>(place, 'a record', value, isRecord);
  const id = check<string>(`${place}.id`, 'an id', turn.id, isId);
  check(`${place}.id`, 'an id of its own', id, () => !seen.has(id));
  const isRole = (role: unknown) => role === 'user' || role === 'assistant';
  const role = check<Turn['role']>(`${place}.role`, 'user or assistant', turn.role, isRole);
  const follows = (parent: unknown) =>
    role === 'user'
      ? parent === null || seen.get(parent as string)?.role === 'assistant'
      : seen.get(parent as string)?.role === 'user';
  const expected = role === 'user' ? 'the id of an earlier answer, or null' : 'the id of an earlier question';
  return {
    id,
    parent: check(`${place}.parent`, expected, turn.parent, follows),
    role,
    text: check(`${place}.text`, 'a text', turn.text, isText),
    at: check(`${place}.at`, 'a time in ms', turn.at, isTime),
    ...(turn.figures !== undefined && { figures: readFigures(`${place}.figures`, turn.figures, check) }),
    ...(role === 'assistant' && turn.unfinished === true && turn.figures === undefined && { unfinished: true }),
  };
}

function readFigures(place: string, value: unknown, check: Check): Figures {
  const figures = check<Fields>(place, 'a record', value, isRecord);
  const [usage, timings] = ['usage', 'timings'].map((key) =>
    check<Fields>(`${place}.${key}`, 'a record', figures[key], isRecord),
  );
  const number = (key: string, from: Fields = figures) =>
    check<number>(`${place}.${key}`, 'a number', from[key], isCount);
  return {
    model: check(`${place}.model`, 'a text', figures.model, isText),
    contextLength: number('contextLength'),
    finishReason: check(`${place}.finishReason`, 'stop, length or abort', figures.finishReason, (reason) =>
      ['stop', 'length', 'abort'].includes(reason as string),
    ),
    seed: number('seed'),
    usage: {
      promptTokens: number('promptTokens', usage),
      cachedTokens: number('cachedTokens', usage),
      completionTokens: number('completionTokens', usage),
    },
    timings: {
      promptMs: number('promptMs', timings),
      firstTokenMs: number('firstTokenMs', timings),
      decodeMs: number('decodeMs', timings),
      promptTokensPerSecond: number('promptTokensPerSecond', timings),
      decodeTokensPerSecond: number('decodeTokensPerSecond', timings),
    },
  };
}
