// Synthetic weight files of a gigabyte, made once and kept in a folder.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Path of a file (byte-file.ts) in the folder, which gets it first where it is missing. Its name ends in a digest of its
 * header, so that another shape is another file.
 */
export function keptFile(folder, name, file) {
  const digest = createHash('sha256')
    .update(file.read(0, 2 ** 16))
    .digest('hex');
  const path = join(folder, `${name}.${digest.slice(0, 8)}`);
  if (existsSync(path)) return path;
  const out = openSync(`${path}.part`, 'w');
  for (let at = 0; at < file.size; at += 2 ** 20) writeSync(out, file.read(at, Math.min(at + 2 ** 20, file.size)));
  closeSync(out);
  renameSync(`${path}.part`, path);
  return path;
}
