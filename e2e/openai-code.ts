/**
 * Code as it is written for a server, in terms of the npm package `openai` alone: what it expects must hold for that
 * package's client and for `model.openai`. The other side must know the function find_toy, and call it when it is asked for.
 */
import type OpenAI from 'openai';
import { expect } from 'vitest';

type Options = { signal?: AbortSignal };
type Stream = AsyncIterable<OpenAI.ChatCompletionChunk> & {
  controller: AbortController;
  tee(): [Stream, Stream];
  toReadableStream(): ReadableStream;
};

/** As it is sent: their types leave out that nothing but the last chunk has a reason, and that usage may be null. */
type TextChunk = Omit<OpenAI.Completion, 'choices' | 'usage'> & {
  choices: { index: number; text: string; logprobs: object | null; finish_reason: string | null }[];
  usage?: OpenAI.CompletionUsage | null;
};

export interface Client {
  chat: {
    completions: {
      create(params: OpenAI.ChatCompletionCreateParamsNonStreaming, options?: Options): Promise<OpenAI.ChatCompletion>;
      create(params: OpenAI.ChatCompletionCreateParamsStreaming, options?: Options): Promise<Stream>;
    };
  };
  completions: {
    create(params: OpenAI.CompletionCreateParamsNonStreaming, options?: Options): Promise<OpenAI.Completion>;
    create(params: OpenAI.CompletionCreateParamsStreaming, options?: Options): Promise<AsyncIterable<TextChunk>>;
  };
  embeddings: {
    create(params: OpenAI.EmbeddingCreateParams, options?: Options): Promise<OpenAI.CreateEmbeddingResponse>;
  };
}

const model = 'any';
const messages: OpenAI.ChatCompletionMessageParam[] = [
  {
    role: 'developer',
    content: [
      { type: 'text', text: 'You tell ' },
      { type: 'text', text: 'stories.' },
    ],
  },
  { role: 'user', content: 'Tell me a story about a dog and a ball.' },
];
const ask = { model, messages, temperature: 0, max_tokens: 8, user: 'someone' };

export const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: {
      name: 'find_toy',
      description: 'Where a toy is.',
      parameters: {
        type: 'object',
        properties: { toy: { enum: ['ball', 'kite'] } },
        required: ['toy'],
        additionalProperties: false,
      },
    },
  },
];

const rejection = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.fail('no error'),
    (error: Error) => error,
  );

/** An answer as a whole. */
export async function wholeAnswer(client: Client): Promise<void> {
  const before = Math.floor(Date.now() / 1000);
  const completion = await client.chat.completions.create({ ...ask, n: 2, seed: 1 });
  expect(completion).toMatchObject({ object: 'chat.completion', id: expect.stringMatching(/^chatcmpl-\w+$/) });
  expect(completion.created).toBeGreaterThanOrEqual(before - 1);
  expect(completion.model).not.toBe('');
  expect(completion.choices.map(({ index }) => index)).toEqual([0, 1]);
  for (const { message, finish_reason, logprobs } of completion.choices) {
    expect(message).toMatchObject({ role: 'assistant', content: expect.stringMatching(/\w/), refusal: null });
    expect(message.tool_calls).toBeUndefined();
    expect([finish_reason, logprobs]).toEqual(['length', null]);
  }
  const { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details } = completion.usage!;
  expect(completion_tokens).toBe(16);
  expect(total_tokens).toBe(prompt_tokens + 16);
  expect(prompt_tokens_details!.cached_tokens).toBeGreaterThanOrEqual(0);
}

/** The same answer in pieces. */
export async function streamedAnswer(client: Client): Promise<void> {
  const whole = await client.chat.completions.create(ask);
  const stream = await client.chat.completions.create({
    ...ask,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const [first, last] = [chunks[0]!, chunks.at(-1)!];
  expect(new Set(chunks.map(({ id }) => id))).toEqual(new Set([first.id]));
  expect(first).toMatchObject({
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: { role: 'assistant' } }],
  });
  expect(chunks.slice(1).every(({ choices }) => choices[0]?.delta.role === undefined)).toBe(true);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(whole.choices[0]!.message.content);
  const finishes = chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? []);
  expect(finishes).toEqual(['length']);
  expect(chunks.at(-2)!.choices[0]).toMatchObject({ delta: {}, finish_reason: 'length' });
  expect(last.choices).toEqual([]);
  expect(last.usage).toMatchObject({ completion_tokens: 8, total_tokens: whole.usage!.total_tokens });
  expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
  await expect(async () => {
    for await (const _ of stream) expect.fail('a second time');
  }).rejects.toThrow();

  const plain = await client.chat.completions.create({ ...ask, stream: true });
  for await (const { choices, usage } of plain) expect([choices.length, usage]).toEqual([1, undefined]);
}

