import type { GenerateOptions, ModelInfo } from '../../src/index';

export type NumberKey = 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'maxTokens' | 'seed';

/** What the visitor chose; what is absent is left to the model. */
export type Sampling = { [key in NumberKey]?: number } & { systemPrompt?: string };

export interface NumberSetting {
  key: NumberKey;
  label: string;
  hint: string;
  min: number;
  max: number;
  step: number;
  slider: boolean;
}

export const numberSettings: readonly NumberSetting[] = [
  {
    key: 'temperature',
    label: 'Temperature',
    hint: '0 always takes the most likely token; higher is more surprising',
    min: 0,
    max: 2,
    step: 0.05,
    slider: true,
  },
  {
    key: 'topP',
    label: 'Top-p',
    hint: 'Choose among the likeliest tokens that together reach this probability; 1 is off',
    min: 0,
    max: 1,
    step: 0.01,
    slider: true,
  },
  {
    key: 'minP',
    label: 'Min-p',
    hint: 'Drop tokens less likely than this share of the likeliest; 0 is off',
    min: 0,
    max: 1,
    step: 0.01,
    slider: true,
  },
  {
    key: 'repetitionPenalty',
    label: 'Repetition penalty',
    hint: 'Above 1 makes tokens that were used before less likely',
    min: 1,
    max: 2,
    step: 0.01,
    slider: true,
  },
  {
    key: 'topK',
    label: 'Top-k',
    hint: 'Choose among this many tokens; 0 is off',
    min: 0,
    max: 1_000_000,
    step: 1,
    slider: false,
  },
  {
    key: 'maxTokens',
    label: 'Max tokens',
    hint: 'Longest answer; blank is as long as the context allows',
    min: 1,
    max: 1_000_000,
    step: 1,
    slider: false,
  },
  {
    key: 'seed',
    label: 'Seed',
    hint: 'The same seed gives the same answer; blank is random',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    step: 1,
    slider: false,
  },
];

/** What a setting is when left blank; undefined where blank has no number. */
export function fallback(key: NumberKey, defaults: ModelInfo['defaults'] = {}): number | undefined {
  const known = { temperature: 0.8, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, ...defaults };
  return key === 'maxTokens' || key === 'seed' ? undefined : known[key];
}

/** The options of `chat()` for these settings. */
export function generateOptions({ systemPrompt: _, ...numbers }: Sampling): GenerateOptions {
  return numbers;
}

function fits({ min, max }: NumberSetting, value: unknown): value is number {
  return typeof value === 'number' && value >= min && value <= max;
}

/** Sampling settings from a record of any origin; what they cannot be is left out. */
export function readSampling(record: Record<string, unknown>): Sampling {
  const numbers = numberSettings.filter((setting) => fits(setting, record[setting.key]));
  const kept: Sampling = Object.fromEntries(numbers.map(({ key }) => [key, record[key]]));
  if (typeof record.systemPrompt === 'string') kept.systemPrompt = record.systemPrompt;
  return kept;
}
