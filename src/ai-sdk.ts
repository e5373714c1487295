/**
 * `sterna/ai-sdk`: Sterna as a provider of the Vercel AI SDK (ai 6, provider specification V3).
 * `streamText({ model: sterna('owner/name'), prompt })`
 */
import type { EmbeddingModelV3, LanguageModelV3, ProviderV3 } from '@ai-sdk/provider';
import { embeddingModel } from './ai-sdk/ai-sdk-embedding';
import { languageModel } from './ai-sdk/ai-sdk-language';
import type { OwnSettings } from './ai-sdk/ai-sdk-settings';
import { isModel, type SharedModel, shareModel } from './ai-sdk/shared-model';
import { type EmbedOptions, inspect, type LoadOptions, type Model, type Source, SternaError } from './index';

/** How the model is loaded; nothing of it applies to one that is handed over loaded. */
export type SternaSettings = Omit<LoadOptions, 'signal'>;

/** `SternaSettings`, and how the hidden states of a text become a vector. */
export type SternaEmbeddingSettings = SternaSettings & Pick<EmbedOptions, 'pooling' | 'normalize'>;

/** What `providerOptions: { sterna: {...} }` may hold: settings that the AI SDK has no name for. */
export type SternaProviderOptions = OwnSettings;

/**
 * `unavailable`: it does not run or fit here, or cannot be reached. `downloadable`: the first call downloads it, or what is
 * missing of it. `downloading`: it is being loaded. `available`: it is on this device.
 */
export type Availability = 'unavailable' | 'downloadable' | 'downloading' | 'available';

/** What a model of this provider has beside the AI SDK's interface. */
export interface SternaHandle {
  /**
   * Whether the model can be had here; downloads nothing large.
   * @throws SternaError as `inspect`, but for what makes a model `unavailable`
   */
  availability(signal?: AbortSignal): Promise<Availability>;
  /**
   * The loaded model; loads it if it is not. Calls do so by themselves: this is for a page that shows a download first.
   * @throws SternaError as `load`
   */
  load(signal?: AbortSignal): Promise<Model>;
  /** Frees the memory, for all who use the model of this source. The next call loads it anew. */
  dispose(): Promise<void>;
}

export type SternaLanguageModel = LanguageModelV3 & SternaHandle;
export type SternaEmbeddingModel = EmbeddingModelV3 & SternaHandle;

/**
 * Models for the AI SDK. A model is loaded at its first call; all that name the same source and settings share one. Its
 * calls take turns, in the order they came. A `Model` that is loaded already can be given instead of a source.
 *
 * Failures are `SternaError`s. Aborted calls reject with `aborted` (an AbortError).
 */
export interface SternaProvider extends ProviderV3 {
  (source: Source | Model, settings?: SternaSettings): SternaLanguageModel;
  languageModel(source: Source | Model, settings?: SternaSettings): SternaLanguageModel;
  /** Embeddings by `Model.embed`: see there what they are good for. */
  embedding(source: Source | Model, settings?: SternaEmbeddingSettings): SternaEmbeddingModel;
  embeddingModel(source: Source | Model, settings?: SternaEmbeddingSettings): SternaEmbeddingModel;
  /** @throws SternaError `unsupported`: there are none */
  imageModel(modelId: string): never;
}

/** A model's name before it is loaded. */
function nameOf(source: Source | Model): string {
  if (isModel(source)) return source.info.name;
  if (typeof source === 'string') return source;
  if (source instanceof File) return source.name;
  if ('repo' in source) return source.repo;
  if ('url' in source) return String(source.url);
  return source[0]?.name ?? 'no files';
}

/** A source that cannot be had as it is now; other errors are of the call. */
const notHere = ['unsupported', 'bad-file', 'download', 'offline', 'no-tokenizer'];

function handle(shared: SharedModel, source: Source | Model, settings: SternaSettings): SternaHandle {
  return {
    async availability(signal) {
      if (isModel(source) || shared.state === 'loaded') return 'available';
      if (shared.state === 'loading') return 'downloading';
      try {
        const { cached, obstacles } = await inspect(source, { ...settings, signal });
        if (obstacles.length > 0) return 'unavailable';
        return cached === 'complete' ? 'available' : 'downloadable';
      } catch (error) {
        if (error instanceof SternaError && notHere.includes(error.code)) return 'unavailable';
        throw error;
      }
    },
    load: (signal) => shared.get(signal),
    dispose: () => shared.dispose(),
  };
}

function language(source: Source | Model, settings: SternaSettings = {}): SternaLanguageModel {
  const shared = shareModel(source, settings);
  return { ...languageModel(shared, nameOf(source)), ...handle(shared, source, settings) };
}

function embedding(
  source: Source | Model,
  { pooling, normalize, ...settings }: SternaEmbeddingSettings = {},
): SternaEmbeddingModel {
  const shared = shareModel(source, settings);
  return {
    ...embeddingModel(shared, { pooling, normalize }, nameOf(source)),
    ...handle(shared, source, settings),
  };
}

export const sterna: SternaProvider = Object.assign(
  (source: Source | Model, settings?: SternaSettings) => language(source, settings),
  {
    specificationVersion: 'v3' as const,
    languageModel: language,
    embedding,
    embeddingModel: embedding,
    imageModel(modelId: string): never {
      throw new SternaError('unsupported', 'no image models', { got: modelId, expected: 'a language model' });
    },
  },
);
