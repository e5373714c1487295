/** Files that the user picked: a folder, or some files of it. */

import { SternaError } from '../errors';
import type { ByteSource } from './download';
import type { Folder, Opening } from './origin';
import { joinPieces, MOST_TEXT_BYTES, throwIfAborted } from './request';

/** Bytes read from a File at once. */
const SLICE_BYTES = 4 * 2 ** 20;

/** Opens picked files. Paths are relative to the picked folder; the file nearest to the top answers to a bare name. */
export function openPicked(files: File[], { signal }: Opening): Folder {
  const pathOf = (file: File) => file.webkitRelativePath || file.name;
  const depth = (file: File) => pathOf(file).split('/').length;
  const byDepth = [...files].sort((a, b) => depth(a) - depth(b));
  const find = (name: string) => byDepth.find((file) => pathOf(file) === name || pathOf(file).endsWith(`/${name}`));
  const first = byDepth[0];
  const folder = first && pathOf(first).split('/').at(-2);
  return {
    name: folder ?? (files.length === 1 ? pathOf(files[0]!) : 'files'),
    address: `the ${files.length} files given`,
    key: '',
    version: '',
    files: files.map((file) => ({
      path: pathOf(file).split('/').slice(1).join('/') || file.name,
      size: file.size,
    })),
    file: undefined,
    async open(path) {
      const file = find(path);
      return file ? fileSource(file, path) : null;
    },
    async bytes(path) {
      const file = find(path);
      return file && joinPieces(readFile(file, path, 0, file.size, signal), MOST_TEXT_BYTES, path);
    },
  };
}

function fileSource(file: File, name: string): ByteSource {
  return {
    name,
    size: file.size,
    read: (from, to, signal) => joinPieces(readFile(file, name, from, to, signal), file.size, name),
    stream: (from, to, signal) => readFile(file, name, from, to, signal),
  };
}

async function* readFile(file: File, name: string, from: number, to: number, signal: AbortSignal) {
  const end = Math.min(to, file.size);
  for (let at = from; at < end; at += SLICE_BYTES) {
    throwIfAborted(signal, name);
    let buffer: ArrayBuffer;
    try {
      buffer = await file.slice(at, Math.min(at + SLICE_BYTES, end)).arrayBuffer();
    } catch (error) {
      throw new SternaError('bad-file', 'cannot be read; was it changed or removed?', { file: name, got: `${error}` });
    }
    throwIfAborted(signal, name);
    yield new Uint8Array(buffer);
  }
}
