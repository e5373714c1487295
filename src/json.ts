/** An object of a parsed JSON file: nothing is known of its values. */
export type Json = Record<string, unknown>;

/** Whether a parsed value is an object, and no array. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
