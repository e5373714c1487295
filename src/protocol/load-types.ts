/** The public types of loading: sources, options, progress, what is stored, what runs. */

import type { AssetUrls } from '../api/assets';
import type { ModelConfig } from '../model/config';
import type { CacheKind, KernelName } from '../model/memory';
import type { ToolFormat } from '../text/tool-format';
import type { GenerateOptions } from './generate-types';

/** A repository of the Hugging Face Hub. */
export interface HubSource {
  /** `owner/name` */
  repo: string;
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** The weight file, where a repository holds several: a path ending in `.gguf` or `.safetensors` (of a split one: any part). */
  file?: string;
  /** Access token, for gated and private repositories. It is sent to the hub only, and never stored. */
  token?: string;
  /** Default `https://huggingface.co`. */
  hubUrl?: string;
}

/**
 * Where a model comes from: a repository of the Hugging Face Hub (`owner/name` for short), a folder on a web server or
 * one `.gguf` or `.safetensors` file there, or the files themselves.
 */
export type Source = string | HubSource | { url: string | URL } | File | File[] | FileList;

/** What is being done; `waiting`: another tab is downloading the same model; `cache`: reading the stored weights. */
export type Phase = 'config' | 'tokenizer' | 'waiting' | 'weights' | 'cache' | 'warmup' | 'ready';

/**
 * Loading progress. `loaded` and `total` are bytes of all weight files (stored bytes in `cache`) from phase `weights` or
 * `cache` on; before, `total` is 0. `file` is empty in `warmup` and `ready`.
 */
export interface Progress {
  phase: Phase;
  file: string;
  loaded: number;
  total: number;
  /** Bytes a second over the last seconds; 0 where it is not known. */
  rate: number;
  /** Why the download is waiting to try again, while it does. */
  retry?: string;
}

export interface LoadOptions {
  /** Called as bytes arrive. */
  onProgress?: (progress: Progress) => void;
  /** Aborts the load; the promise then rejects with code `aborted` and everything is freed. */
  signal?: AbortSignal;
  /**
   * Threads to compute with, 1 to 64. Default: the cores the browser reports, at most 8, fewer for a model of less than
   * 40 million weights each. Without isolation: 1.
   */
  threads?: number;
  /** BitLinear kernel. Default `auto`: known-answer test, then a micro-benchmark. */
  kernel?: 'auto' | KernelName;
  /** Tokens of context to plan the KV cache for. Default: the model's maximum, at most 4096. */
  contextLength?: number;
  /** Sequences to plan the KV cache for, 1 to 64: the most answers at once (`GenerateOptions.n`). Default 1. */
  sequences?: number;
  /**
   * KV cache precision. Default bf16; f32 for comparison with a float32 reference; int8 (a scale to each position and head)
   * halves the bytes and the time of attention, at a small cost in precision.
   */
  kvCache?: CacheKind;
  /** Embedding and lm_head. `bf16` is exact; `int8` halves the bytes. Default `auto`: bf16 up to 64 MB, else int8. */
  lmHead?: 'auto' | 'bf16' | 'int8';
  /**
   * Screen an int8 lm_head: a 4-bit copy of its rows (half their bytes more) tells which of them can be among the best,
   * and only those are computed. For greedy decoding and top-k up to 64 without penalties; the tokens are the same.
   * Default `auto`: for 32768 tokens and more, where memory allows.
   */
  screening?: 'auto' | boolean;
  /** Keep the packed model in the browser's storage, and start from there. Default true; picked files are never kept. */
  cache?: boolean;
  /**
   * Byte order of GGUF I2_S weights, which nothing in the file tells. Default `auto`: the order in which a short text is
   * more likely; x86 where there is no tokenizer.
   */
  i2sOrder?: 'auto' | 'x86' | 'arm';
  /**
   * Where the workers and kernels of the package (its folder `dist/assets`) are: the URL of a folder, or URLs by file name.
   * Default: beside the library, where bundlers find and move them.
   */
  assets?: AssetUrls;
}

