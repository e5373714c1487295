/**
 * The engine: what the engine worker does for the page. It loads one model, is thread 0 of its pool, and works on one
 * request at a time. Control calls come through comlink; tokens go back over a MessagePort; an abort is a word in
 * shared memory, so that it also reaches a worker that is computing (where memory is not shared it is a call, heard
 * between passes).
 */
import { transfer } from 'comlink';
import { createYield } from '../checkpoint/yield';
import { SternaError, toRecord } from '../errors';
import { createPassCosts, type PassCosts } from '../generate/draft';
import { checkTokens, generate } from '../generate/generate';
import type { createFormats, Formats } from '../generate/response-format';
import { evaluate, perplexity, type ScoreContext } from '../generate/score';
import { validateSettings } from '../generate/settings';
import { createSlots, releaseSlots, type Slot, takeScratch } from '../generate/slots';
import { stagesOf } from '../generate/stages';
import { measureBandwidth } from '../model/bandwidth';
import { ABORT, REQUEST } from '../model/memory';
import type { Spawn } from '../model/pool';
import type { Conversation, EngineApi, GenerateMessage, Prompt, Reply } from '../protocol/protocol';
import {
  extendSession,
  keepSession,
  restoreSession,
  type SessionContext,
  sessionPrompt,
} from '../session/session-calls';
import { begunAnswer, encodeChat } from '../text/chat-template';
import { checkRoles } from '../text/roles';
import { encodeOn, type Tokenizer } from '../text/tokenizer';
import { checkTools, checkToolUse } from '../text/tool-format';
import { checkEmbedSettings, embedAll } from './embed';
import { inspect } from './inspect';
import { type LoadedModel, loadModel } from './loader';

async function reply<T>(work: () => T | Promise<T>): Promise<Reply<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: toRecord(error) };
  }
}

