import { expect } from 'vitest';
import type { SternaError } from '../src/errors';

/** The error of a call that must fail. */
export const failure = (promise: Promise<unknown>): Promise<SternaError> =>
  promise.then(
    () => expect.fail('no error'),
    (error: SternaError) => error,
  );
