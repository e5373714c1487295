import Ajv2020 from 'ajv/dist/2020';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SternaError } from '../errors';
import { createRandom } from '../generate/sampler';
import { createRecogniser } from './recogniser';
import { jsonObjectGrammar, schemaGrammar } from './schema-grammar';

/** A text of the grammar: bytes drawn at random, completed within `most` bytes. */
function draw(recogniser: ReturnType<typeof createRecogniser>, random: () => number, most: number): string {
  const bytes: number[] = [];
  let state = recogniser.start;
  while (!recogniser.finished(state)) {
    if (recogniser.closing(state) === 0 && (bytes.length >= most || random() < 0.2)) break;
    const left = Math.max(most - bytes.length, recogniser.closing(state));
    const next = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => recogniser.closing(recogniser.step(state, byte)) < left,
    );
    const byte = next[Math.floor(random() * next.length)]!;
    bytes.push(byte);
    state = recogniser.step(state, byte);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
}

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });

/** Texts of a schema's grammar, each parsed and validated. */
function check(schema: object | boolean, times = 60): string[] {
  const validate = ajv.compile(schema);
  const recogniser = createRecogniser(schemaGrammar(schema));
  const random = createRandom(7);
  return Array.from({ length: times }, (_, i) => {
    const text = draw(recogniser, random, [0, 10, 60, 300][i % 4]!);
    const value = JSON.parse(text);
    expect(validate(value), `${text}\n${JSON.stringify(schema)}\n${ajv.errorsText(validate.errors)}`).toBe(true);
    expect(recogniser.accepts(text)).toBe(true);
    return text;
  });
}

const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer', minimum: 0, maximum: 120 } },
  required: ['name'],
};

