/** The engine's calls of a session: its prompts, reading ahead, saving and coming back. */

import type { LoadedModel } from '../engine/loader';
import { SternaError } from '../errors';
import { checkIds } from '../generate/generate';
import { cachePieces, prefill } from '../generate/session';
import { releaseSlots, type Slot, slotWithMost, takeSlots } from '../generate/slots';
import type { Message } from '../protocol/generate-types';
import type { Conversation } from '../protocol/protocol';
import type { RestoreProgress, SessionCall, SessionState } from '../protocol/session-types';
import { openStore, type Store } from '../store/store';
import { type CacheMark, type ModelMark, type StoredSession, saveSession, withSession } from '../store/store-sessions';
import type { Tokenizer } from '../text/tokenizer';
import { fitMessages } from './session-fit';
import { bytesOf, cacheMark, modelMark, readPieces, writePieces } from './session-keep';
import { continueTimeline } from './timeline';

/** What a call works with. */
export interface SessionContext {
  model: LoadedModel;
  tokenizer: Tokenizer;
  slots: Slot[];
  /** Ids of a conversation as the template has it. */
  render(conversation: Conversation, addGenerationPrompt: boolean): number[];
  aborted: () => boolean;
  yieldToMessages: () => Promise<void>;
}

/**
 * The prompt of a session's next answer, or what it holds without one.
 * @param maxTokens of the answer
 * @throws SternaError `context-full`, and as encodeChat()
 */
export function sessionPrompt(
  { model, tokenizer, render }: Pick<SessionContext, 'model' | 'tokenizer' | 'render'>,
  state: SessionState,
  addGenerationPrompt: boolean,
  maxTokens?: number,
): SessionState {
  const { ids: known, whenFull, tools } = state;
  const { contextLength } = model.info;
  const tokenise = (messages: Message[]): number[] =>
    continueTimeline(tokenizer, known, render({ messages, tools }, addGenerationPrompt));
  const { messages, ids, dropped } = fitMessages(state.messages, tokenise, { whenFull, contextLength, maxTokens });
  return { ...state, messages, ids, dropped: state.dropped + dropped };
}

async function between({ aborted, yieldToMessages }: SessionContext): Promise<void> {
  await yieldToMessages();
  if (aborted()) throw new SternaError('aborted', "the session's call was aborted");
}

/**
 * Tells the page how far a call has come. What it returns is awaited where the last word must be heard before the reply,
 * which comes over another channel.
 */
type Tell<Args extends unknown[]> = (...args: Args) => unknown;

/** Brings a session's tokens into a slot of its own. What was computed stays there when it is aborted. */
async function bring(
  context: SessionContext,
  owner: number,
  ids: number[],
  onProgress: Tell<[done: number]>,
): Promise<void> {
  const { pool, memory } = context.model;
  checkIds(ids, pool.plan);
  const [slot] = takeSlots(memory, pool.plan, context.slots, ids, 1, owner);
  const goOn = async (): Promise<boolean> => {
    await context.yieldToMessages();
    return !context.aborted();
  };
  let heard: unknown;
  const { complete } = await prefill(pool, slot!, ids, goOn, 0, (done) => {
    heard = onProgress(done);
  });
  if (!complete) throw new SternaError('aborted', 'reading the messages of the session was aborted');
  await heard;
}

/**
 * Reads a session's messages now.
 * @returns the session as it is then
 * @throws SternaError `aborted`, and as sessionPrompt()
 */
export async function extendSession(
  context: SessionContext,
  { owner, state }: SessionCall,
  onProgress: Tell<[done: number, total: number]>,
): Promise<SessionState> {
  const next = sessionPrompt(context, state, false);
  await bring(context, owner, next.ids, (done) => onProgress(done, next.ids.length));
  return next;
}

async function needStore(): Promise<Store> {
  const store = await openStore();
  if (store) return store;
  const facts = { got: 'none', expected: 'IndexedDB on a secure page' };
  throw new SternaError('unsupported', 'this browser gives the page no storage', facts);
}

/**
 * Saves a session. Where its slot has been taken over, it is computed again first.
 * @returns the bytes that it takes
 * @throws SternaError `quota`, `busy` (another tab), `unsupported` without storage, `aborted`; what was saved before stays
 */
