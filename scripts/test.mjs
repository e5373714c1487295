// `npm test`: does the set-up that is missing, then runs every check and test.
// The last line is `N passed, N failed`, counted from the reports of the runners; the exit status is 1 if anything failed.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBrowser, ensureDependencies, ensureKernels, run, say } from './setup.mjs';

ensureDependencies();
await ensureBrowser();
await ensureKernels();

const reports = mkdtempSync(join(tmpdir(), 'sterna-'));
const total = { passed: 0, failed: 0, skipped: 0 };

/** A step without a test report of its own: it only counts if it fails. */
function check(what, command, args) {
  say(what);
  if (!run(command, args)) total.failed++;
}

/** A test runner; `read` takes its JSON report. A runner that fails without a failed test counts as one failure. */
function tests(what, args, file, env, read) {
  say(what);
  const path = join(reports, file);
  const ok = run('npx', args(path), { env: { ...process.env, ...env(path) } });
  const counts = existsSync(path) ? read(JSON.parse(readFileSync(path, 'utf8'))) : { passed: 0, failed: 0, skipped: 0 };
  if (!ok && counts.failed === 0) counts.failed = 1;
  for (const key of Object.keys(total)) total[key] += counts[key];
}

check('types', 'npx', ['tsc', '--noEmit', '-p', '.']);
check('types of the kernels', 'npx', ['tsc', '--noEmit', '-p', 'wasm']);
check('format and lint', 'npx', ['biome', 'ci', '.']);
check('docs/api.md is current', 'node', ['scripts/api/build.mjs', '--check']);
tests(
  'unit and model tests (Vitest: Node and Chromium)',
  (path) => ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${path}`],
  'vitest.json',
  () => ({}),
  ({ numPassedTests, numFailedTests, numPendingTests }) => ({
    passed: numPassedTests,
    failed: numFailedTests,
    skipped: numPendingTests,
  }),
);
tests(
  'the product in real browsers (Playwright)',
  () => ['playwright', 'test', '-c', 'e2e/playwright.config.ts', '--reporter=list,json'],
  'playwright.json',
  (path) => ({ PLAYWRIGHT_JSON_OUTPUT_NAME: path }),
  ({ stats: { expected, unexpected, flaky, skipped } }) => ({ passed: expected + flaky, failed: unexpected, skipped }),
);
rmSync(reports, { recursive: true });
if (total.skipped) say(`${total.skipped} skipped (reasons above)`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed ? 1 : 0);
