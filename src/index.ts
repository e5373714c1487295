/** Sterna: ternary language models in a browser tab. The public names, one by one. */
export type { ModelConfig } from './config';
export { type ErrorCode, SternaError } from './errors';
export { type Features, features } from './features';
export type { KernelName } from './memory';
export { type Generation, load, type Model } from './model';
export type {
  Chunk,
  Encoded,
  GenerateOptions,
  GenerateResult,
  LoadOptions,
  Message,
  ModelInfo,
  PerplexityOptions,
  PerplexityResult,
  Phase,
  Progress,
  Source,
  TokenizeOptions,
} from './protocol';
