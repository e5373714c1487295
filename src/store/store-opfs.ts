/**
 * Records as files of the origin private file system: sterna/<id>/<stream>.<number>. Several times as fast as Blobs in
 * IndexedDB where a worker opens the files (docs/speed.md); a page reads and writes them too, at the pace of Blobs.
 */
import type { UseStore } from 'idb-keyval';
import { type Backend, commit, modelKey } from './store-backend';

/** In dedicated workers only; not in TypeScript's library of pages. */
interface SyncFile {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(from: Uint8Array, options: { at: number }): number;
  truncate(bytes: number): void;
  flush(): void;
  close(): void;
}
type SyncFileHandle = FileSystemFileHandle & {
  createSyncAccessHandle(options?: { mode: 'read-only' | 'readwrite' }): Promise<SyncFile>;
};
const isSync = (handle: FileSystemFileHandle): handle is SyncFileHandle => 'createSyncAccessHandle' in handle;

/** Bytes written at once. Linux takes several times as long for a record in one piece, or in halves of a MB (docs/speed.md). */
const SLICE_BYTES = 2 ** 18;

const named = (error: unknown, ...names: string[]): boolean => names.includes((error as Error | undefined)?.name ?? '');
const fileName = (record: string): string => record.replace('/', '.');

/** The backend; undefined where the browser has no such file system, or does not let this thread write to it. */
export async function opfsBackend(database: UseStore): Promise<Backend | undefined> {
  const { prototype } = globalThis.FileSystemFileHandle ?? {};
  if (!prototype || !('createSyncAccessHandle' in prototype || 'createWritable' in prototype)) return undefined;
  try {
    await navigator.storage.getDirectory();
  } catch {
    return undefined; // private windows of some browsers
  }

  // Looked up each time: the browser's data may be cleared while the page lives.
  const top = async () => (await navigator.storage.getDirectory()).getDirectoryHandle('sterna', { create: true });
  const folder = async (id: string, create = false) => (await top()).getDirectoryHandle(id, { create });

  return {
    name: 'opfs',
    async ids() {
      const ids: string[] = [];
      for await (const [id, { kind }] of (await top()).entries()) if (kind === 'directory') ids.push(id);
      return ids;
    },
    async read(id, record, bytes, into) {
      try {
        const handle = await (await folder(id)).getFileHandle(fileName(record));
        return await readFile(handle, bytes, into);
      } catch (error) {
        if (named(error, 'NotFoundError')) return undefined;
        throw error;
      }
    },
    async write(id, record, bytes, manifest) {
      const place = await folder(id, true);
      try {
        await writeFile(await place.getFileHandle(fileName(record), { create: true }), bytes);
      } catch (error) {
        await place.removeEntry(fileName(record)).catch(() => {}); // gives its room back
        throw error;
      }
      await commit(database, id, [[modelKey(id), manifest]]);
    },
    async remove(id, records) {
      const missing = (error: unknown): undefined => {
        if (!named(error, 'NotFoundError')) throw error;
      };
      if (!records) return (await top()).removeEntry(id, { recursive: true }).catch(missing);
      const place = await folder(id).catch(missing);
      for (const record of records) await place?.removeEntry(fileName(record)).catch(missing);
    },
    async hasRoom(bytes) {
      // Beside the models' folders: what a crash leaves is removed as records without a manifest are.
      const [place, name] = [await top(), crypto.randomUUID()];
      try {
        const handle = await place.getFileHandle(name, { create: true });
        return !isSync(handle) || (await canGrow(handle, bytes));
      } catch (error) {
        return !named(error, 'QuotaExceededError'); // other trouble tells nothing
      } finally {
        await place.removeEntry(name).catch(() => {});
      }
    },
  };
}

async function readFile(handle: FileSystemFileHandle, bytes: number, into: Uint8Array<ArrayBuffer> | undefined) {
  if (isSync(handle)) {
    // Browsers that know no mode open for one at a time; the other way is open to them.
    const file = await handle.createSyncAccessHandle({ mode: 'read-only' }).catch((error: unknown) => {
      if (!named(error, 'NoModificationAllowedError')) throw error;
    });
    if (file) return readSync(file, bytes, into);
  }
  const blob = await handle.getFile();
  return blob.size === bytes ? new Uint8Array(await blob.arrayBuffer()) : undefined;
}

function readSync(file: SyncFile, bytes: number, into: Uint8Array<ArrayBuffer> | undefined) {
  try {
    if (file.getSize() !== bytes) return undefined;
    const target = into && into.length >= bytes ? into.subarray(0, bytes) : new Uint8Array(bytes);
    return file.read(target, { at: 0 }) === bytes ? target : undefined;
  } finally {
    file.close();
  }
}

/** Whether the quota allows a file of so many bytes. It is given that length, and nothing is written. */
async function canGrow(handle: SyncFileHandle, bytes: number): Promise<boolean> {
  const file = await handle.createSyncAccessHandle();
  try {
    file.truncate(bytes);
    return file.getSize() === bytes; // Chromium's private windows do not throw
  } finally {
    file.close();
  }
}

/** Writes the whole file, and does not return before the browser has handed it to the disk. */
async function writeFile(handle: FileSystemFileHandle, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  if (!isSync(handle)) {
    const file = await handle.createWritable();
    try {
      await file.write(bytes);
      return await file.close();
    } catch (error) {
      await file.abort().catch(() => {}); // gives the room back
      // Chromium: the quota may also end the pipe to the file, which then is all that the writer sees.
      throw named(error, 'AbortError') ? new DOMException(String(error), 'QuotaExceededError') : error;
    }
  }
  const file = await handle.createSyncAccessHandle();
  try {
    file.truncate(bytes.length);
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      const written = file.write(slice, { at });
      if (written !== slice.length) throw new DOMException(`${at + written} bytes were written`, 'QuotaExceededError');
    }
    file.flush();
  } finally {
    file.close();
  }
}
