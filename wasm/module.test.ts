// The shape of the four binaries: one memory imported, and nothing that would make an instance more than code over it
// (design.md: every thread makes its own instance over the one memory). Read from the bytes; the reader and the rules
// are proven on small modules written here by hand.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

interface Shape {
  imports: { name: string; kind: number; shared: boolean }[];
  exportKinds: number[];
  /** Entries by section id; 1 for a start section. */
  counts: Map<number, number>;
  /** Every instruction, as its opcode, or prefix * 0x10000 + opcode. */
  instructions: Set<number>;
}

const SIMD = 0xfd0000;
const ATOMIC = 0xfe0000;
const SECTIONS = { import: 2, table: 4, memory: 5, global: 6, export: 7, start: 8, element: 9, code: 10, data: 11 };
const FORBIDDEN = ['table', 'memory', 'global', 'start', 'element', 'data'] as const;

/** relaxed_trunc (0x101..0x104), relaxed_madd and nmadd (0x105..0x108), relaxed_min and max (0x10d..0x110). */
function isRelaxedFloat(instruction: number): boolean {
  const code = instruction - SIMD;
  return (code >= 0x101 && code <= 0x108) || (code >= 0x10d && code <= 0x110);
}

/** Reads numbers out of the bytes. */
class Reader {
  at = 0;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error('the module ends too soon');
    return value;
  }
  /** LEB128; signed ones are only ever skipped. */
  leb(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }
  skip(lebs: number, bytes = 0): void {
    for (let i = 0; i < lebs; i++) this.leb();
    this.at += bytes;
  }
  name(): string {
    const length = this.leb();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
  /** Flags, minimum and, with bit 0 set, maximum. */
  limits(): { shared: boolean } {
    const flags = this.byte();
    this.skip(flags & 1 ? 2 : 1);
    return { shared: (flags & 2) !== 0 };
  }
}

/** Reads one instruction and what belongs to it. */
function instruction(reader: Reader): number {
  const opcode = reader.byte();
  if (opcode === 0xfc || opcode === 0xfd || opcode === 0xfe) {
    const code = reader.leb();
    if (opcode === 0xfd) simdOperands(reader, code);
    else if (opcode === 0xfe) reader.skip(code === 3 ? 1 : 2);
    else if (code > 7) reader.skip([8, 10, 12, 14].includes(code) ? 2 : 1);
    return opcode * 0x10000 + code;
  }
  if (opcode === 0x0e || opcode === 0x1c) reader.skip(reader.leb() + (opcode === 0x0e ? 1 : 0));
  else if (opcode === 0x43) reader.skip(0, 4);
  else if (opcode === 0x44) reader.skip(0, 8);
  else if (opcode === 0x11 || (opcode >= 0x28 && opcode <= 0x3e)) reader.skip(2);
  else if ([0x02, 0x03, 0x04, 0x0c, 0x0d, 0x10, 0x3f, 0x40, 0x41, 0x42].includes(opcode)) reader.skip(1);
  else if (opcode >= 0x20 && opcode <= 0x26) reader.skip(1);
  else if (![0x00, 0x01, 0x05, 0x0b, 0x0f, 0x1a, 0x1b].includes(opcode) && !(opcode >= 0x45 && opcode <= 0xc4))
    throw new Error(`instruction 0x${opcode.toString(16)}`);
  return opcode;
}

function simdOperands(reader: Reader, code: number): void {
  if (code <= 11 || code === 92 || code === 93) reader.skip(2);
  else if (code === 12 || code === 13) reader.skip(0, 16);
  else if (code >= 21 && code <= 34) reader.skip(0, 1);
  else if (code >= 84 && code <= 91) reader.skip(2, 1);
  else if (code > 0x113) throw new Error(`SIMD instruction 0x${code.toString(16)}`);
}

