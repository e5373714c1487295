/** A function of the page that is told how far a call has come. */

export interface Listener<Args extends unknown[]> {
  /** Calls the function. What it throws is the page's own error: it is reported as an uncaught one, and the call goes on. */
  tell: (...args: Args) => void;
  /** Nothing is told any more: news comes over a channel of its own, and may be later than the call's reply. */
  end: () => void;
}

export function createListener<Args extends unknown[]>(
  listener: ((...args: Args) => void) | undefined,
): Listener<Args> {
  let over = false;
  return {
    tell(...args) {
      if (over) return;
      try {
        listener?.(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    },
    end: () => {
      over = true;
    },
  };
}
