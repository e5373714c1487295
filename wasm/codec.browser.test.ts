// Every ternary format written here from the text of its layout, read by the kernels; the stored form both ways.
import { describe, expect, test } from 'vitest';
import { difference, type Lab, openLabs, pad, prng } from '../e2e/kernel-lab';

const labs = await openLabs();

/** Random codes 0..values - 1. */
function randomCodes(n: number, values: number, seed: number): Uint8Array {
  const random = prng(seed);
  return Uint8Array.from({ length: n }, () => Math.floor(random() * values));
}

const filled = (n: number, code: number): Uint8Array => new Uint8Array(n).fill(code);

/** Random rows of codes, and rows of one code only. */
const rowsOf = (n: number, values: number): Uint8Array[] => [
  randomCodes(n, values, n),
  ...Array.from({ length: values }, (_, code) => filled(n, code)),
];

/** Room at an odd address, its end against the guard bytes. */
const takeOdd = (lab: Lab, bytes: number): number => lab.take(bytes + 3) + 3;

function putOdd(lab: Lab, data: Uint8Array): number {
  const at = takeOdd(lab, data.length);
  lab.write(at, data);
  return at;
}

/** What a kernel writes to `bytes` bytes at an odd address. */
function written(lab: Lab, bytes: number, kernel: (out: number) => void): Uint8Array {
  const out = takeOdd(lab, bytes);
  kernel(out);
  return lab.u8(out, bytes);
}

/** f16 scales, by their bits, and what they are worth. */
const SCALES: [bits: number, value: number][] = [
  [0x3c00, 1],
  [0x0000, 0],
  [0x8001, -(2 ** -24)],
  [0x03ff, 1023 * 2 ** -24],
  [0x0400, 2 ** -14],
  [0x2e66, 0.0999755859375],
  [0xfbff, -65504],
];

const scaleOf = (block: number): (typeof SCALES)[number] => SCALES[block % SCALES.length]!;

const scalesOf = (blocks: number): Float32Array => Float32Array.from({ length: blocks }, (_, b) => scaleOf(b)[1]);

function putScale(bytes: Uint8Array, at: number, block: number): void {
  const [bits] = scaleOf(block);
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
}

/** I2_S: elements in blocks, element j of a block in byte j mod a quarter, the first quarter in the highest bits. */
function i2s(codes: Uint8Array, block: 64 | 128): Uint8Array {
  const bytes = new Uint8Array(codes.length / 4);
  const quarter = block / 4;
  codes.forEach((code, i) => {
    const j = i % block;
    bytes[Math.floor(i / block) * quarter + (j % quarter)]! |= code << (6 - 2 * Math.floor(j / quarter));
  });
  return bytes;
}

function tq2(codes: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((codes.length / 256) * 66);
  codes.forEach((code, i) => {
    const block = Math.floor(i / 256);
    const half = Math.floor((i % 256) / 128);
    const j = i % 128;
    bytes[66 * block + 32 * half + (j % 32)]! |= code << (2 * Math.floor(j / 32));
  });
  for (let block = 0; block * 256 < codes.length; block++) putScale(bytes, 66 * block + 64, block);
  return bytes;
}

/** The elements of a TQ1_0 block that a byte holds, first the greatest digit; the last four bytes have no fifth. */
function tq1Elements(byte: number): number[] {
  if (byte < 32) return [0, 1, 2, 3, 4].map((d) => byte + 32 * d);
  if (byte < 48) return [0, 1, 2, 3, 4].map((d) => 160 + (byte - 32) + 16 * d);
  return [0, 1, 2, 3].map((d) => 240 + (byte - 48) + 4 * d);
}

function tq1(codes: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((codes.length / 256) * 54);
  for (let block = 0; block * 256 < codes.length; block++) {
    for (let byte = 0; byte < 52; byte++) {
      const digits = [...tq1Elements(byte).map((j) => codes[256 * block + j]!), 0].slice(0, 5);
      const v = digits.reduce((value, digit) => value * 3 + digit, 0);
      bytes[54 * block + byte] = Math.ceil((v * 256) / 243);
    }
    putScale(bytes, 54 * block + 52, block);
  }
  return bytes;
}

function q2(codes: Uint8Array, group: 64 | 128): Uint8Array {
  const stride = 2 + group / 4;
  const bytes = new Uint8Array((codes.length / group) * stride);
  codes.forEach((code, i) => {
    const j = i % group;
    bytes[Math.floor(i / group) * stride + 2 + Math.floor(j / 4)]! |= code << (2 * (j % 4));
  });
  for (let block = 0; block * group < codes.length; block++) putScale(bytes, stride * block, block);
  return bytes;
}

