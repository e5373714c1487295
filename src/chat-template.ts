/** Messages -> the prompt text of a model's chat template -> token ids. */
import { Template } from '@huggingface/jinja';
import { renderBounded } from './bounded-template';
import { SternaError, shown } from './errors';
import type { Message } from './generate-types';
import type { SpecialToken, Tokenizer } from './tokenizer';

export interface TemplateVariables {
  bosToken: string;
  eosToken: string;
  /** End the prompt with the beginning of the assistant's answer. */
  addGenerationPrompt: boolean;
}

/** Throws `bad-input` unless `messages` is a non-empty list of {role, content}, both strings. */
function checkMessages(messages: unknown): asserts messages is Message[] {
  const fail = (what: string, expected: string, value: unknown) => {
    const got = value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
    throw new SternaError('bad-input', `bad ${what}`, { expected, got });
  };
  if (!Array.isArray(messages) || messages.length === 0) return fail('messages', 'a non-empty array', messages);
  for (const [i, message] of messages.entries()) {
    if (typeof message !== 'object' || message === null) return fail(`messages[${i}]`, '{role, content}', message);
    for (const key of ['role', 'content']) {
      if (typeof message[key] !== 'string') fail(`messages[${i}].${key}`, 'a string', message[key]);
    }
  }
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

/**
 * The prompt text. Only `role` and `content` of the messages reach the template.
 * Throws `unsupported` if the template cannot be compiled or does too much (bounded-template.ts), `bad-input` if the messages are malformed or the template
 * refuses them (`raise_exception`), with its message.
 */
export function renderChat(template: string, messages: Message[], variables: TemplateVariables): string {
  checkMessages(messages);
  let compiled: Template;
  try {
    compiled = new Template(template);
  } catch (error) {
    throw new SternaError('unsupported', `the chat template cannot be compiled: ${reason(error)}`);
  }
  try {
    const characters = messages.reduce((sum, { role, content }) => sum + role.length + content.length, 0);
    const said = {
      messages: messages.map(({ role, content }) => ({ role, content })),
      bos_token: variables.bosToken,
      eos_token: variables.eosToken,
      add_generation_prompt: variables.addGenerationPrompt,
    };
    return renderBounded(compiled, said, characters);
  } catch (error) {
    if (error instanceof SternaError) throw error;
    throw new SternaError('bad-input', `the chat template refused the messages: ${reason(error)}`);
  }
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
function hideSpecials(messages: Message[], specials: readonly SpecialToken[]) {
  const hidden: string[] = [];
  const pattern = new RegExp(`${anyOf(specials.map((token) => token.content))}|${PRIVATE}`, 'giu');
  const hide = (text: string) =>
    text.replace(pattern, (found) => {
      const at = hidden.indexOf(found);
      return String.fromCodePoint(FIRST_PRIVATE + (at < 0 ? hidden.push(found) - 1 : at));
    });
  const restore = (text: string) =>
    text.replace(new RegExp(PRIVATE, 'gu'), (char) => hidden[char.codePointAt(0)! - FIRST_PRIVATE] ?? char);
  return { messages: messages.map(({ role, content }) => ({ role: hide(role), content: hide(content) })), restore };
}

/**
 * The prompt of a conversation as text and ids, as Hugging Face's `apply_chat_template` gives them (text between
 * special tokens is tokenised as a whole, nothing is added to the template's own BOS), except that the text of a
 * special token inside a message stays text: a user who types "<|eot_id|>" cannot end the turn.
 * Throws like `renderChat`.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: string,
  messages: Message[],
  addGenerationPrompt: boolean,
): { text: string; ids: number[] } {
  checkMessages(messages);
  const { bosToken, eosToken, specials } = tokenizer;
  const hidden = hideSpecials(messages, specials);
  const rendered = renderChat(template, hidden.messages, { bosToken, eosToken, addGenerationPrompt });

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
