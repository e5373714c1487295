/** What an answer is in OpenAI's shape: as a whole, and as the chunks of a stream. */
import type { Answer, Chunk, GenerateResult } from '../protocol/generate-types';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionDelta,
  ChatCompletionFinishReason,
  ChatCompletionHead,
  ChatCompletionLogprobs,
  CompletionUsage,
} from './openai-types';

type Scores = ChatCompletionLogprobs['content'];

export const usageOf = ({ usage }: GenerateResult): CompletionUsage => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  total_tokens: usage.promptTokens + usage.completionTokens,
  prompt_tokens_details: { cached_tokens: usage.cachedTokens },
});

const finishOf = ({ finishReason, toolCalls }: Answer): ChatCompletionFinishReason =>
  finishReason === 'length' ? 'length' : toolCalls?.length ? 'tool_calls' : 'stop';

const logprobsOf = (content: Scores | undefined): ChatCompletionLogprobs | null =>
  content ? { content, refusal: null } : null;

/**
 * The answers as one object.
 * @param scores of the tokens of each answer, where they were asked for
 * @param mostCalls of an answer; more are left out
 */
export function completionOf(
  head: ChatCompletionHead,
  result: GenerateResult,
  scores: readonly (Scores | undefined)[],
  mostCalls: number,
): ChatCompletion {
  const choices = result.answers.map((answer, index) => {
    const calls = answer.toolCalls?.slice(0, mostCalls) ?? [];
    const content = answer.text === '' && calls.length > 0 ? null : answer.text;
    const message = { role: 'assistant' as const, content, refusal: null };
    return {
      index,
      message: calls.length > 0 ? { ...message, tool_calls: calls } : message,
      logprobs: logprobsOf(scores[index]),
      finish_reason: finishOf(answer),
    };
  });
  return { ...head, object: 'chat.completion', choices, usage: usageOf(result) };
}

/** The chunks of a stream of `n` answers, in the order that OpenAI sends them. */
export function createChunks(head: ChatCompletionHead, n: number, includeUsage: boolean, mostCalls: number) {
  const calls: number[] = Array(n).fill(0);
  const frame = (
    choices: ChatCompletionChunk['choices'],
    usage: CompletionUsage | null = null,
  ): ChatCompletionChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  const chunk = (
    index: number,
    delta: ChatCompletionDelta,
    logprobs: ChatCompletionLogprobs | null = null,
    finish: ChatCompletionFinishReason | null = null,
  ): ChatCompletionChunk => frame([{ index, delta, logprobs, finish_reason: finish }]);
  return {
    /** The beginning of each answer: its role. */
    begin: (): ChatCompletionChunk[] =>
      calls.map((_, index) => chunk(index, { role: 'assistant', content: '', refusal: null })),
    /** What one of our chunks comes to: its text, and each call as two, its name and then its arguments. */
    next({ answer, text, toolCalls = [] }: Chunk, scores: Scores | undefined): ChatCompletionChunk[] {
      const chunks: ChatCompletionChunk[] = [];
      if (text || scores) chunks.push(chunk(answer, { content: text }, logprobsOf(scores)));
      for (const { id, type, function: called } of toolCalls) {
        const index = calls[answer]!++;
        if (index >= mostCalls) continue;
        const named = { index, id, type, function: { name: called.name, arguments: '' } };
        chunks.push(chunk(answer, { tool_calls: [named] }));
        chunks.push(chunk(answer, { tool_calls: [{ index, function: { arguments: called.arguments } }] }));
      }
      return chunks;
    },
    /** How each answer ended, and what they took. */
    end(result: GenerateResult): ChatCompletionChunk[] {
      const ends = result.answers.map((answer, index) => chunk(index, {}, null, finishOf(answer)));
      return includeUsage ? [...ends, frame([], usageOf(result))] : ends;
    },
  };
}
