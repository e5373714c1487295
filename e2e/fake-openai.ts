/** A small server that speaks OpenAI's protocol for chat completions, as its API reference describes it. Node only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type OpenAI from 'openai';

const WORDS = ['Once', ' upon', ' a', ' time', ',', ' a', ' dog', ' ran', ' to', ' a', ' ball', '.'];
const ARGUMENTS = ['{"', 'toy', '":"', 'ball', '"}'];
const head = { created: Math.floor(Date.now() / 1000), model: 'fake-1', system_fingerprint: 'fp_1' };

const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)];
const score = (token: string) => {
  const own = { token, bytes: bytesOf(token), logprob: -0.25 };
  return { ...own, top_logprobs: [own, { token: 'x', bytes: bytesOf('x'), logprob: -2 }] };
};

/** What is wrong with the request, if anything is. */
function complaint({ n, messages, logprobs, top_logprobs }: OpenAI.ChatCompletionCreateParams): string | undefined {
  if (n != null && n < 1) return 'n';
  if (messages.length === 0) return 'messages';
  return top_logprobs != null && !logprobs ? 'top_logprobs' : undefined;
}

function answer(body: OpenAI.ChatCompletionCreateParams, response: ServerResponse): void {
  const wrong = complaint(body);
  if (wrong) {
    response.writeHead(400, { 'Content-Type': 'application/json' });
    const error = { message: `Invalid value for '${wrong}'.`, type: 'invalid_request_error', param: wrong, code: null };
    response.end(JSON.stringify({ error }));
    return;
  }
  const calls = body.tool_choice === 'required';
  const most = body.max_tokens ?? WORDS.length;
  const words = Array.from({ length: most }, (_, i) => WORDS[i % WORDS.length]!);
  const indexes = Array.from({ length: body.n ?? 1 }, (_, i) => i);
  const finish_reason = calls ? 'tool_calls' : 'length';
  const completion_tokens = most * indexes.length;
  const usage = {
    prompt_tokens: 20,
    completion_tokens,
    total_tokens: 20 + completion_tokens,
    prompt_tokens_details: { cached_tokens: 0 },
  };
  const id = 'chatcmpl-abc';
  const call = { id: 'call_abc', type: 'function', function: { name: 'find_toy', arguments: ARGUMENTS.join('') } };
  if (!body.stream) {
    const choices = indexes.map((index) => ({
      index,
      message: {
        role: 'assistant',
        refusal: null,
        ...(calls ? { content: null, tool_calls: [call] } : { content: words.join('') }),
      },
      logprobs: body.logprobs ? { content: words.map(score), refusal: null } : null,
      finish_reason,
    }));
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ ...head, id, object: 'chat.completion', choices, usage }));
    return;
  }

  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const withUsage = body.stream_options?.include_usage;
  const send = (choices: object[], used: object | null = null): void => {
    const chunk = { ...head, id, object: 'chat.completion.chunk', choices, ...(withUsage ? { usage: used } : {}) };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  const choice = (index: number, delta: object, finish: string | null = null, logprobs: object | null = null) => [
    { index, delta, logprobs, finish_reason: finish },
  ];
  for (const index of indexes) send(choice(index, { role: 'assistant', content: calls ? null : '', refusal: null }));
  if (calls) {
    send(choice(0, { tool_calls: [{ index: 0, ...call, function: { name: 'find_toy', arguments: '' } }] }));
    for (const piece of ARGUMENTS) send(choice(0, { tool_calls: [{ index: 0, function: { arguments: piece } }] }));
  }
  const pieces = calls ? [] : words;
  const next = (at: number): void => {
    if (response.destroyed) return;
    if (at < pieces.length) {
      const piece = pieces[at]!;
      const logprobs = body.logprobs ? { content: [score(piece)], refusal: null } : null;
      for (const index of indexes) send(choice(index, { content: piece }, null, logprobs));
      setTimeout(next, 1, at + 1);
      return;
    }
    for (const index of indexes) send(choice(index, {}, finish_reason));
    if (withUsage) send([], usage);
    response.end('data: [DONE]\n\n');
  };
  next(0);
}

async function read(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request.setEncoding('utf8')) text += part;
  return text;
}

/** Starts the server; its address, and how to stop it. */
export async function startFakeOpenAI(): Promise<{ url: string; stop: () => void }> {
  const server = createServer((request, response) => {
    read(request).then(
      (text) => answer(JSON.parse(text), response),
      () => response.destroy(), // the client is gone
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, stop: () => server.closeAllConnections() ?? server.close() };
}
