import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Message } from '../protocol/generate-types';
import { encodeChat } from '../text/chat-template';
import { createTokenizer } from '../text/tokenizer';
import { continueTimeline } from './timeline';

const folder = new URL('../../demo/public/models/tiny-stories-ternary/', import.meta.url);
const read = (file: string) => JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
const tokenizer = createTokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
const trims: string = read('tokenizer_config.json').chat_template;
const render = (messages: Message[], answer = true, template = trims) =>
  encodeChat(tokenizer, template, messages, answer).ids;

const user = (content: string): Message => ({ role: 'user', content });
const assistant = (content: string): Message => ({ role: 'assistant', content });
/** The same text as the tokenizer's own ids would give, letter by letter. */
const letters = (text: string): number[] => [...text].flatMap((letter) => tokenizer.encode(letter));
const EOT = 2;

describe('continueTimeline', () => {
  const asked = render([user('A dog')]);
  const wrote = letters('Once upon a time');

  it('keeps the ids of an answer that reads the same', () => {
    const next = [user('A dog'), assistant('Once upon a time'), user('Go on')];
    const ids = continueTimeline(tokenizer, [...asked, ...wrote], render(next));
    expect(tokenizer.encode('Once upon a time')).not.toEqual(wrote);
    expect(ids.slice(0, asked.length + wrote.length)).toEqual([...asked, ...wrote]);
    expect(ids[asked.length + wrote.length]).toBe(EOT);
    expect(tokenizer.decode(ids)).toBe(tokenizer.decode(render(next)));
    // and once more: the second answer after the first
    const again = [...ids, ...letters('The end')];
    const third = continueTimeline(tokenizer, again, render([...next, assistant('The end'), user('More')]));
    expect(third.slice(0, again.length)).toEqual(again);
  });

  it('takes the rendered ids from where the template renders another text', () => {
    const next = [user('A dog'), assistant('Once upon a time '), user('Go on')]; // the template trims
    const blank = [...asked, ...wrote, ...letters(' ')];
    expect(continueTimeline(tokenizer, blank, render(next))).toEqual(render(next));
    expect(continueTimeline(tokenizer, [...asked, ...letters('Other')], render(next))).toEqual(render(next));
  });

  it('keeps the first answer where only the second is another', () => {
    const first = [...asked, ...wrote];
    const turns = [user('A dog'), assistant('Once upon a time'), user('Go on')];
    const second = continueTimeline(tokenizer, first, render(turns));
    const edited = [...turns, assistant('edited'), user('Go on')];
    const ids = continueTimeline(tokenizer, [...second, ...letters('as it was')], render(edited));
    const cut = second.lastIndexOf(EOT) + 1;
    expect(ids.slice(0, cut)).toEqual(second.slice(0, cut));
    expect(tokenizer.decode(ids)).toBe(tokenizer.decode(render(edited)));
  });

  it('goes on within a text that no special token ends', () => {
    const plain =
      '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ "A:" if add_generation_prompt }}';
    const known = [...render([user('A dog')], true, plain), ...letters('Once')];
    const loose =
      '{% for m in messages %}{{ m.role if m.role == "user" else "A" }}:{{ " " if m.role == "user" }}{{ m.content }}\n{% endfor %}{{ "A:" if add_generation_prompt }}';
    const from = [...render([user('A dog')], true, loose), ...letters('Once')];
    const rendered = render([user('A dog'), assistant('Once'), user('B')], true, loose);
    const ids = continueTimeline(tokenizer, from, rendered);
    expect(ids.slice(0, from.length)).toEqual(from);
    expect(tokenizer.decode(ids)).toBe(tokenizer.decode(rendered));
    // where the template writes another role, nothing fits
    const other = render([user('A dog'), assistant('Once'), user('B')], true, plain);
    expect(continueTimeline(tokenizer, known, other)).toEqual(other);
  });

  it('gives what is rendered where nothing is known', () => {
    expect(continueTimeline(tokenizer, [], asked)).toEqual(asked);
    expect(continueTimeline(tokenizer, asked, asked)).toEqual(asked);
    expect(continueTimeline(tokenizer, [...asked, ...wrote], asked)).toEqual(asked);
  });
});
