import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Entry, ggufFile, type HeaderOptions, type HeaderTensor } from '../../bench/gguf-header';
import { SternaError } from '../errors';
import { checkSplits, type GgufHeader, parseGguf, splitNames } from './gguf';
import { parseHeader } from './safetensors';

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../e2e/fixtures/gguf/${name}`, import.meta.url)));

function parse(bytes: Uint8Array, fileSize = bytes.length): GgufHeader {
  const header = parseGguf(bytes, fileSize, 'model.gguf');
  if ('needs' in header) throw new Error(`needs ${header.needs}`);
  return header;
}

/** The error's message and code. */
function failure(bytes: Uint8Array, fileSize = bytes.length): string {
  try {
    parse(bytes, fileSize);
  } catch (error) {
    if (error instanceof SternaError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'parsed';
}

/** weight_scale of layer 1's q_proj in the same model, packed for Hugging Face: bf16 or f32. */
function packedScale(): number {
  const bytes = new Uint8Array(
    readFileSync(new URL('../../e2e/fixtures/hf-packed/model.safetensors', import.meta.url)),
  );
  const { tensors } = parseHeader(bytes, bytes.length, 'model.safetensors');
  const { type, begin } = tensors.find(({ name }) => name === 'model.layers.1.self_attn.q_proj.weight_scale')!;
  const view = new DataView(bytes.buffer, begin);
  if (type === 'F32') return view.getFloat32(0, true);
  return new Float32Array(Uint32Array.of(view.getUint16(0, true) << 16).buffer)[0]!;
}

const F32 = 0;
const [Q4_0, Q8_0, Q6_K, BF16, TQ1_0, TQ2_0, I2_S, Q2_0] = [2, 8, 14, 30, 34, 35, 36, 42];
const floats = (name: string, count: number): HeaderTensor => ({ name, shape: [count], typeId: F32, bytes: 4 * count });
const q2 = (name: string, rows: number, cols: number, group: 64 | 128): HeaderTensor => ({
  name,
  shape: [rows, cols],
  typeId: Q2_0,
  bytes: ((rows * cols) / group) * (2 + group / 4),
});

describe('the header of a file', () => {
  test.each([
    ['i2_s.gguf', 'I2_S', 65_536 / 4 + 32],
    ['i2_s-arm.gguf', 'I2_S', 65_536 / 4 + 32],
    ['tq1_0.gguf', 'TQ1_0', (65_536 / 256) * 54],
    ['tq2_0.gguf', 'TQ2_0', (65_536 / 256) * 66],
  ])('%s: metadata and the place of every tensor', (name, type, bytes) => {
    const file = fixture(name);
    const { metadata, tensors, dataStart } = parse(file);
    expect(metadata).toMatchObject({
      'general.architecture': 'bitnet-b1.58',
      'bitnet-b1.58.embedding_length': 256,
      'bitnet-b1.58.rope.freq_base': 500_000,
      'bitnet-b1.58.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
      'tokenizer.ggml.add_bos_token': false,
    });
    const tokens = metadata['tokenizer.ggml.tokens'] as string[];
    expect([tokens.length, tokens[0], tokens[511]]).toEqual([512, '!', '<t511>']);
    expect(metadata['tokenizer.ggml.token_type']).toBeInstanceOf(Int32Array);
    expect(tensors).toHaveLength(24);
    expect(tensors[0]).toEqual({
      name: 'token_embd.weight',
      type: 'F16',
      shape: [512, 256],
      begin: dataStart,
      end: dataStart + 512 * 256 * 2,
    });
    const find = (wanted: string) => tensors.find((tensor) => tensor.name === wanted)!;
    const query = find('blk.1.attn_q.weight');
    expect(query).toMatchObject({ type, shape: [256, 256], end: query.begin + bytes });
    expect(find('blk.0.ffn_gate.weight').shape).toEqual([768, 256]);
    expect(find('blk.0.ffn_down.weight').shape).toEqual([256, 768]);
    // the last tensor ends the file, padded
    expect(file.length - tensors.at(-1)!.end).toBeLessThan(32);
    // the scale of an I2_S tensor lies behind its weights
    if (type === 'I2_S') expect(new DataView(file.buffer).getFloat32(query.end - 32, true)).toBe(packedScale());
  });

  test('is the same from any number of bytes that is enough; too few are told, and never more than the file has', () => {
    const file = fixture('tq2_0.gguf');
    const whole = parse(file);
    let needed = 0;
    for (let have = 0; ; ) {
      const found = parseGguf(file.subarray(0, have), file.length, 'model.gguf');
      if (!('needs' in found)) {
        expect(found).toEqual(whole);
        break;
      }
      expect(found.needs).toBeGreaterThan(have);
      expect(found.needs).toBeLessThanOrEqual(file.length);
      needed++;
      have = found.needs;
    }
    expect(needed).toBe(1); // a small header comes with the first bytes
    for (let have = 0; have < whole.dataStart - 32; have += 7) {
      expect(parseGguf(file.subarray(0, have), file.length, 'model.gguf')).toHaveProperty('needs');
    }
  });

  test('of ten megabytes takes few calls', () => {
    const tokens = Array.from({ length: 100_000 }, (_, i) => `token ${i} ${'é'.repeat(i % 40)}`);
    const file = ggufFile([['tokens', 'string[]', tokens]]);
    expect(file.length).toBeGreaterThan(5e6);
    let [have, calls] = [0, 1];
    for (;;) {
      const found = parseGguf(file.subarray(0, have), file.length, 'model.gguf');
      if (!('needs' in found)) {
        expect(found.metadata.tokens).toEqual(tokens);
        break;
      }
      have = found.needs;
      calls++;
    }
    expect(calls).toBeLessThan(12);
  });
});

describe('metadata', () => {
  const scalars: [Entry, unknown][] = [
    [['a', 'u8', 200], 200],
    [['a', 'i8', -100], -100],
    [['a', 'u16', 65_535], 65_535],
    [['a', 'i16', -3], -3],
    [['a', 'u32', 4_294_967_295], 4_294_967_295],
    [['a', 'i32', -2_147_483_648], -2_147_483_648],
    [['a', 'f32', 0.5], 0.5],
    [['a', 'bool', true], true],
    [['a', 'bool', false], false],
    [['a', 'string', 'Grüße 🙂'], 'Grüße 🙂'],
    [['a', 'string', ''], ''],
    [['a', 'u64', 2 ** 53 - 1], 2 ** 53 - 1],
    [['a', 'i64', -(2 ** 53) + 1], -(2 ** 53) + 1],
    [['a', 'i64', -1], -1],
    [['a', 'f64', Math.PI], Math.PI],
    [['a', 'u8[]', [1, 2]], Uint8Array.of(1, 2)],
    [['a', 'i8[]', [-1]], Int8Array.of(-1)],
    [['a', 'u16[]', [700]], Uint16Array.of(700)],
    [['a', 'i16[]', [-700]], Int16Array.of(-700)],
    [['a', 'u32[]', [1, 2 ** 31]], Uint32Array.of(1, 2 ** 31)],
    [['a', 'i32[]', []], new Int32Array()],
    [['a', 'f32[]', [0.25]], Float32Array.of(0.25)],
    [['a', 'bool[]', [true, false]], Uint8Array.of(1, 0)],
    [['a', 'u64[]', [5, 2 ** 40]], Float64Array.of(5, 2 ** 40)],
    [['a', 'i64[]', [-5]], Float64Array.of(-5)],
    [['a', 'f64[]', [1e300]], Float64Array.of(1e300)],
    [
      ['a', 'string[]', ['', 'x', '']],
      ['', 'x', ''],
    ],
    [['a', 'string[]', []], []],
  ];
  test.each(scalars)('%j', (entry, expected) => {
    // the byte in front makes what follows unaligned
    const { metadata } = parse(ggufFile([['x', 'u8', 1], entry, ['z', 'u8', 2]]));
    expect({ ...metadata }).toEqual({ x: 1, a: expected, z: 2 });
  });

  test('strings are exact whatever their length and characters', () => {
    const pieces = ['a', 'é', 'Ġ', '日', '🙂', '\ufeff', '\0', ''];
    const texts = Array.from({ length: 3000 }, (_, i) => pieces[i % 8]!.repeat((i * 7) % 23) + pieces[(i >> 3) % 8]);
    expect(parse(ggufFile([['texts', 'string[]', texts]])).metadata.texts).toEqual(texts);
    const long = [...texts, 'é'.repeat(30_000), ...texts];
    expect(parse(ggufFile([['texts', 'string[]', long]])).metadata.texts).toEqual(long);
  });

  test('bytes that are no characters become U+FFFD, in their own string only', () => {
    const file = ggufFile([['texts', 'string[]', ['ab', 'é', 'cd']]]);
    const at = file.findIndex((byte, i) => byte === 0xc3 && file[i + 1] === 0xa9);
    file[at + 1] = 0x41;
    expect(parse(file).metadata.texts).toEqual(['ab', '\ufffdA', 'cd']);
    file[at] = 0x62;
    file[at + 1] = 0xe2; // begins a character that the next string would end
    file[at + 10] = 0x82;
    expect(parse(file).metadata.texts).toEqual(['ab', 'b\ufffd', '\ufffdd']);
  });

  test('keys are only keys', () => {
    const { metadata } = parse(ggufFile([['__proto__', 'u8', 1]]));
    expect(Object.keys(metadata)).toEqual(['__proto__']);
    expect(metadata.toString).toBeUndefined();
  });
});

describe('tensors', () => {
  test('of every type have the bytes that it takes', () => {
    const cases: [number, string, number[], number][] = [
      [F32, 'F32', [3, 5], 60],
      [1, 'F16', [3, 5], 30],
      [BF16, 'BF16', [1], 2],
      [Q4_0, 'Q4_0', [2, 64], 4 * 18],
      [Q8_0, 'Q8_0', [2, 64], 4 * 34],
      [12, 'Q4_K', [2, 256], 2 * 144],
      [Q6_K, 'Q6_K', [2, 256], 2 * 210],
      [TQ1_0, 'TQ1_0', [2, 512], 4 * 54],
      [TQ2_0, 'TQ2_0', [2, 512], 4 * 66],
      [I2_S, 'I2_S', [64, 100], 1632],
      [Q2_0, 'Q2_0', [2, 64], 2 * 18],
      [F32, 'F32', [], 4],
      [F32, 'F32', [2, 3, 4, 5], 480],
    ];
    const file = ggufFile(
      [],
      cases.map(([typeId, , shape, bytes], i) => ({ name: `t${i}`, shape, typeId, bytes })),
    );
    const { tensors } = parse(file);
    expect(tensors.map(({ type, shape, begin, end }) => [type, shape, end - begin])).toEqual(
      cases.map(([, type, shape, bytes]) => [type, shape, bytes]),
    );
    expect(tensors.at(-1)!.end).toBe(file.length);
  });

  test.each([64, 128] as const)('of type Q2_0 in groups of %d are told by their bytes', (group) => {
    const three = [floats('norm', 3), q2('a', 32, 512, group), q2('b', 128, 256, group)];
    for (const tensors of [three, three.slice(0, 2), three.toReversed()]) {
      const { tensors: found } = parse(ggufFile([], tensors));
      for (const { name, begin, end } of found) {
        expect(end - begin).toBe(tensors.find((tensor) => tensor.name === name)!.bytes);
      }
    }
    // too small to tell alone: as the larger one
    const { tensors } = parse(ggufFile([], [q2('tiny', 1, 128, group), q2('a', 32, 512, group)]));
    expect(tensors[0]!.end - tensors[0]!.begin).toBe(group === 64 ? 36 : 34);
  });

  test('a truncated file of groups of 64 is not taken for one of 128', () => {
    const file = ggufFile([], [q2('a', 32, 512, 64), q2('b', 128, 256, 64)]);
    expect(failure(file.subarray(0, file.length - 300))).toMatch(/bad-file: .*truncated/);
  });

  test('of unknown types reach to the next', () => {
    const odd = { name: 'odd', shape: [7], typeId: 99, bytes: 100 };
    const { tensors } = parse(ggufFile([], [odd, floats('b', 3), { ...odd, name: 'last' }]));
    expect(tensors.map(({ name, type, begin, end }) => [name, type, end - begin])).toEqual([
      ['odd', 'type 99', 128],
      ['b', 'F32', 12],
      ['last', 'type 99', 100],
    ]);
  });

  test('are given by place, wherever the table has them', () => {
    const tensors = [
      { ...floats('second', 8), offset: 32 },
      { ...floats('first', 8), offset: 0 },
    ];
    expect(parse(ggufFile([], tensors)).tensors.map(({ name }) => name)).toEqual(['first', 'second']);
  });

  test('follow general.alignment', () => {
    const file = ggufFile([['general.alignment', 'u32', 256]], [floats('a', 3), floats('b', 3)], { alignment: 256 });
    const { tensors, dataStart } = parse(file);
    expect(dataStart % 256).toBe(0);
    expect(tensors.map(({ begin }) => begin - dataStart)).toEqual([0, 256]);
  });

  test('may be none, and what follows the last may be anything', () => {
    expect(parse(ggufFile([['a', 'u8', 1]])).tensors).toEqual([]);
    const file = ggufFile([], [floats('a', 8)]);
    const longer = new Uint8Array(file.length + 1000);
    longer.set(file);
    expect(parse(longer).tensors).toHaveLength(1);
  });
});

describe('a damaged file is refused', () => {
  const wrong = (entries: Entry[], tensors?: HeaderTensor[], options?: HeaderOptions) =>
    failure(ggufFile(entries, tensors, options));
  const one = floats('a', 8);
  const nested = ggufFile([['a', 'i32[]', [0]]]);
  nested[24 + 8 + 1 + 4] = 9; // an array of arrays
  const array = ggufFile([['a', 'u8[]', [1, 2, 3]]]);
  array.fill(0xff, 24 + 8 + 1 + 4 + 4, 24 + 8 + 1 + 4 + 4 + 6);

  test.each<[string, () => string, RegExp]>([
    ['empty', () => failure(new Uint8Array()), /bad-file: .*truncated/],
    ['of two bytes', () => failure(new Uint8Array(2)), /bad-file: .*truncated.*got 2/],
    ['of another format', () => wrong([], [], { magic: 'GGML' }), /bad-file: .*not a GGUF.*got 0x4c4d4747/],
    ['of version 1', () => wrong([], [], { version: 1 }), /unsupported: .*got version 1/],
    ['of version 4', () => wrong([], [], { version: 4 }), /unsupported: .*got version 4/],
    ['big-endian', () => wrong([], [], { version: 0x03000000 }), /unsupported: .*big-endian/],
    ['more tensors than it has', () => wrong([], [], { counts: [1, 0] }), /bad-file: .*truncated/],
    ['too many tensors', () => wrong([], [], { counts: [100_001, 0] }), /bad-file: .*too many tensors.*100001/],
    ['too many keys', () => wrong([], [], { counts: [0, 100_001] }), /bad-file: .*too much metadata/],
    ['a count beyond 2^53', () => wrong([], [], { counts: [2n ** 53n, 0] }), /bad-file: .*number too large/],
    ['an integer beyond 2^53', () => wrong([['a', 'u64', 2n ** 53n]]), /bad-file: .*number too large/],
    ['one below -2^53', () => wrong([['a', 'i64', -(2n ** 53n)]]), /bad-file: .*number too large/],
    ['one in an array', () => wrong([['a', 'u64[]', [1, 2n ** 60n]]]), /bad-file: .*number too large/],
    [
      'a key twice',
      () =>
        wrong([
          ['a', 'u8', 1],
          ['b', 'u8', 1],
          ['a', 'u8', 1],
        ]),
      /bad-file: .*key twice.*got a\)/,
    ],
    ['a key too long', () => wrong([['k'.repeat(1001), 'u8', 1]]), /bad-file: .*key too long/],
    ['arrays in arrays', () => failure(nested), /bad-file: .*bad array.*type 9/],
    ['an array longer than the file', () => failure(array), /bad-file: .*truncated/],
    ['a tensor twice', () => wrong([], [one, one]), /bad-file: .*tensor twice.*got a\)/],
    ['five dimensions', () => wrong([], [{ ...one, shape: [1, 1, 1, 1, 8] }]), /bad-file: .*dimensions.*got 5/],
    ['a dimension of 0', () => wrong([], [{ ...one, shape: [8, 0] }]), /bad-file: .*bad shape.*got 0/],
    ['a dimension beyond 2^53', () => wrong([], [{ ...one, shape: [2n ** 53n] }]), /bad-file: .*number too large/],
    [
      'elements beyond 2^53',
      () => wrong([], [{ ...one, shape: [2 ** 30, 2 ** 30] }]),
      /bad-file: .*too large.*1073741824,1073741824/,
    ],
    [
      'a row that is no whole number of blocks',
      () => wrong([], [{ name: 'a', shape: [2, 128], typeId: TQ2_0!, bytes: 66 }]),
      /bad-file: .*tensor a.*got 128.*|multiple of 256/,
    ],
    [
      'overlapping tensors',
      () => wrong([], [one, { ...one, name: 'b', offset: 16 }]),
      /bad-file: .*tensor b.*overlaps/,
    ],
    [
      'a hole',
      () => wrong([], [one, { ...one, name: 'b', offset: 64 }]),
      /bad-file: .*expected offset 32, got offset 64/,
    ],
    ['a hole at the beginning', () => wrong([], [{ ...one, offset: 32 }]), /bad-file: .*leaves a hole/],
    ['an offset beyond the file', () => wrong([], [{ ...one, offset: 2 ** 40, bytes: -(2 ** 40) }]), /bad-file/],
    ['an alignment of 0', () => wrong([['general.alignment', 'u32', 0]], [one]), /bad-file: .*general.alignment/],
    ['an alignment of 24', () => wrong([['general.alignment', 'u32', 24]], [one]), /bad-file: .*got 24/],
    ['an alignment of text', () => wrong([['general.alignment', 'string', '32']], [one]), /bad-file: .*alignment/],
  ])('%s', (_, run, message) => {
    expect(run()).toMatch(message);
  });

  test('an unknown value type', () => {
    const file = ggufFile([['a', 'u8', 1]]);
    file[24 + 8 + 1] = 13;
    expect(failure(file)).toMatch(/bad-file: .*bad value.*type 13/);
  });

  test('at whatever byte it ends', () => {
    const file = fixture('i2_s.gguf');
    const { dataStart, tensors } = parse(file);
    for (const length of [3, 10, 100, 5000, dataStart - 40, dataStart, dataStart + 1000, tensors.at(-1)!.end - 1]) {
      expect(failure(file.subarray(0, length))).toMatch(/bad-file: .*truncated/);
      // the whole size is known, the file's first bytes are not all there
      if (length < dataStart) expect(parseGguf(file.subarray(0, length), file.length, '')).toHaveProperty('needs');
    }
    expect(failure(file.subarray(0, dataStart), file.length - 33)).toMatch(/truncated/);
    expect(parse(file.subarray(0, dataStart), file.length).tensors).toEqual(tensors);
  });

  test('a header of more than 100 MB is not asked for', () => {
    const file = ggufFile([['a', 'string', 'text']]);
    new DataView(file.buffer).setBigUint64(24 + 8 + 1 + 4, 99_999_999n, true);
    expect(() => parseGguf(file, 1e9, 'model.gguf')).toThrow(/header too long/);
    const long = ggufFile([['a', 'f32[]', []]]);
    new DataView(long.buffer).setBigUint64(24 + 8 + 1 + 4 + 4, 2n ** 50n, true);
    expect(() => parseGguf(long, 1e12, 'model.gguf')).toThrow(/header too long/);
  });
});

describe('split files', () => {
  test('are named by any of them', () => {
    const names = ['dir/m-00001-of-00003.gguf', 'dir/m-00002-of-00003.gguf', 'dir/m-00003-of-00003.gguf'];
    for (const name of names) expect(splitNames(name)).toEqual(names);
    expect(splitNames('a-00001-of-00001.gguf')).toEqual(['a-00001-of-00001.gguf']);
    for (const name of [
      'model.gguf',
      'm-00000-of-00003.gguf',
      'm-00004-of-00003.gguf',
      'm-1-of-3.gguf',
      'm-00001-of-00003.gguf.txt',
      'm-00001-of-99999.gguf',
    ]) {
      expect(splitNames(name)).toBeUndefined();
    }
  });

  const part = (index: number, count: number, names: string[], total?: number) => {
    const keys: Entry[] = [
      ['split.no', 'u16', index],
      ['split.count', 'u16', count],
    ];
    if (total !== undefined) keys.push(['split.tensors.count', 'i32', total]);
    return parse(
      ggufFile(
        keys,
        names.map((name) => floats(name, 4)),
      ),
    );
  };
  const files = ['1.gguf', '2.gguf'];

  test('are held against each other', () => {
    const good = [part(0, 2, ['a'], 3), part(1, 2, ['b', 'c'], 3)];
    expect(() => checkSplits(good, files)).not.toThrow();
    expect(() => checkSplits([parse(ggufFile([], [floats('a', 4)]))], ['one.gguf'])).not.toThrow();
    for (const [parts, message] of [
      [[good[1]!, good[0]!], /1\.gguf: bad split\.no.*expected 0, got 1/],
      [[good[0]!], /1\.gguf: bad split\.count.*expected 1, got 2/],
      [[good[0]!, part(1, 2, ['a', 'b'], 3)], /2\.gguf: tensor in two files.*got a\)/],
      [[good[0]!, part(1, 2, ['b'], 3)], /1\.gguf: tensors.*expected 3, got 2/],
      [[good[0]!, parse(ggufFile([], [floats('b', 4)]))], /2\.gguf: bad split\.count.*got undefined/],
    ] as const) {
      expect(() => checkSplits([...parts], files)).toThrow(message);
    }
  });
});
