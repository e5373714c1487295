import type { HubSource } from '../../src/index';
import { isRepository, nameOf, type PageSource, sameSource } from './source';

/** A model that the page offers by name. Sizes and licences are those its repository states. */
export interface KnownModel {
  name: string;
  /** Who made it, and what it is good for. */
  about: string;
  licence: string;
  /** Bytes of the weight file. */
  bytes: number;
  source: HubSource;
}

export const knownModels: readonly KnownModel[] = [
  {
    name: 'BitNet b1.58 2B 4T',
    about: 'Microsoft. General chat in English, 2.4 billion parameters',
    licence: 'MIT',
    bytes: 1_182_000_000,
    source: { repo: 'microsoft/bitnet-b1.58-2B-4T' },
  },
  {
    name: 'Ternary Bonsai 1.7B',
    about: 'Prism ML. Chat, a ternary Qwen3',
    licence: 'Apache 2.0',
    bytes: 490_163_968,
    source: { repo: 'prism-ml/Ternary-Bonsai-1.7B-gguf', file: 'Ternary-Bonsai-1.7B-Q2_0_g64.gguf' },
  },
  {
    name: 'Ternary Bonsai 4B',
    about: 'Prism ML. Chat, a ternary Qwen3',
    licence: 'Apache 2.0',
    bytes: 1_137_806_656,
    source: { repo: 'prism-ml/Ternary-Bonsai-4B-gguf', file: 'Ternary-Bonsai-4B-Q2_0_g64.gguf' },
  },
  {
    name: 'Falcon-E 1B Instruct',
    about: 'Technology Innovation Institute. Chat',
    licence: 'Falcon LLM licence',
    bytes: 666_324_256,
    source: { repo: 'tiiuae/Falcon-E-1B-Instruct-GGUF', file: 'ggml-model-i2_s.gguf' },
  },
  {
    name: 'Falcon-E 3B Instruct',
    about: 'Technology Innovation Institute. Chat',
    licence: 'Falcon LLM licence',
    bytes: 999_908_608,
    source: { repo: 'tiiuae/Falcon-E-3B-Instruct-GGUF', file: 'ggml-model-i2_s.gguf' },
  },
];

/** A model's name to people: its own, or what its source suggests. */
export const titleOf = (source: PageSource, name?: string): string =>
  knownModel(source)?.name ?? (name || nameOf(source));

/** The known model that a source names; undefined for any other. */
export const knownModel = (source: PageSource): KnownModel | undefined =>
  knownModels.find((known) => isRepository(source) && sameSource({ ...known.source, hubUrl: source.hubUrl }, source));
