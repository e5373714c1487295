/**
 * What a load takes of memory: the JavaScript heaps, as V8 counts them, and the processes, as the system does. The
 * WebAssembly memory of a model is shared, hence in no heap's count; in a process it is a mapping of its exact size.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Browser, Target } from './devtools';

/** Bytes at one moment. */
export interface HeapSample {
  /** ms since the sampling began. */
  at: number;
  /** All heaps together: objects and strings, array buffers, and what the browser itself keeps for the page's objects. */
  total: number;
  objects: number;
  buffers: number;
  embedder: number;
}

export interface ProcessSample {
  /** PSS by kind of process (browser, renderer, utility, gpu-process), without the WebAssembly memory. */
  pss: Record<string, number>;
  /** Resident bytes of the WebAssembly memory. */
  wasm: number;
}

interface Usage {
  usedSize: number;
  embedderHeapUsedSize: number;
  backingStorageSize: number;
}

/**
 * Asks every page and dedicated worker for its heap, every `everyMs`. A thread that is busy answers when it is done, so
 * what rises and falls within one task is not seen: for that there is V8's own log (`heapsBeforeCollection`).
 */
export function sampleHeaps(browser: Browser, everyMs: number): { samples: HeapSample[]; stop: () => void } {
  const samples: HeapSample[] = [];
  const latest = new Map<string, Usage>();
  const asked = new Set<string>();
  const begin = performance.now();
  const ask = async ({ session }: Target): Promise<void> => {
    if (asked.has(session)) return;
    asked.add(session);
    await browser
      .call<Usage>('Runtime.getHeapUsage', {}, session)
      .then((usage) => latest.set(session, usage))
      .catch(() => latest.delete(session));
    asked.delete(session);
    add();
  };
  const add = (): void => {
    for (const session of latest.keys()) if (!browser.targets.has(session)) latest.delete(session);
    const sum = (size: (usage: Usage) => number) => [...latest.values()].reduce((all, usage) => all + size(usage), 0);
    const objects = sum(({ usedSize }) => usedSize);
    const buffers = sum(({ backingStorageSize }) => backingStorageSize);
    const embedder = sum(({ embedderHeapUsedSize }) => embedderHeapUsedSize);
    samples.push({ at: performance.now() - begin, total: objects + buffers + embedder, objects, buffers, embedder });
  };
  const timer = setInterval(() => {
    for (const target of browser.targets.values()) void ask(target);
  }, everyMs);
  return { samples, stop: () => clearInterval(timer) };
}

/**
 * The largest heap (objects and strings, no array buffers) that V8 found at the start of a collection, from the lines of
 * `--js-flags=--trace-gc`. Collections begin inside of tasks too.
 */
export function heapsBeforeCollection(log: string): number {
  const sizes = [...log.matchAll(/ ms: [A-Z][\w ()-]*? ([\d.]+) \([\d.]+\) -> /g)].map(
    ([, size]) => Number(size) * 2 ** 20,
  );
  return Math.max(0, ...sizes);
}

/** The processes of a browser: pid and kind. */
function processesOf(root: number): { pid: number; kind: string }[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = textOf(`/proc/${name}/stat`);
    if (stat) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const belongs = (pid: number): boolean => {
    for (let at: number | undefined = pid; at; at = parents.get(at)) if (at === root) return true;
    return false;
  };
  return [...parents.keys()].filter(belongs).map((pid) => {
    const [, kind = 'browser'] = /--type=([\w-]+)/.exec(textOf(`/proc/${pid}/cmdline`)) ?? [];
    return { pid, kind };
  });
}

/** A file of /proc; empty when the process has gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** @param wasmBytes the size of the model's memory: the mapping by which it is found */
export function processMemory(root: number, wasmBytes: number): ProcessSample {
  const pss: Record<string, number> = {};
  let wasm = 0;
  for (const { pid, kind } of processesOf(root)) {
    const smaps = textOf(`/proc/${pid}/smaps`);
    let sum = 0;
    for (const [, from, to, details] of smaps.matchAll(/^([\da-f]+)-([\da-f]+) (.*(?:\n[A-Z]\w+:.*)*)/gm)) {
      const size = Number.parseInt(to!, 16) - Number.parseInt(from!, 16);
      const bytes = Number(/^Pss: +(\d+) kB/m.exec(details!)?.[1] ?? 0) * 1024;
      if (size === wasmBytes) wasm += bytes;
      else sum += bytes;
    }
    pss[kind] = (pss[kind] ?? 0) + sum;
  }
  return { pss, wasm };
}
