/** The script with the formats of answers (workers/formats.ts), imported when the first answer has one. */
import { SternaError } from '../errors';
import type { createFormats } from './response-format';

/**
 * @param url of the script, absolute
 * @throws SternaError `download` if it cannot be fetched, or is none
 */
export async function lazyFormats(url: string): Promise<typeof createFormats> {
  const failure = (got: string) =>
    new SternaError('download', 'the formats of answers', { file: url, got, expected: 'a script of the package' });
  await import(/* @vite-ignore */ url).catch((error: unknown) => {
    throw failure(String(error));
  });
  const { sternaFormats } = globalThis as { sternaFormats?: typeof createFormats };
  if (!sternaFormats) throw failure('another script');
  return sternaFormats;
}
