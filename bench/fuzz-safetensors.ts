/** Damaged headers of safetensors files; what is read goes on into the layout of the model that it belonged to. */
import { parseConfig } from '../src/model/config';
import { below, mutateBytes, mutateJson, pick } from './fuzz-mutate';
import { safetensorsFile, safetensorsModels } from './fuzz-seeds';
import { plan, type Target } from './fuzz-target';

const utf8 = new TextEncoder();

export function safetensorsTarget(): Target {
  const models = safetensorsModels().map((model) => ({
    ...model,
    json: JSON.parse(new TextDecoder().decode(model.bytes.subarray(8))) as unknown,
  }));
  return {
    name: 'safetensors',
    input(random) {
      const model = below(random, models.length);
      const { bytes, fileSize, json } = models[model]!;
      if (random() < 0.4) {
        const damaged = mutateBytes(bytes, random);
        return { model, bytes: damaged, fileSize: random() < 0.8 ? fileSize : damaged.length };
      }
      const text = utf8.encode(mutateJson(json, random));
      const header = new Uint8Array(8 + text.length);
      new DataView(header.buffer).setBigUint64(0, BigInt(text.length), true);
      header.set(text, 8);
      const size = header.length + fileSize - bytes.length;
      return { model, bytes: header, fileSize: random() < 0.9 ? size : pick(random, [0, size + 1, size - 1, 2 ** 53]) };
    },
    run({ model, bytes, fileSize }) {
      const file = safetensorsFile(bytes as Uint8Array, fileSize as number);
      const { config, generation } = models[model as number]!;
      const style = 'weight_bits' in config ? 'hf-1bitllm' : 'hf';
      plan({ config: parseConfig(config, generation, 'config.json'), files: [file], style, interleaved: false });
    },
  };
}
