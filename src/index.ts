/** Sterna: ternary language models in a browser tab. The public names, one by one. */

export type { AssetName, AssetUrls } from './assets';
export { deleteModel, listModels, persistStorage, storageFacts, verifyModel } from './cached-models';
export type { ModelConfig } from './config';
export { type ErrorCode, SternaError } from './errors';
export { type Features, features } from './features';
export type { CacheKind, KernelName } from './memory';
export { type Generation, inspect, load, type Model } from './model';
export type {
  Answer,
  Bandwidth,
  CachedModel,
  Chunk,
  Encoded,
  GenerateOptions,
  GenerateResult,
  HubSource,
  Inspection,
  LoadOptions,
  LoadTimes,
  Message,
  ModelInfo,
  PerplexityOptions,
  PerplexityResult,
  Phase,
  PrefillProgress,
  Progress,
  Source,
  StorageFacts,
  TokenizeOptions,
} from './protocol';
