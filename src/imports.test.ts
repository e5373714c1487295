/** Who may import whom: the table of docs/decisions.md, held against the import lines themselves. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const filesOf = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|\.d\.ts$|generated\//.test(name));

/** The rooms of src/: which of the others each may use. All may use errors and json; types may come from anywhere. */
const ROOMS: Record<string, string[]> = {
  protocol: [],
  store: [],
  text: [],
  formats: [],
  model: [],
  sources: ['checkpoint'],
  checkpoint: ['model', 'text'],
  generate: ['formats', 'model', 'text'],
  session: ['generate', 'checkpoint', 'store', 'text'],
  engine: ['generate', 'session', 'checkpoint', 'sources', 'store', 'model', 'text'],
  openai: ['api'],
  api: ['openai', 'store', 'model', 'text'],
  'ai-sdk': ['index'],
};

/** The room of a path from the root: the name of its folder in src/, or of the file where it has none. */
const roomOf = (path: string): string => path.replace(/\.ts$/, '').split('/')[1]!;

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
    expect(valueImports('workers/engine.worker.ts')).toEqual([
      'src/engine/engine',
      'src/generate/lazy-formats',
      'src/model/kernels',
    ]);
    expect(valueImports('src/model/forward.ts')).toContain('src/model/bitlinear');
    expect(valueImports('src/protocol/protocol.ts')).toEqual([]);
  });

  it('keeps to the table of rooms', () => {
    const rooms = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(rooms.map(({ name }) => name).sort()).toEqual([...Object.keys(ROOMS), 'generated'].sort());
    const used = new Set<string>();
    for (const room of Object.keys(ROOMS)) {
      for (const file of filesOf(`src/${room}`)) {
        for (const other of valueImports(file).map(roomOf)) {
          if (other === room || other === 'errors' || other === 'json') continue;
          expect(ROOMS[room], `${file}: ${other}`).toContain(other);
          used.add(`${room} ${other}`);
        }
      }
    }
    expect(valueImports('src/store/store.ts')).toContain('src/store/store-opfs');
    const all = Object.entries(ROOMS).flatMap(([room, others]) => others.map((other) => `${room} ${other}`));
    expect([...used].sort()).toEqual(all.sort());
  });

  it('lets the other entry of the package know its own room, and through it the main entry', () => {
    const others = valueImports('src/ai-sdk.ts');
    expect(others.length).toBeGreaterThan(0);
    for (const name of others) expect(['ai-sdk', 'index']).toContain(roomOf(name));
    expect(valueImports('src/ai-sdk/shared-model.ts')).toEqual(['src/index']);
  });

  it('lets the page reach nothing that can block', () => {
    const page = [...closure('src/index.ts')];
    expect(page).toContain('src/api/model');
    expect([...new Set(page.map(roomOf))].sort()).toEqual(
      ['api', 'errors', 'index', 'json', 'model', 'openai', 'store', 'text'].sort(),
    );
    for (const file of ['pool', 'forward', 'machine']) expect(page).not.toContain(`src/model/${file}`);
  });

  it('gives a kernel worker the forward pass and no more', () => {
    expect([...closure('workers/kernel.worker.ts')].sort()).toEqual(
      [
        'workers/kernel.worker',
        'src/errors',
        ...[
          'attend',
          'bandwidth',
          'bitlinear',
          'forward',
          'head',
          'kernels',
          'known-answers',
          'machine',
          'memory',
          'share',
        ].map((name) => `src/model/${name}`),
      ].sort(),
    );
  });

  it('keeps the forward pass to kernels, memory and configuration', () => {
    expect([...closure('src/model/forward.ts')].sort()).toEqual(
      ['attend', 'bandwidth', 'bitlinear', 'forward', 'head', 'memory', 'share'].map((name) => `src/model/${name}`),
    );
  });

  it('keeps leaves free of our own code, but for errors and JSON', () => {
    const within: Record<string, string[]> = {
      'text/tokenizer': ['src/text/tokenizer-file', 'src/text/vocabulary'],
      'model/reference': ['src/model/reference-kernels'],
      'text/tokenizer-file': ['src/text/vocabulary'],
      'model/plan-memory': ['src/model/memory'],
    };
    const leaves = [
      'protocol/protocol',
      ...['model/config', 'model/memory', 'model/plan-memory', 'model/reference', 'model/reference-kernels'],
      ...['sources/request', 'checkpoint/safetensors', 'generate/sampler', 'generate/stop'],
      ...['text/tokenizer', 'text/tokenizer-file'],
    ];
    for (const leaf of leaves) {
      const others = valueImports(`src/${leaf}.ts`).filter((name) => !['src/errors', 'src/json'].includes(name));
      expect(others.sort()).toEqual(within[leaf] ?? []);
    }
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
