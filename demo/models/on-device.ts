import type { CachedModel } from '../../src/index';
import { bytes } from '../figures';
import { type PageSource, sameSource } from './source';

/** What of a source is in the browser's storage, if a byte of it is; the current version before older ones. */
export function cachedOf(source: PageSource, models: readonly CachedModel[]): CachedModel | undefined {
  const same = models.filter((model) => model.bytes > 0 && sameSource(model.source, source));
  return same.find((model) => !model.outdated) ?? same[0];
}

/** How much of a model is there, 0 to 1. */
export const shareOf = ({ bytes: here, expectedBytes, complete }: CachedModel): number =>
  complete ? 1 : expectedBytes > 0 ? Math.min(here / expectedBytes, 1) : 0;

/** 0.523 -> "52 %"; 100 % only where all is there. */
export const percent = (share: number): string => `${Math.floor(share * 100)} %`;

/** What a partial download holds, in words. */
export const keptWords = (model: CachedModel): string =>
  `${bytes(model.bytes)} (${percent(shareOf(model))} of the model)`;
