/** Sterna: ternary language models in a browser tab. The public names, one by one. */

export type { AssetName, AssetUrls } from './api/assets';
export { deleteModel, listModels, persistStorage, storageFacts, verifyModel } from './api/cached-models';
export { deleteSession, listSessions } from './api/cached-sessions';
export { type Features, features } from './api/features';
export type { Generation } from './api/generation';
export { inspect, load, type Model } from './api/model';
export type { Session } from './api/session-handle';
export { type ErrorCode, type ErrorFacts, SternaError } from './errors';
export type { ModelConfig } from './model/config';
export type { CacheKind, KernelName } from './model/memory';
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
} from './openai/openai-types';
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
} from './protocol/generate-types';
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
} from './protocol/load-types';
export type {
  Restored,
  RestoreProgress,
  SavedSession,
  SessionOptions,
  SessionResult,
  WhenFull,
} from './protocol/session-types';
export type { ToolFormat } from './text/tool-format';
