/**
 * Copies a text. Where the browser forbids it, selects `element` instead, so that the visitor's own copy command takes
 * it. @returns whether it is on the clipboard
 */
export async function copyText(text: string, element: Element | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (element) getSelection()?.selectAllChildren(element);
    return false;
  }
}