const schemas: Record<string, object | boolean> = {
  'any value': true,
  'free object': { type: 'object' },
  person,
  'optional properties': {
    type: 'object',
    properties: { a: { type: 'null' }, b: { type: 'boolean' }, c: { type: 'string', maxLength: 3 }, d: { const: 1 } },
    required: ['c'],
    additionalProperties: false,
  },
  'further properties': {
    type: 'object',
    properties: { a: { type: 'integer' }, ab: { type: 'integer' }, '': { type: 'integer' }, 'é"\\': { type: 'null' } },
    additionalProperties: { type: 'string', maxLength: 2 },
  },
  'only further properties': { type: 'object', additionalProperties: { type: 'integer' }, minProperties: 1 },
  'required but not described': { type: 'object', properties: { a: true }, required: ['b'] },
  'names of Object': {
    type: 'object',
    properties: JSON.parse('{"__proto__": {"type": "null"}, "constructor": {"type": "boolean"}}'),
    required: ['__proto__', 'constructor'],
  },
  enums: { enum: ['red', 'gré"en', 3, null, true, { a: [1, 'x'] }] },
  'enum of a type': { type: ['string', 'integer'], enum: ['a', 1, 1.5, null] },
  const: { const: { deep: [1, { x: 'y' }] } },
  numbers: { type: 'array', items: { type: 'number' }, minItems: 3, maxItems: 9 },
  integers: { type: 'array', items: { type: 'integer' }, minItems: 3, maxItems: 9 },
  strings: { type: 'array', items: { type: 'string', minLength: 2, maxLength: 4 }, minItems: 2 },
  patterns: { type: 'array', items: { type: 'string', pattern: '^[A-Z"\\\\]{1,3}-\\d+(x|y\\n)?$' }, minItems: 2 },
  'pattern within lengths': { type: 'string', pattern: '[a-z]{3,8}', minLength: 2, maxLength: 10 },
  tuple: {
    type: 'array',
    prefixItems: [{ type: 'string' }, { type: 'integer' }],
    items: { type: 'null' },
    minItems: 3,
  },
  'tuple, cut': { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer' }], maxItems: 1 },
  'open tuple': { type: 'array', prefixItems: [{ type: 'boolean' }], minItems: 2 },
  'closed tuple': { type: 'array', prefixItems: [{ type: 'boolean' }], items: false },
  'at most one': { type: 'array', items: person, maxItems: 1, uniqueItems: true },
  union: { anyOf: [{ type: 'string', maxLength: 5 }, { type: 'null' }, person] },
  'union with more beside it': {
    type: 'object',
    properties: { a: { type: 'integer' }, b: { type: 'integer' } },
    anyOf: [{ required: ['a'] }, { required: ['b'] }],
  },
  'one of kinds': {
    oneOf: [
      {
        type: 'object',
        properties: { kind: { const: 'circle' }, r: { type: 'number', exclusiveMinimum: 0 } },
        required: ['kind', 'r'],
      },
      { type: 'object', properties: { kind: { const: 'square' }, a: { type: 'number' } }, required: ['kind', 'a'] },
    ],
  },
  tree: {
    $ref: '#/$defs/node',
    $defs: {
      node: {
        type: 'object',
        properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
        required: ['value', 'children'],
      },
    },
  },
  'list of itself': {
    type: 'object',
    properties: { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
    required: ['next'],
  },
  'reference with more beside it': {
    $defs: { name: { type: 'string', minLength: 1 } },
    type: 'object',
    properties: { short: { $ref: '#/$defs/name', maxLength: 3, description: 'short' } },
    required: ['short'],
  },
  'all of': {
    allOf: [person, { properties: { name: { minLength: 2 }, city: { enum: ['Riga', 'Oslo'] } }, required: ['city'] }],
  },
  'no type': { properties: { a: { minimum: 3, maximum: 8 } }, required: ['a'] },
  'several types': { type: ['integer', 'null', 'array'], items: { type: 'boolean' } },
};

describe('whatever a grammar gives is JSON that validates', () => {
  test.each(Object.entries(schemas))('%s', (_, schema) => {
    expect(new Set(check(schema)).size).toBeGreaterThan(0);
  });

  const bounds: object[] = [
    ...[
      [0, 0],
      [0, 1],
      [-1, 0],
      [-3, 17],
      [5, 5],
      [95, 1203],
      [-1203, -95],
      [1000, 99999],
      [0.5, 3.5],
      [-7.25, -7],
    ],
    ...[
      [0.1, 0.9],
      [0.25, 0.75],
      [-0.5, 0.5],
      [1e9, 2e9],
      [-1e18, 1e18],
      [1.5, 1.5],
      [2.5, 3],
    ],
  ].map(([minimum, maximum]) => ({ minimum, maximum }));
  bounds.push({ minimum: 7 }, { maximum: -7 }, { exclusiveMinimum: 0, exclusiveMaximum: 1 }, { exclusiveMinimum: 3 });
  bounds.push(
    { exclusiveMinimum: -1, maximum: 1 },
    { minimum: 0, exclusiveMaximum: 10 },
    { minimum: 2, exclusiveMinimum: 2 },
  );
  test.each(bounds)('numbers of %j', (bound) => {
    check({ type: 'number', ...bound }, 300);
    if (JSON.stringify(bound).match(/\./) || Object.values(bound).length === 0) return;
    if (!('exclusiveMinimum' in bound && 'exclusiveMaximum' in bound)) check({ type: 'integer', ...bound }, 300);
  });

  test('every integer of a range, and no other', () => {
    for (const [minimum, maximum] of [
      [0, 9],
      [-12, 107],
      [98, 1002],
      [-305, -297],
    ] as const) {
      const { accepts } = createRecogniser(schemaGrammar({ type: 'integer', minimum, maximum }));
      for (let value = minimum - 120; value <= maximum + 120; value++) {
        expect(accepts(String(value)), String(value)).toBe(value >= minimum && value <= maximum);
      }
      expect(accepts('00')).toBe(false);
      expect(accepts('-0')).toBe(false);
    }
  });

  test.each(['date', 'time', 'date-time', 'uuid', 'email', 'hostname', 'ipv4', 'uri'])(
    'strings of format %s',
    (format) => {
      const zods: Record<string, z.ZodType> = {
        ...{ date: z.iso.date(), time: z.string(), 'date-time': z.iso.datetime({ offset: true }), uuid: z.uuid() },
        ...{ email: z.email(), hostname: z.hostname(), ipv4: z.ipv4(), uri: z.url() },
      };
      for (const text of check({ type: 'string', format })) zods[format]!.parse(JSON.parse(text));
    },
  );

  test('schemas that Zod makes', () => {
    const type = z.object({
      title: z.string().max(20),
      tags: z.array(z.string()).max(3),
      rating: z.number().min(0).max(5).optional(),
      kind: z.enum(['book', 'film']),
      by: z.union([z.string(), z.null()]),
      at: z.discriminatedUnion('type', [
        z.object({ type: z.literal('page'), page: z.int().positive() }),
        z.object({ type: z.literal('time'), seconds: z.number().nonnegative() }),
      ]),
    });
    for (const text of check(z.toJSONSchema(type), 100)) type.parse(JSON.parse(text));
  });

  test('any object', () => {
    const recogniser = createRecogniser(jsonObjectGrammar());
    const random = createRandom(1);
    for (let i = 0; i < 100; i++) expect(JSON.parse(draw(recogniser, random, 200))).toBeTypeOf('object');
    expect(recogniser.accepts('{"a": [1.5e-3, "\\n", {}]}')).toBe(true);
    expect(recogniser.accepts('[]')).toBe(false);
  });
});

describe('what a grammar cannot promise is refused, and named', () => {
  const refused: [object | boolean | string, string, RegExp][] = [
    [{ type: 'array', uniqueItems: true }, 'unsupported', /uniqueItems/],
    [{ not: { type: 'string' } }, 'unsupported', /not/],
    [{ if: true, else: false }, 'unsupported', /if/],
    [{ type: 'object', patternProperties: {} }, 'unsupported', /patternProperties/],
    [{ type: 'number', multipleOf: 3 }, 'unsupported', /multipleOf/],
    [{ type: 'string', format: 'iri' }, 'unsupported', /iri/],
    [{ type: 'string', pattern: '(?=a)b' }, 'unsupported', /look-around/],
    [{ type: 'string', pattern: 'a{3}', maxLength: 2 }, 'unsupported', /maxLength/],
    [{ oneOf: [{ type: 'string' }, { minLength: 3 }] }, 'unsupported', /oneOf/],
    [{ type: 'object', properties: { a: { typo: 1 } } }, 'unsupported', /typo at \/properties\/a/],
    [{ $ref: 'https://example.com/schema' }, 'unsupported', /\$ref/],
    [{ type: 'string', pattern: '[a' }, 'bad-input', /pattern/],
    [{ $ref: '#/$defs/none' }, 'bad-input', /\$ref/],
    [{ type: 'text' }, 'bad-input', /type/],
    [{ type: 'string', minLength: -1 }, 'bad-input', /minLength/],
    ['text', 'bad-input', /schema/],
    [false, 'bad-input', /no answer/],
    [{ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, 'bad-input', /no answer/],
    [{ type: 'integer', minimum: 3, maximum: 2 }, 'bad-input', /no answer/],
    [{ $ref: '#/allOf/0', allOf: [{ $ref: '#' }] }, 'bad-input', /\$ref/],
  ];
  test.each(refused)('%j', (schema, code, message) => {
    try {
      createRecogniser(schemaGrammar(schema));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SternaError);
      expect((error as SternaError).code).toBe(code);
      expect((error as SternaError).message).toMatch(message);
    }
  });
});
