/** A request in OpenAI's shape -> messages and options of `Model.chat`. */
import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';
import type { ChatOptions, Message, Tool, ToolChoice } from '../protocol/generate-types';
import type { ChatCompletionParams } from './openai-types';

export interface ChatRequest {
  messages: Message[];
  options: ChatOptions;
  stream: boolean;
  includeUsage: boolean;
  logprobs: boolean;
  /** Most calls of tools in an answer: `parallel_tool_calls: false` is 1. */
  mostCalls: number;
}

type Name = keyof ChatCompletionParams;

/** Parameters that go on as they are, under our name. */
const SAME = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  min_p: 'minP',
  repetition_penalty: 'repetitionPenalty',
  frequency_penalty: 'frequencyPenalty',
  presence_penalty: 'presencePenalty',
  logit_bias: 'logitBias',
  stop: 'stop',
  seed: 'seed',
  n: 'n',
} as const satisfies Partial<Record<Name, keyof ChatOptions>>;

/** Parameters that are read one by one, below. */
const READ: readonly Name[] = [
  ...([
    'messages',
    'stream',
    'stream_options',
    'max_tokens',
    'max_completion_tokens',
    'logprobs',
    'top_logprobs',
  ] as const),
  ...(['response_format', 'tools', 'tool_choice', 'parallel_tool_calls', 'continue_final_message'] as const),
];

/** Parameters that change nothing: about accounts, storage and speed of a server. */
const IDLE: readonly Name[] = [
  ...([
    'metadata',
    'model',
    'prediction',
    'prompt_cache_key',
    'prompt_cache_options',
    'prompt_cache_retention',
  ] as const),
  ...(['safety_identifier', 'service_tier', 'store', 'user'] as const),
];

/** Parameters that would change the answer, with the value that asks for nothing else than is done. */
const REFUSED: Partial<Record<Name, unknown>> = {
  audio: undefined,
  function_call: undefined,
  functions: undefined,
  modalities: ['text'],
  moderation: undefined,
  reasoning_effort: undefined,
  verbosity: undefined,
  web_search_options: undefined,
};

export const bad = (what: string, expected: string, value: unknown): never => {
  throw new SternaError('bad-input', `bad ${what}`, { expected, got: shown(value) });
};
export const unsupported = (what: string, expected: string, value: unknown): never => {
  throw new SternaError('unsupported', `${what} is not supported`, { expected, got: shown(value) });
};

/** The text of a message's content. */
function textOf(content: unknown, at: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return bad(at, 'a string, or a list of text parts', content);
  const texts = content.map((part: unknown, i) => {
    const type = isObject(part) ? part.type : undefined;
    if (type !== 'text' && type !== 'refusal') {
      return typeof type === 'string'
        ? unsupported(`${at}[${i}]`, 'text', type)
        : bad(`${at}[${i}]`, '{ type, text }', part);
    }
    const text = (part as Json)[type];
    return typeof text === 'string' ? text : bad(`${at}[${i}].${type}`, 'a string', text);
  });
  return texts.join('');
}

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'];

function messageOf(message: unknown, i: number): Message {
  const at = `messages[${i}]`;
  if (!isObject(message)) return bad(at, '{ role, content }', message);
  const { role, name, tool_calls: calls, tool_call_id: answers, refusal } = message;
  if (role === 'function') return unsupported(`${at}.role`, ROLES.join(', '), role);
  if (typeof role !== 'string' || !ROLES.includes(role)) return bad(`${at}.role`, ROLES.join(', '), role);
  for (const key of ['audio', 'function_call']) {
    if (message[key] != null) unsupported(`${at}.${key}`, 'text and tool_calls', message[key]);
  }
  const hasCalls = Array.isArray(calls) && calls.length > 0;
  if (calls != null && !Array.isArray(calls)) bad(`${at}.tool_calls`, 'a list', calls);
  if (hasCalls && role !== 'assistant') bad(`${at}.tool_calls`, 'none but in messages of the assistant', role);
  for (const [k, call] of hasCalls ? calls.entries() : []) {
    if (isObject(call) && call.type === 'custom') unsupported(`${at}.tool_calls[${k}]`, 'function', 'custom');
  }
  const silent = role === 'assistant' && message.content == null; // beside calls, or a refusal
  const given = silent ? (refusal ?? (hasCalls ? '' : undefined)) : message.content;
  const plain: Message = { role: role === 'developer' ? 'system' : role, content: textOf(given, `${at}.content`) };
  if (name != null) plain.name = name as string; // checked with the template
  if (role === 'tool') {
    if (typeof answers !== 'string') return bad(`${at}.tool_call_id`, 'the id of a call', answers);
    plain.tool_call_id = answers;
  }
  if (hasCalls) plain.tool_calls = calls as Message['tool_calls'];
  return plain;
}

function toolsOf(tools: unknown, forced: boolean): Tool[] {
  if (!Array.isArray(tools)) return bad('tools', 'a list', tools);
  return tools.map((tool: unknown, i) => {
    if (!isObject(tool) || !isObject(tool.function)) {
      const type = isObject(tool) ? tool.type : tool;
      return type === 'custom'
        ? unsupported(`tools[${i}]`, 'function', type)
        : bad(`tools[${i}]`, '{ type, function }', tool);
    }
    const { strict, ...described } = tool.function;
    if (strict && !forced) {
      const expected = 'a tool_choice of required or a function';
      unsupported(`tools[${i}].function.strict where the model may choose`, expected, 'strict: true');
    }
    return { type: tool.type, function: described } as unknown as Tool;
  });
}

