/** Light or dark: the system's choice, unless the visitor made one. */

const storageKey = 'sterna.theme';
const systemDark = matchMedia('(prefers-color-scheme: dark)');

function show(theme: string): void {
  document.documentElement.dataset.theme = theme;
}

/** Shows the theme chosen on an earlier visit, if any. */
export function restoreTheme(): void {
  try {
    const theme = localStorage.getItem(storageKey);
    if (theme === 'light' || theme === 'dark') show(theme);
  } catch {
    // Storage is blocked: the system's choice stands.
  }
}

export function toggleTheme(): void {
  const shown = document.documentElement.dataset.theme ?? (systemDark.matches ? 'dark' : 'light');
  const theme = shown === 'dark' ? 'light' : 'dark';
  show(theme);
  try {
    // The system's own choice needs no memory: the page then goes on following it.
    if ((theme === 'dark') === systemDark.matches) localStorage.removeItem(storageKey);
    else localStorage.setItem(storageKey, theme);
  } catch {
    // Storage is blocked: the choice holds until the tab is closed.
  }
}
