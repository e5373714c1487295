// `npm run docs`: docs/api.md from the docstrings of the public names, docs/api-NAME.md of the package's other entries. With
// `--check` it writes nothing and fails where a file is not what it would write. typedoc runs on a TypeScript of its own, installed here on first use.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { entries } from '../build-library.mjs';
import { root, run } from '../setup.mjs';

const here = join(root, 'scripts/api');

/** The sections, by the source file of a name. What is in no file named here comes last, with the name of its file. */
const sections = [
  ['Models', ['model']],
  ['Answers', ['generate-types', 'generation', 'logits-stage', 'tool-format']],
  ['Sessions', ['session-handle', 'session-types', 'cached-sessions']],
  ['As an OpenAI client', ['openai-types']],
  ['Loading', ['load-types', 'assets', 'config', 'memory', 'features']],
  ['Stored models', ['cached-models']],
  ['Errors', ['errors']],
];
const sectionOf = (file) => sections.find(([, files]) => files.includes(file))?.[0] ?? file;

function ensureTypedoc() {
  const installed = join(here, 'node_modules/.package-lock.json');
  const lock = join(here, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  if (!run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: here })) process.exit(1);
}

/** The reference of an entry as Markdown. */
async function reference(name, file) {
  const main = name === 'index';
  const { Application, Comment, CommentTag, Converter } = await import('typedoc');
  const out = mkdtempSync(join(tmpdir(), 'sterna-api-'));
  const app = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    entryPoints: [join(root, file)],
    tsconfig: join(root, 'scripts/tsconfig.library.json'),
    basePath: root,
    name: main ? 'Sterna: the public names' : `sterna/${name}`,
    validation: { notExported: main, invalidLink: true, invalidPath: true, rewrittenLink: true, notDocumented: false },
    readme: 'none',
    disableSources: true,
    disableGit: true,
    excludeExternals: true,
    skipErrorChecking: true, // tsc does it, the project's own
    intentionallyNotExported: ['defaults', 'CACHE_BYTES', 'RopeScaling'],
    treatWarningsAsErrors: true,
    logLevel: 'Warn',
    sort: ['source-order'],
    categorizeByGroup: false,
    categoryOrder: [...sections.map(([title]) => title), '*'],
    router: 'module',
    entryFileName: 'api',
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useCodeBlocks: true,
    expandParameters: true,
    parametersFormat: 'table',
    interfacePropertiesFormat: 'table',
    classPropertiesFormat: 'table',
    propertyMembersFormat: 'table',
    typeDeclarationFormat: 'table',
    typeAliasPropertiesFormat: 'table',
    tableColumnSettings: { hideInherited: true, hideModifiers: true, hideOverrides: true },
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const each of main ? project.children : []) {
      const file = project.getSymbolIdFromReflection(each)?.packagePath;
      if (!file) throw new Error(`no source file of ${each.name}`);
      const text = sectionOf(basename(file, '.ts'));
      for (const described of each.signatures ?? [each]) {
        described.comment ??= new Comment();
        described.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text }]));
      }
    }
  });
  const project = await app.convert();
  if (project) app.validate(project);
  if (!project || app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1);
  app.options.setValue('out', out);
  await app.generateOutputs(project);
  const [title, ...rest] = readFileSync(join(out, 'api.md'), 'utf8').split('\n');
  rmSync(out, { recursive: true });
  return [title, '', 'Made by `npm run docs` from the docstrings.', ...rest].join('\n');
}

ensureTypedoc();
let stale = false;
for (const [name, file] of Object.entries(entries)) {
  const target = join(root, 'docs', name === 'index' ? 'api.md' : `api-${name}.md`);
  const text = await reference(name, file);
  if (!process.argv.includes('--check')) writeFileSync(target, text);
  else if (!existsSync(target) || readFileSync(target, 'utf8') !== text) {
    console.error(`${target} is not current: npm run docs`);
    stale = true;
  }
}
process.exit(stale ? 1 : 0);
