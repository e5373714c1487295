// The screening of the lm_head against the full pass, in headless Chromium: over many steps of hard heads and of the
// embedded model, the best logits must be the same. Prints how many rows were computed for them.
//   node bench/screening.mjs [--steps 100000] [--large 200] [--seed 1]   large: steps with 128256 rows of 2560
import { parseArgs } from 'node:util';
import { ensureBrowser, ensureDependencies, ensureKernels, root, say } from '../scripts/setup.mjs';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '100000' },
    large: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
  },
});
const seed = Number(values.seed);
const FORMS = 8;
const LARGE = 7;
/** Rows, width; each form takes these by turns. */
const SIZES = [
  [8192, 512],
  [16384, 640],
  [4099, 1000],
];

ensureDependencies();
await ensureBrowser();
await ensureKernels();
const { openSources } = await import('./source-page.mjs');
const sources = await openSources();

/** One trial in a page of its own, so that its memory is free afterwards. */
async function trial(name, args) {
  const page = await sources.newPage();
  const result = await page.evaluate(
    async ([url, call, given]) => (await import(url))[call](...given),
    [`/@fs${root}bench/screening.ts`.replace('//', '/'), name, args],
  );
  await page.close();
  const { what, steps, wrong, forOne, forForty } = result;
  say(
    `${what}: ${steps} steps, ${wrong} wrong; rows for the best ${forOne.mean} (most ${forOne.most}), for the best 40 ${forForty.mean} (most ${forForty.most})`,
  );
  return result;
}

const share = Math.ceil(Number(values.steps) / (FORMS + 1));
const results = [await trial('tryEmbedded', [share, seed])];
for (let form = 0; form < FORMS; form++) {
  const part = Math.ceil(share / SIZES.length);
  for (const [index, [vocab, width]] of SIZES.entries()) {
    results.push(await trial('tryForm', [form, vocab, width, part, 1000 * seed + 10 * form + index]));
  }
}
if (Number(values.large) > 0) results.push(await trial('tryForm', [LARGE, 128_256, 2560, Number(values.large), seed]));
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
say(`${sum('steps')} steps, ${sum('wrong')} wrong`);
await sources.close();
process.exit(sum('wrong') === 0 ? 0 : 1);
