/** Which files of a source hold the weights. */
import { SternaError, shown } from '../errors';
import type { Origin } from '../sources/origin';
import { splitNames } from './gguf';

export interface WeightFiles {
  kind: 'safetensors' | 'gguf';
  /** In order, where there are several. */
  paths: string[];
}

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** GGUF files by their type, the one that loads fastest first. */
const PREFERRED = [/i2_s/i, /tq2_0/i, /q2_0/i, /tq1_0/i];

/** Whether a name is that of a GGUF file. */
export const isGguf = (path: string): boolean => /\.gguf$/i.test(path);

/** The parts of a split file, from the path of any of them; they end as it does, in capitals or not. */
const partsOfPath = (path: string): string[] =>
  splitNames(path)?.map((part) => part.slice(0, -5) + path.slice(-5)) ?? [path];

/**
 * Chooses the weights by the source's own word or by its listing; undefined where that takes an index file to say
 * (`shardsOf`).
 * @throws SternaError `bad-file` if there are no weights, or a part of split ones is missing; `bad-input` if there are
 * several GGUF files and nothing to choose by
 */
export function chooseWeights({ key, file, files, address }: Origin): WeightFiles | undefined {
  if (file !== undefined && isGguf(file)) return { kind: 'gguf', paths: partsOfPath(file) };
  if (file !== undefined && !/-of-\d+\.safetensors$/.test(file)) return { kind: 'safetensors', paths: [file] };
  if (!files || file !== undefined) return undefined;
  const paths = files.map(({ path }) => path);
  if (paths.includes(SINGLE)) return { kind: 'safetensors', paths: [SINGLE] };
  if (paths.includes(INDEX)) return undefined;
  const ggufs = paths.filter((path) => isGguf(path) && !/mmproj/i.test(path));
  const firsts = ggufs.filter((path) => partsOfPath(path)[0] === path);
  const chosen = firsts.length === 1 ? firsts[0] : firsts.find((path) => path === preferred(firsts));
  if (chosen === undefined) {
    if (firsts.length > 0) {
      const expected = key === '' ? 'one of them: pick it alone' : 'the name of one of them as `file`';
      const facts = { got: firsts.slice(0, 12).join(', '), expected };
      throw new SternaError('bad-input', `${address} holds several models`, facts);
    }
    const facts = { file: SINGLE, got: 'nothing', expected: `a file in ${address}, or a .gguf` };
    throw new SternaError('bad-file', 'there is no such file, or it may not be read', facts);
  }
  const missing = partsOfPath(chosen).find((path) => !paths.includes(path));
  if (missing) {
    throw new SternaError('bad-file', 'a part is missing', {
      file: missing,
      got: 'nothing',
      expected: `a file in ${address}`,
    });
  }
  return { kind: 'gguf', paths: partsOfPath(chosen) };
}

function preferred(paths: string[]): string | undefined {
  for (const type of PREFERRED) {
    const found = paths.filter((path) => type.test(path));
    if (found.length === 1) return found[0];
    if (found.length > 1) return undefined;
  }
  return undefined;
}

/**
 * The safetensors files of a folder that cannot be listed, or that has an index: one, or the shards that the index names
 * (https://huggingface.co/docs/safetensors, "sharded").
 * @throws SternaError `bad-file`
 */
export async function shardsOf(origin: Origin): Promise<string[]> {
  if (!origin.files && (await origin.open(SINGLE))) return [SINGLE];
  const index = await origin.json(INDEX);
  if (index === undefined) return [SINGLE];
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  const bad = names.find((name) => typeof name !== 'string' || !/^[^/\\]{1,200}\.safetensors$/.test(name));
  if (names.length === 0 || bad !== undefined) {
    const facts = {
      file: INDEX,
      got: shown(bad ?? map ?? null),
      expected: 'a weight_map of file names',
    };
    throw new SternaError('bad-file', 'bad weight_map', facts);
  }
  return [...new Set(names as string[])].sort();
}
