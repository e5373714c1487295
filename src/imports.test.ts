/** Who may import whom: the table of docs/decisions.md, held against the import lines themselves. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const filesOf = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !name.endsWith('.d.ts'))
    .map((name) => `${folder}/${name}`);

/** Relative imports of a file that remain at run time, as paths from the root without extension. */
function valueImports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: string[] = [];
  for (const [, clause = '', from = ''] of text.matchAll(/^(?:import|export)\s+([^;]*?)\s*from\s+'([^']+)'/gm)) {
    // a URL of a file (`?url`) is no import of what is in it
    if (!from.startsWith('.') || from.includes('?') || clause.startsWith('type ')) continue;
    const names = /^\{([\s\S]*)\}$/
      .exec(clause)?.[1]
      ?.split(',')
      .map((name) => name.trim());
    if (names?.every((name) => name === '' || name.startsWith('type '))) continue;
    found.push(relative(root, join(root, dirname(file), from)));
  }
  return found;
}

/** Everything a file pulls in, itself included. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  const name = file.replace(/\.ts$/, '');
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const next of valueImports(`${name}.ts`)) if (!next.includes('generated')) closure(next, seen);
  return seen;
}

describe('imports', () => {
  it('finds what is imported', () => {
    expect(valueImports('workers/engine.worker.ts')).toEqual(['src/engine', 'src/kernels', 'src/lazy-formats']);
    expect(valueImports('src/forward.ts')).toContain('src/bitlinear');
    expect(valueImports('src/protocol.ts')).toEqual([]);
  });

  it('lets the page reach nothing that can block', () => {
    const page = closure('src/index.ts');
    expect(page).toContain('src/model');
    for (const room of ['engine', 'pool', 'forward', 'machine', 'loader', 'generate', 'session', 'score']) {
      expect(page).not.toContain(`src/${room}`);
    }
  });

  it('lets other entries of the package know only the main one', () => {
    const own = ['ai-sdk', 'ai-sdk-embedding', 'ai-sdk-language', 'ai-sdk-prompt', 'ai-sdk-settings', 'shared-model'];
    for (const name of own) {
      for (const other of valueImports(`src/${name}.ts`)) {
        expect(
          [...own, 'index'].map((each) => `src/${each}`),
          `${name}: ${other}`,
        ).toContain(other);
      }
    }
    expect(valueImports('src/shared-model.ts')).toEqual(['src/index']);
  });

  it('gives a kernel worker the forward pass and no more', () => {
    expect([...closure('workers/kernel.worker.ts')].sort()).toEqual(
      [
        'workers/kernel.worker',
        ...[
          'attend',
          'bandwidth',
          'bitlinear',
          'errors',
          'forward',
          'head',
          'kernels',
          'known-answers',
          'machine',
          'memory',
          'share',
        ].map((n) => `src/${n}`),
      ].sort(),
    );
  });

  it('keeps the forward pass to kernels, memory and configuration', () => {
    expect([...closure('src/forward.ts')].sort()).toEqual(
      ['attend', 'bandwidth', 'bitlinear', 'forward', 'head', 'memory', 'share'].map((name) => `src/${name}`).sort(),
    );
  });

  it('keeps leaves free of our own code, but for errors and JSON', () => {
    const within: Record<string, string[]> = {
      tokenizer: ['src/tokenizer-file', 'src/vocabulary'],
      reference: ['src/reference-kernels'],
      'tokenizer-file': ['src/vocabulary'],
      'plan-memory': ['src/memory'],
    };
    for (const leaf of [
      'config',
      'memory',
      'plan-memory',
      'protocol',
      'reference',
      'reference-kernels',
      'request',
      'safetensors',
      'sampler',
      'stop',
      'tokenizer',
      'tokenizer-file',
    ]) {
      const others = valueImports(`src/${leaf}.ts`).filter((name) => !['src/errors', 'src/json'].includes(name));
      expect(others.sort()).toEqual(within[leaf] ?? []);
    }
  });

  it('keeps the store to itself', () => {
    for (const file of filesOf('src').filter((name) => name.startsWith('src/store'))) {
      const own = ['src/errors', 'src/json'];
      const others = valueImports(file).filter((name) => !own.includes(name) && !name.startsWith('src/store'));
      expect(others, file).toEqual([]);
    }
    expect(valueImports('src/store.ts')).toContain('src/store-opfs');
  });

  it('lets the demo know only the public API', () => {
    for (const file of filesOf('demo')) {
      for (const name of valueImports(file))
        expect(name === 'src/index' || name.startsWith('demo/'), `${file}: ${name}`).toBe(true);
    }
  });

  it('has no barrel but src/index.ts', () => {
    for (const file of filesOf('src')) {
      if (file !== 'src/index.ts') expect(readFileSync(join(root, file), 'utf8')).not.toMatch(/^export .* from /m);
    }
  });
});
