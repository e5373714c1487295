import { expect, test } from 'vitest';
import { SternaError } from '../../src/index';
import { type Chat, newChat, type Turn, withTurn } from './chat';
import { chatFile, chatFileName, readChatFile } from './chat-file';

const figures = {
  model: 'tiny',
  contextLength: 1024,
  finishReason: 'stop' as const,
  seed: 7,
  usage: { promptTokens: 22, cachedTokens: 0, completionTokens: 30 },
  timings: { promptMs: 4, firstTokenMs: 5, decodeMs: 20, promptTokensPerSecond: 5000, decodeTokensPerSecond: 1500 },
};
const turns: Turn[] = [
  { id: 'q', parent: null, role: 'user', text: 'Ünïcode “story”, please', at: 1 },
  { id: 'a1', parent: 'q', role: 'assistant', text: 'Once', at: 2, figures },
  { id: 'a2', parent: 'q', role: 'assistant', text: 'Twice', at: 3, unfinished: true },
  { id: 'q2', parent: 'a1', role: 'user', text: 'More', at: 4 },
];
const chat = (): Chat => ({
  ...turns.reduce(withTurn, newChat({ sampling: { temperature: 0, systemPrompt: 'Be kind' }, engine: { threads: 2 } })),
  leaf: 'a2',
});

const file = (text: string) => new File([text], 'chats.json');

test('what is exported comes back the same', async () => {
  const chats = [chat(), newChat({ sampling: {}, engine: {} })];
  expect(await readChatFile(file(chatFile(chats)))).toEqual(chats);
});

test('the file is named after the chat and the day', () => {
  expect(chatFileName([chat()])).toMatch(/^sterna-ünïcode-story-please-\d{4}-\d\d-\d\d\.json$/);
  expect(chatFileName([chat(), chat()])).toMatch(/^sterna-chats-\d{4}-\d\d-\d\d\.json$/);
});

/** The error of a file in which one thing is changed. */
// biome-ignore lint/suspicious/noExplicitAny: it is broken on purpose, in every way
async function refusal(change: (outer: Record<string, any>) => void): Promise<SternaError> {
  const outer = JSON.parse(chatFile([chat()]));
  change(outer);
  const error = await readChatFile(file(JSON.stringify(outer))).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SternaError);
  return error as SternaError;
}

test.each<[place: string, expected: string, change: Parameters<typeof refusal>[0]]>([
  ['format', 'sterna-chats', (outer) => delete outer.format],
  ['version', '1', (outer) => (outer.version = 2)],
  ['chats', 'a list', (outer) => (outer.chats = {})],
  ['chats[0]', 'a record', (outer) => (outer.chats = [null])],
  ['chats[0].id', 'an id', (outer) => (outer.chats[0].id = '../x')],
  ['chats[0].title', 'a text', (outer) => (outer.chats[0].title = 7)],
  ['chats[0].changedAt', 'a time in ms', (outer) => (outer.chats[0].changedAt = 'today')],
  ['chats[0].turns', 'a list', (outer) => delete outer.chats[0].turns],
  ['chats[0].turns[1].role', 'user or assistant', (outer) => (outer.chats[0].turns[1].role = 'system')],
  ['chats[0].turns[1].text', 'a text', (outer) => (outer.chats[0].turns[1].text = null)],
  ['chats[0].turns[1].parent', 'the id of an earlier question', (outer) => (outer.chats[0].turns[1].parent = null)],
  // a circle
  [
    'chats[0].turns[0].parent',
    'the id of an earlier answer, or null',
    (outer) => (outer.chats[0].turns[0].parent = 'a1'),
  ],
  ['chats[0].turns[2].id', 'an id of its own', (outer) => (outer.chats[0].turns[2].id = 'a1')],
  ['chats[0].turns[1].figures.seed', 'a number', (outer) => (outer.chats[0].turns[1].figures.seed = 'x')],
])('%s must be %s', async (place, expected, change) => {
  const error = await refusal(change);
  expect(error.code).toBe('bad-file');
  expect(error.file).toBe('chats.json');
  expect(error.expected).toBe(expected);
  expect(error.message).toContain(`${place} (`);
});

test('what is not JSON is said to be so', async () => {
  await expect(readChatFile(file('%PDF-1.7'))).rejects.toMatchObject({ code: 'bad-file', got: '"%PDF-1.7"' });
});

test('settings that are not known, or cannot be, are left out', async () => {
  const outer = JSON.parse(chatFile([chat()]));
  outer.chats[0].settings = { sampling: { temperature: 99, topK: 5, other: 1 }, engine: { threads: 0, kernel: 'gpu' } };
  const [read] = await readChatFile(file(JSON.stringify(outer)));
  expect(read?.settings).toEqual({ sampling: { topK: 5 }, engine: {} });
});
