/**
 * Markdown to safe HTML. Models write what they like, so only plain text elements pass: nothing that runs, styles the
 * page, or fetches (an image address could carry the conversation to a stranger's server).
 */

const tags = ['p', 'br', 'hr', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'a'];
const headings = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'];
const tables = ['table', 'thead', 'tbody', 'tr', 'th', 'td'];

export type Renderer = (text: string) => string;

/** Fetches the two libraries; the page loads them beside the model, not before it. */
export async function loadMarkdown(): Promise<Renderer> {
  const [{ Marked }, { default: purify }] = await Promise.all([import('marked'), import('dompurify')]);
  const marked = new Marked({ gfm: true, breaks: true, async: false });
  const allowed = {
    ALLOWED_TAGS: [...tags, ...headings, ...tables],
    ALLOWED_ATTR: ['href', 'title', 'start', 'align'],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  };
  purify.addHook('afterSanitizeAttributes', (node) => {
    if (!node.hasAttribute('href')) return;
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer');
  });
  return (text) => purify.sanitize(marked.parse(text, { async: false }), allowed);
}
