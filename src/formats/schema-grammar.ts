/**
 * JSON schemas (2020-12, and what draft 7 and OpenAPI write otherwise) as grammars. Every text of the grammar is JSON that validates;
 * not every value that validates is in it: objects have their properties in the schema's order and further ones only where
 * `additionalProperties` asks for them, alternatives without a type are of the types that their keywords are about, numbers have at
 * most 15 digits before and 6 behind the point, a `pattern` is matched as a whole. What a grammar cannot promise is refused.
 */
import { SternaError } from '../errors';
import { isObject, type Json } from '../json';
import { choice, type Expression, type Grammar, repeat, rule, sequence, text } from './expression';
import { formatPatterns, lengthsOf } from './formats';
import { anyJson, jsonCharacter, jsonList, jsonString, jsonValue, otherKey, WRITABLE } from './json-text';
import { regexExpression } from './regex-expression';
import {
  disjoint,
  isAnnotation,
  KEYWORDS,
  listed,
  malformed,
  merge,
  own,
  refuse,
  type Schema,
  type TypeName,
  typeOfValue,
  typesOf,
} from './schema-merge';
import { integerExpression, numberExpression } from './schema-number';

/** Most schemas in one another before a `$ref` gives a rule of its own. */
const DEEPEST = 100;
const NEVER = choice();
const COMPOSED = ['$ref', 'allOf', 'anyOf', 'oneOf'];
const KNOWN = [...COMPOSED, 'type', 'enum', 'const', ...Object.keys(KEYWORDS)];

/**
 * The grammar of a schema's values.
 * @throws SternaError `bad-input` for what is no schema, `unsupported` for a keyword (named in `got`) that a grammar cannot hold to
 */
