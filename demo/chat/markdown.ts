/**
 * Markdown to safe HTML. Models write what they like, so only plain text elements pass: nothing that runs, styles the
 * page, or fetches (an image address could carry the conversation to a stranger's server).
 */

const tags = ['p', 'br', 'hr', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'a'];
const headings = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'];
const tables = ['table', 'thead', 'tbody', 'tr', 'th', 'td'];

/**
 * The HTML of each block of a text: while an answer grows, only its last block changes. Code blocks have a button with
 * the attribute `data-copy`.
 */
export type Renderer = (text: string) => string[];

type Highlight = (code: string, language: string) => string | undefined;

/** Blocks kept, so that a growing answer is not made anew with each token. */
const mostKept = 500;

/**
 * Fetches the two libraries; the page loads them beside the model, not before it. `improved` is called with a renderer
 * that also colours code, once there has been code in a language.
 */
export async function loadMarkdown(improved: (renderer: Renderer) => void = () => {}): Promise<Renderer> {
  const [{ Marked }, { default: purify }] = await Promise.all([import('marked'), import('dompurify')]);
  const marked = new Marked({ gfm: true, breaks: true, async: false });
  marked.use({
    renderer: {
      code: ({ text, lang = '' }) => {
        const language = /^[\w+#-]*/.exec(lang)![0];
        return `<pre data-language="${language}"><code>${escaped(text)}</code></pre>\n`;
      },
    },
  });
  const allowed = {
    ALLOWED_TAGS: [...tags, ...headings, ...tables],
    ALLOWED_ATTR: ['href', 'title', 'start', 'align', 'data-language'],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    ADD_URI_SAFE_ATTR: ['start', 'align', 'data-language'], // no addresses: their values pass as they are
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true as const,
  };
  purify.addHook('afterSanitizeAttributes', (node) => {
    if (!node.hasAttribute('href')) return;
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer');
  });

  let asked = false;
  const colour: Highlight = () => {
    if (!asked) {
      asked = true;
      void import('./highlight').then(({ highlight }) => improved(rendererWith(highlight)));
    }
    return undefined;
  };

  function rendererWith(highlight: Highlight): Renderer {
    const kept = new Map<string, string>();
    return (text) => {
      if (kept.size > mostKept) kept.clear();
      const tokens = marked.lexer(text);
      const links = Object.keys(tokens.links).length; // a later definition changes what an earlier block says
      return tokens.map((token) => {
        const key = `${links} ${token.raw}`;
        const known = kept.get(key);
        if (known !== undefined) return known;
        const box = document.createElement('div');
        box.append(purify.sanitize(marked.parser([token]), allowed));
        for (const pre of box.querySelectorAll('pre')) dress(pre, highlight);
        for (const table of box.querySelectorAll('table')) hold(table);
        kept.set(key, box.innerHTML);
        return box.innerHTML;
      });
    };
  }
  return rendererWith(colour);
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Puts a table into a box of its own, which scrolls sideways where it is wider than the page. */
function hold(table: HTMLTableElement): void {
  const box = document.createElement('div');
  box.className = 'table';
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}

/** Gives a code block its head: the language, and a button to copy it. */
function dress(pre: HTMLPreElement, highlight: Highlight): void {
  const language = pre.dataset.language ?? '';
  pre.removeAttribute('data-language');
  pre.tabIndex = 0; // it may scroll sideways
  const code = pre.querySelector('code');
  const coloured = language && code ? highlight(code.textContent, language) : undefined;
  if (coloured !== undefined) code!.innerHTML = coloured;
  const block = document.createElement('div');
  block.className = 'code-block';
  block.innerHTML =
    '<div class="code-head"><span></span><button type="button" class="quiet" data-copy>Copy</button></div>';
  block.querySelector('span')!.textContent = language || 'code';
  pre.replaceWith(block);
  block.append(pre);
}
