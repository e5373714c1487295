/**
 * The peer: wllama (llama.cpp in WebAssembly), in a page of its own. Its default build is memory64 with JSPI; `compat` is
 * the 32-bit build that it takes where a browser lacks either.
 */
import { type RawCompletionParams, Wllama } from '@wllama/wllama/esm/index.js';
import wasm64 from '@wllama/wllama/esm/wasm/wllama.wasm?url';
import code32 from '@wllama/wllama-compat/wasm/wllama.js?url';
import wasm32 from '@wllama/wllama-compat/wasm/wllama.wasm?url';

export interface PeerOptions {
  /** `mem64` or `compat`. */
  build: 'mem64' | 'compat';
  threads: number;
  /** The GGUF file, or the parts of a split one in order. */
  urls: string[];
  contextLength: number;
}

/** Milliseconds and tokens of one completion, as llama.cpp counts them. */
export interface PeerTimes {
  promptTokens: number;
  promptMs: number;
  tokens: number;
  tokensMs: number;
}

const absolute = (url: string): string => new URL(url, location.href).href;
let wllama: Wllama | undefined;

async function open({
  build,
  threads,
  urls,
  contextLength,
}: PeerOptions): Promise<{ loadMs: number; version: string }> {
  const start = performance.now();
  wllama = new Wllama({ default: absolute(wasm64) }, { suppressNativeLog: true });
  if (build === 'compat') {
    // wllama chooses by what the browser can do; the 32-bit build is to run where both do
    wllama.getWorkerResources = () => ({ wasmPath: absolute(wasm32), jsPath: absolute(code32), compat: true });
  }
  const blobs = await Promise.all(urls.map(async (url) => (await fetch(url)).blob()));
  await wllama.loadModel(blobs, { n_threads: threads, n_gpu_layers: 0, n_ctx: contextLength, n_parallel: 1 });
  if (wllama.getNumThreads() !== threads) throw new Error(`wllama runs ${wllama.getNumThreads()} threads`);
  return { loadMs: performance.now() - start, version: Wllama.getLibllamaVersion() };
}

/**
 * One completion, greedily and from an empty cache, of a text of so many characters: the synthetic vocabulary has a token
 * for each letter, and no merge of these.
 */
async function measure(promptTokens: number, tokens: number): Promise<PeerTimes> {
  const letters = Array.from(
    { length: promptTokens },
    () => 'cdefghijklmnopqrstuvwxyz'[Math.floor(Math.random() * 24)],
  );
  const { timings } = await wllama!.createCompletion({
    prompt: letters.join(''),
    max_tokens: tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false, // an option of the server that wllama wraps
  } as RawCompletionParams & { stream?: false });
  if (!timings) throw new Error('wllama gave no timings');
  const { prompt_n, prompt_ms, predicted_n, predicted_ms } = timings;
  // its first token comes of the prompt's last pass
  return { promptTokens: prompt_n, promptMs: prompt_ms, tokens: predicted_n - 1, tokensMs: predicted_ms };
}

const peer = { open, measure };
export type Peer = typeof peer;
Object.assign(globalThis, { peer });
