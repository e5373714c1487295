/** The options of an answer, checked and completed. */
import { SternaError } from '../errors';
import { isObject } from '../json';
import type { GenerateOptions, GenerateSettings, ResponseFormat } from '../protocol/generate-types';
import type { SamplerSettings } from './sampler';

/** `GenerateSettings` with nothing left open; `maxTokens` Infinity = what is left of the context. */
export interface CompleteSettings extends SamplerSettings {
  maxTokens: number;
  stop: string[];
  ignoreEos: boolean;
  n: number;
  draft: 'auto' | boolean;
  logitBias: Record<number, number>;
  /** undefined = off. */
  logprobs: number | undefined;
  responseFormat: ResponseFormat;
}

/** Every option there is; the type keeps the list complete. */
const KNOWN: Record<keyof GenerateSettings, true> = {
  maxTokens: true,
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  frequencyPenalty: true,
  presencePenalty: true,
  seed: true,
  stop: true,
  ignoreEos: true,
  n: true,
  draft: true,
  logitBias: true,
  logprobs: true,
  responseFormat: true,
};

/**
 * Checks the settings and fills in defaults: `defaults` (the model's own), else temperature 0.8, all else off, and a
 * random seed. Throws `bad-input`, naming the option, for a wrong type, a value out of range, or an unknown option.
 */
export function validateSettings(
  settings: GenerateSettings,
  defaults: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'> = {},
): CompleteSettings {
  const fail = (name: string, expected: string, value: unknown): never => {
    const got = typeof value === 'number' ? value : (JSON.stringify(value) ?? typeof value);
    throw new SternaError('bad-input', `bad ${name}`, { expected, got });
  };
  const number = (name: string, value: unknown, expected: string, ok: (value: number) => boolean): number =>
    typeof value === 'number' && ok(value) ? value : fail(name, expected, value);
  const between = (name: string, value: unknown, low: number, high: number) =>
    number(name, value, `a number from ${low} to ${high}`, (x) => x >= low && x <= high);
  const integer = (name: string, value: unknown, low: number) =>
    number(name, value, `an integer from ${low}`, (x) => Number.isSafeInteger(x) && x >= low);

  const known = Object.keys(KNOWN);
  const unknown = Object.keys(settings).find((name) => !known.includes(name));
  if (unknown) throw new SternaError('bad-input', 'unknown option', { expected: known.join(', '), got: unknown });
  const { temperature = defaults.temperature ?? 0.8, topK = defaults.topK ?? 0, topP = defaults.topP ?? 1 } = settings;
  const { minP = 0, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = settings;
  const { seed = randomSeed(), maxTokens = Infinity, stop = [], ignoreEos = false } = settings;
  const { n = 1, draft = 'auto', logitBias = {}, logprobs, responseFormat = { type: 'text' } } = settings;
  const stops = typeof stop === 'string' ? [stop] : stop;
  if (!Array.isArray(stops) || !stops.every((text) => typeof text === 'string' && text !== '')) {
    fail('stop', 'non-empty text, or a list of it', stop);
  }
  if (typeof ignoreEos !== 'boolean') fail('ignoreEos', 'true or false', ignoreEos);
  if (draft !== 'auto' && typeof draft !== 'boolean') fail('draft', 'auto, true or false', draft);
  if (typeof logitBias !== 'object' || !logitBias || Array.isArray(logitBias))
    fail('logitBias', '{ id: bias }', logitBias);
  for (const [id, bias] of Object.entries(logitBias)) {
    if (!/^\d+$/.test(id)) fail('logitBias', 'token ids as keys', id);
    between(`logitBias of token ${id}`, bias, -100, 100);
  }
  if (logprobs !== undefined) {
    number('logprobs', logprobs, 'an integer from 0 to 20', (x) => Number.isInteger(x) && x >= 0 && x <= 20);
  }
  const format: unknown = responseFormat;
  const formats = ['text', 'json_object', 'json_schema', 'regex', 'grammar'];
  if (!isObject(format) || !formats.includes(format.type as string))
    return fail('responseFormat', `an object whose type is one of ${formats.join(', ')}`, format);
  const own = { regex: 'pattern', grammar: 'grammar' }[format.type as string];
  if (own && typeof format[own] !== 'string') fail(`responseFormat.${own}`, 'a text', format[own]);
  integer('n', n, 1);
  const lastSeed = integer('seed', seed, 0) + (n - 1);
  if (!Number.isSafeInteger(lastSeed)) fail('seed', `at most 2^53 - ${n}: each of the n answers has its own`, seed);
  return {
    temperature: between('temperature', temperature, 0, 100),
    topK: integer('topK', topK, 0),
    topP: between('topP', topP, 0, 1),
    minP: between('minP', minP, 0, 1),
    repetitionPenalty: between('repetitionPenalty', repetitionPenalty, 0.01, 100),
    frequencyPenalty: between('frequencyPenalty', frequencyPenalty, -2, 2),
    presencePenalty: between('presencePenalty', presencePenalty, -2, 2),
    seed,
    maxTokens: maxTokens === Infinity ? Infinity : integer('maxTokens', maxTokens, 1),
    stop: [...stops],
    ignoreEos,
    n,
    draft,
    logitBias,
    logprobs,
    responseFormat,
  };
}

/** 32 random bits, for a run that names no seed: short enough to be read out. */
function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
