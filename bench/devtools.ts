/**
 * Chromium over its DevTools protocol, on a pipe of its own (`--remote-debugging-pipe`: JSON, each message ends with a
 * zero byte). Playwright gives no way to the heaps of workers, nor to a worker before its first line.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** A page or a worker. */
export interface Target {
  session: string;
  type: string;
  url: string;
}

export interface Browser {
  process: ChildProcess;
  /** Those that are there now. */
  targets: Map<string, Target>;
  /** One call; to the browser itself without a session. Rejects if the target goes. */
  call<T = Record<string, unknown>>(method: string, params?: object, session?: string): Promise<T>;
  /** Opens a page, and resolves when it has loaded. */
  open(url: string): Promise<Target>;
  /** Loads a page once more, and resolves when it has loaded. */
  reload(page: Target): Promise<void>;
  /** What an expression gives, once its promise settles. */
  evaluate<T>(target: Target, expression: string): Promise<T>;
  /** Ends it as a user would, so that everything is written. */
  close(): Promise<void>;
}

export interface BrowserOptions {
  executable: string;
  profile: string;
  args?: string[];
  /** Evaluated in each worker before its own code. */
  workerPrelude?: string;
  /** Lines that the browser's processes write to stdout. */
  onOutput?: (text: string) => void;
}

interface Incoming {
  id?: number;
  method?: string;
  params: Record<string, unknown>;
  result?: unknown;
  error?: { message: string };
  sessionId?: string;
}

const AUTO_ATTACH = { autoAttach: true, waitForDebuggerOnStart: true, flatten: true };

/** Starts Chromium without a window, with a profile that stays. */
export async function startBrowser(options: BrowserOptions): Promise<Browser> {
  const { executable, profile, args = [], workerPrelude, onOutput } = options;
  const flags = [
    '--headless',
    '--no-sandbox',
    '--no-first-run',
    '--remote-debugging-pipe',
    `--user-data-dir=${profile}`,
  ];
  const child = spawn(executable, [...flags, ...args, 'about:blank'], {
    stdio: ['ignore', onOutput ? 'pipe' : 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  if (onOutput) child.stdout!.setEncoding('utf8').on('data', onOutput);
  const [toBrowser, fromBrowser] = [child.stdio[3] as Writable, child.stdio[4] as Readable];
  const waiting = new Map<number, { session: string | undefined; done: (message: Incoming) => void }>();
  const targets = new Map<string, Target>();
  const loaded = new Map<string, () => void>();
  let last = 0;

  function call<T>(method: string, params: object = {}, session?: string): Promise<T> {
    const id = ++last;
    const answer = new Promise<T>((resolve, reject) => {
      const done = ({ result, error }: Incoming) =>
        error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result as T);
      waiting.set(id, { session, done });
    });
    toBrowser.write(`${JSON.stringify({ id, method, params, ...(session ? { sessionId: session } : {}) })}\0`);
    return answer;
  }

  async function attached({ sessionId: session, targetInfo }: Record<string, unknown>): Promise<void> {
    const { type, url } = targetInfo as Target;
    const target = { session: session as string, type, url };
    targets.set(target.session, target);
    const isWorker = type === 'worker';
    await call('Target.setAutoAttach', AUTO_ATTACH, target.session).catch(() => {});
    if (isWorker && workerPrelude) await call('Runtime.evaluate', { expression: workerPrelude }, target.session);
    await call('Runtime.runIfWaitingForDebugger', {}, target.session).catch(() => {});
  }

  function receive(message: Incoming): void {
    const { id, method, params, sessionId } = message;
    if (id !== undefined) {
      waiting.get(id)?.done(message);
      waiting.delete(id);
    } else if (method === 'Target.attachedToTarget')
      attached(params).catch(() => {}); // it has gone again
    else if (method === 'Target.detachedFromTarget') {
      const gone = params.sessionId as string;
      targets.delete(gone);
      for (const [key, { session, done }] of waiting) {
        if (session !== gone) continue;
        waiting.delete(key);
        done({ params: {}, error: { message: 'the target has gone' } });
      }
    } else if (method === 'Page.loadEventFired') loaded.get(sessionId!)?.();
  }

  /** Does what makes a page load, and waits until it has. */
  async function loads(session: string, work: () => Promise<unknown>): Promise<void> {
    const load = new Promise<void>((resolve) => loaded.set(session, resolve));
    await work();
    await load;
  }

  let rest = '';
  fromBrowser.setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop()!;
    for (const message of messages) receive(JSON.parse(message) as Incoming);
  });

  return {
    process: child,
    targets,
    call,
    async open(url) {
      const { targetId } = await call<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
      const { sessionId: session } = await call<{ sessionId: string }>('Target.attachToTarget', {
        targetId,
        flatten: true,
      });
      const target = { session, type: 'page', url };
      targets.set(session, target);
      await call('Page.enable', {}, session);
      await call('Target.setAutoAttach', AUTO_ATTACH, session);
      await loads(session, () => call('Page.navigate', { url }, session));
      return target;
    },
    reload: ({ session }) => loads(session, () => call('Page.reload', {}, session)),
    async evaluate<T>({ session }: Target, expression: string) {
      const params = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await call<{
        result: { value: T };
        exceptionDetails?: { text: string; exception?: { description?: string; preview?: unknown } };
      }>('Runtime.evaluate', params, session);
      if (exceptionDetails)
        throw new Error(exceptionDetails.exception?.description ?? JSON.stringify(exceptionDetails));
      return result.value;
    },
    async close() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      await call('Browser.close').catch(() => {});
      await gone;
    },
  };
}
