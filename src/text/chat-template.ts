/** Messages -> the prompt text of a model's chat template -> token ids. */
import { Template } from '@huggingface/jinja';
import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';
import type { Message, Tool } from '../protocol/generate-types';
import { renderBounded } from './bounded-template';
import type { SpecialToken, Tokenizer } from './tokenizer';
import { callsForTemplate, checkTools } from './tool-format';

export interface TemplateVariables {
  bosToken: string;
  eosToken: string;
  /** End the prompt with the beginning of the assistant's answer. */
  addGenerationPrompt: boolean;
}

/**
 * The messages as a template gets them: `role`, `content`, and of tools `tool_calls`, `tool_call_id` and `name`.
 * Throws `bad-input` unless they are a non-empty list of {role, content}, both strings (content may be missing beside
 * calls).
 */
function forTemplate(messages: unknown): Json[] {
  const fail = (what: string, expected: string, value: unknown): never => {
    const got = value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
    throw new SternaError('bad-input', `bad ${what}`, { expected, got });
  };
  if (!Array.isArray(messages) || messages.length === 0) return fail('messages', 'a non-empty array', messages);
  return messages.map((message: unknown, i) => {
    const at = `messages[${i}]`;
    if (!isObject(message)) return fail(at, '{role, content}', message);
    const calls =
      message.tool_calls === undefined ? {} : { tool_calls: callsForTemplate(message.tool_calls, `${at}.tool_calls`) };
    const content = 'tool_calls' in calls ? (message.content ?? '') : message.content;
    const plain: Json = { role: message.role, content };
    for (const key of ['tool_call_id', 'name']) if (message[key] !== undefined) plain[key] = message[key];
    for (const [key, value] of Object.entries(plain)) {
      if (typeof value !== 'string') fail(`${at}.${key}`, 'a string', value);
    }
    return { ...plain, ...calls };
  });
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

/**
 * The prompt text. Of the messages, `role`, `content`, `name`, `tool_calls` and `tool_call_id` reach the template; `tools`
 * is its variable of that name, as in transformers (`apply_chat_template`).
 * Throws `unsupported` if the template cannot be compiled or does too much (bounded-template.ts), `bad-input` if messages or
 * tools are malformed or the template refuses them (`raise_exception`), with its message.
 */
export function renderChat(
  template: string,
  messages: Message[],
  variables: TemplateVariables,
  tools?: Tool[],
): string {
  return render(template, { messages: forTemplate(messages), tools: checkTools(tools) ?? null }, variables);
}

/** What comes from the conversation, as a template gets it. */
interface Said {
  messages: Json[];
  tools: Tool[] | null;
}

function render(template: string, { messages, tools }: Said, variables: TemplateVariables): string {
  let compiled: Template;
  try {
    compiled = new Template(template);
  } catch (error) {
    throw new SternaError('unsupported', `the chat template cannot be compiled: ${reason(error)}`);
  }
  try {
    const said = {
      messages,
      tools,
      bos_token: variables.bosToken,
      eos_token: variables.eosToken,
      add_generation_prompt: variables.addGenerationPrompt,
    };
    return renderBounded(compiled, said, JSON.stringify([messages, tools]).length);
  } catch (error) {
    if (error instanceof SternaError) throw error;
    throw new SternaError('bad-input', `the chat template refused the messages: ${reason(error)}`);
  }
}

/**
 * A conversation whose answer has begun, apart. The beginning is tokenised by itself, as it was written: so the keys and values
 * of an answer that goes on are still good.
 * @throws SternaError `bad-input` unless the last message is the assistant's and has a text
 */
export function begunAnswer<T extends { messages: Message[] }>(conversation: T): { rest: T; begun: string } {
  const messages = Array.isArray(conversation.messages) ? conversation.messages : [];
  const { role, content, tool_calls } = messages.at(-1) ?? { role: 'none', content: '' };
  if (role !== 'assistant' || typeof content !== 'string' || content === '' || tool_calls !== undefined) {
    const got = role === 'assistant' ? 'one without a text, or with calls' : `one of ${shown(role)}`;
    const expected = 'one of the assistant, with a text';
    throw new SternaError('bad-input', 'the last message, to be continued', { got, expected });
  }
  return { rest: { ...conversation, messages: messages.slice(0, -1) }, begun: content };
}

/**
 * The model's chat template: the text of chat_template.jinja if there is one, which transformers puts first as well
 * (`PreTrainedTokenizerBase._from_pretrained`), else `chat_template` of the parsed tokenizer_config.json, a string or a list of {name, template} with one named "default". undefined if there is none.
 * Throws `bad-file` if it is anything else.
 */
export function templateOf(tokenizerConfig: unknown, jinjaFile?: string): string | undefined {
  if (jinjaFile !== undefined) return jinjaFile;
  const config = tokenizerConfig as { chat_template?: unknown } | null | undefined;
  const found = config?.chat_template ?? undefined;
  if (found === undefined || typeof found === 'string') return found;
  const entries: { name?: unknown; template?: unknown }[] = Array.isArray(found) ? found : [];
  const template = entries.find((entry) => entry?.name === 'default')?.template;
  if (typeof template === 'string') return template;
  const expected = 'a string, or a list with a template named "default"';
  throw new SternaError('bad-file', 'bad chat_template', { expected, got: shown(found) });
}

/** A pattern for any of the strings, the longest first; it matches nothing if there are none. */
function anyOf(strings: readonly string[]): string {
  const escaped = [...strings]
    .sort((a, b) => b.length - a.length)
    .map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  return escaped.join('|') || '(?!)';
}

/** Supplementary private use area A, minus its two noncharacters: the placeholders. */
const PRIVATE = '[\\u{F0000}-\\u{FFFFD}]';
const FIRST_PRIVATE = 0xf0000;

/**
 * Replaces what could be read as a special token by private-use characters, which a template copies like letters.
 * In any case of letters, for a template may change it (`role | capitalize`). Private-use characters of the messages
 * are replaced too, so that `restore` cannot mistake them.
 */
function hideSpecials(said: Said, specials: readonly SpecialToken[]) {
  const hidden: string[] = [];
  const pattern = new RegExp(`${anyOf(specials.map((token) => token.content))}|${PRIVATE}`, 'giu');
  const hideText = (text: string) =>
    text.replace(pattern, (found) => {
      const at = hidden.indexOf(found);
      return String.fromCodePoint(FIRST_PRIVATE + (at < 0 ? hidden.push(found) - 1 : at));
    });
  /** In every text of a JSON value, names of fields included. */
  const hide = (value: unknown): unknown => {
    if (typeof value === 'string') return hideText(value);
    if (Array.isArray(value)) return value.map(hide);
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [hideText(key), hide(each)]));
  };
  const restore = (text: string) =>
    text.replace(new RegExp(PRIVATE, 'gu'), (char) => hidden[char.codePointAt(0)! - FIRST_PRIVATE] ?? char);
  return { said: hide(said) as Said, restore };
}

