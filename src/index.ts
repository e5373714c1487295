/** Sterna: ternary language models in a browser tab. The public names, one by one. */

export type { AssetName, AssetUrls } from './assets';
export { deleteModel, listModels, persistStorage, storageFacts, verifyModel } from './cached-models';
export { deleteSession, listSessions } from './cached-sessions';
export type { ModelConfig } from './config';
export { type ErrorCode, type ErrorFacts, SternaError } from './errors';
export { type Features, features } from './features';
export type {
  Answer,
  Bandwidth,
  ChatOptions,
  Chunk,
  EmbedOptions,
  EmbedResult,
  Encoded,
  GenerateOptions,
  GenerateResult,
  LogitsContext,
  LogitsProcessor,
  Logprob,
  Message,
  PerplexityOptions,
  PerplexityResult,
  PrefillProgress,
  ResponseFormat,
  TokenizeOptions,
  TokenLogprobs,
  Tool,
  ToolCall,
  ToolCallInput,
  ToolChoice,
} from './generate-types';
export type { Generation } from './generation';
export type {
  CachedModel,
  HubSource,
  Inspection,
  LoadOptions,
  LoadTimes,
  ModelInfo,
  Phase,
  Progress,
  Source,
  StorageFacts,
} from './load-types';
export type { CacheKind, KernelName } from './memory';
export { inspect, load, type Model } from './model';
export type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionContentPart,
  ChatCompletionDelta,
  ChatCompletionFinishReason,
  ChatCompletionHead,
  ChatCompletionLogprobs,
  ChatCompletionMessageParam,
  ChatCompletionParams,
  ChatCompletionParamsNonStreaming,
  ChatCompletionParamsStreaming,
  ChatCompletionRequestOptions,
  ChatCompletionResponseFormat,
  ChatCompletionSettings,
  ChatCompletionStream,
  ChatCompletionTokenLogprob,
  ChatCompletionTool,
  ChatCompletionToolCall,
  ChatCompletionToolChoice,
  CompletionStream,
  CompletionUsage,
  EmbeddingParams,
  EmbeddingResponse,
  OpenAIFace,
  TextCompletion,
  TextCompletionChoice,
  TextCompletionChunk,
  TextCompletionLogprobs,
  TextCompletionParams,
  TextCompletionParamsNonStreaming,
  TextCompletionParamsStreaming,
  TextCompletionSettings,
} from './openai-types';
export type { Session } from './session-handle';
export type {
  Restored,
  RestoreProgress,
  SavedSession,
  SessionOptions,
  SessionResult,
  WhenFull,
} from './session-types';
export type { ToolFormat } from './tool-format';
