// Set-up that may be missing after `git clone`: dependencies, kernels, a browser. Plain Node, no dependencies of its own.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export const say = (text) => console.log(`\u25b8 ${text}`);

/** Runs a command in the project's root with its output shown; returns whether it succeeded. */
export function run(command, args, options = {}) {
  const shell = process.platform === 'win32'; // npm and npx are scripts there
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell, ...options });
  return status === 0;
}

function must(what, ok) {
  if (ok) return;
  console.error(`${what} failed; see above.`);
  process.exit(1);
}

/** Installs the dependencies if they are missing or older than the lock file. */
export function ensureDependencies() {
  const installed = `${root}node_modules/.package-lock.json`;
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs) return;
  say('installing dependencies (npm ci)');
  const install = () => run('npm', ['ci', '--no-audit', '--no-fund']);
  must('npm ci', install() || install()); // a connection that breaks once is no reason to give up
}

/** Compiles the kernels if their sources are newer than what is built. */
export async function ensureKernels() {
  const { buildWasm } = await import('./build-wasm.mjs');
  if (await buildWasm()) say('kernels compiled (wasm/ -> src/generated/)');
}

/**
 * Makes sure that there is a Chromium that starts: Playwright's own where it can be downloaded, else the system's, else
 * Debian's through apt.
 */
export async function ensureBrowser() {
  const { chromiumStarts } = await import('./browsers.mjs');
  if (await chromiumStarts()) return;
  const apt = process.getuid?.() === 0 && run('apt-get', ['--version'], { stdio: 'ignore' });
  say("no Chromium that starts: trying Playwright's own");
  if (run('npx', ['playwright', 'install', 'chromium'], { timeout: 300_000 })) {
    if (await chromiumStarts()) return;
    if (apt) run('npx', ['playwright', 'install-deps', 'chromium']); // shared libraries
    if (await chromiumStarts()) return;
  }
  if (apt) {
    say("installing Debian's chromium (apt-get)");
    const quiet = {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    };
    run('apt-get', ['update', '-qq'], quiet);
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], quiet);
    if (await chromiumStarts()) return;
  }
  console.error(
    "The tests need a browser: install one with `npx playwright install chromium` or your system's chromium, or set PLAYWRIGHT_CHROMIUM_EXECUTABLE.",
  );
  process.exit(1);
}