export function schemaGrammar(schema: unknown): Grammar {
  const rules = new Map<string, Expression>(anyJson());
  const schemaAt = (value: unknown, path: string): Schema => {
    if (typeof value === 'boolean' || isObject(value)) return value;
    throw malformed('schema', path, 'an object or a boolean', value);
  };
  const root = schemaAt(schema, '');

  /** What a reference within the schema points to (RFC 6901). */
  function target(reference: unknown, path: string): Schema {
    if (typeof reference !== 'string') throw malformed('$ref', path, 'a text', reference);
    if (!/^#(\/|$)/.test(reference)) throw refuse('$ref', path, `# or #/..., not ${reference}`);
    let found: unknown = root;
    for (const part of reference.split('/').slice(1)) {
      const name = decodeURIComponent(part.replaceAll('~1', '/').replaceAll('~0', '~'));
      found = Array.isArray(found) ? found[Number(name)] : isObject(found) ? own(found, name) : undefined;
    }
    if (found === undefined) throw malformed('$ref', path, 'a place in the schema', reference);
    return schemaAt(found, reference);
  }

  /** Without `$ref` and `allOf`: what they say is beside the rest. */
  function flat(value: Schema, path: string, depth = 0): Schema {
    if (typeof value === 'boolean' || (value.$ref === undefined && value.allOf === undefined)) return value;
    if (depth > DEEPEST) throw malformed('$ref', path, 'references that come to an end', value.$ref);
    const { $ref, allOf = [], ...rest } = value;
    if (!Array.isArray(allOf)) throw malformed('allOf', path, 'a list', allOf);
    const parts = allOf.map((part, i) => schemaAt(part, `${path}/allOf/${i}`));
    if ($ref !== undefined) parts.unshift(target($ref, path));
    return parts.reduce<Schema>((all, part) => merge(all, flat(part, path, depth + 1), path), rest);
  }

  function visit(value: Schema, path: string, depth: number): Expression {
    if (depth > DEEPEST) throw malformed('schema', path, `at most ${DEEPEST} schemas in one another`, 'more');
    if (value === false) return NEVER;
    if (value === true) return rule('value');
    const told = Object.keys(value).filter((keyword) => !isAnnotation(keyword));
    if (value.$ref !== undefined && told.length === 1) {
      const name = String(value.$ref);
      const found = target(name, path);
      if (!rules.has(name)) {
        rules.set(name, NEVER); // it is there while its own schema is read
        rules.set(name, visit(found, name, 0));
      }
      return rule(name);
    }
    const known = flat(value, path);
    if (typeof known === 'boolean') return visit(known, path, depth);
    return plain(known, path, depth);
  }

  function plain(value: Json, path: string, depth: number): Expression {
    for (const keyword of Object.keys(value)) {
      if (isAnnotation(keyword) || KNOWN.includes(keyword)) continue;
      throw refuse(keyword, path, `one of ${KNOWN.join(', ')}`);
    }
    for (const keyword of ['anyOf', 'oneOf']) {
      const { [keyword]: options, ...rest } = value;
      if (options === undefined) continue;
      if (!Array.isArray(options) || options.length === 0) throw malformed(keyword, path, 'a list', options);
      const schemas = options.map((option, i) => schemaAt(option, `${path}/${keyword}/${i}`));
      if (keyword === 'oneOf') checkApart(schemas, path);
      const beside = Object.keys(rest).some((each) => !isAnnotation(each));
      const ways = schemas.map((option, i) =>
        visit(beside ? merge(rest, flat(option, path), path) : option, `${path}/${keyword}/${i}`, depth + 1),
      );
      return choice(...ways);
    }
    const values = listed(value, path);
    if (values) return enumerated(value, values, path);
    if (Object.keys(value).every(isAnnotation)) return rule('value');
    return choice(...typesOf(value, path).map((type) => ofType(type, value, path, depth)));
  }

  /** `oneOf` forbids what fits two of its schemas. */
  function checkApart(schemas: Schema[], path: string): void {
    for (const [i, one] of schemas.entries()) {
      for (const other of schemas.slice(0, i)) {
        if (!disjoint(one, other, (each) => flat(each, path)))
          throw refuse(
            'oneOf',
            path,
            'schemas that cannot both fit (a type or a required constant tells them), or anyOf',
          );
      }
    }
  }

  function enumerated(value: Json, values: unknown[], path: string): Expression {
    const beside = Object.keys(value).find((each) => !isAnnotation(each) && !['type', 'enum', 'const'].includes(each));
    if (beside) throw refuse(beside, path, 'none beside enum or const');
    const types = value.type === undefined ? undefined : typesOf(value, path);
    const fits = (type: TypeName): boolean =>
      !types || types.includes(type) || (type === 'integer' && types.includes('number'));
    return choice(...values.filter((each) => fits(typeOfValue(each))).map(jsonValue));
  }

  function ofType(type: TypeName, value: Json, path: string, depth: number): Expression {
    switch (type) {
      case 'null':
        return text('null');
      case 'boolean':
        return choice(text('true'), text('false'));
      case 'integer':
      case 'number':
        return numeric(type, value, path);
      case 'string':
        return stringOf(value, path);
      case 'array':
        return arrayOf(value, path, depth);
      case 'object':
        return objectOf(value, path, depth);
    }
  }

  function numeric(type: 'integer' | 'number', value: Json, path: string): Expression {
    const bound = (keyword: string, otherwise: number): number => {
      const found = value[keyword] ?? otherwise;
      if (typeof found !== 'number') throw malformed(keyword, path, 'a number', found);
      return found;
    };
    const step = bound('multipleOf', 1);
    if (value.multipleOf !== undefined && step !== 1) throw refuse('multipleOf', path, '1, for an integer');
    const [low, high] = [bound('minimum', -Infinity), bound('maximum', Infinity)];
    const [above, below] = [bound('exclusiveMinimum', -Infinity), bound('exclusiveMaximum', Infinity)];
    if (type === 'integer' || value.multipleOf !== undefined) {
      const from = Math.max(Math.ceil(low), Math.floor(above) + 1);
      return integerExpression(from, Math.min(Math.floor(high), Math.ceil(below) - 1)) ?? NEVER;
    }
    const bounds = {
      low: Math.max(low, above),
      high: Math.min(high, below),
      openLow: above >= low,
      openHigh: below <= high,
    };
    return numberExpression(bounds) ?? NEVER;
  }

  const count = (value: Json, keyword: string, otherwise: number, path: string): number => {
    const found = value[keyword] ?? otherwise;
    if (found === Infinity || (Number.isSafeInteger(found) && (found as number) >= 0)) return found as number;
    throw malformed(keyword, path, 'an integer from 0', found);
  };

  function stringOf(value: Json, path: string): Expression {
    const [min, max] = [count(value, 'minLength', 0, path), count(value, 'maxLength', Infinity, path)];
    const { pattern, format } = value;
    if (min > max) return NEVER;
    if (pattern === undefined && format === undefined) return jsonString(min, max);
    if (pattern !== undefined && format !== undefined) throw refuse('format', path, 'none beside pattern');
    if (pattern !== undefined && typeof pattern !== 'string') throw malformed('pattern', path, 'a text', pattern);
    const known = formatPatterns.get(String(format));
    if (pattern === undefined && known === undefined)
      throw refuse(`format ${String(format)}`, path, `one of ${[...formatPatterns.keys()].join(', ')}`);
    const source = pattern ?? known!;
    const lengths = lengthsOf(regexExpression(source, WRITABLE));
    if (lengths.min < min || lengths.max > max) {
      const keyword = lengths.min < min ? 'minLength' : 'maxLength';
      throw refuse(keyword, path, 'none beside a pattern or format that is not within it');
    }
    return sequence(text('"'), regexExpression(source, WRITABLE, jsonCharacter), text('"'));
  }

  function arrayOf(value: Json, path: string, depth: number): Expression {
    const old = Array.isArray(value.items); // draft 7
    const first = (old ? value.items : value.prefixItems) ?? [];
    const rest = old ? value.additionalItems : value.items;
    const [min, max] = [count(value, 'minItems', 0, path), count(value, 'maxItems', Infinity, path)];
    if (!Array.isArray(first)) throw malformed('prefixItems', path, 'a list', first);
    if (value.uniqueItems === true && max > 1) throw refuse('uniqueItems', path, 'maxItems 1');
    for (const keyword of ['unevaluatedItems']) checkFlag(value, keyword, path);
    if (min > max) return NEVER;
    const items = first.slice(0, max).map((item, i) => visit(schemaAt(item, path), `${path}/items/${i}`, depth + 1));
    const other = visit(rest === undefined ? true : schemaAt(rest, `${path}/items`), `${path}/items`, depth + 1);
    if (items.length === 0) return jsonList('[', other, ']', min, max);
    const parts = items.flatMap((item, i) => (i === 0 ? [item] : [text(', '), item]));
    const [least, most] = [Math.max(0, min - items.length), rest === undefined ? 0 : max - items.length];
    const more = repeat(sequence(text(', '), other), least, Math.max(least, most));
    return sequence(text('['), ...parts, more, text(']'));
  }

  /** `unevaluated...: false` forbids what is not written anyway. */
  function checkFlag(value: Json, keyword: string, path: string): void {
    if (value[keyword] !== undefined && typeof value[keyword] !== 'boolean')
      throw refuse(keyword, path, 'true or false');
  }

  function objectOf(value: Json, path: string, depth: number): Expression {
    const { properties = {}, required = [], additionalProperties } = value;
    if (!isObject(properties)) throw malformed('properties', path, 'an object', properties);
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw malformed('required', path, 'a list of texts', required);
    checkFlag(value, 'unevaluatedProperties', path);
    const names = Object.keys(properties);
    const open = additionalProperties ?? names.length === 0;
    const others = schemaAt(open, `${path}/additionalProperties`);
    const unknown = (required as string[]).filter((name) => !names.includes(name));
    const min = count(value, 'minProperties', 0, path);
    const max = count(value, 'maxProperties', Infinity, path);
    const members = [...names, ...new Set(unknown)].map((name) => {
      const schema = own(properties, name) ?? additionalProperties ?? true;
      const place = `${path}/properties/${name}`;
      const member = sequence(jsonValue(name), text(': '), visit(schemaAt(schema, place), place, depth + 1));
      return { member, required: required.includes(name) };
    });
    const known = names.concat(unknown);
    const other =
      others === false
        ? undefined
        : sequence(otherKey(known), text(': '), visit(others, `${path}/additionalProperties`, depth + 1));
    const needed = members.filter((each) => each.required).length;
    // free keys may be written twice, and are then one
    if (min > Math.max(needed, other && members.length === 0 ? 1 : 0))
      throw refuse('minProperties', path, 'so many required properties');
    const most = members.length + (other ? Infinity : 0);
    if (max < needed) return NEVER;
    if (max < most && members.length > 0) throw refuse('maxProperties', path, 'no more properties than that');
    if (members.length === 0) return other ? jsonList('{', other, '}', min, max) : text('{}');
    return sequence(text('{'), membersInOrder(members, other), text('}'));
  }

  for (const [name, expression] of [['root', visit(root, '', 0)] as const]) rules.set(name, expression);
  return rules;
}

/** Members in order, those that are not required perhaps; then any number of others. */
function membersInOrder(
  members: { member: Expression; required: boolean }[],
  other: Expression | undefined,
): Expression {
  const comma = text(', ');
  const after = other ? repeat(sequence(comma, other)) : text('');
  /** What may follow, when something has been written; and when nothing has. */
  let [following, first] = [after, other ? repeat(sequence(other, after), 0, 1) : text('')];
  for (const { member, required } of [...members].reverse()) {
    first = required ? sequence(member, following) : choice(sequence(member, following), first);
    const more = sequence(comma, member);
    following = sequence(required ? more : repeat(more, 0, 1), following);
  }
  return first;
}

/** The grammar of any JSON object. */
export function jsonObjectGrammar(): Grammar {
  return new Map<string, Expression>([...anyJson(), ['root', rule('object')]]);
}

/** The grammar of the texts that match a pattern as a whole. */
export function patternGrammar(pattern: unknown): Grammar {
  if (typeof pattern !== 'string') {
    throw new SternaError('bad-input', 'pattern', { got: typeof pattern, expected: 'a regular expression as text' });
  }
  return new Map([['root', regexExpression(pattern)]]);
}
