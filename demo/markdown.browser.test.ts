import { expect, test } from 'vitest';
import { loadMarkdown } from './markdown';

const blocks = await loadMarkdown();
const render = (text: string) => blocks(text).join('');

test('renders what models write', () => {
  expect(render('# Tern\n\nA **sea** bird:\n\n- wings\n- bill')).toBe(
    '<h1>Tern</h1>\n<p>A <strong>sea</strong> bird:</p>\n<ul>\n<li>wings</li>\n<li>bill</li>\n</ul>\n',
  );
  expect(render('one\ntwo')).toBe('<p>one<br>two</p>\n');
  expect(render('| a | b |\n| - | - |\n| 1 | 2 |')).toContain('<td>1</td>');
  expect(render('```js\n1 < 2\n```')).toContain('1 &lt; 2');
});

test('an answer that has only begun is text already', () => {
  expect(render('a **bol')).toBe('<p>a **bol</p>\n');
  expect(render('```\nfor (')).toContain('<code>for (');
});

test.each([
  '<script>document.title = "changed"</script>',
  '<img src=x onerror="document.title = 1">',
  '![a picture](https://example.org/?what=was-said)',
  '<style>body { display: none }</style>',
  '<p style="position: fixed">over the page</p>',
  '<form action="https://example.org"><input name="secret"></form>',
  '<iframe src="https://example.org"></iframe>',
  '<svg><a xlink:href="javascript:alert(1)">x</a></svg>',
  '[press](javascript:alert(1))',
  '<a href="data:text/html,x" onclick="alert(1)" id="app">press</a>',
])('nothing in it runs, fetches or styles: %s', (text) => {
  const box = document.createElement('div');
  box.innerHTML = render(text);
  expect(box.querySelector('script, img, style, form, input, iframe, svg')).toBeNull();
  const attributes = [...box.querySelectorAll('*')].flatMap((element) => element.getAttributeNames());
  expect(attributes).toEqual([]);
});

test('links open elsewhere and tell nothing of this page', () => {
  const box = document.createElement('div');
  box.innerHTML = render('[terns](https://example.org/terns)');
  const link = box.querySelector('a');
  expect(link?.href).toBe('https://example.org/terns');
  expect(link?.target).toBe('_blank');
  expect(link?.rel).toBe('noopener noreferrer');
});
