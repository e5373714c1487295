/** What this browser offers to the engine. */

import { compileKernels } from '../model/kernels';
import { type AssetUrls, locateAssets } from './assets';
import { callOptions } from './call-options';

export interface Features {
  /** WebAssembly SIMD128: without it nothing runs. */
  simd: boolean;
  /** Relaxed SIMD with the dot products that the fast kernels use. */
  relaxedSimd: boolean;
  /** COOP and COEP headers are in force. */
  crossOriginIsolated: boolean;
  /** Memory can be shared with workers, hence more than one thread. */
  sharedMemory: boolean;
  /** Logical cores that the browser reports. */
  cores: number;
}

/**
 * Looks at the browser by trying, never at the user agent.
 * @param options assets: as for `load`
 * @throws SternaError `bad-input` for assets that are no URLs
 */
export async function features(options: { assets?: AssetUrls } = {}): Promise<Features> {
  const located = locateAssets(callOptions(options).assets);
  const build = await compileKernels(false, true, located).catch(() => undefined);
  return {
    simd: build !== undefined,
    relaxedSimd: build?.relaxedSimd ?? false,
    crossOriginIsolated: globalThis.crossOriginIsolated,
    sharedMemory: globalThis.crossOriginIsolated && typeof SharedArrayBuffer !== 'undefined',
    cores: navigator.hardwareConcurrency || 1,
  };
}