function readModule(bytes: Uint8Array): Shape {
  const reader = new Reader(bytes);
  reader.skip(0, 8);
  const shape: Shape = { imports: [], exportKinds: [], counts: new Map(), instructions: new Set() };
  while (reader.at < bytes.length) {
    const id = reader.byte();
    const end = reader.leb() + reader.at;
    if (id !== 0) {
      const count = id === SECTIONS.start ? 1 : reader.leb();
      shape.counts.set(id, count);
      if (id === SECTIONS.import) for (let i = 0; i < count; i++) readImport(reader, shape);
      if (id === SECTIONS.export) {
        for (let i = 0; i < count; i++) {
          reader.name();
          shape.exportKinds.push(reader.byte());
          reader.skip(1);
        }
      }
      if (id === SECTIONS.code) for (let i = 0; i < count; i++) readBody(reader, shape);
      if ([SECTIONS.import, SECTIONS.export, SECTIONS.code].includes(id) && reader.at !== end)
        throw new Error(`section ${id} does not end where it says`);
    }
    reader.at = end;
  }
  return shape;
}

function readImport(reader: Reader, shape: Shape): void {
  const name = `${reader.name()}.${reader.name()}`;
  const kind = reader.byte();
  if (kind === 1) reader.byte(); // table: the type of its elements
  const shared = kind === 1 || kind === 2 ? reader.limits().shared : false;
  if (kind === 0) reader.skip(1);
  if (kind === 3) reader.skip(0, 2);
  shape.imports.push({ name, kind, shared });
}

function readBody(reader: Reader, shape: Shape): void {
  const end = reader.leb() + reader.at;
  for (let groups = reader.leb(); groups > 0; groups--) reader.skip(2);
  let last = -1;
  while (reader.at < end) {
    last = instruction(reader);
    shape.instructions.add(last);
  }
  if (reader.at !== end || last !== 0x0b) throw new Error('a function does not end where it says');
}

/** What breaks the rules. */
function faults(bytes: Uint8Array, shared: boolean, relaxed: boolean): string[] {
  const { imports, exportKinds, counts, instructions } = readModule(bytes);
  const found: string[] = [];
  const [first] = imports;
  if (imports.length !== 1 || first?.name !== 'env.memory' || first.kind !== 2) found.push('imports');
  else if (first.shared !== shared) found.push('sharing');
  for (const name of FORBIDDEN) if (counts.get(SECTIONS[name])) found.push(name);
  if (exportKinds.some((kind) => kind !== 0)) found.push('exports');
  for (const code of instructions) {
    if (isRelaxedFloat(code)) found.push('relaxed float');
    else if (!relaxed && code >= SIMD + 0x100 && code < ATOMIC) found.push('relaxed');
    if (!shared && code >= ATOMIC) found.push('atomic');
  }
  return [...new Set(found)];
}

describe.each([
  ['shared-relaxed', true, true],
  ['shared-baseline', true, false],
  ['single-relaxed', false, true],
  ['single-baseline', false, false],
] as const)('%s', (name, shared, relaxed) => {
  const bytes = new Uint8Array(readFileSync(new URL(`../src/generated/${name}.wasm`, import.meta.url)));
  const shape = readModule(bytes);

  test('is code over one imported memory, and nothing else', () => {
    expect(faults(bytes, shared, relaxed)).toEqual([]);
    expect(shape.exportKinds.length).toBeGreaterThan(30);
    expect(shape.counts.get(SECTIONS.code)).toBeGreaterThanOrEqual(shape.exportKinds.length - 5);
  });

  test('has the instructions it is built for', () => {
    const { instructions } = shape;
    expect(instructions.has(SIMD + 0x112), 'i16x8.relaxed_dot').toBe(relaxed);
    expect(instructions.has(SIMD + 0x113), 'i32x4.relaxed_dot_add').toBe(relaxed);
    expect(instructions.has(ATOMIC + 0x01), 'memory.atomic.wait32').toBe(shared);
    expect(instructions.has(SIMD + 0x0e), 'i8x16.swizzle').toBe(true);
    expect(instructions.has(SIMD + 0xe4) && instructions.has(SIMD + 0xe6), 'f32x4.add and mul').toBe(true);
  });
});

