/** Starting a worker from wherever its script lies. */
import { SternaError } from '../errors';

const ALLOWED = 'a script that this page may start (Content-Security-Policy worker-src; CORS on another origin)';

/**
 * Starts a module worker. Browsers take a worker's script only from the page's own origin; a script of another one (a CDN)
 * is imported by a script of one line made here, which a Content-Security-Policy must allow (`worker-src blob:`).
 * @param url absolute
 * @throws SternaError `unsupported` where there are no workers, `worker` if the browser refuses
 */
export function startWorker(url: string): Worker {
  if (typeof Worker === 'undefined') {
    const facts = { got: 'none', expected: 'a browser window, or a worker that may start others' };
    throw new SternaError('unsupported', 'there are no Web Workers here', facts);
  }
  try {
    if (new URL(url).origin === globalThis.origin) return new Worker(url, { type: 'module' });
    const script = new Blob([`import ${JSON.stringify(url)};`], { type: 'text/javascript' });
    const bootstrap = URL.createObjectURL(script);
    const worker = new Worker(bootstrap, { type: 'module' });
    // not at once: engines differ in when they read the script
    for (const event of ['message', 'error']) {
      worker.addEventListener(event, () => URL.revokeObjectURL(bootstrap), { once: true });
    }
    return worker;
  } catch (error) {
    throw new SternaError('worker', 'the browser refused a worker', {
      file: url,
      got: String(error),
      expected: ALLOWED,
    });
  }
}

/**
 * What an error event of a worker says. A script that could not be fetched or is forbidden gives no message at all.
 * @param url of its script
 */
export function workerFailure(url: string, { message }: ErrorEvent): SternaError {
  if (message) return new SternaError('worker', message, { file: url });
  return new SternaError('worker', 'the worker did not start', { file: url, got: 'no script', expected: ALLOWED });
}
