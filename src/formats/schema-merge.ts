/** JSON schemas as records: what is written in them, how two of them hold together, and whether no value fits both. */
import { SternaError, shown } from '../errors';
import { isObject, type Json } from '../json';

export type Schema = Json | boolean;

/** Keywords that say nothing about which values fit. */
const ANNOTATIONS = new Set([
  ...['title', 'description', 'default', 'examples', 'example', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', 'id', '$comment', '$defs', 'definitions', 'contentEncoding', 'contentMediaType'],
  ...['discriminator', '$anchor', 'propertyOrdering'],
]);
export const isAnnotation = (keyword: string): boolean => ANNOTATIONS.has(keyword) || keyword.startsWith('x-');

export function refuse(keyword: string, path: string, expected: string): SternaError {
  return new SternaError('unsupported', `schema keyword ${keyword}`, { got: `${keyword} at ${path || '/'}`, expected });
}
export function malformed(keyword: string, path: string, expected: string, got: unknown): SternaError {
  return new SternaError('bad-input', `bad schema, ${keyword} at ${path || '/'}`, { got: shown(got), expected });
}

const equal = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

/** JSON with keys in order, so that equal values are equal texts. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? 'undefined';
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)}}`;
}

const LARGER = new Set(['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']);
const SMALLER = new Set(['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);

/** Types that are in both lists; an integer is a number. */
function commonTypes(a: unknown, b: unknown): unknown[] {
  const [left, right] = [list(a), list(b)];
  const narrower = left.map((type) => {
    if (right.includes(type)) return type;
    if (type === 'number' && right.includes('integer')) return 'integer';
    return type === 'integer' && right.includes('number') ? type : undefined;
  });
  return narrower.filter((type) => type !== undefined);
}

/** The schema that holds where both do. Their `$ref`, `allOf` and `oneOf` have been taken out, unless only one has them. */
export function merge(a: Schema, b: Schema, path: string): Schema {
  if (a === false || b === false) return false;
  if (a === true) return b;
  if (b === true) return a;
  const merged: Json = { ...a };
  checkClosed(a, b, path);
  for (const [keyword, value] of Object.entries(b)) {
    const had = a[keyword];
    if (had === undefined || isAnnotation(keyword)) merged[keyword] ??= value;
    else if (equal(had, value)) continue;
    else if (LARGER.has(keyword)) merged[keyword] = Math.max(had as number, value as number);
    else if (SMALLER.has(keyword)) merged[keyword] = Math.min(had as number, value as number);
    else if (keyword === 'type') {
      const types = commonTypes(had, value);
      if (types.length === 0) return false;
      merged.type = types;
    } else if (keyword === 'required') merged.required = [...new Set([...list(had), ...list(value)])];
    else if (keyword === 'enum') merged.enum = list(had).filter((each) => list(value).some((one) => equal(one, each)));
    else if (keyword === 'const') return false;
    else if (keyword === 'items') merged.items = { allOf: [had, value] };
    else if (keyword === 'uniqueItems') merged.uniqueItems = true;
    else if (keyword === 'properties' && isObject(had) && isObject(value)) {
      const properties: Json = { ...had };
      for (const [name, schema] of Object.entries(value)) {
        const other = own(had, name);
        define(properties, name, other === undefined ? schema : { allOf: [other, schema] });
      }
      merged.properties = properties;
    } else throw refuse(keyword, path, 'one of it, where several schemas hold together');
  }
  return merged;
}

/** A property of its own: names such as `__proto__` and `constructor` are nothing special. */
export const own = (of: Json, name: string): unknown => (Object.hasOwn(of, name) ? of[name] : undefined);
const define = (of: Json, name: string, value: unknown): void =>
  void Object.defineProperty(of, name, { value, enumerable: true, configurable: true, writable: true });

/** `additionalProperties` speaks of the properties beside it, not of those of another schema. */
function checkClosed(a: Json, b: Json, path: string): void {
  const names = (schema: Json): string[] => Object.keys(isObject(schema.properties) ? schema.properties : {});
  for (const [closed, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const { additionalProperties } = closed;
    if (additionalProperties === undefined || additionalProperties === true) continue;
    const unknown = names(other).find((name) => !names(closed).includes(name));
    if (unknown === undefined) continue;
    throw refuse('additionalProperties', path, `no additionalProperties beside another schema's ${unknown}`);
  }
}

const TYPES = ['null', 'boolean', 'number', 'string', 'array', 'object'] as const;
export type TypeName = (typeof TYPES)[number] | 'integer';

/** Keywords by the type of value that they are about. */
export const KEYWORDS: Record<string, TypeName> = {
  ...{ minimum: 'number', maximum: 'number', exclusiveMinimum: 'number', exclusiveMaximum: 'number' },
  ...{ multipleOf: 'number', minLength: 'string', maxLength: 'string', pattern: 'string', format: 'string' },
  ...{ items: 'array', prefixItems: 'array', additionalItems: 'array', minItems: 'array', maxItems: 'array' },
  ...{ uniqueItems: 'array', unevaluatedItems: 'array', properties: 'object', required: 'object' },
  ...{ additionalProperties: 'object', minProperties: 'object', maxProperties: 'object' },
  unevaluatedProperties: 'object',
};

/** The types that a schema is about: those it names, else those of its keywords, else all. */
export function typesOf(schema: Json, path: string): TypeName[] {
  if (schema.type !== undefined) {
    const types = list(schema.type);
    for (const type of types) {
      if (type !== 'integer' && !(TYPES as readonly unknown[]).includes(type))
        throw malformed('type', path, [...TYPES, 'integer'].join(', '), type);
    }
    return [...new Set(types as TypeName[])].filter((type) => type !== 'integer' || !types.includes('number'));
  }
  const told = Object.keys(schema).flatMap((keyword) => (Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword]! : []));
  return told.length > 0 ? [...new Set(told)] : [...TYPES];
}

/** The values that a schema lists, if it does. */
export function listed(schema: Json, path: string): unknown[] | undefined {
  if (schema.enum !== undefined && !Array.isArray(schema.enum)) throw malformed('enum', path, 'a list', schema.enum);
  if (schema.const === undefined) return schema.enum as unknown[] | undefined;
  const among = (schema.enum as unknown[] | undefined) ?? [schema.const];
  return among.filter((value) => equal(value, schema.const));
}

export function typeOfValue(value: unknown): TypeName {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  const type = typeof value;
  return type === 'number' && Number.isInteger(value) ? 'integer' : (type as TypeName);
}

/**
 * Whether it is sure that no value fits both: other types, other values, or objects that both require a property whose schemas
 * are disjoint.
 */
export function disjoint(a: Schema, b: Schema, resolve: (schema: Schema) => Schema, depth = 0): boolean {
  if (depth > 8) return false;
  const [left, right] = [resolve(a), resolve(b)];
  if (left === false || right === false) return true;
  if (left === true || right === true) return false;
  const [some, others] = [listed(left, ''), listed(right, '')];
  if (some && others) return !some.some((value) => others.some((other) => equal(value, other)));
  const types = (schema: Json, values: unknown[] | undefined): TypeName[] => {
    if (values) return values.map(typeOfValue);
    return schema.type === undefined ? [...TYPES] : typesOf(schema, '');
  };
  const shared = commonTypes(types(left, some), types(right, others));
  if (shared.length === 0) return true;
  if (shared.some((type) => type !== 'object')) return false;
  const required = list(left.required ?? []).filter((name) => list(right.required ?? []).includes(name)) as string[];
  return required.some((name) => {
    const [p, q] = [left, right].map(({ properties }) => (isObject(properties) ? own(properties, name) : undefined));
    return p !== undefined && q !== undefined && disjoint(p as Schema, q as Schema, resolve, depth + 1);
  });
}