describe('the rules, on modules by hand', () => {
  const text = (s: string): number[] => [s.length, ...new TextEncoder().encode(s)];
  const section = (id: number, ...content: number[]): number[] => [id, content.length, ...content];
  const build = (...sections: number[][]): Uint8Array<ArrayBuffer> =>
    Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat());
  const type = section(1, 1, 0x60, 0, 0); // () -> ()
  const memory = (name = 'memory', shared = false): number[] =>
    section(2, 1, ...text('env'), ...text(name), 2, ...(shared ? [3, 1, 1] : [0, 1]));
  const func = section(3, 1, 0);
  const code = (...body: number[]): number[] => section(10, 1, body.length + 2, 0, ...body, 0x0b);
  const exported = section(7, 1, ...text('f'), 0, 0);
  const simple = code(0x01);
  const zero = [0xfd, 12, ...Array<number>(16).fill(0)]; // v128.const
  const leb = (opcode: number): number[] => [0xfd, (opcode & 127) | 128, opcode >> 7];

  test('a good one passes', () => {
    const good = build(type, memory(), func, exported, simple);
    expect(WebAssembly.validate(good)).toBe(true);
    expect(faults(good, false, false)).toEqual([]);
    expect(faults(build(type, memory('memory', true), func, exported, simple), true, true)).toEqual([]);
  });

  test.each<[string, Uint8Array<ArrayBuffer>]>([
    ['imports', build(type, func, exported, simple)],
    ['imports', build(type, memory('heap'), func, exported, simple)],
    [
      'imports',
      build(type, section(2, 2, ...text('env'), ...text('memory'), 2, 0, 1, ...text('env'), ...text('abort'), 0, 0)),
    ],
    ['imports', build(section(2, 1, ...text('env'), ...text('memory'), 3, 0x7f, 0))],
    ['imports', build(section(2, 1, ...text('env'), ...text('memory'), 1, 0x70, 0, 1))],
    ['sharing', build(memory('memory', true))],
    ['table', build(memory(), section(4, 1, 0x70, 0, 1))],
    ['memory', build(section(5, 1, 0, 1))],
    ['global', build(memory(), section(6, 1, 0x7f, 0, 0x41, 1, 0x0b))],
    ['global', build(memory(), section(6, 1, 0x7f, 1, 0x41, 1, 0x0b))],
    ['exports', build(memory(), section(7, 1, ...text('memory'), 2, 0))],
    ['start', build(type, memory(), func, section(8, 0), simple)],
    ['element', build(type, memory(), func, section(4, 1, 0x70, 0, 1), section(9, 1, 0, 0x41, 0, 0x0b, 1, 0), simple)],
    ['data', build(memory(), section(11, 1, 0, 0x41, 0, 0x0b, 1, 7))],
  ])('%s', (rule, bytes) => {
    // all are real modules; the hand has not merely written nonsense
    expect(WebAssembly.validate(bytes)).toBe(true);
    expect(faults(bytes, false, false)).toContain(rule);
  });

  test.each([0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x108, 0x10d, 0x10e, 0x10f, 0x110])(
    'relaxed float instruction %i',
    (opcode) => {
      const operands = opcode <= 0x104 ? 1 : opcode <= 0x108 ? 3 : 2;
      const bytes = build(type, memory(), func, code(...Array(operands).fill(zero).flat(), ...leb(opcode), 0x1a));
      expect(faults(bytes, false, true)).toEqual(['relaxed float']);
    },
  );

  test('other relaxed instructions are for the relaxed builds, atomics for the shared ones', () => {
    const dot = build(type, memory(), func, code(...zero, ...zero, ...zero, ...leb(0x113), 0x1a));
    expect(faults(dot, false, true)).toEqual([]);
    expect(faults(dot, false, false)).toEqual(['relaxed']);
    const fence = build(type, memory('memory', true), func, code(0xfe, 3, 0));
    expect(faults(fence, true, false)).toEqual([]);
    expect(faults(fence, false, false)).toEqual(['sharing', 'atomic']);
  });

  test('what looks like an instruction inside an operand is none', () => {
    const bytes = build(type, memory(), func, code(0xfd, 12, ...leb(0x105), ...Array<number>(13).fill(0xfd), 0x1a));
    expect(faults(bytes, false, false)).toEqual([]);
  });

  test('a damaged code section is refused, not skipped', () => {
    expect(() => readModule(build(type, memory(), func, code(0xfb, 0)))).toThrow('instruction 0xfb');
    expect(() => readModule(build(type, memory(), func, section(10, 1, 2, 0, 0x01)))).toThrow('does not end');
    expect(() => readModule(build(type, memory(), func, [10, 9, 1, 2, 0]))).toThrow();
  });
});
