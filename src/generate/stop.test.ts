import { describe, expect, it } from 'vitest';
import { createRandom } from './sampler';
import { createStopMatcher } from './stop';

/** Feeds the pieces until stopped, then ends; the text shown, and whether it stopped. */
function run(stops: string[], pieces: string[]) {
  const matcher = createStopMatcher(stops);
  let shown = '';
  for (const piece of pieces) {
    const { text, stopped } = matcher.push(piece);
    shown += text;
    if (stopped) return { shown, stopped, rest: matcher.end() };
  }
  return { shown, stopped: false, rest: matcher.end() };
}

describe('the stop matcher', () => {
  it('finds a stop string over piece borders and shows nothing of it', () => {
    expect(run(['User:'], ['Hello', '\nUs', 'er', ': hi'])).toEqual({ shown: 'Hello\n', stopped: true, rest: '' });
  });

  it('holds back only what may begin a stop string, and releases it when it cannot be', () => {
    const matcher = createStopMatcher(['END', 'NDX']);
    expect(matcher.push('the E')).toEqual({ text: 'the ', stopped: false });
    expect(matcher.push('N')).toEqual({ text: '', stopped: false });
    expect(matcher.push('.')).toEqual({ text: 'EN.', stopped: false });
    expect(matcher.push('EN')).toEqual({ text: '', stopped: false });
    expect(matcher.end()).toBe('EN');
    expect(matcher.end()).toBe('');
  });

  it('handles a stop string that overlaps itself', () => {
    expect(run(['aab'], ['a', 'a', 'a', 'b', 'c'])).toEqual({ shown: 'a', stopped: true, rest: '' });
    expect(run(['abab!'], ['ab', 'ab', 'ab', '!'])).toEqual({ shown: 'ab', stopped: true, rest: '' });
  });

  it('takes the match that is complete first, of several that end together the longest', () => {
    expect(run(['abcde', 'cd'], ['xabcdef']).shown).toBe('xab');
    expect(run(['cd', 'bcd'], ['abcde']).shown).toBe('a');
    expect(run(['later', 'soon'], ['x soon later']).shown).toBe('x ');
  });

  it('drops everything after a match', () => {
    const matcher = createStopMatcher(['.']);
    expect(matcher.push('a.b')).toEqual({ text: 'a', stopped: true });
    expect(matcher.push('c')).toEqual({ text: '', stopped: true });
    expect(matcher.end()).toBe('');
  });

  it('passes text through without stop strings', () => {
    expect(run([], ['a', 'b'])).toEqual({ shown: 'ab', stopped: false, rest: '' });
  });

  it('gives the same for every cut of a text, and holds back no more than it must', () => {
    const random = createRandom(7);
    const letter = () => 'ab🙂\n'.split(/(?:)/u)[Math.floor(random() * 4)]!;
    const word = (length: number) => Array.from({ length }, letter).join('');
    let stops = 0;
    for (let round = 0; round < 1500; round++) {
      const list = Array.from({ length: 1 + Math.floor(random() * 3) }, () => word(1 + Math.floor(random() * 4)));
      const text = word(20);
      // The oracle: the first position at which a stop string has just ended; the longest of them.
      let expected = text;
      for (let end = 1; end <= text.length && expected === text; end++) {
        const ended = list.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
        if (ended.length > 0) expected = text.slice(0, end - Math.max(...ended));
        if (ended.length > 0) stops++;
      }
      const matcher = createStopMatcher(list);
      let fed = '';
      let shown = '';
      let stopped = false;
      for (const char of text.match(/.{1,3}/gsu)!.flatMap((x) => (random() < 0.5 ? [x] : [...x]))) {
        fed += char;
        const result = matcher.push(char);
        shown += result.text;
        stopped = result.stopped;
        if (stopped) break;
        const held = fed.slice(shown.length);
        if (held !== '') expect(list.some((stop) => stop !== held && stop.startsWith(held))).toBe(true);
      }
      expect(stopped).toBe(expected !== text);
      expect(shown + matcher.end()).toBe(expected);
    }
    expect(stops).toBeGreaterThan(500);
    expect(stops).toBeLessThan(1500);
  });

  it.each([[['']], [['a', '']], [[7 as unknown as string]]])('refuses %j', (stops) => {
    expect(() => createStopMatcher(stops)).toThrow(expect.objectContaining({ code: 'bad-input' }));
  });
});
