/** The files beside the library: worker scripts and kernel binaries, and where they are. */
import engineWorker from '../../workers/engine.worker?worker&url';
import formats from '../../workers/formats?worker&url';
import kernelWorker from '../../workers/kernel.worker?worker&url';
import { SternaError } from '../errors';
import { kernelUrls } from '../model/kernels';

/** Where each file is, as an absolute URL. */
export type Assets = Record<AssetName, string>;

const defaults = {
  'engine.worker.js': engineWorker,
  'kernel.worker.js': kernelWorker,
  'formats.js': formats,
  ...kernelUrls,
};

/**
 * A file of the package's folder `dist/assets`: `engine.worker.js`, `kernel.worker.js`, `formats.js` (for `responseFormat`), or a kernel binary such as
 * `shared-relaxed.wasm`.
 */
export type AssetName = keyof typeof defaults;

/**
 * Where the package's assets are: the URL of a folder that holds them under their own names, or URLs by name; relative
 * to the page. What is not named is looked for beside the library.
 */
export type AssetUrls = string | URL | Partial<Record<AssetName, string | URL>>;

const names = Object.keys(defaults) as AssetName[];

function absolute(url: unknown, base: string | undefined, what: string): string {
  if ((typeof url === 'string' || url instanceof URL) && URL.canParse(String(url), base))
    return new URL(url, base).href;
  throw new SternaError('bad-input', what, { got: String(url), expected: 'a URL' });
}

/**
 * Completes what the caller says about the assets.
 * @throws SternaError `bad-input` for a name that no asset has, or for what is no URL
 */
export function locateAssets(given: AssetUrls = {}): Assets {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  let named: Record<string, unknown>;
  if (typeof given === 'string' || given instanceof URL) {
    const folder = absolute(given, base, 'assets').replace(/\/?$/, '/');
    named = Object.fromEntries(names.map((name) => [name, folder + name]));
  } else if (typeof given === 'object' && given) named = given;
  else
    throw new SternaError('bad-input', 'assets', {
      got: typeof given,
      expected: 'the URL of a folder, or URLs by name',
    });
  const unknown = Object.keys(named).find((name) => !(names as string[]).includes(name));
  if (unknown) throw new SternaError('bad-input', 'assets', { got: unknown, expected: names.join(', ') });
  const located = names.map((name) => [name, absolute(named[name] ?? defaults[name], base, `assets, ${name}`)]);
  return Object.fromEntries(located) as Assets;
}
