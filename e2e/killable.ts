/** A browser that can be killed at once, for tests of what is left then. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, expect, type Page } from '@playwright/test';
import { systemBrowser } from '../scripts/browsers.mjs';

export interface Running {
  child: ChildProcess;
  page: Page;
  kill(): Promise<void>;
}

/** A Chromium with a profile that stays, started so that its processes can be killed at once. */
export async function startChromium(profile: string): Promise<Running> {
  const portFile = join(profile, 'DevToolsActivePort');
  rmSync(portFile, { force: true });
  const path = systemBrowser('chromium') ?? chromium.executablePath();
  const flags = [
    '--headless',
    '--no-sandbox',
    '--no-first-run',
    '--remote-debugging-port=0',
    `--user-data-dir=${profile}`,
  ];
  const child = spawn(path, [...flags, 'about:blank'], { detached: true, stdio: 'ignore' });
  await expect.poll(() => existsSync(portFile) && readFileSync(portFile, 'utf8').includes('\n')).toBe(true);
  const port = readFileSync(portFile, 'utf8').split('\n')[0];
  const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`);
  const page = await browser.contexts()[0]!.newPage();
  async function kill(): Promise<void> {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    process.kill(-child.pid!, 'SIGKILL'); // the whole group
    await gone;
    await browser.close();
  }
  return { child, page, kill };
}