/** A stream read twice, and as lines of JSON. */
export async function splitStream(client: Client): Promise<void> {
  const streamed = { ...ask, stream: true } as const;
  const [one, other] = (await client.chat.completions.create(streamed)).tee();
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of one) chunks.push(chunk);
  const [all, rest] = other.tee();
  for await (const _ of rest) break;
  const again: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of all) again.push(chunk);
  expect(again).toEqual(chunks);
  expect(chunks.length).toBeGreaterThan(8);

  const bytes = (await client.chat.completions.create(streamed)).toReadableStream();
  const lines = (await new Response(bytes).text()).trimEnd().split('\n');
  const contents = (some: OpenAI.ChatCompletionChunk[]) => some.map(({ choices }) => choices[0]!.delta.content);
  expect(contents(lines.map((line) => JSON.parse(line)))).toEqual(contents(chunks));
}

/** Several answers in pieces, told apart by their index. */
export async function severalStreamed(client: Client): Promise<void> {
  const whole = await client.chat.completions.create({ ...ask, n: 2, temperature: 0.9, seed: 5 });
  const texts = ['', ''];
  const roles: (string | undefined)[] = [];
  const finishes: (string | null)[] = [];
  const request = { ...ask, n: 2, temperature: 0.9, seed: 5, stream: true } as const;
  for await (const { choices } of await client.chat.completions.create(request)) {
    for (const { index, delta, finish_reason } of choices) {
      texts[index] += delta.content ?? '';
      if (delta.role) roles[index] = delta.role;
      if (finish_reason) finishes[index] = finish_reason;
    }
  }
  expect(texts).toEqual(whole.choices.map(({ message }) => message.content));
  expect([roles, finishes]).toEqual([
    ['assistant', 'assistant'],
    ['length', 'length'],
  ]);
}

/** Leaving a loop, its controller, and a signal end an answer; none of it is an error once it has begun. */
export async function abortedAnswers(client: Client): Promise<void> {
  const long = { ...ask, max_tokens: 500, stream: true } as const;
  const left = await client.chat.completions.create(long);
  for await (const _ of left) break;
  expect(left.controller.signal.aborted).toBe(true);

  const stopped = await client.chat.completions.create(long);
  let chunks = 0;
  for await (const { choices } of stopped) {
    expect(choices[0]!.finish_reason).toBeNull();
    if (++chunks === 3) stopped.controller.abort();
  }

  const controller = new AbortController();
  chunks = 0;
  for await (const { choices } of await client.chat.completions.create(long, { signal: controller.signal })) {
    expect(choices[0]!.finish_reason).toBeNull();
    if (++chunks === 3) controller.abort();
  }
  await rejection(client.chat.completions.create(ask, { signal: controller.signal }));
  await rejection(client.chat.completions.create({ ...ask, stream: true }, { signal: controller.signal }));

  const later = new AbortController();
  const whole = client.chat.completions.create({ ...ask, max_tokens: 500 }, { signal: later.signal });
  later.abort();
  await rejection(whole);
  expect((await client.chat.completions.create(ask)).choices[0]!.finish_reason).toBe('length'); // it still answers
}

/** What is wrong rejects before there is a stream. */
export async function wrongRequests(client: Client): Promise<void> {
  const wrong = [
    { ...ask, n: -1 },
    { ...ask, messages: [] },
    { ...ask, top_logprobs: 3 },
  ];
  for (const params of wrong) {
    expect(await rejection(client.chat.completions.create(params))).toBeInstanceOf(Error);
    expect(await rejection(client.chat.completions.create({ ...params, stream: true }))).toBeInstanceOf(Error);
  }
}

/** Each token with its probability. */
export async function scoredTokens(client: Client): Promise<void> {
  const scored = { ...ask, logprobs: true, top_logprobs: 2 };
  const [choice] = (await client.chat.completions.create(scored)).choices;
  const tokens = choice!.logprobs!.content!;
  expect(tokens).toHaveLength(8);
  expect(tokens.map(({ token }) => token).join('')).toBe(choice!.message.content);
  for (const { token, bytes, logprob, top_logprobs } of tokens) {
    expect(new TextDecoder().decode(Uint8Array.from(bytes!))).toBe(token);
    expect(logprob).toBeLessThanOrEqual(0);
    expect(top_logprobs).toHaveLength(2);
    expect(top_logprobs[0]!.logprob).toBeGreaterThanOrEqual(top_logprobs[1]!.logprob);
    expect(top_logprobs[0]!.token).toBe(token); // greedy
  }
  const streamed = [];
  for await (const { choices } of await client.chat.completions.create({ ...scored, stream: true })) {
    streamed.push(...(choices[0]?.logprobs?.content ?? []));
  }
  expect(streamed).toEqual(tokens);
}

