import { expect, test } from 'vitest';
import { bf16Bits, bf16Number, f16Bits, f16Number } from './float-bits';

/** Every finite half, by its definition: sign, five bits of exponent (bias 15), ten of fraction. */
const halves = Array.from({ length: 0x7c00 }, (_, bits) => {
  const [exponent, fraction] = [bits >> 10, bits & 1023];
  return exponent === 0 ? fraction / 2 ** 24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
});

test('every half is its own nearest', () => {
  for (const [bits, value] of halves.entries()) {
    if (f16Number(bits) !== value || f16Bits(value) !== bits || f16Bits(-value) !== (bits | 0x8000)) {
      expect([f16Number(bits), f16Bits(value), f16Bits(-value)], `bits ${bits}`).toEqual([value, bits, bits | 0x8000]);
    }
  }
  expect(f16Number(0xc000)).toBe(-2);
  expect(f16Number(0x7c00)).toBe(Number.POSITIVE_INFINITY);
});

test('between two halves: the nearer, at the middle the even one', () => {
  for (let bits = 0; bits + 1 < halves.length; bits++) {
    const [low, high] = [halves[bits]!, halves[bits + 1]!];
    const middle = (low + high) / 2; // exact in float32
    const got = [f16Bits(low + (high - low) * 0.49), f16Bits(middle), f16Bits(low + (high - low) * 0.51)];
    const right = [bits, bits + (bits & 1), bits + 1];
    if (got.join() !== right.join()) expect(got, `after ${low}`).toEqual(right);
  }
  expect(f16Bits(65_519)).toBe(0x7bff);
  expect(f16Bits(65_520)).toBe(0x7c00);
  expect(f16Bits(1e-10)).toBe(0);
});

test('bfloat16', () => {
  expect([1, -2, 0.1, -3.25e9].map(bf16Bits)).toEqual([0x3f80, 0xc000, 0x3dcd, 0xcf42]);
  // 1 + 1/256 lies between 1 and 1 + 1/128: to the even one; 1 + 3/256 as well, upwards
  expect([1 + 1 / 256, 1 + 3 / 256, 1 + 1.01 / 256].map(bf16Number)).toEqual([1, 1 + 1 / 64, 1 + 1 / 128]);
});