/** The stored form, straight from its text: columns m, m + 16, .. m + 64 of 80 in byte m, as round(V * 256 / 243). */
function base3(codes: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(codes.length / 80) * 16);
  return bytes.map((_, i) => {
    const first = 80 * Math.floor(i / 16) + (i % 16);
    const trits = [0, 16, 32, 48, 64].map((d) => (first + d < codes.length ? codes[first + d]! - 1 : 0));
    const [t0, t1, t2, t3, t4] = trits as [number, number, number, number, number];
    return Math.round(((81 * t0 + 27 * t1 + 9 * t2 + 3 * t3 + t4) * 256) / 243);
  });
}

describe.each(labs)('$name', (lab) => {
  test('HF bytes: each field of each byte, any number of columns', () => {
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const n of [4, 12, 16, 20, 60, 64, 100, 256, 2560, 6912]) {
      lab.reset();
      const bytes = n <= 256 ? every.subarray(256 - n) : randomCodes(n, 256, n);
      const src = putOdd(lab, bytes);
      for (let field = 0; field < 4; field++) {
        const got = written(lab, n, (out) => lab.kernels.codesFromPacked(src, field, n, out));
        const expected = bytes.map((byte) => Math.floor(byte / 4 ** field) % 4);
        expect(difference(got, expected), `${n} columns, field ${field}`).toBe('');
      }
      expect(lab.overruns()).toEqual([]);
    }
  });

  test('I2_S in the order of x86', () => {
    for (const n of [128, 256, 640, 2560, 6912]) {
      for (const codes of rowsOf(n, 4)) {
        lab.reset();
        const src = putOdd(lab, i2s(codes, 128));
        const got = written(lab, n, (out) => lab.kernels.codesFromI2S(src, n, out));
        expect(difference(got, codes), `${n} elements`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('I2_S in the order of ARM, read as x86 and put right, and back', () => {
    for (const n of [128, 256, 640, 6912]) {
      lab.reset();
      const codes = randomCodes(n, 3, n);
      const src = putOdd(lab, i2s(codes, 64));
      const wrong = written(lab, n, (out) => lab.kernels.codesFromI2S(src, n, out));
      expect(difference(wrong, codes)).not.toBe('');
      const from = putOdd(lab, wrong);
      const right = written(lab, n, (out) => lab.kernels.reorderI2S(from, n, out, 0));
      expect(difference(right, codes), `${n} elements`).toBe('');
      const to = putOdd(lab, right);
      const back = written(lab, n, (out) => lab.kernels.reorderI2S(to, n, out, 1));
      expect(difference(back, wrong), `${n} elements, back`).toBe('');
      lab.kernels.reorderI2S(from, n, from, 0);
      expect(difference(lab.u8(from, n), codes), `${n} elements, in place`).toBe('');
      lab.kernels.reorderI2S(from, n, from, 1);
      expect(difference(lab.u8(from, n), wrong), `${n} elements, in place, back`).toBe('');
      expect(lab.overruns()).toEqual([]);
    }
  });

  test.each([
    { name: 'TQ2_0', write: tq2, kernel: 'codesFromTQ2' as const, values: 4 },
    { name: 'TQ1_0', write: tq1, kernel: 'codesFromTQ1' as const, values: 3 },
  ])('$name', ({ write, kernel, values }) => {
    for (const n of [256, 512, 2560, 6912]) {
      for (const codes of rowsOf(n, values)) {
        lab.reset();
        const src = putOdd(lab, write(codes));
        const scales = takeOdd(lab, n / 64);
        const got = written(lab, n, (out) => lab.kernels[kernel](src, n, out, scales));
        expect(difference(got, codes), `${n} elements`).toBe('');
        expect(difference(lab.f32(scales, n / 256), scalesOf(n / 256)), `scales of ${n} elements`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('TQ1_0: every value of every byte as ggml decodes it, also those that no encoder writes', () => {
    for (let value = 0; value < 256; value++) {
      lab.reset();
      const src = putOdd(lab, filled(54, value));
      const scales = lab.take(4);
      const expected = new Uint8Array(256);
      for (let byte = 0; byte < 52; byte++) {
        tq1Elements(byte).forEach((element, d) => {
          expected[element] = (((value * 3 ** d) % 256) * 3) >> 8;
        });
      }
      const got = written(lab, 256, (out) => lab.kernels.codesFromTQ1(src, 256, out, scales));
      expect(difference(got, expected), `byte ${value}`).toBe('');
    }
  });

  test.each([64, 128] as const)('Q2_0 in groups of %i', (group) => {
    for (const n of [group, 3 * group, 2560, 6912]) {
      for (const codes of rowsOf(n, 4)) {
        lab.reset();
        const src = putOdd(lab, q2(codes, group));
        const scales = takeOdd(lab, (4 * n) / group);
        const got = written(lab, n, (out) => lab.kernels.codesFromQ2(src, n, group, out, scales));
        expect(difference(got, codes), `${n} elements`).toBe('');
        expect(difference(lab.f32(scales, n / group), scalesOf(n / group)), `scales of ${n} elements`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('the stored form, both ways, any number of columns', () => {
    for (const n of [1, 2, 15, 16, 17, 72, 79, 80, 81, 100, 159, 160, 161, 2560, 3200, 6912, 8640]) {
      for (const codes of rowsOf(n, 3)) {
        lab.reset();
        const src = putOdd(lab, codes);
        const stored = base3(codes);
        const got = written(lab, stored.length, (out) => lab.kernels.base3Pack(src, n, out));
        expect(difference(got, stored), `${n} columns stored`).toBe('');
        const whole = filled(pad(n, 80), 1);
        whole.set(codes);
        const at = putOdd(lab, stored);
        const back = written(lab, whole.length, (out) => lab.kernels.base3Unpack(at, n, out));
        expect(difference(back, whole), `${n} columns back`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('the stored form of every five codes, in whole groups and in the last part of a row', () => {
    const digit = (v: number, d: number): number => Math.floor(v / 3 ** (4 - d)) % 3;
    // 16 groups hold 256 bytes; a row of 79 columns has four codes in its last byte and five in the others
    const groups = Uint8Array.from({ length: 1280 }, (_, i) =>
      digit((16 * Math.floor(i / 80) + (i % 16)) % 243, Math.floor((i % 80) / 16)),
    );
    const parts = Array.from({ length: 17 }, (_, part) =>
      Uint8Array.from({ length: 79 }, (_, i) => digit((15 * part + (i % 16)) % 243, Math.floor(i / 16))),
    );
    for (const codes of [groups, ...parts]) {
      lab.reset();
      const n = codes.length;
      const src = putOdd(lab, codes);
      const stored = base3(codes);
      const got = written(lab, stored.length, (out) => lab.kernels.base3Pack(src, n, out));
      expect(difference(got, stored)).toBe('');
      const at = putOdd(lab, got);
      const back = written(lab, pad(n, 80), (out) => lab.kernels.base3Unpack(at, n, out));
      expect(difference(back.subarray(0, n), codes)).toBe('');
      expect(lab.overruns()).toEqual([]);
    }
    expect(new Set(base3(groups)).size).toBe(243);
  });

  test.each(['tiles', 'lanes'] as const)('codes from %s, each row as it was packed', (layout) => {
    for (const cols of [64, 128, 640, 704, 1152, 2560, 6912]) {
      for (const rows of [16, 48]) {
        lab.reset();
        const { kernels } = lab;
        const matrix = lab.take((rows * cols) / 4);
        const codes = Array.from({ length: rows }, (_, row) => randomCodes(cols, 3, cols * 100 + row));
        codes.forEach((line, row) => {
          const src = putOdd(lab, line);
          if (layout === 'tiles') kernels.packTiles(src, 0, matrix, row, cols);
          else kernels.packLanes(src, 0, matrix, row, rows, cols);
        });
        codes.forEach((line, row) => {
          const got = written(lab, cols, (out) => {
            if (layout === 'tiles') kernels.unpackTiles(matrix, row, cols, out);
            else kernels.unpackLanes(matrix, row, rows, cols, out);
          });
          expect(difference(got, line), `row ${row} of ${rows}, ${cols} columns`).toBe('');
        });
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('a byte above 2 is found anywhere, and only inside', () => {
    lab.reset();
    const n = 75;
    const clean = randomCodes(n, 3, 5);
    const at = putOdd(lab, clean);
    for (const length of [0, 1, 15, 16, 17, 64, n]) expect(lab.kernels.badCode(at, length)).toBe(0);
    for (let i = 0; i < n; i++) {
      for (const bad of [3, 4, 127, 128, 255]) {
        lab.write(at + i, Uint8Array.of(bad));
        expect(lab.kernels.badCode(at, n), `${bad} at ${i}`).toBe(1);
        expect(lab.kernels.badCode(at, i + 1), `${bad} at ${i}, the last`).toBe(1);
        expect(lab.kernels.badCode(at, i), `${bad} behind the ${i}`).toBe(0);
      }
      lab.write(at + i, clean.subarray(i, i + 1));
    }
  });
});