/** What a source holds and what it would cost, found out before anything large is downloaded. */
export interface Inspection {
  name: string;
  /** A digest of what the source says of the files that the model is read from (no commit); empty for picked files. */
  version: string;
  config: ModelConfig;
  /** How the weights are written: `packed safetensors`, `float safetensors, quantised here`, or `GGUF I2_S` and the like. */
  format: string;
  parameters: number;
  /** Bytes of all files that a load reads. */
  totalBytes: number;
  /** Bytes of them that are still to be downloaded. */
  downloadBytes: number;
  /** Bytes that the packed model takes in the browser's storage. */
  storedBytes: number;
  /** Bytes of WebAssembly memory with the given options. */
  memoryBytes: number;
  cached: 'no' | 'partly' | 'complete';
  hasTokenizer: boolean;
  /** Empty where everything fits; else what does not, in words. */
  obstacles: string[];
}

/** A model in the browser's storage. */
export interface CachedModel {
  id: string;
  name: string;
  /** What to give to `load()`. */
  source: HubSource | { url: string };
  version: string;
  /** Bytes it takes now, and when it is complete. */
  bytes: number;
  expectedBytes: number;
  /** false: a download that a load resumes. */
  complete: boolean;
  /** A newer version of the same model is there too: this one can be deleted. */
  outdated: boolean;
  savedAt: Date;
  usedAt: Date;
}

/** The browser's storage for this page, in bytes. */
export interface StorageFacts {
  /** Taken by Sterna's models. */
  models: number;
  /** Taken by saved sessions. */
  sessions: number;
  /** Taken by the whole origin. */
  used: number;
  /** What the browser allows the origin; an estimate. */
  quota: number;
  free: number;
  /** Whether the browser has promised not to evict it. */
  persisted: boolean;
}

/** Where the time of a load went, in ms. Packing, hashing and storing go on while the network or the disk works. */
export interface LoadTimes {
  /** Listing, configuration, headers, tokenizer. */
  describe: number;
  /** Waiting for bytes of the weights. */
  network: number;
  /** Decoding and packing them. */
  pack: number;
  /** sha256 of the files. */
  hash: number;
  /** Waiting until records are written. */
  store: number;
  /** Waiting for stored records, checked. */
  read: number;
  /** Choosing the kernel, starting the threads, warming up. */
  start: number;
}

/** What runs, and why. */
export interface ModelInfo {
  name: string;
  /** As in `Inspection`: a digest, empty for picked files. */
  version: string;
  /** How the weights are written, as in `Inspection`. */
  format: string;
  /** Whether the weights came from the browser's storage, and whether they are there now. */
  cached: { before: boolean; now: boolean };
  /** Why there is no tokenizer, where there is none. */
  noTokenizer: string | undefined;
  /** Byte order that I2_S weights were read in; undefined for other formats. */
  i2sOrder: 'x86' | 'arm' | undefined;
  config: ModelConfig;
  kernel: KernelName;
  /** Why this kernel: forced, or the measured times of the candidates. */
  kernelReason: string;
  /** Weights per nanosecond (GMAC/s) of each candidate in the micro-benchmark; 0 = failed its known-answer test. */
  kernelRates: Partial<Record<KernelName, number>>;
  relaxedSimd: boolean;
  threads: number;
  /** Why this many threads. */
  threadsReason: string;
  crossOriginIsolated: boolean;
  contextLength: number;
  /** Sequences that the KV cache has room for. */
  sequences: number;
  kvCache: CacheKind;
  lmHead: 'bf16' | 'int8' | 'ternary';
  /** Whether the lm_head is screened where greedy decoding or top-k allow it, and why (not). */
  screening: boolean;
  screeningReason: string;
  /** Bytes: weight files, ternary weights in memory, whole WebAssembly memory. */
  bytes: { file: number; ternary: number; memory: number };
  parameters: number;
  hasTokenizer: boolean;
  /** How the chat template has tools called; undefined if it knows none, or another form than these. */
  toolFormat: ToolFormat | undefined;
  loadMs: number;
  loadTimes: LoadTimes;
  /** The model's own sampling defaults (generation_config.json). */
  defaults: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>;
}