export async function keepSession(
  context: SessionContext,
  { owner, state }: SessionCall,
  { id, name }: { id: string; name: string },
  onProgress: Tell<[done: number, total: number]>,
): Promise<number> {
  const { model, slots } = context;
  const { memory, pool } = model;
  const { ids, ...rest } = state;
  const store = await needStore();
  // the last token of an answer has not been through the model yet
  if (ids.length > 1 && slotWithMost(slots, ids).common < ids.length - 1) await bring(context, owner, ids, () => {});
  const { slot, common: positions } = slotWithMost(slots, ids);
  const pieces = cachePieces(pool.plan, slot.sequence, 0, positions);
  const cacheBytes = bytesOf(pieces);
  const [mark, cache] = [await modelMark(model), await cacheMark(model)];
  const counts = { messages: rest.messages.length, tokens: ids.length, positions };
  const description = { model: mark, cache, ...counts };
  return saveSession(store, { id, name, description, text: JSON.stringify(state), cacheBytes }, (stored) =>
    writePieces(store, stored, memory, pieces, async (done) => {
      await onProgress(done, cacheBytes);
      await between(context);
    }),
  );
}

/** What a restored session comes back with. `why`: what kept its keys and values from being used. */
export interface RestoredSession {
  state: SessionState;
  name: string;
  why: string | undefined;
}

function checkModel(stored: ModelMark, own: ModelMark): void {
  const names: [keyof ModelMark, string][] = [
    ['name', 'the session was saved with another model'],
    ['version', 'the session was saved with another version of the model'],
    ['weights', 'the session was saved with other weights'],
  ];
  for (const [field, what] of names) {
    // picked files may be called anything
    if (stored[field] === own[field] || (field === 'name' && own.weights !== '' && stored.weights !== '')) continue;
    throw new SternaError('bad-input', what, { got: own[field], expected: stored[field] });
  }
}

/** Why keys and values that were saved cannot be used here; undefined where they can. */
function otherCache(stored: CacheMark, own: CacheMark): string | undefined {
  const field = (Object.keys(own) as (keyof CacheMark)[]).find((one) => stored[one] !== own[one]);
  return field && `${field} is ${own[field]} here, and was ${stored[field]} when it was saved`;
}

/**
 * Brings a saved session back: its keys and values as they were saved; where they are damaged, or belong to another kind
 * of cache, computed anew from its tokens.
 * @throws SternaError `bad-input` if there is no such session, or it belongs to another model or version of it; `bad-file`
 * if its messages are damaged; `busy` (another tab), `context-full`, `unsupported` without storage, `aborted`
 */
export async function restoreSession(
  context: SessionContext,
  owner: number,
  id: string,
  onProgress: Tell<[RestoreProgress]>,
): Promise<RestoredSession> {
  const store = await needStore();
  return withSession(store, id, async (stored) => {
    checkModel(stored.description.model, await modelMark(context.model));
    const text = await store.readText(stored);
    if (text === undefined) {
      const facts = { file: stored.name || id, got: 'other bytes', expected: 'what was saved' };
      throw new SternaError('bad-file', 'the messages of the saved session are damaged', facts);
    }
    const state = JSON.parse(text) as SessionState;
    const { name } = stored;
    const why = await readCache(context, owner, store, stored, state.ids, onProgress);
    await store.touch(stored).catch(() => {}); // when it was used is no reason not to use it
    if (why === undefined || state.ids.length === 0) return { state, name, why };
    const onPrefill = (done: number, total: number): unknown => onProgress({ phase: 'prefill', done, total });
    const { contextLength } = context.model.info;
    if (state.ids.length > contextLength) {
      return { state: await extendSession(context, { owner, state }, onPrefill), name, why };
    }
    await bring(context, owner, state.ids, (done) => onPrefill(done, state.ids.length));
    return { state, name, why };
  });
}

/** Reads keys and values into a slot. What kept it from that, in words; undefined where they are there. */
async function readCache(
  context: SessionContext,
  owner: number,
  store: Store,
  stored: StoredSession,
  ids: number[],
  onProgress: Tell<[RestoreProgress]>,
): Promise<string | undefined> {
  const { memory, pool } = context.model;
  const { positions, cache } = stored.description;
  const other = otherCache(cache, await cacheMark(context.model));
  if (other !== undefined) return other;
  if (ids.length > pool.plan.contextLength) return `the context is ${pool.plan.contextLength} tokens here`;
  const [slot] = takeSlots(memory, pool.plan, context.slots, [], 1, owner);
  slot!.tokens = [];
  const pieces = cachePieces(pool.plan, slot!.sequence, 0, positions);
  const total = bytesOf(pieces);
  const whole = await readPieces(store, stored, memory, pieces, async (done) => {
    await onProgress({ phase: 'cache', done, total });
    await between(context);
  });
  if (!whole) {
    releaseSlots(context.slots, owner);
    return 'the saved keys and values are damaged';
  }
  slot!.tokens = ids.slice(0, positions);
  return undefined;
}
