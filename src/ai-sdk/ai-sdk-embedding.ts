/** An embedding model of the AI SDK (specification V3), by `Model.embed`. */
import type { EmbeddingModelV3 } from '@ai-sdk/provider';
import type { EmbedOptions } from '../index';
import type { SharedModel } from './shared-model';

/**
 * @param options how the hidden states of a text become a vector
 * @param modelId its name in telemetry
 */
export function embeddingModel(
  shared: SharedModel,
  options: Pick<EmbedOptions, 'pooling' | 'normalize'>,
  modelId: string,
): EmbeddingModelV3 {
  return {
    specificationVersion: 'v3',
    provider: 'sterna',
    modelId,
    maxEmbeddingsPerCall: 2048,
    supportsParallelCalls: false,
    async doEmbed({ values, abortSignal }) {
      const { model, done } = await shared.turn(abortSignal);
      try {
        const { embeddings, usage } = await model.embed(values, { ...options, signal: abortSignal });
        return { embeddings: embeddings.map((each) => [...each]), usage: { tokens: usage.promptTokens }, warnings: [] };
      } finally {
        done();
      }
    },
  };
}
