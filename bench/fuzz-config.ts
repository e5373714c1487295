/** Damaged config.json and generation_config.json, and an index of weight files. */

import { chooseWeights, shardsOf } from '../src/checkpoint/weight-files';
import { generationDefaults, parseConfig } from '../src/model/config';
import { type Origin, parseJson } from '../src/sources/origin';
import { below, mutateJson, mutateValue, type Random } from './fuzz-mutate';
import { safetensorsModels } from './fuzz-seeds';
import { plan, type Target } from './fuzz-target';

/** config.json of every family, with the tensors that its sound form asks for. */
export function configTarget(): Target {
  const models = safetensorsModels();
  return {
    name: 'config',
    input(random) {
      const model = below(random, models.length);
      const { config, generation } = models[model]!;
      const sound = random() < 0.8;
      return {
        model,
        config: mutateJson(config, random),
        generation: sound ? JSON.stringify(generation) : mutateJson(generation, random),
      };
    },
    run({ model, config, generation }) {
      const json = parseJson(config as string, 'config.json');
      const parsed = parseConfig(json, parseJson(generation as string, 'generation_config.json'), 'config.json');
      const style = (json as { weight_bits?: unknown }).weight_bits === undefined ? 'hf' : 'hf-1bitllm';
      plan({ config: parsed, files: [models[model as number]!.file], style, interleaved: false });
    },
  };
}

export function generationTarget(): Target {
  const original = { do_sample: true, temperature: 0.7, top_k: 40, top_p: 0.9, eos_token_id: [1, 2], bos_token_id: 0 };
  const { config } = safetensorsModels()[0]!;
  return {
    name: 'generation',
    input: (random) => ({ text: mutateJson(original, random) }),
    run({ text }) {
      const json = parseJson(text as string, 'generation_config.json');
      parseConfig(config, json, 'config.json');
      for (const [key, value] of Object.entries(generationDefaults(json))) {
        if (!Number.isFinite(value)) throw new Error(`${key} ${value}`);
      }
    },
  };
}

const address = 'https://example.org';
const names = [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`);

/** model.safetensors.index.json, and the listing of a folder. */
export function indexTarget(): Target {
  const index = {
    metadata: { total_size: 123_456 },
    weight_map: Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`model.layers.${i}.x`, names[i % 3]])),
  };
  const files = [...names, 'config.json', 'model.safetensors.index.json', 'm-00001-of-00002.gguf', 'm.gguf'];
  const listing = (random: Random) => {
    const paths = mutateValue(random() < 0.5 ? files : files.slice(0, 4), random);
    const texts = Array.isArray(paths) ? paths.filter((path) => typeof path === 'string') : [];
    return JSON.stringify(texts.map((path) => ({ path, size: 10 })));
  };
  return {
    name: 'index',
    input: (random) => ({ text: mutateJson(index, random), listing: listing(random) }),
    async run({ text, listing }) {
      const json = async () => parseJson(text as string, 'model.safetensors.index.json');
      const origin = { address, files: [], json } as unknown as Origin;
      for (const path of await shardsOf(origin)) if (/[/\\]/.test(path)) throw new Error(`a path outside: ${path}`);
      chooseWeights({ ...origin, file: undefined, files: JSON.parse(listing as string) });
    },
  };
}
