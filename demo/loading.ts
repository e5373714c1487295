import { type LoadOptions, load, type Model, type Progress, type Source } from '../src/index';
import { type Problem, problemOf } from './problem';

/** The model of the page: being loaded, there, or failed. Calls back on each change. */
export class Loading {
  model: Model | undefined;
  progress: Progress | undefined;
  /** Bytes a second of the file under way; 0 while it is too early to say. */
  speed = 0;
  problem: Problem | undefined;
  source: Source;
  #attempt: AbortController | undefined;
  #fileStart = 0;
  readonly #options: LoadOptions;
  readonly #changed: () => void;

  constructor(source: Source, options: LoadOptions, changed: () => void) {
    this.source = source;
    this.#options = options;
    this.#changed = changed;
  }

  /** Loads `source`, in place of the model that is there or on its way. */
  async start(source: Source = this.source): Promise<void> {
    this.#attempt?.abort();
    const attempt = new AbortController();
    const previous = this.model;
    this.#attempt = attempt;
    this.source = source;
    this.model = this.progress = this.problem = undefined;
    this.#changed();
    try {
      await previous?.dispose();
      const onProgress = (progress: Progress) => this.#advance(attempt, progress);
      const model = await load(source, { ...this.#options, onProgress, signal: attempt.signal });
      if (attempt === this.#attempt) this.model = model;
      else await model.dispose();
    } catch (error) {
      if (attempt === this.#attempt) this.problem = problemOf(error);
    }
    this.#changed();
  }

  cancel(): void {
    this.#attempt?.abort();
  }

  #advance(attempt: AbortController, progress: Progress): void {
    if (attempt !== this.#attempt) return;
    if (progress.file !== this.progress?.file) this.#fileStart = performance.now();
    const seconds = (performance.now() - this.#fileStart) / 1000;
    this.speed = seconds < 1 ? 0 : progress.loaded / seconds;
    this.progress = progress;
    this.#changed();
  }
}
