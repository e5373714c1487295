import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SternaError } from '../errors';
import { headerEnd, parseHeader } from './safetensors';

const fixture = (path: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`../../${path}`, import.meta.url)));

/** A file with this header; the data are zeros. */
function fileOf(header: unknown, dataBytes: number, text = JSON.stringify(header)): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const parse = (bytes: Uint8Array) => parseHeader(bytes, bytes.length, 'model.safetensors');

function catchError(action: () => unknown): SternaError {
  try {
    action();
  } catch (error) {
    if (error instanceof SternaError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const two = {
  __metadata__: { format: 'pt' },
  b: { dtype: 'BF16', shape: [2, 2], data_offsets: [3, 11] },
  a: { dtype: 'U8', shape: [3], data_offsets: [0, 3] },
  none: { dtype: 'F32', shape: [0, 5], data_offsets: [3, 3] },
};

describe('parseHeader', () => {
  test.each([
    ['e2e/fixtures/hf-packed/model.safetensors', 38],
    ['e2e/fixtures/trace.safetensors', 78],
    ['e2e/fixtures/flip-safe.safetensors', 16],
    ['demo/public/models/tiny-stories-ternary/model.safetensors', 92],
  ])('reads %s', (path, count) => {
    const { tensors } = parse(fixture(path));
    expect(tensors).toHaveLength(count);
  });

  test('gives names, shapes and places in the order of the data', () => {
    const { tensors, dataStart, metadata } = parse(fileOf(two, 11));
    expect(tensors.map(({ name }) => name)).toEqual(['a', 'none', 'b']);
    expect(tensors[2]).toEqual({ name: 'b', type: 'BF16', shape: [2, 2], begin: dataStart + 3, end: dataStart + 11 });
    expect(dataStart).toBe(8 + JSON.stringify(two).length);
    expect([...metadata]).toEqual([['format', 'pt']]);
  });

  test('takes a scalar, blanks at the end, and no tensors at all', () => {
    expect(parse(fileOf({ s: { dtype: 'F64', shape: [], data_offsets: [0, 8] } }, 8)).tensors).toHaveLength(1);
    expect(parse(fileOf(null, 11, `${JSON.stringify(two)}     `)).tensors).toHaveLength(3);
    expect(parse(fileOf({}, 0)).tensors).toEqual([]);
  });

  const tensor = (change: object) => ({ ...two, a: { ...two.a, ...change } });
  test.each<[string, Uint8Array, RegExp]>([
    ['empty file', new Uint8Array(0), /too short.*got 0/],
    ['seven bytes', new Uint8Array(7), /too short.*got 7/],
    ['header length 0', new Uint8Array(100), /bad header length/],
    ['header longer than the file', fileOf(two, 11).fill(200, 0, 2), /bad header length/],
    ['header length beyond 2^53', fileOf(two, 11).fill(255, 0, 8), /bad header length/],
    ['not JSON', fileOf(null, 11, '{"a": nothing}'), /bad header.*expected JSON/],
    ['not UTF-8', fileOf(two, 11).fill(255, 12, 13), /bad header.*expected JSON/],
    ['an array', fileOf([], 0), /expected a JSON object/],
    ['a blank first', fileOf(null, 11, ` ${JSON.stringify(two)}`), /expected a JSON object/],
    ['tensor is a number', fileOf({ a: 7 }, 0), /tensor a.*an object, got 7/],
    ['unknown dtype', fileOf(tensor({ dtype: 'U9' }), 11), /tensor a: bad dtype.*got "U9"/],
    ['dtype of the prototype', fileOf(tensor({ dtype: 'toString' }), 11), /tensor a: bad dtype/],
    ['no dtype', fileOf(tensor({ dtype: undefined }), 11), /tensor a: bad dtype/],
    ['negative size', fileOf(tensor({ shape: [-3] }), 11), /tensor a: bad shape.*got \[-3\]/],
    ['fraction', fileOf(tensor({ shape: [1.5, 2] }), 11), /tensor a: bad shape/],
    ['shape is a number', fileOf(tensor({ shape: 3 }), 11), /tensor a: bad shape/],
    ['nine dimensions', fileOf(tensor({ shape: [3, 1, 1, 1, 1, 1, 1, 1, 1] }), 11), /tensor a: bad shape/],
    ['wrong product', fileOf(tensor({ shape: [4] }), 11), /do not match.*expected 4, got 3/],
    ['product beyond 2^53', fileOf(tensor({ shape: [2 ** 50, 2 ** 50] }), 11), /do not match/],
    ['one offset', fileOf(tensor({ data_offsets: [0] }), 11), /bad data_offsets/],
    ['offsets as text', fileOf(tensor({ data_offsets: ['0', '3'] }), 11), /bad data_offsets/],
    ['end before begin', fileOf(tensor({ data_offsets: [3, 0] }), 11), /bad data_offsets/],
    ['negative begin', fileOf(tensor({ data_offsets: [-3, 0] }), 11), /bad data_offsets/],
    ['overlap', fileOf({ ...two, c: { dtype: 'U8', shape: [2], data_offsets: [1, 3] } }, 11), /hole or overlaps/],
    ['the same bytes twice', fileOf({ ...two, c: two.a }, 11), /hole or overlaps.*expected 3, got 0/],
    ['hole', fileOf({ b: two.b, a: tensor({ shape: [2], data_offsets: [0, 2] }).a }, 11), /hole.*expected 2, got 3/],
    ['hole at the front', fileOf({ b: two.b }, 11), /hole.*expected 0, got 3/],
    ['truncated', fileOf(two, 10), /truncated/],
    ['bytes left over', fileOf(two, 12), /more bytes than/],
    ['metadata is text', fileOf({ ...two, __metadata__: 'pt' }, 11), /bad __metadata__/],
    ['metadata of numbers', fileOf({ ...two, __metadata__: { format: 1 } }, 11), /bad __metadata__/],
  ])('refuses: %s', (_, bytes, message) => {
    const error = catchError(() => parse(bytes));
    expect(error.message).toMatch(message);
    expect(error).toMatchObject({ code: 'bad-file', file: 'model.safetensors' });
    expect(error.got).toBeDefined();
    expect(error.expected).toBeDefined();
  });

  test('limits the number of tensors and the header', () => {
    const many = Object.fromEntries(Array.from({ length: 100_001 }, (_, i) => [`t${i}`, two.none]));
    expect(catchError(() => parse(fileOf(many, 0))).message).toMatch(/too many tensors.*got 100001/);
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setBigUint64(0, 100_000_001n, true);
    expect(catchError(() => parseHeader(prefix, 2e9, 'x')).message).toMatch(/bad header length.*2 to 100000000/);
  });

  test('says from the first 8 bytes how many it wants', () => {
    const bytes = fileOf(two, 11);
    expect(headerEnd(bytes.subarray(0, 8), bytes.length, 'x')).toBe(bytes.length - 11);
    expect(() => headerEnd(bytes.subarray(0, 7), bytes.length, 'x')).toThrow(SternaError);
    expect(() => headerEnd(bytes.subarray(0, 8), 100, 'x')).toThrow(/bad header length/);
  });

  test('a name like __proto__ is a name', () => {
    const bytes = fileOf(null, 3, '{"__proto__":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}');
    expect(parse(bytes).tensors.map(({ name }) => name)).toEqual(['__proto__']);
  });

  test('5,000 damaged headers: each is refused with a typed error, or is a whole header again', () => {
    const original = fixture('e2e/fixtures/flip-safe.safetensors');
    const { dataStart } = parse(original);
    let [state, refused] = [12345, 0];
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let round = 0; round < 5000; round++) {
      const bytes = original.slice(0, dataStart);
      for (let n = 1 + random(4); n > 0; n--) {
        // The length is one byte in a hundred: else it alone would be the reason of most refusals.
        const at = random(100) === 0 ? random(8) : 8 + random(dataStart - 8);
        const kind = random(4);
        if (kind === 0) bytes[at] = random(256);
        else if (kind === 1) bytes[at]! ^= 1 << random(8);
        else if (kind === 2) bytes[at] = '0123456789,:[]{}" -e.'.charCodeAt(random(21));
        else bytes.copyWithin(at, 8 + random(dataStart - 8), dataStart);
      }
      try {
        const header = parseHeader(bytes, original.length, 'x');
        const sum = header.tensors.reduce((total, { begin, end }) => total + end - begin, 0);
        expect(header.dataStart + sum).toBe(original.length);
      } catch (error) {
        if (!(error instanceof SternaError)) throw error;
        expect(error.code).toBe('bad-file');
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(3000);
    expect(refused).toBeLessThan(5000);
  });
});
