/** Conversations with tools, on the page's side: what the model is shown, and its calls read out of the answer. */

import { SternaError, shown } from '../errors';
import type {
  Answer,
  ChatOptions,
  Chunk,
  GenerateOptions,
  GenerateResult,
  Message,
  ResponseFormat,
  Tool,
  ToolCall,
} from '../protocol/generate-types';
import type { ModelInfo } from '../protocol/load-types';
import { type CallReader, createCallReader } from '../text/tool-calls';
import { checkTools, type ToolFormat } from '../text/tool-format';
import { callOptions } from './call-options';
import { type Generation, startGeneration } from './generation';
import type { Engine } from './link';

/** What tools and the choice among them come to. */
interface Calling {
  /** What the template is given. */
  tools?: Tool[];
  /** How calls are written; undefined: they are not read. */
  format?: ToolFormat | 'json';
  /** Names of functions that may be called. */
  names: string[];
  responseFormat?: ResponseFormat;
}

/** The JSON Schema of a call of one of the tools. */
function callSchema(tools: Tool[], format: ToolFormat): object {
  const key = format === 'llama3' ? 'parameters' : 'arguments';
  const calls = tools.map(({ function: { name, parameters } }) => ({
    type: 'object',
    properties: {
      name: { const: name },
      [key]: parameters ?? { type: 'object', properties: {}, additionalProperties: false },
    },
    required: ['name', key],
    additionalProperties: false,
  }));
  return calls.length === 1 ? calls[0]! : { anyOf: calls };
}

/**
 * @throws SternaError `bad-input` for malformed tools, a choice that is none, or one beside `responseFormat`
 */
function callingOf(options: ChatOptions, format: ToolFormat | undefined): Calling {
  const tools = checkTools(options.tools);
  const { toolChoice: choice = tools ? 'auto' : 'none', responseFormat } = options;
  const fail = (expected: string): never => {
    throw new SternaError('bad-input', 'bad toolChoice', { expected, got: shown(choice) });
  };
  const name = typeof choice === 'object' && choice !== null ? choice.function?.name : undefined;
  if (name === undefined && !['auto', 'none', 'required'].includes(choice as string)) {
    return fail("auto, none, required or { type: 'function', function: { name } }");
  }
  if (choice === 'none') return { names: [], responseFormat };
  if (!tools) return choice === 'auto' ? { names: [], responseFormat } : fail('tools to choose from');
  const names = tools.map((tool) => tool.function.name);
  if (choice === 'auto' || !format) return { tools, format, names, responseFormat };
  if (responseFormat && responseFormat.type !== 'text') fail('auto or none, beside a responseFormat');
  const allowed = name === undefined ? tools : tools.filter((tool) => tool.function.name === name);
  if (allowed.length === 0) fail(`one of ${names.join(', ')}`);
  const schema = callSchema(allowed, format);
  return { tools, format: 'json', names, responseFormat: { type: 'json_schema', schema } };
}

/** Reads the calls of several answers, as their chunks come. */
function createReading(format: ToolFormat | 'json', names: string[]) {
  const readers: { reader: CallReader; text: string; calls: ToolCall[]; last: Chunk }[] = [];
  const put = (at: number, { text, calls }: ReturnType<CallReader['end']>): Chunk => {
    const state = readers[at]!;
    state.text += text;
    state.calls.push(...calls);
    return { ...state.last, text, ...(calls.length > 0 ? { toolCalls: calls } : {}) };
  };
  return {
    /** The chunk with what is text of it. */
    chunk(chunk: Chunk): Chunk {
      readers[chunk.answer] ??= { reader: createCallReader(format, names), text: '', calls: [], last: chunk };
      const state = readers[chunk.answer]!;
      state.last = { token: chunk.token, index: chunk.index, answer: chunk.answer, text: '' };
      return { ...chunk, ...put(chunk.answer, state.reader.push(chunk.text)) };
    },
    /** What was held back, and the result with text and calls apart. */
    end(result: GenerateResult): { rest: Chunk[]; result: GenerateResult } {
      const rest: Chunk[] = [];
      const answers = result.answers.map((answer, i): Answer => {
        const state = readers[i];
        if (!state) return { ...answer, toolCalls: [] };
        const last = put(i, state.reader.end());
        if (last.text || last.toolCalls) rest.push(last);
        return { ...answer, text: state.text, toolCalls: state.calls };
      });
      return { rest, result: { ...result, ...answers[0]!, answers } };
    },
  };
}

export type CallReading = ReturnType<typeof createReading>;

interface Prepared {
  /** What is wrong with the options: the answer's error. */
  failure: unknown;
  /** What the template is given. */
  tools: Tool[] | undefined;
  settings: GenerateOptions;
  /** What reads calls out of the answer. */
  reading: CallReading | undefined;
}

/** What a chat comes to: the tools that the template is given, the engine's options, and what reads calls out of the answer. */
export function prepareChat(info: ModelInfo, options: ChatOptions): Prepared {
  const { tools: _, toolChoice: __, continueFinalMessage: ___, ...rest } = options;
  let calling: Calling = { names: [] };
  let failure: unknown;
  try {
    calling = callingOf(callOptions(options), info.toolFormat);
  } catch (error) {
    failure = error; // the answer's, as every other
  }
  const { tools, format, names, responseFormat } = calling;
  const settings = responseFormat ? { ...rest, responseFormat } : rest;
  return { failure, tools, settings, reading: format && createReading(format, names) };
}

/** Answers a conversation; see `Model.chat`. */
export function startChat(engine: Engine, info: ModelInfo, messages: Message[], options: ChatOptions): Generation {
  const { failure, tools, settings, reading } = prepareChat(info, options);
  const prompt = () => {
    if (failure) throw failure;
    const { continueFinalMessage = false } = options;
    if (typeof continueFinalMessage !== 'boolean') {
      throw new SternaError('bad-input', 'continueFinalMessage', {
        got: shown(continueFinalMessage),
        expected: 'true or false',
      });
    }
    const { responseFormat } = settings;
    if (continueFinalMessage && responseFormat && responseFormat.type !== 'text') {
      const facts = { got: responseFormat.type, expected: 'none: it holds for whole answers' };
      throw new SternaError('bad-input', 'responseFormat beside continueFinalMessage', facts);
    }
    return { messages, ...(tools ? { tools } : {}), ...(continueFinalMessage ? { continueFinalMessage } : {}) };
  };
  return startGeneration(engine, prompt, settings, reading);
}
