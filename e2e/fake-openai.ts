/** A small server that speaks OpenAI's protocol for completions, chats and embeddings, as its API reference describes it. Node only. */
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

function refuse(response: ServerResponse, param: string): ServerResponse {
  response.writeHead(400, { 'Content-Type': 'application/json' });
  const error = { message: `Invalid value for '${param}'.`, type: 'invalid_request_error', param, code: null };
  return response.end(JSON.stringify({ error }));
}

function sendJson(response: ServerResponse, value: object): ServerResponse {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  return response.end(JSON.stringify(value));
}

/** Sends each event, one after the other, and then the end. */
function sendEvents(response: ServerResponse, events: object[]): ServerResponse {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const next = (at: number): void => {
    if (response.destroyed) return;
    if (at === events.length) return void response.end('data: [DONE]\n\n');
    response.write(`data: ${JSON.stringify(events[at])}\n\n`);
    setTimeout(next, 1, at + 1);
  };
  next(0);
  return response;
}

function continueText(body: OpenAI.CompletionCreateParams, response: ServerResponse): ServerResponse {
  if (body.n != null && body.n < 1) return refuse(response, 'n');
  const most = body.max_tokens ?? 16;
  const words = Array.from({ length: most }, (_, i) => WORDS[i % WORDS.length]!);
  const own = { ...head, id: 'cmpl-abc', object: 'text_completion' };
  const completion_tokens = most * (body.n ?? 1);
  const usage = { prompt_tokens: 4, completion_tokens, total_tokens: 4 + completion_tokens };
  const logprobs = {
    tokens: words,
    token_logprobs: words.map(() => -0.25),
    top_logprobs: words.map((word) => ({ [word]: -0.25 })),
    text_offset: words.map((_, i) => 16 + words.slice(0, i).join('').length),
  };
  const choice = (index: number, text: string, finish_reason: string | null) => ({
    index,
    text,
    logprobs: body.logprobs && finish_reason ? logprobs : null,
    finish_reason,
  });
  if (!body.stream) {
    const choices = Array.from({ length: body.n ?? 1 }, (_, i) => choice(i, words.join(''), 'length'));
    return sendJson(response, { ...own, choices, usage });
  }
  const tail = body.stream_options?.include_usage ? { usage: null } : {};
  const pieces = words.map((word) => ({ ...own, choices: [choice(0, word, null)], ...tail }));
  const end = { ...own, choices: [choice(0, '', 'length')], ...tail };
  return sendEvents(response, [...pieces, end, ...('usage' in tail ? [{ ...own, choices: [], usage }] : [])]);
}

function embed(
  { input, encoding_format, dimensions }: OpenAI.EmbeddingCreateParams,
  response: ServerResponse,
): ServerResponse {
  const texts = [input].flat() as string[];
  if (dimensions !== undefined && dimensions < 1) return refuse(response, 'dimensions');
  if (texts.length === 0 || texts.includes('')) return refuse(response, 'input');
  const data = texts.map((text, index) => {
    const vector = new Float32Array(8);
    vector[text.length % 8] = 0.6;
    vector[(text.length + 1 + index) % 8] = -0.8;
    const embedding = encoding_format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
    return { object: 'embedding', index, embedding };
  });
  const usage = { prompt_tokens: 3 * texts.length, total_tokens: 3 * texts.length };
  return sendJson(response, { object: 'list', data, model: head.model, usage });
}

/** What is wrong with the request, if anything is. */
function complaint({ n, messages, logprobs, top_logprobs }: OpenAI.ChatCompletionCreateParams): string | undefined {
  if (n != null && n < 1) return 'n';
  if (messages.length === 0) return 'messages';
  return top_logprobs != null && !logprobs ? 'top_logprobs' : undefined;
}

function answer(body: OpenAI.ChatCompletionCreateParams, response: ServerResponse): ServerResponse {
  const wrong = complaint(body);
  if (wrong) return refuse(response, wrong);
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
    return sendJson(response, { ...head, id, object: 'chat.completion', choices, usage });
  }

  const withUsage = body.stream_options?.include_usage;
  const events: object[] = [];
  const send = (choices: object[], used: object | null = null): void =>
    void events.push({ ...head, id, object: 'chat.completion.chunk', choices, ...(withUsage ? { usage: used } : {}) });
  const choice = (index: number, delta: object, finish: string | null = null, logprobs: object | null = null) => [
    { index, delta, logprobs, finish_reason: finish },
  ];
  for (const index of indexes) send(choice(index, { role: 'assistant', content: calls ? null : '', refusal: null }));
  if (calls) {
    send(choice(0, { tool_calls: [{ index: 0, ...call, function: { name: 'find_toy', arguments: '' } }] }));
    for (const piece of ARGUMENTS) send(choice(0, { tool_calls: [{ index: 0, function: { arguments: piece } }] }));
  }
  for (const piece of calls ? [] : words) {
    const logprobs = body.logprobs ? { content: [score(piece)], refusal: null } : null;
    for (const index of indexes) send(choice(index, { content: piece }, null, logprobs));
  }
  for (const index of indexes) send(choice(index, {}, finish_reason));
  if (withUsage) send([], usage);
  return sendEvents(response, events);
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
      (text) => {
        const body = JSON.parse(text);
        if (request.url!.endsWith('/chat/completions')) answer(body, response);
        else if (request.url!.endsWith('/completions')) continueText(body, response);
        else embed(body, response);
      },
      () => response.destroy(), // the client is gone
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, stop: () => server.closeAllConnections() ?? server.close() };
}
