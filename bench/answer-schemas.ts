/** Schemas of answers, of many shapes: for tests, and for `node bench/schemas.mjs`. */

const point = { type: 'object', properties: { x: { type: 'number' }, y: { type: 'number' } }, required: ['x', 'y'] };

export const shapes: Record<string, object> = {
  'flat object': {
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'integer' }, good: { type: 'boolean' } },
    required: ['name', 'age', 'good'],
    additionalProperties: false,
  },
  'nested objects': {
    type: 'object',
    properties: {
      dog: {
        type: 'object',
        properties: {
          name: { type: 'string', minLength: 1 },
          home: { type: 'object', properties: { street: { type: 'string', maxLength: 20 } }, required: ['street'] },
        },
        required: ['name', 'home'],
      },
      at: point,
    },
    required: ['dog', 'at'],
  },
  enums: {
    type: 'object',
    properties: {
      colour: { enum: ['red', 'green', 'blue'] },
      size: { enum: [1, 2.5, null, 'large'] },
      kind: { const: 'ball' },
    },
    required: ['colour', 'size', 'kind'],
  },
  'bounded numbers': {
    type: 'object',
    properties: {
      rating: { type: 'integer', minimum: 1, maximum: 5 },
      share: { type: 'number', minimum: 0, maximum: 1 },
      cold: { type: 'number', exclusiveMaximum: 0, minimum: -30.5 },
      year: { type: 'integer', minimum: 1987, maximum: 2041 },
    },
    required: ['rating', 'share', 'cold', 'year'],
  },
  'free numbers': { type: 'array', items: { type: 'number' } },
  'free list of strings': { type: 'array', items: { type: 'string' } },
  'bounded list of bounded strings': {
    type: 'array',
    items: { type: 'string', minLength: 3, maxLength: 12 },
    minItems: 2,
    maxItems: 4,
  },
  'list of objects': {
    type: 'object',
    properties: { points: { type: 'array', items: point, minItems: 1 } },
    required: ['points'],
  },
  union: {
    anyOf: [
      { type: 'object', properties: { error: { type: 'string' } }, required: ['error'] },
      { type: 'array', items: { type: 'boolean' } },
      { type: 'null' },
    ],
  },
  'tagged union': {
    type: 'object',
    properties: {
      pet: {
        oneOf: [
          {
            type: 'object',
            properties: { kind: { const: 'dog' }, barks: { type: 'boolean' } },
            required: ['kind', 'barks'],
          },
          {
            type: 'object',
            properties: { kind: { const: 'cat' }, lives: { type: 'integer', minimum: 1, maximum: 9 } },
            required: ['kind', 'lives'],
          },
        ],
      },
    },
    required: ['pet'],
  },
  'optional properties': {
    type: 'object',
    properties: {
      a: { type: 'string' },
      b: { type: 'integer' },
      c: { type: ['boolean', 'null'] },
      d: { type: 'array', items: { type: 'null' } },
    },
    required: ['c'],
  },
  'free object': { type: 'object' },
  'further properties': {
    type: 'object',
    properties: { id: { type: 'integer' } },
    required: ['id'],
    additionalProperties: { type: 'string' },
  },
  'patterns and formats': {
    type: 'object',
    properties: {
      code: { type: 'string', pattern: '^[A-Z]{2}-\\d{3,5}$' },
      on: { type: 'string', format: 'date' },
      id: { type: 'string', format: 'uuid' },
    },
    required: ['code', 'on'],
  },
  tree: {
    $ref: '#/$defs/node',
    $defs: {
      node: {
        type: 'object',
        properties: { name: { type: 'string' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
        required: ['name', 'children'],
      },
    },
  },
};
