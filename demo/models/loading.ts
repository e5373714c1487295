import {
  type CachedModel,
  deleteModel,
  type LoadOptions,
  listModels,
  load,
  type Model,
  type Progress,
} from '../../src/index';
import { type Problem, problemOf } from '../problem';
import type { Engine } from '../settings/engine-settings';
import { cachedOf } from './on-device';
import { type PageSource, withoutToken } from './source';

/** The model of the page: being loaded, there, or failed. Calls back on each change. */
export class Loading {
  model: Model | undefined;
  progress: Progress | undefined;
  problem: Problem | undefined;
  /** What a load that did not come to its end has left in the browser's storage. */
  kept: CachedModel | undefined;
  source: PageSource;
  /** What the chat asked of the engine when the load began. */
  engine: Engine = {};
  #attempt: AbortController | undefined;
  readonly #options: LoadOptions;
  readonly #changed: () => void;

  constructor(source: PageSource, options: LoadOptions, changed: () => void) {
    this.source = source;
    this.#options = options;
    this.#changed = changed;
  }

  /** Loads `source`, in place of the model that is there or on its way. `keep`: in the browser's storage. */
  async start(source: PageSource, engine: Engine, keep = true): Promise<void> {
    this.#attempt?.abort();
    const attempt = new AbortController();
    const previous = this.model;
    this.#attempt = attempt;
    this.source = source;
    this.engine = engine;
    this.model = this.progress = this.problem = this.kept = undefined;
    this.#changed();
    try {
      await previous?.dispose();
      const onProgress = (progress: Progress) => this.#advance(attempt, progress);
      const options = { ...this.#options, ...defined(engine), cache: keep, onProgress, signal: attempt.signal };
      const model = await load(source, options);
      if (attempt !== this.#attempt) return await model.dispose();
      this.model = model;
      this.source = withoutToken(source);
    } catch (error) {
      const kept = await keptOf(source);
      if (attempt === this.#attempt) [this.problem, this.kept] = [problemOf(error, source), kept];
    }
    this.#changed();
  }

  cancel(): void {
    this.#attempt?.abort();
  }

  /** Deletes what the last load has left in storage. */
  async discard(): Promise<void> {
    const { kept } = this;
    try {
      if (kept) await deleteModel(kept.id);
      if (this.kept === kept) this.kept = undefined;
    } catch (error) {
      this.problem = problemOf(error);
    }
    this.#changed();
  }

  #advance(attempt: AbortController, progress: Progress): void {
    if (attempt !== this.#attempt) return;
    const { loaded = 0, total = 0 } = this.progress ?? {};
    // news of a failed try tells no amounts: the bar stays where it was
    this.progress = progress.retry && progress.total === 0 ? { ...progress, loaded, total } : progress;
    this.#changed();
  }
}

const defined = (engine: Engine): Engine =>
  Object.fromEntries(Object.entries(engine).filter(([, value]) => value !== undefined));

/** What of a source has been kept in storage; undefined if nothing, also where the browser gives no storage. */
const keptOf = (source: PageSource): Promise<CachedModel | undefined> =>
  listModels().then(
    (models) => cachedOf(source, models),
    () => undefined,
  );
