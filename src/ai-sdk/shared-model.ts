/** Models by source: loaded at the first call, shared by all who ask for the same one, used by one call at a time. */
import { type LoadOptions, load, type Model, type Progress, type Source, SternaError } from '../index';

type OnProgress = (progress: Progress) => void;

/** A model's place: who is waiting for its load, and the end of the line of its calls. */
interface Place {
  model?: Model;
  loading?: Promise<Model>;
  /** Aborts the load. */
  stop?: AbortController;
  /** What each call that waits for the load wants to hear of it. */
  waiting: (OnProgress | undefined)[];
  /** Settles when the last call in line is done. */
  last: Promise<void>;
}

const newPlace = (): Place => ({ waiting: [], last: Promise.resolve() });

const bySource = new Map<string, Place>();
const byModel = new WeakMap<Model, Place>();
const fileNumbers = new WeakMap<Blob, number>();
let files = 0;

function numberOf(file: Blob): number {
  const number = fileNumbers.get(file) ?? files++;
  fileNumbers.set(file, number);
  return number;
}

/** The same text for the same source and options; files are the same if they are the same objects. */
function keyOf(source: Source, options: object): string {
  const record = typeof source === 'string' ? { repo: source } : source;
  const replace = (_: string, value: unknown) => (value instanceof Blob ? { file: numberOf(value) } : value);
  const list = typeof FileList !== 'undefined' && record instanceof FileList ? [...record] : record;
  return JSON.stringify([list, options], replace);
}

/** `promise`, or a rejection with `aborted` as soon as the signal says so. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new SternaError('aborted', 'the call was aborted'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** A model that several callers share. */
export interface SharedModel {
  readonly state: 'idle' | 'loading' | 'loaded';
  /**
   * The model, loaded if it is not. The load is aborted when all who wait for it have aborted; the next call begins it anew.
   * @throws SternaError as `load`
   */
  get(signal?: AbortSignal): Promise<Model>;
  /**
   * The model, when it is this call's turn; `done` lets the next call have it.
   * @throws SternaError as `load`; `aborted` also while waiting in line
   */
  turn(signal?: AbortSignal): Promise<{ model: Model; done: () => void }>;
  /** Frees the model, for all who share it; the next call loads it anew. A model that was handed over loaded stays disposed. */
  dispose(): Promise<void>;
}

/**
 * @param source where the model comes from, or a loaded model
 * @param options as for `load`; models are shared where these are the same too (but for `onProgress`, called while one waits for the load)
 */
export function shareModel(source: Source | Model, { onProgress, signal: _, ...options }: LoadOptions): SharedModel {
  const given = isModel(source) ? source : undefined;
  const key = given ? '' : keyOf(source as Source, options);
  const place = (given ? byModel.get(given) : bySource.get(key)) ?? newPlace();
  if (given) {
    place.model = given;
    byModel.set(given, place);
  } else bySource.set(key, place);

  const begin = (): Promise<Model> => {
    const stop = new AbortController();
    const tell = (progress: Progress) => {
      for (const each of new Set(place.waiting)) each?.(progress);
    };
    const loading = load(source as Source, { ...options, onProgress: tell, signal: stop.signal }).then(
      async (model) => {
        if (place.loading !== loading) {
          await model.dispose(); // nobody waits for it any more
          throw new SternaError('aborted', 'the load was aborted');
        }
        Object.assign(place, { model, loading: undefined });
        return model;
      },
      (error) => {
        if (place.loading === loading) place.loading = undefined;
        throw error;
      },
    );
    Object.assign(place, { loading, stop });
    return loading;
  };

  const get = async (signal?: AbortSignal): Promise<Model> => {
    if (signal?.aborted) throw new SternaError('aborted', 'the call was aborted');
    if (place.model) return place.model;
    place.waiting.push(onProgress);
    try {
      return await orAborted(place.loading ?? begin(), signal);
    } finally {
      place.waiting.splice(place.waiting.indexOf(onProgress), 1);
      if (place.waiting.length === 0 && place.loading) {
        place.stop?.abort();
        place.loading = undefined;
      }
    }
  };

  return {
    get state() {
      return place.model ? 'loaded' : place.loading ? 'loading' : 'idle';
    },
    get,
    async turn(signal) {
      const before = place.last;
      let done = () => {};
      const own = new Promise<void>((resolve) => {
        done = resolve;
      });
      place.last = before.then(() => own);
      try {
        await Promise.all([get(signal), orAborted(before, signal)]);
        return { model: await get(signal), done }; // it may have been disposed in the meantime
      } catch (error) {
        done();
        throw error;
      }
    },
    async dispose() {
      const { model } = place;
      place.stop?.abort();
      place.loading = undefined;
      if (!given) place.model = undefined;
      await model?.dispose();
    },
  };
}

export function isModel(source: Source | Model): source is Model {
  return typeof source === 'object' && source !== null && 'chat' in source && 'info' in source;
}