/**
 * The prompt of a conversation as text and ids, as Hugging Face's `apply_chat_template` gives them (text between
 * special tokens is tokenised as a whole, nothing is added to the template's own BOS), except that the text of a
 * special token inside a message or tool stays text: a user who types "<|eot_id|>" cannot end the turn.
 * Throws like `renderChat`.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: string,
  messages: Message[],
  addGenerationPrompt: boolean,
  tools?: Tool[],
): { text: string; ids: number[] } {
  const { bosToken, eosToken, specials } = tokenizer;
  const hidden = hideSpecials({ messages: forTemplate(messages), tools: checkTools(tools) ?? null }, specials);
  const rendered = render(template, hidden.said, { bosToken, eosToken, addGenerationPrompt });

  const specialOf = new Map(specials.map((token) => [token.content, token]));
  const ids: number[] = [];
  // Odd pieces are special tokens, even pieces the text around them.
  const pieces = rendered.split(new RegExp(`(${anyOf([...specialOf.keys()])})`, 'u'));
  for (const [i, piece] of pieces.entries()) {
    if (i % 2 === 1) {
      ids.push(specialOf.get(piece)!.id);
      continue;
    }
    let text = piece;
    if (specialOf.get(pieces[i + 1] ?? '')?.lstrip) text = text.trimEnd();
    if (specialOf.get(pieces[i - 1] ?? '')?.rstrip) text = text.trimStart();
    for (const id of tokenizer.encode(hidden.restore(text))) ids.push(id);
  }
  return { text: hidden.restore(rendered), ids };
}
