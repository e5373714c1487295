/** A language model of the AI SDK (specification V3): its calls as answers of a shared model. */
import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3ToolCall,
  LanguageModelV3Usage,
  SharedV3ProviderMetadata,
  SharedV3Warning,
} from '@ai-sdk/provider';
import { type GenerateResult, type Generation, SternaError, type ToolCall } from '../index';
import { toMessages } from './ai-sdk-prompt';
import { toOptions } from './ai-sdk-settings';
import type { SharedModel } from './shared-model';

interface Running {
  generation: Generation;
  warnings: SharedV3Warning[];
  metadata: { timestamp: Date; modelId: string };
}

/** Waits for the model and its turn, and begins the answer; the next call's turn comes when it has ended. */
async function begin(shared: SharedModel, call: LanguageModelV3CallOptions): Promise<Running> {
  const messages = toMessages(call.prompt);
  const { model, done } = await shared.turn(call.abortSignal);
  try {
    const { options, warnings } = toOptions(call, model);
    const generation = model.chat(messages, { ...options, signal: call.abortSignal });
    generation.result.then(done, done);
    return { generation, warnings, metadata: { timestamp: new Date(), modelId: model.info.name } };
  } catch (error) {
    done();
    throw error;
  }
}

const finishOf = ({ finishReason: raw, toolCalls }: GenerateResult): LanguageModelV3FinishReason => ({
  unified: toolCalls?.length ? 'tool-calls' : raw === 'abort' ? 'other' : raw,
  raw,
});

function usageOf({ usage }: GenerateResult): LanguageModelV3Usage {
  const { promptTokens: total, cachedTokens: cacheRead, completionTokens } = usage;
  return {
    inputTokens: { total, noCache: total - cacheRead, cacheRead, cacheWrite: undefined },
    outputTokens: { total: completionTokens, text: completionTokens, reasoning: undefined },
    raw: { ...usage },
  };
}

const noUsage: LanguageModelV3Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
};

/** What the AI SDK has no place for: the seed that gives this answer again, and what it took. */
const metadataOf = ({ seed, timings, draft }: GenerateResult): SharedV3ProviderMetadata => ({
  sterna: { seed, timings: { ...timings }, draft: { ...draft } },
});

const toolCallOf = ({
  id: toolCallId,
  function: { name: toolName, arguments: input },
}: ToolCall): LanguageModelV3ToolCall => ({
  type: 'tool-call',
  toolCallId,
  toolName,
  input,
});

/** The whole answer; an aborted one rejects, as a `fetch` does. */
async function resultOf(generation: Generation): Promise<GenerateResult> {
  const result = await generation.result;
  if (result.finishReason === 'abort') throw new SternaError('aborted', 'the call was aborted');
  return result;
}

/** The parts of a stream, in order; a failure of the engine is an `error` part, and ends it. */
async function* partsOf(
  { generation, warnings, metadata }: Running,
  includeRawChunks: boolean | undefined,
): AsyncGenerator<LanguageModelV3StreamPart> {
  yield { type: 'stream-start', warnings };
  yield { type: 'response-metadata', ...metadata };
  let texts = 0;
  let open: string | undefined; // the text block that is being written
  try {
    for await (const chunk of generation) {
      if (includeRawChunks) yield { type: 'raw', rawValue: chunk };
      if (chunk.text) {
        if (open === undefined) {
          open = String(texts++);
          yield { type: 'text-start', id: open };
        }
        yield { type: 'text-delta', id: open, delta: chunk.text };
      }
      for (const call of chunk.toolCalls ?? []) {
        if (open !== undefined) yield { type: 'text-end', id: open };
        open = undefined;
        const { id, function: fn } = call;
        yield { type: 'tool-input-start', id, toolName: fn.name };
        yield { type: 'tool-input-delta', id, delta: fn.arguments };
        yield { type: 'tool-input-end', id };
        yield toolCallOf(call);
      }
    }
    const result = await resultOf(generation);
    if (open !== undefined) yield { type: 'text-end', id: open };
    yield {
      type: 'finish',
      finishReason: finishOf(result),
      usage: usageOf(result),
      providerMetadata: metadataOf(result),
    };
  } catch (error) {
    const raw = error instanceof SternaError ? error.code : undefined;
    if (raw === 'aborted') throw error; // which the AI SDK makes an `abort` part
    yield { type: 'error', error };
    yield { type: 'finish', finishReason: { unified: 'error', raw }, usage: noUsage };
  }
}

/**
 * A model of the AI SDK.
 * @param modelId its name in telemetry
 */
export function languageModel(shared: SharedModel, modelId: string): LanguageModelV3 {
  return {
    specificationVersion: 'v3',
    provider: 'sterna',
    modelId,
    supportedUrls: {},
    async doGenerate(call) {
      const { generation, warnings, metadata } = await begin(shared, call);
      const result = await resultOf(generation);
      const content: LanguageModelV3Content[] = (result.toolCalls ?? []).map(toolCallOf);
      if (result.text) content.unshift({ type: 'text', text: result.text });
      return {
        content,
        finishReason: finishOf(result),
        usage: usageOf(result),
        providerMetadata: metadataOf(result),
        response: metadata,
        warnings,
      };
    },
    async doStream(call) {
      const running = await begin(shared, call);
      const parts = partsOf(running, call.includeRawChunks);
      const stream = new ReadableStream<LanguageModelV3StreamPart>({
        async pull(controller) {
          const { done, value } = await parts.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: () => running.generation.abort(),
      });
      return { stream };
    },
  };
}