/** The engine's calls, to be exposed by its worker. `spawn` starts a kernel worker, `loadFormats` brings what formats need. */
export function createEngine(spawn: Spawn, loadFormats: () => Promise<typeof createFormats>): EngineApi {
  const yieldToMessages = createYield();
  let slots: Slot[] = [];
  let costs: PassCosts;
  let formats: Formats | undefined; // made with the first answer that has one
  let model: LoadedModel | undefined;
  /** Loading or inspecting. */
  let loading: { id: number; controller: AbortController } | undefined;
  let atWork: { id: number; done: Promise<void>; aborted: boolean } | undefined;
  const abortedEarly = new Set<number>(); // requests aborted before they were at work

  const loaded = (): LoadedModel => {
    if (!model) throw new SternaError('worker', 'the engine has no model');
    return model;
  };
  const tokenizerOf = ({ tokenizer, info }: LoadedModel): Tokenizer => {
    if (tokenizer) return tokenizer;
    const facts = { file: 'tokenizer.json', got: 'none', expected: 'tokenizer.json beside the weights' };
    const why = info.noTokenizer ? `: ${info.noTokenizer}` : '';
    throw new SternaError('no-tokenizer', `${info.name} was loaded without a tokenizer${why}`, facts);
  };
  const applyTemplate = (loadedModel: LoadedModel, { messages, tools }: Conversation, addGenerationPrompt: boolean) => {
    const tokenizer = tokenizerOf(loadedModel);
    if (loadedModel.chatTemplate === undefined) {
      const facts = { file: 'tokenizer_config.json', got: 'no chat_template', expected: 'chat_template' };
      throw new SternaError('unsupported', 'the model has no chat template', facts);
    }
    const shown = checkTools(tools);
    checkToolUse(loadedModel.chatTemplate, loadedModel.info.name, messages, shown);
    const encoded = encodeChat(tokenizer, loadedModel.chatTemplate, messages, addGenerationPrompt, shown);
    checkRoles(messages, loadedModel.chatTemplate);
    return encoded;
  };
  /** Ids of a conversation, if an answer to it can be read. */
  const conversationIds = (loadedModel: LoadedModel, conversation: Conversation, addGenerationPrompt: boolean) => {
    const { rest, begun } = conversation.continueFinalMessage
      ? begunAnswer(conversation)
      : { rest: conversation, begun: undefined };
    const { ids } = applyTemplate(loadedModel, rest, addGenerationPrompt);
    for (const id of begun === undefined ? [] : encodeOn(tokenizerOf(loadedModel), begun)) ids.push(id);
    if (conversation.tools?.length && !loadedModel.info.toolFormat) {
      const facts = { got: 'another form', expected: '<tool_call> with JSON, or {"name", "parameters"}' };
      const what = `calls of tools as ${loadedModel.info.name} writes them cannot be read`;
      throw new SternaError('unsupported', what, facts);
    }
    return ids;
  };
  const sessionOf = (loadedModel: LoadedModel, aborted = () => false): SessionContext => ({
    model: loadedModel,
    tokenizer: tokenizerOf(loadedModel),
    slots,
    render: (conversation, addGenerationPrompt) => conversationIds(loadedModel, conversation, addGenerationPrompt),
    aborted,
    yieldToMessages,
  });
  const promptIds = (loadedModel: LoadedModel, prompt: Prompt): number[] => {
    if ('ids' in prompt) return prompt.ids;
    if ('messages' in prompt) return conversationIds(loadedModel, prompt, true);
    if ('state' in prompt) return sessionPrompt(sessionOf(loadedModel), prompt.state, true).ids;
    const tokenizer = tokenizerOf(loadedModel);
    return tokenizer.encode(prompt.text, { bos: tokenizer.addsBos });
  };

  /** Runs a request alone, with its id where aborts look for it. One that was aborted is waited for. */
  async function alone<T>(
    id: number,
    work: (loadedModel: LoadedModel, aborted: () => boolean) => Promise<T>,
  ): Promise<T> {
    const loadedModel = loaded();
    const { words } = loadedModel;
    // the word may name another request by now; what has been heard counts
    const isAborted = (request: { id: number; aborted: boolean }): boolean =>
      request.aborted || Atomics.load(words, ABORT / 4) === request.id;
    while (atWork) {
      if (!isAborted(atWork)) {
        const facts = { got: 'a second call', expected: 'one at a time' };
        throw new SternaError('busy', 'the model is at work on another call; await or abort it first', facts);
      }
      await atWork.done;
    }
    let finish = (): void => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const own = { id, done, aborted: abortedEarly.delete(id) };
    atWork = own;
    words[REQUEST / 4] = id;
    if (own.aborted) Atomics.store(words, ABORT / 4, id);
    try {
      return await work(loadedModel, () => isAborted(own));
    } finally {
      atWork = undefined;
      words[REQUEST / 4] = 0;
      finish();
    }
  }

  /** Lets messages in, between two steps of `what`; rejects when it has been aborted. */
  const betweenSteps = (what: string, aborted: () => boolean) => async (): Promise<void> => {
    await yieldToMessages();
    if (aborted()) throw new SternaError('aborted', `${what} was aborted`);
  };

  /** Scoring begins the cache anew and rejects when aborted. */
  function scoring({ pool, memory }: LoadedModel, aborted: () => boolean): ScoreContext {
    return { pool, memory, session: takeScratch(slots), between: betweenSteps('scoring', aborted) };
  }

  /** One at a time; `abort(id)` fires the signal. */
  async function abortable<T>(id: number, what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (model || loading) throw new SternaError('busy', 'the engine has a model already');
    const controller = new AbortController();
    loading = { id, controller };
    try {
      return await work(controller.signal);
    } catch (error) {
      throw controller.signal.aborted ? new SternaError('aborted', `${what} was aborted`) : error;
    } finally {
      loading = undefined;
    }
  }

  return {
    inspect: (id, request) => reply(() => abortable(id, 'the inspection', (signal) => inspect(request, signal))),
    load: (id, request, onProgress) =>
      reply(async () => {
        model = await abortable(id, 'loading', (signal) => loadModel(request, onProgress, spawn, signal));
        slots = createSlots(model.info.sequences);
        costs = createPassCosts(model.pool.plan.kernel);
        return { info: model.info, memory: model.shared ? model.memory : undefined };
      }),
    tokenize: (text, options) => reply(() => tokenizerOf(loaded()).encode(text, options)),
    detokenize: (ids) =>
      reply(() => {
        const tokenizer = tokenizerOf(loaded());
        checkTokens(ids, loaded().pool.plan);
        return tokenizer.decode(ids);
      }),
    tokenTexts: (ids) =>
      reply(() => {
        const tokenizer = tokenizerOf(loaded());
        return ids.map((id) => {
          const bytes = [...tokenizer.bytesOf(id)];
          if (bytes.length === 0) return { token: tokenizer.tokenOf(id) ?? '', bytes: null };
          return { token: tokenizer.decode([id]), bytes };
        });
      }),
    applyChatTemplate: (conversation, addGenerationPrompt) =>
      reply(() => applyTemplate(loaded(), conversation, addGenerationPrompt)),
    generate: (id, prompt, settings, port, processed) =>
      reply(() =>
        alone(id, async (loadedModel, aborted) => {
          const complete = validateSettings(settings, loadedModel.info.defaults);
          if (complete.stop.length > 0) tokenizerOf(loadedModel);
          const { pool, memory, tokenizer, stopTokens } = loadedModel;
          const session =
            'state' in prompt
              ? sessionPrompt(sessionOf(loadedModel), prompt.state, true, settings.maxTokens)
              : undefined;
          const owner = 'state' in prompt ? prompt.owner : 0;
          const context = { pool, memory, slots, owner, costs, tokenizer, stopTokens, aborted, yieldToMessages };
          let messages = 0;
          const tell = (message: GenerateMessage): void => {
            messages++;
            port.postMessage(message);
          };
          const ids = session?.ids ?? promptIds(loadedModel, prompt);
          const page = processed ? { tell, port, shared: loadedModel.shared } : undefined;
          const format = complete.responseFormat;
          if (format.type !== 'text')
            formats ??= (await loadFormats())(pool.plan.config.vocab, tokenizerOf(loadedModel), stopTokens);
          const formatStage = formats?.stagesOf(format, complete.ignoreEos);
          const stages = stagesOf(complete, pool.plan.config.vocab, ids, page, formatStage);
          const result = await generate(context, ids, complete, tell, stages);
          return { result, messages, ...(session ? { session } : {}) };
        }),
      ).finally(() => port.close()),
    evaluate: async (id, ids) => {
      const logits = await reply(() =>
        alone(id, (loadedModel, aborted) => evaluate(scoring(loadedModel, aborted), ids)),
      );
      return 'value' in logits ? transfer(logits, [logits.value.buffer]) : logits;
    },
    perplexity: (id, input, options) =>
      reply(() =>
        alone(id, (loadedModel, aborted) => {
          const ids =
            typeof input === 'string' ? tokenizerOf(loadedModel).encode(input, { bos: true, eos: true }) : input;
          return perplexity(scoring(loadedModel, aborted), ids, options);
        }),
      ),
    countTokens: (prompt) => reply(() => promptIds(loaded(), prompt).length),
    embed: async (id, texts, options, onProgress) => {
      const embedded = await reply(() =>
        alone(id, async (loadedModel, aborted) => {
          const settings = checkEmbedSettings(options);
          const next = betweenSteps('embedding', aborted); // to tokenise thousands of texts takes seconds
          const tokenised: number[][] = [];
          for (const text of texts) {
            await next();
            tokenised.push(promptIds(loadedModel, typeof text === 'string' ? { text } : { ids: text }));
          }
          return embedAll(scoring(loadedModel, aborted), tokenised, settings, onProgress);
        }),
      );
      return 'value' in embedded ? transfer(embedded, [embedded.value.vectors.buffer]) : embedded;
    },
    measureBandwidth: (id) =>
      reply(() => alone(id, ({ pool }, aborted) => measureBandwidth(pool, betweenSteps('measuring', aborted)))),
    extendSession: (id, call, onProgress) =>
      reply(() =>
        alone(id, (loadedModel, aborted) => extendSession(sessionOf(loadedModel, aborted), call, onProgress)),
      ),
    saveSession: (id, call, as, onProgress) =>
      reply(() =>
        alone(id, (loadedModel, aborted) => keepSession(sessionOf(loadedModel, aborted), call, as, onProgress)),
      ),
    restoreSession: (id, owner, session, onProgress) =>
      reply(() =>
        alone(id, (loadedModel, aborted) =>
          restoreSession(sessionOf(loadedModel, aborted), owner, session, onProgress).catch((error: unknown) => {
            releaseSlots(slots, owner);
            throw error;
          }),
        ),
      ),
    async releaseSession(owner) {
      releaseSlots(slots, owner);
    },
    async abort(id) {
      if (loading?.id === id) loading.controller.abort();
      else if (model && atWork?.id === id) {
        atWork.aborted = true;
        Atomics.store(model.words, ABORT / 4, id);
      } else abortedEarly.add(id);
    },
  };
}
