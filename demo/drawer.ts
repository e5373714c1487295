/** On a narrow page the side is a drawer: a popover, behind which the rest of the page cannot be reached. */
const narrow = matchMedia('(max-width: 56rem)');

export const isNarrow = (): boolean => narrow.matches;

/** Calls back when the page becomes narrow or wide. @returns what ends that */
export function watchWidth(changed: () => void): () => void {
  narrow.addEventListener('change', changed);
  return () => narrow.removeEventListener('change', changed);
}

/** For the drawer's `beforetoggle`: `rest` are the parts of the page that cannot be reached while it is open. */
export function keepBehind(event: Event, rest: Iterable<HTMLElement>): void {
  for (const element of rest) element.inert = (event as ToggleEvent).newState === 'open';
}
