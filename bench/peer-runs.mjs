// wllama in the same Chromium on the same shape, by turns with ours.
import { openPage } from './chromium.mjs';
import { byTurns } from './engine-runs.mjs';

/** It takes half a second to a second for a token. */
const PROMPT = 16;
const TOKENS = 5;

/**
 * One build of it with so many threads.
 * @param figures of ours, measured by turns with it
 * @returns what it took, ms a token; `problem` where the build does not start
 */
export async function peerRounds(browser, address, { build, threads }, ours, rounds, figures) {
  const page = await openPage(browser, `${address}pages/bench/pages/peer.html`, 'peer');
  const result = { build, threads, runs: { 'decode ms': [], 'prefill ms': [] } };
  const urls = [`${address}models/peer/model.gguf`];
  try {
    Object.assign(result, await page.call('open', { build, threads, urls, contextLength: 512 }));
    await page.call('measure', 4, 2); // warm
    [result.ours] = await byTurns(rounds, [ours], figures, async () => {
      const { promptTokens, promptMs, tokens, tokensMs } = await page.call('measure', PROMPT, TOKENS);
      result.runs['prefill ms'].push(promptMs / promptTokens);
      result.runs['decode ms'].push(tokensMs / tokens);
    });
  } catch (error) {
    result.problem = error.message.split('\n')[0];
  }
  await page.close();
  return result;
}
