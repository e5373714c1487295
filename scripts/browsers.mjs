// Which browser the tests drive: Playwright's own where it was downloaded, else the system's.
import { existsSync } from 'node:fs';
import { chromium, firefox } from 'playwright';

const system = {
  chromium: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
  firefox: ['/usr/bin/firefox-esr', '/usr/bin/firefox'],
};
const own = { chromium, firefox };

/**
 * @param {'chromium' | 'firefox'} name
 * @returns {string | undefined} path of a system browser to use, or undefined where Playwright's own is there (or none is)
 */
export function systemBrowser(name) {
  const forced = process.env[`PLAYWRIGHT_${name.toUpperCase()}_EXECUTABLE`];
  if (forced) return forced;
  if (existsSync(own[name].executablePath())) return undefined;
  return system[name].find((path) => existsSync(path));
}

/** @param {'chromium' | 'firefox'} name */
export function hasBrowser(name) {
  return systemBrowser(name) !== undefined || existsSync(own[name].executablePath());
}

/** Whether there is a Chromium, with the libraries it needs. */
export async function chromiumStarts() {
  if (!hasBrowser('chromium')) return false;
  try {
    const browser = await chromium.launch({ executablePath: systemBrowser('chromium') });
    await browser.close();
    return true;
  } catch (error) {
    console.error(String(error).split('\n')[0]);
    return false;
  }
}