function toolChoiceOf(choice: unknown): ToolChoice {
  if (choice === 'auto' || choice === 'none' || choice === 'required') return choice;
  if (isObject(choice) && choice.type === 'function' && isObject(choice.function)) return choice as ToolChoice;
  const expected = 'none, auto, required or a function';
  return isObject(choice) && ['custom', 'allowed_tools'].includes(choice.type as string)
    ? unsupported('tool_choice', expected, choice.type)
    : bad('tool_choice', expected, choice);
}

function responseFormatOf(format: unknown): unknown {
  if (!isObject(format) || format.type !== 'json_schema') return format; // checked by the engine
  const { json_schema: described } = format;
  const schema = isObject(described) ? described.schema : undefined;
  if (!isObject(schema)) return bad('response_format.json_schema.schema', 'a JSON Schema, an object', schema);
  return { type: 'json_schema', schema };
}

const flag = (name: string, value: unknown): boolean =>
  typeof value === 'boolean' ? value : bad(name, 'true or false', value);

/** What a kind of request may hold, beside what is read one by one. */
interface Known {
  /** Whose parameters these are, for the message. */
  what: string;
  read: readonly string[];
  idle: readonly string[];
  /** With the values that ask for nothing else than is done. */
  refused: Readonly<Record<string, unknown>>;
  /** Takes the settings of an answer. */
  same?: boolean;
}

/**
 * The parameters that say something: null is as good as not there, as with OpenAI.
 * @throws SternaError `bad-input` for what is no request, or a parameter that is not known; `unsupported` for a refused one
 */
export function givenIn(params: unknown, { what, read, idle, refused, same = true }: Known): Json {
  if (!isObject(params)) return bad('request', 'an object of parameters', params);
  const given: Json = Object.fromEntries(Object.entries(params).filter(([, value]) => value != null));
  for (const [name, value] of Object.entries(given)) {
    if (name in refused) {
      const none = refused[name];
      if (JSON.stringify(value) === JSON.stringify(none)) continue;
      unsupported(name, none === undefined ? 'none' : JSON.stringify(none), value);
    } else if (!(same && name in SAME) && !read.includes(name) && !idle.includes(name)) {
      throw new SternaError('bad-input', 'unknown parameter', { got: name, expected: `those of ${what}` });
    }
  }
  return given;
}

/** The settings of an answer, under our names. Ranges of numbers are checked by the engine. */
export function settingsIn(given: Json): Json {
  const options: Json = {};
  for (const [name, ours] of Object.entries(SAME)) if (name in given) options[ours] = given[name];
  return options;
}

/** Whether an answer is to be streamed. @throws SternaError `bad-input` */
export function streamingIn({ stream = false, stream_options: options }: Json): {
  stream: boolean;
  includeUsage: boolean;
} {
  const streams = flag('stream', stream);
  if (options !== undefined && (!streams || !isObject(options))) {
    bad('stream_options', 'an object, with stream: true', options);
  }
  const { include_usage: usage } = (options ?? {}) as Json;
  return { stream: streams, includeUsage: flag('stream_options.include_usage', usage ?? false) };
}

/**
 * Reads a request for an answer to a conversation.
 * @throws SternaError `bad-input` for what is malformed or not known, `unsupported` for what would change the answer and is
 * not there; both name the parameter
 */
export function readRequest(params: unknown): ChatRequest {
  const given = givenIn(params, { what: 'chat completions', read: READ, idle: IDLE, refused: REFUSED });
  if (!Array.isArray(given.messages)) return bad('messages', 'a list', given.messages);

  const options = settingsIn(given);
  const { max_tokens: most, max_completion_tokens: maxTokens = most } = given;
  if (most !== undefined && most !== maxTokens) bad('max_tokens', 'what max_completion_tokens is', most);
  if (maxTokens !== undefined) options.maxTokens = maxTokens;

  const streaming = streamingIn(given);
  const { logprobs = false, top_logprobs: top } = given;
  const scores = flag('logprobs', logprobs);
  if (top !== undefined && !scores) bad('top_logprobs', 'logprobs: true beside it', top);
  if (scores) options.logprobs = top ?? 0;

  if (given.response_format !== undefined) {
    const format = responseFormatOf(given.response_format);
    if (!isObject(format) || format.type !== 'text') options.responseFormat = format;
  }
  const { continue_final_message: continues } = given;
  if (continues !== undefined) options.continueFinalMessage = flag('continue_final_message', continues);
  const { tools, tool_choice: choice, parallel_tool_calls: parallel = true } = given;
  if (choice !== undefined) options.toolChoice = toolChoiceOf(choice);
  const forced = options.toolChoice === 'required' || isObject(options.toolChoice);
  if (tools !== undefined) options.tools = toolsOf(tools, forced);
  return {
    messages: given.messages.map(messageOf),
    options: options as ChatOptions,
    ...streaming,
    logprobs: scores,
    mostCalls: flag('parallel_tool_calls', parallel) ? Infinity : 1,
  };
}
