/** The settings of an AI SDK call as options of an answer, and warnings of those that do nothing. */
import type { LanguageModelV3CallOptions, LanguageModelV3ToolChoice, SharedV3Warning } from '@ai-sdk/provider';
import type { ChatOptions, Model, ResponseFormat, ToolChoice } from '../index';

/** Settings that the AI SDK has no name for: `providerOptions: { sterna: {...} }`. */
const own = ['minP', 'repetitionPenalty', 'logitBias', 'ignoreEos', 'draft', 'responseFormat'] as const;
export type OwnSettings = Pick<ChatOptions, (typeof own)[number]>;

const choices = { auto: 'auto', none: 'none', required: 'required' } as const;
const toChoice = (choice: LanguageModelV3ToolChoice): ToolChoice =>
  choice.type === 'tool' ? { type: 'function', function: { name: choice.toolName } } : choices[choice.type];

/** Tools in OpenAI's shape. A model whose template knows none goes on without them, unless one must be called. */
function toTools(
  { tools = [], toolChoice }: LanguageModelV3CallOptions,
  { name, toolFormat }: Model['info'],
  warn: (feature: string, details?: string) => void,
): Pick<ChatOptions, 'tools' | 'toolChoice'> {
  const wanted: NonNullable<ChatOptions['tools']> = [];
  for (const tool of tools) {
    if (tool.type === 'function') {
      const { name: called, description, inputSchema: parameters } = tool;
      wanted.push({ type: 'function', function: { name: called, parameters, ...(description && { description }) } });
    } else warn(`tool ${tool.id}`, 'a tool of another provider');
  }
  if (wanted.length === 0) return {};
  const mustCall = toolChoice?.type === 'required' || toolChoice?.type === 'tool';
  if (!toolFormat && !mustCall) {
    warn('tools', `the chat template of ${name} has no form for calls that can be read`);
    return {};
  }
  return { tools: wanted, ...(toolChoice && { toolChoice: toChoice(toolChoice) }) };
}

/** JSON that the AI SDK asks for; a regex or a grammar comes in `providerOptions.sterna.responseFormat`. */
function toFormat({ responseFormat }: LanguageModelV3CallOptions): ResponseFormat | undefined {
  if (responseFormat?.type !== 'json') return undefined;
  const { schema } = responseFormat;
  return schema ? { type: 'json_schema', schema } : { type: 'json_object' };
}

/**
 * @param model the one that answers: whether there can be tools depends on its chat template
 */
export function toOptions(
  call: LanguageModelV3CallOptions,
  { info }: Model,
): { options: ChatOptions; warnings: SharedV3Warning[] } {
  const warnings: SharedV3Warning[] = [];
  const warn = (feature: string, details?: string) => {
    warnings.push({ type: 'unsupported', feature, ...(details && { details }) });
  };
  const { sterna = {} } = call.providerOptions ?? {};
  for (const name of Object.keys(sterna)) {
    if (!own.includes(name as (typeof own)[number])) warn(`providerOptions.sterna.${name}`, `known: ${own.join(', ')}`);
  }
  const all: ChatOptions = {
    maxTokens: call.maxOutputTokens,
    temperature: call.temperature,
    topP: call.topP,
    topK: call.topK,
    presencePenalty: call.presencePenalty,
    frequencyPenalty: call.frequencyPenalty,
    stop: call.stopSequences,
    seed: call.seed,
    ...toTools(call, info, warn),
    responseFormat: toFormat(call),
    ...Object.fromEntries(own.flatMap((name) => (sterna[name] === undefined ? [] : [[name, sterna[name]]]))),
  };
  const options = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return { options, warnings };
}
