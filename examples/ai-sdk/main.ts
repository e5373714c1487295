/**
 * The Vercel AI SDK with a model in the page. The same application asks a large model on a server (vLLM, llama-server, any
 * endpoint that speaks OpenAI's protocol) by naming another provider; nothing else changes.
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { type LanguageModel, streamText } from 'ai';
import { sterna } from 'sterna/ai-sdk';

const source = { url: '/models/tiny-stories-ternary/' }; // or 'microsoft/bitnet-b1.58-2B-4T', from the Hugging Face Hub

const form = document.querySelector('form')!;
const status = document.querySelector('output')!;
const answer = document.querySelector('#answer')!;

const here = sterna(source, {
  onProgress({ phase, loaded, total }) {
    status.textContent = `${phase} ${total > 0 ? `${Math.round((100 * loaded) / total)} %` : ''}`;
  },
});

/**
 * Who answers. The page does, and nothing leaves it, unless
 * - the visitor asks for the large model, or
 * - the model cannot be had here: no memory or storage for it, or it cannot be reached.
 */
async function choose(large: boolean, baseURL: string): Promise<LanguageModel> {
  const server = createOpenAICompatible({ name: 'server', baseURL }).chatModel('large-model');
  if (large) return server;
  return (await here.availability()) === 'unavailable' ? server : here;
}

form.onsubmit = async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const prompt = fields.get('question') as string;
  const button = form.querySelector('button')!;
  button.disabled = true;
  answer.textContent = '';
  try {
    const model = await choose(fields.has('large'), fields.get('server') as string);
    const result = streamText({
      model,
      prompt,
      maxOutputTokens: 200,
      onError: ({ error }) => {
        status.textContent = String(error);
      },
    });
    for await (const text of result.textStream) answer.append(text);
    const [{ outputTokens }, { modelId }] = await Promise.all([result.usage, result.response]);
    status.textContent = `${outputTokens} tokens from ${modelId}`;
  } catch (error) {
    status.textContent ||= String(error);
  }
  button.disabled = false;
};
