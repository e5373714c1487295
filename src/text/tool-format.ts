/** What a chat template has to do with tools, and whether they and the calls in messages are well-formed. */
import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';
import type { Message, Tool } from '../protocol/generate-types';

/**
 * How a template tells the model to write its calls.
 * `hermes`: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, one after the other, or a list inside
 * (Hermes 2 Pro, Qwen 2.5 and 3, Falcon 3). `llama3`: `{"name": ..., "parameters": {...}}` (Llama 3.1 and 3.2).
 */
export type ToolFormat = 'hermes' | 'llama3';

/**
 * The form of calls that a chat template describes. undefined if it knows no tools, or has them called in another form,
 * such as the XML inside `<tool_call>` of Qwen3-Coder.
 */
export function toolFormatOf(template: string | undefined): ToolFormat | undefined {
  if (template === undefined || !/\btools\b/.test(template)) return undefined;
  if (template.includes('<tool_call>')) return template.includes('<function=') ? undefined : 'hermes';
  return /\{\s*\\?"name\\?":[^{}]*\\?"parameters\\?":/.test(template) ? 'llama3' : undefined;
}

/**
 * @param name the model's, for the message
 * @throws SternaError `unsupported` if the template would leave out the tools, or calls in the messages
 */
export function checkToolUse(template: string, name: string, messages: Message[], tools: Tool[] | undefined): void {
  const fail = (got: string, expected: string) => {
    throw new SternaError('unsupported', `the chat template of ${name} has no tools`, { got, expected });
  };
  if (tools && !/\btools\b/.test(template)) fail('a template without them', 'one that uses `tools`');
  const calls = Array.isArray(messages) && messages.some((message) => message?.tool_calls);
  if (calls && !/\btool_calls\b/.test(template)) fail('messages with tool_calls', 'a template that uses `tool_calls`');
}

const bad = (what: string, expected: string, value: unknown): never => {
  throw new SternaError('bad-input', `bad ${what}`, { expected, got: shown(value) });
};

/**
 * The tools as plain JSON values; undefined if there are none.
 * @throws SternaError `bad-input` unless they are a list of `{type: 'function', function: {name, description, parameters}}` with names of their own
 */
export function checkTools(tools: unknown): Tool[] | undefined {
  if (tools === undefined) return undefined;
  if (!Array.isArray(tools)) return bad('tools', 'a list', tools);
  const names = new Set<string>();
  for (const [i, tool] of tools.entries()) {
    const at = `tools[${i}]`;
    if (!isObject(tool) || tool.type !== 'function') return bad(at, "{ type: 'function', function }", tool);
    if (!isObject(tool.function)) return bad(`${at}.function`, '{ name, description, parameters }', tool.function);
    const { name, description, parameters } = tool.function;
    if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
      return bad(`${at}.function.name`, '1 to 64 letters, digits, underscores, dots or dashes', name);
    }
    if (names.has(name)) bad(`${at}.function.name`, 'a name of its own', name);
    names.add(name);
    if (description !== undefined && typeof description !== 'string') {
      bad(`${at}.function.description`, 'a string', description);
    }
    if (parameters !== undefined && !isObject(parameters)) {
      bad(`${at}.function.parameters`, 'a JSON Schema, an object', parameters);
    }
  }
  try {
    return tools.length === 0 ? undefined : JSON.parse(JSON.stringify(tools));
  } catch {
    return bad('tools', 'values that JSON can write', tools);
  }
}

/** Arguments as templates want them: an object where they are one, else the text. */
function argumentsOf(given: unknown, what: string): unknown {
  const expected = 'JSON text, or an object';
  if (typeof given !== 'string' && !isObject(given)) return bad(what, expected, given);
  try {
    const parsed: unknown = JSON.parse(typeof given === 'string' ? given : JSON.stringify(given));
    return isObject(parsed) ? parsed : given;
  } catch {
    return typeof given === 'string' ? given : bad(what, expected, given); // a model's malformed text stays as it is
  }
}

/**
 * The `tool_calls` of a message for a template: arguments as an object, as transformers asks for, so that the template
 * writes them as the model learned to.
 * @param what names the field in errors
 */
export function callsForTemplate(calls: unknown, what: string): Json[] {
  if (!Array.isArray(calls) || calls.length === 0) return bad(what, 'a non-empty list', calls);
  return calls.map((call: unknown, i) => {
    const at = `${what}[${i}]`;
    if (!isObject(call) || !isObject(call.function)) return bad(at, '{ id, type, function }', call);
    const { name, arguments: given } = call.function;
    if (typeof name !== 'string') return bad(`${at}.function.name`, 'a string', name);
    if (call.id !== undefined && typeof call.id !== 'string') return bad(`${at}.id`, 'a string', call.id);
    const called = { name, arguments: argumentsOf(given, `${at}.function.arguments`) };
    return { ...(call.id === undefined ? {} : { id: call.id }), type: 'function', function: called };
  });
}
