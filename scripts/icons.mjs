// Draws the icons of the installed page from demo/favicon.svg: `node scripts/icons.mjs`, after a change of the drawing.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { systemBrowser } from './browsers.mjs';

const demo = fileURLToPath(new URL('../demo/', import.meta.url));
const svg = readFileSync(`${demo}favicon.svg`, 'utf8');

/** A system cuts its own shape out of a maskable icon: ground to the edge, the drawing within the middle 80 %. */
const maskable = svg
  .replace(/<rect[^>]*>/, '<rect x="-20" y="-20" width="100" height="100" fill="#eef1f0" />')
  .replace('viewBox="0 0 60 60"', 'viewBox="-9 -9 78 78"');
/** iOS rounds the corners itself and shows no transparency. */
const square = svg.replace('rx="13"', '');

const browser = await chromium.launch({ executablePath: systemBrowser('chromium') });
for (const [name, drawing, size] of [
  ['192', svg, 192],
  ['512', svg, 512],
  ['maskable-512', maskable, 512],
  ['apple-180', square, 180],
]) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>*{margin:0}svg{display:block;width:100vw}</style>${drawing}`);
  await page.screenshot({ path: `${demo}public/icons/${name}.png`, omitBackground: true });
}
await browser.close();
