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

test('a list begins at its number', () => {
  expect(render('3. three\n4. four')).toContain('<ol start="3">');
});

test('a code block has a head with its language and a button; its text is copied as it is', async () => {
  const box = document.createElement('div');
  box.innerHTML = render('```python\nif a < b and "<b>":\n    print(1)\n```');
  expect(box.querySelector('.code-head span')?.textContent).toBe('python');
  expect(box.querySelector('[data-copy]')?.textContent).toBe('Copy');
  expect(box.querySelector('code')?.textContent).toBe('if a < b and "<b>":\n    print(1)');
  box.innerHTML = render('> ```"onclick=alert(1)\n> x\n> ```');
  expect(box.querySelector('.code-head span')?.textContent).toBe('code');
  expect(box.querySelectorAll('[onclick]')).toHaveLength(0);
});

test('code in a known language is coloured once the colours are there, and stays safe', async () => {
  const coloured = await new Promise<(text: string) => string[]>((resolve) => {
    void loadMarkdown(resolve).then((first) => first('```js\n1\n```'));
  });
  const text = 'const a = "<img src=x onerror=alert(1)>"; // done';
  const box = document.createElement('div');
  box.innerHTML = coloured(`\`\`\`js\n${text}\n\`\`\``).join('');
  expect(box.querySelector('.hljs-keyword')?.textContent).toBe('const');
  expect(box.querySelector('img')).toBeNull();
  expect(box.querySelector('code')?.textContent).toBe(text);
  box.innerHTML = coloured('```klingon\n<b>qapla</b>\n```').join('');
  expect(box.querySelector('code')?.innerHTML).toBe('&lt;b&gt;qapla&lt;/b&gt;');
});

test('while a text grows, the blocks before its last one stay the same', () => {
  const [first, second] = [blocks('One.\n\n```\na'), blocks('One.\n\n```\na\nb\n```\n\nTwo')];
  expect(second[0]).toBe(first[0]);
  expect(second.join('')).toContain('<p>Two</p>');
});
