/** A prompt of the AI SDK as messages of a chat template. */
import type {
  LanguageModelV3FilePart,
  LanguageModelV3Message,
  LanguageModelV3Prompt,
  LanguageModelV3ToolResultPart,
} from '@ai-sdk/provider';
import { type Message, SternaError, type ToolCallInput } from '../index';

type ToolOutput = LanguageModelV3ToolResultPart['output'];

function refuse(mediaType: string, where: string): never {
  const facts = { got: mediaType, expected: 'text' };
  throw new SternaError('unsupported', `a part of a ${where} message is no text: the models read text only`, facts);
}

const noFile = ({ mediaType }: LanguageModelV3FilePart, role: string): never => refuse(mediaType, role);

/** What a tool said, as the text that the model reads. */
function outputText(output: ToolOutput): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value;
    case 'json':
    case 'error-json':
      return JSON.stringify(output.value);
    case 'execution-denied':
      return output.reason ?? 'The call was not allowed.';
    case 'content':
      return output.value.map((part) => (part.type === 'text' ? part.text : refuse(part.type, 'tool'))).join('\n');
  }
}

const toolMessage = ({ toolCallId, toolName, output }: LanguageModelV3ToolResultPart): Message => ({
  role: 'tool',
  content: outputText(output),
  tool_call_id: toolCallId,
  name: toolName,
});

/** What an assistant wrote: text as it was, its calls; its reasoning is left out, as chat templates do. */
function assistantMessages(content: Extract<LanguageModelV3Message, { role: 'assistant' }>['content']): Message[] {
  let text = '';
  const calls: ToolCallInput[] = [];
  const results: Message[] = [];
  for (const part of content) {
    if (part.type === 'text') text += part.text;
    else if (part.type === 'tool-call') {
      const { toolCallId: id, toolName: name, input } = part;
      calls.push({ id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } });
    } else if (part.type === 'tool-result') results.push(toolMessage(part));
    else if (part.type === 'file') noFile(part, 'assistant');
  }
  return [{ role: 'assistant', content: text, ...(calls.length > 0 && { tool_calls: calls }) }, ...results];
}

/** A message; those of tools are one for each result. */
function toMessage(message: LanguageModelV3Message): Message | Message[] {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: message.content };
    case 'user': {
      const texts = message.content.map((part) => (part.type === 'text' ? part.text : noFile(part, 'user')));
      return { role: 'user', content: texts.join('\n') };
    }
    case 'assistant':
      return assistantMessages(message.content);
    case 'tool':
      return message.content.flatMap((part) => (part.type === 'tool-result' ? toolMessage(part) : []));
  }
}

/**
 * The messages that a chat template is given. Text parts of a user's message are lines of one text.
 * @throws SternaError `unsupported` for files and images
 */
export const toMessages = (prompt: LanguageModelV3Prompt): Message[] => prompt.flatMap(toMessage);
