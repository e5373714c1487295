/** Packages of ours in a project elsewhere, as if they had been installed there. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Links packages into `node_modules` of a folder; `sterna` is this checkout, with what was built in `dist`. */
export function linkPackages(folder: string, names: string[]): void {
  for (const name of names) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(name === 'sterna' ? root : join(root, 'node_modules', name), link);
  }
}
