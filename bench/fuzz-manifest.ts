/**
 * Damaged manifests of stored models: what is not exactly what was written counts as not stored. Sealed anew after the
 * damage, as a fault of our own would have it, they are at least of the right kinds.
 */
import { SternaError } from '../src/errors';
import { parseJson } from '../src/sources/origin';
import { modelKey } from '../src/store/store-backend';
import { checkManifest, FORMAT, type StoredModel, sealOf } from '../src/store/store-manifest';
import { below, mutateJson } from './fuzz-mutate';
import { safetensorsModels } from './fuzz-seeds';
import type { Target } from './fuzz-target';

const id = '8d7f2c1e-3b52-4c0e-9d8a-1f2e3d4c5b6a';
const hash = (digits: number, n: number): string => n.toString(16).padStart(digits, 'ab12');

function manifests(): StoredModel[] {
  const { config, file } = safetensorsModels()[0]!;
  const record = (n: number) => {
    const [from, to] = [1000 * n, 1000 * (n + 1)];
    return { file: 0, from, to, bytes: 800, sha256: hash(64, n), xxh64: hash(16, n) };
  };
  const part: StoredModel = {
    ...{ key: 'hub:https://example.org/owner/name@main', version: hash(64, 7), name: 'owner/name', id },
    ...{
      format: FORMAT,
      backend: 'opfs',
      complete: false,
      expectedBytes: 5000,
      bytes: 2500,
      savedAt: 1e12,
      usedAt: 2e12,
    },
    description: { config, files: [file], style: 'hf', interleaved: false, tables: 'int8', defaults: {} },
    state: { file: 0, offset: 3000, hash: { 0: 1, 1: 255 } },
    records: [0, 1, 2].map(record),
    extra: {},
    text: { bytes: 100, sha256: hash(64, 9) },
    seal: '',
  };
  const { state: _, ...rest } = part;
  const whole = { ...rest, state: undefined, complete: true, extra: { bf16: [record(0)] } };
  return [part, whole];
}

const withoutUse = (model: object): string => JSON.stringify({ ...model, usedAt: 0 });

export async function manifestTarget(): Promise<Target> {
  const originals = manifests();
  for (const model of originals) model.seal = await sealOf(model);
  for (const model of originals) await checkManifest(JSON.parse(JSON.stringify(model)), modelKey(id));
  return {
    name: 'manifest',
    input(random) {
      const number = below(random, originals.length);
      return { number, text: mutateJson(originals[number], random), sealed: random() < 0.3 ? 1 : 0 };
    },
    async run({ number, text, sealed }) {
      let value = parseJson(text as string, 'manifest');
      if (sealed && typeof value === 'object' && value !== null && !Array.isArray(value)) {
        const seal = await sealOf(value as StoredModel);
        value = { ...value, seal };
      }
      const model = await checkManifest(value, modelKey(id));
      if (model.format !== FORMAT) return 'outdated';
      if (!sealed && withoutUse(model) !== withoutUse(originals[number as number]!)) throw new Error('damage accepted');
      const all = [model.records, ...Object.values(model.extra)].flat();
      const bytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
      if (!Number.isFinite(bytes) || model.id !== id) throw new SternaError('worker', 'records');
      return 'accepted';
    },
  };
}
