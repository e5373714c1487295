/** The page's side of its service worker, which keeps the page for offline use and isolates it where the host does not. */

/** A visitor waits no longer than this for threads; the next visit has them at once. */
const mostWait = 5000;
const reloadedKey = 'sterna-reloaded-for-isolation';

/** Whether there is a worker that answers for the page, once it has everything of its build or never will. */
function isActive({ active, installing, waiting }: ServiceWorkerRegistration): Promise<boolean> {
  const worker = active ?? installing ?? waiting;
  return new Promise((resolve) => {
    const look = (): void => {
      if (worker?.state === 'activated') resolve(true);
      else if (!worker || worker.state === 'redundant') resolve(false);
    };
    worker?.addEventListener('statechange', look);
    look();
  });
}

const later = (ms: number): Promise<false> => new Promise((resolve) => setTimeout(resolve, ms, false));

/**
 * Registers the service worker. On a host that does not send the headers of isolation, a first visit ends here: once the
 * worker can send them, the page begins anew. Whatever goes wrong, the page goes on without.
 */
export async function keepAndIsolate(): Promise<void> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  const registering = navigator.serviceWorker.register('./sw.js');
  registering.catch((error: unknown) => console.warn('no offline use:', error));
  try {
    if (crossOriginIsolated) return sessionStorage.removeItem(reloadedKey);
    if (navigator.serviceWorker.controller || sessionStorage.getItem(reloadedKey)) return; // it did not help
    const answering = registering.then(isActive);
    if (!(await Promise.race([answering, later(mostWait)]))) return;
    sessionStorage.setItem(reloadedKey, 'yes');
    location.reload();
    await later(mostWait);
  } catch {
    // said above; or sessionStorage is forbidden, and a page that cannot tell whether it began anew must not
  }
}

/** Tells when another build than this page's is ready. */
export async function watchForUpdate(onReady: () => void): Promise<void> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  const registration = await navigator.serviceWorker.ready;
  const look = (): void => {
    if (registration.waiting) onReady();
  };
  registration.addEventListener('updatefound', () => {
    registration.installing?.addEventListener('statechange', look);
  });
  look();
  // a browser looks by itself when a page is opened; this one may stay open for weeks
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) registration.update().catch(() => {}); // offline, say
  });
}

/** Hands over to the build that is waiting, and begins anew with it. */
export async function update(): Promise<void> {
  const { waiting } = await navigator.serviceWorker.ready;
  if (!waiting) return location.reload(); // another tab was first
  navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
  waiting.postMessage('activate');
}