/** A function is asked for, called, and its result goes back. */
export async function calledTool(client: Client): Promise<void> {
  const request = { model, messages, tools, tool_choice: 'required', temperature: 0, max_tokens: 60 } as const;
  const { message, finish_reason } = (await client.chat.completions.create(request)).choices[0]!;
  expect([finish_reason, message.content]).toEqual(['tool_calls', null]);
  const [call] = message.tool_calls!;
  if (call?.type !== 'function') return expect.fail('no function');
  expect(call.function.name).toBe('find_toy');
  expect(['ball', 'kite']).toContain(JSON.parse(call.function.arguments).toy);

  let name = '';
  let given = '';
  const ids: string[] = [];
  let finish: string | null = null;
  for await (const { choices } of await client.chat.completions.create({ ...request, stream: true })) {
    for (const delta of choices[0]!.delta.tool_calls ?? []) {
      expect(delta.index).toBe(0);
      if (delta.id) ids.push(delta.id);
      name += delta.function?.name ?? '';
      given += delta.function?.arguments ?? '';
    }
    finish = choices[0]!.finish_reason;
  }
  expect([name, given, ids.length, finish]).toEqual(['find_toy', call.function.arguments, 1, 'tool_calls']);

  const result = { role: 'tool', tool_call_id: call.id, content: 'under the bed' } as const;
  const next = await client.chat.completions.create({ ...ask, tools, messages: [...messages, message, result] });
  expect(next.choices[0]!.message.content).toMatch(/\w/);
}

const continued = { model, prompt: 'Once upon a time', temperature: 0, max_tokens: 8 };

/** The text that follows a prompt. */
export async function continuedText(client: Client): Promise<void> {
  const completion = await client.completions.create({ ...continued, n: 2, logprobs: 1 });
  expect(completion).toMatchObject({ object: 'text_completion', id: expect.stringMatching(/^cmpl-\w+$/) });
  expect(completion.choices.map(({ index }) => index)).toEqual([0, 1]);
  for (const { text, finish_reason, logprobs } of completion.choices) {
    expect(finish_reason).toBe('length');
    const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs!;
    expect(tokens).toHaveLength(8);
    expect(tokens!.join('')).toBe(text);
    expect(text_offset![2]! - text_offset![0]!).toBe(tokens![0]!.length + tokens![1]!.length);
    for (const [i, logprob] of token_logprobs!.entries()) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(Object.values(top_logprobs![i]!)).toContain(logprob); // greedy
    }
  }
  const { prompt_tokens, completion_tokens, total_tokens } = completion.usage!;
  expect([completion_tokens, total_tokens]).toEqual([16, prompt_tokens + 16]);
  const plain = await client.completions.create({ ...continued, prompt: ['Once upon a time'] });
  expect(plain.choices[0]).toMatchObject({ text: completion.choices[0]!.text, logprobs: null });
}

/** The same in pieces. */
export async function continuedStream(client: Client): Promise<void> {
  const whole = await client.completions.create(continued);
  const params = { ...continued, stream: true, stream_options: { include_usage: true } } as const;
  const chunks: TextChunk[] = [];
  for await (const chunk of await client.completions.create(params)) chunks.push(chunk);
  expect(new Set(chunks.map(({ object }) => object))).toEqual(new Set(['text_completion']));
  expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(whole.choices[0]!.text);
  expect(chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])).toEqual(['length']);
  const last = chunks.at(-1)!;
  expect([last.choices, last.usage?.completion_tokens]).toEqual([[], 8]);
  expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);

  const controller = new AbortController();
  const long = { ...continued, max_tokens: 500, stream: true } as const;
  let seen = 0;
  for await (const _ of await client.completions.create(long, { signal: controller.signal })) {
    if (++seen === 3) controller.abort();
  }
  await rejection(client.completions.create(continued, { signal: controller.signal }));
  await rejection(client.completions.create({ ...continued, n: -1 }));
}

/** Vectors of texts, as numbers and as the bytes of float32. */
export async function embeddedTexts(client: Client): Promise<void> {
  const input = ['a dog', 'a cat'];
  const { object, data, usage } = await client.embeddings.create({ model, input, encoding_format: 'float' });
  expect([object, data.map(({ index }) => index)]).toEqual(['list', [0, 1]]);
  expect(usage.prompt_tokens).toBeGreaterThan(1);
  expect(usage.total_tokens).toBe(usage.prompt_tokens);
  for (const { embedding } of data) {
    expect(embedding.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(1, 4);
  }
  const packed = await client.embeddings.create({ model, input, encoding_format: 'base64' });
  for (const [i, { embedding }] of packed.data.entries()) {
    const bytes = Uint8Array.from(atob(embedding as unknown as string), (char) => char.charCodeAt(0));
    expect([...new Float32Array(bytes.buffer)]).toEqual(data[i]!.embedding);
  }
  const [first] = (await client.embeddings.create({ model, input: input[0]! })).data; // which the client unpacks by itself
  expect([...first!.embedding]).toEqual(data[0]!.embedding);
  await rejection(client.embeddings.create({ model, input: '' }));
  await rejection(client.embeddings.create({ model, input, dimensions: -1 }));
}
