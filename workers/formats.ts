/**
 * Formats of answers, as a script that the engine worker imports with the first `responseFormat`. It leaves what it makes under
 * a name, since bundlers drop what a worker's script exports.
 */
import { createFormats } from '../src/generate/response-format';

Object.assign(globalThis, { sternaFormats: createFormats });
