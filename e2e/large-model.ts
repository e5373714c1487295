/** Stands for a large model on a server: speaks what the AI SDK asks of OpenAI's chat protocol, for any origin, and always answers the same. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface FakeOpenAI {
  /** What a client calls `baseURL`. */
  baseURL: string;
  /** Bodies of the requests that came. */
  asked: { model: string; messages: unknown[]; max_tokens?: number }[];
  close(): Promise<void>;
}

export async function serveOpenAI(answer: string[]): Promise<FakeOpenAI> {
  const asked: FakeOpenAI['asked'] = [];
  const server = createServer(async (request, response) => {
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Allow-Headers', '*');
    if (request.method !== 'POST' || request.url !== '/v1/chat/completions') {
      response.writeHead(request.method === 'OPTIONS' ? 204 : 404).end();
      return;
    }
    const body = JSON.parse(await text(request));
    asked.push(body);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const send = (delta: object, finish_reason: string | null, more: object = {}) => {
      const chunk = {
        id: 'answer-1',
        created: 0,
        model: body.model,
        choices: [{ index: 0, delta, finish_reason }],
        ...more,
      };
      response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    };
    for (const content of answer) send({ role: 'assistant', content }, null);
    const usage = { prompt_tokens: 5, completion_tokens: answer.length, total_tokens: 5 + answer.length };
    send({}, 'stop', { usage });
    response.end('data: [DONE]\n\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
