// From HF bytes to tiles and lanes, read back here by the layout text of wasm/gemv.ts, not by a kernel; and the checks of
// what a checkpoint may hold.
import { describe, expect, test } from 'vitest';
import { difference, hfBytes, openLabs, packMatrix, pad, prng, ternary } from '../e2e/kernel-lab';

const labs = await openLabs();
const COLS = [1, 63, 64, 65, 640, 641, 896, 1153, 1408, 2560, 2561, 6912];
const ROWS = [1, 15, 16, 17, 37, 64];

type Place = { byte: number; bits: number };

/** Tiles: two rows a tile; per 64 columns 16 bytes of row 0, 16 of row 1; field f of byte i is column 16 f + i. */
function inTiles(row: number, col: number, cols: number): Place {
  const tileBytes = (2 * cols) / 4;
  const chunk = Math.floor(col / 64);
  const within = col % 64;
  return {
    byte: Math.floor(row / 2) * tileBytes + chunk * 32 + (row % 2) * 16 + (within % 16),
    bits: 2 * Math.floor(within / 16),
  };
}

/**
 * Widths of the column blocks of lanes: near-equal multiples of 128, or of 64 where the columns are no multiple of 128,
 * as few as keep each at most 640.
 */
function blocks(cols: number): number[] {
  const unit = cols % 128 === 0 ? 128 : 64;
  const units = cols / unit;
  const each = Math.ceil(units / Math.ceil(cols / 640));
  return Array.from({ length: Math.ceil(units / each) }, (_, b) => unit * Math.min(each, units - b * each));
}

/** Lanes: per block of columns and 16 rows, per 4 columns 16 bytes, byte = row; lowest column in the lowest bits. */
function inLanes(row: number, col: number, widths: number[], rows: number): Place {
  let start = 0;
  let first = 0;
  for (const width of widths) {
    if (col < first + width) {
      const groupBytes = (16 * width) / 4;
      const column = col - first;
      const byte = start + Math.floor(row / 16) * groupBytes + Math.floor(column / 4) * 16 + (row % 16);
      return { byte, bits: 2 * (column % 4) };
    }
    start += (rows * width) / 4;
    first += width;
  }
  throw new Error(`column ${col} lies beyond the blocks`);
}

describe.each(labs)('$name', (lab) => {
  test.each(['tiles', 'lanes'] as const)('%s hold each weight where the layout says', (layout) => {
    for (const cols of COLS) {
      for (const rows of ROWS) {
        lab.reset();
        const matrix = ternary(rows, cols, 'random', rows * 10000 + cols);
        const [paddedRows, paddedCols] = [pad(rows, 16), pad(cols, 64)];
        const at = packMatrix(lab, matrix, hfBytes(matrix), layout);
        const bytes = lab.u8(at, (paddedRows * paddedCols) / 4);
        const widths = blocks(paddedCols);
        const trits = new Int8Array(paddedRows * paddedCols);
        const wanted = new Int8Array(paddedRows * paddedCols);
        for (let row = 0; row < paddedRows; row++) {
          for (let col = 0; col < paddedCols; col++) {
            const place = layout === 'tiles' ? inTiles(row, col, paddedCols) : inLanes(row, col, widths, paddedRows);
            trits[row * paddedCols + col] = ((bytes[place.byte]! >> place.bits) & 3) - 1;
          }
          if (row < rows) wanted.set(matrix.trits.subarray(row * cols, (row + 1) * cols), row * paddedCols);
        }
        expect(difference(trits, wanted), `${rows} rows, ${cols} columns`).toBe('');
        expect(lab.overruns()).toEqual([]);
      }
    }
  });

  test('no byte of ternary codes holds a 3', () => {
    lab.reset();
    const every = Uint8Array.from(
      { length: 81 },
      (_, i) => (i % 3) | (((i / 3) % 3) << 2) | (((i / 9) % 3) << 4) | ((i / 27) << 6),
    );
    const random = prng(3);
    const bytes = Uint8Array.from({ length: 4096 }, () => every[Math.floor(random() * 81)]!);
    bytes.set(every);
    const at = lab.put(bytes);
    for (const n of [0, 16, 96, 640, 4096]) expect(lab.kernels.hasCode3(at, n)).toBe(0);
  });

  test('a single 3 is found anywhere, and only inside', () => {
    lab.reset();
    const n = 160;
    const random = prng(4);
    for (const fill of [0x00, 0x55, 0xaa, -1]) {
      const clean = Uint8Array.from({ length: n }, () =>
        fill < 0 ? [0x00, 0x55, 0xaa, 0x99, 0x66][Math.floor(random() * 5)]! : fill,
      );
      const at = lab.put(clean);
      for (let byte = 0; byte < n; byte++) {
        for (let field = 0; field < 4; field++) {
          lab.write(at + byte, Uint8Array.of(clean[byte]! | (3 << (2 * field))));
          expect(lab.kernels.hasCode3(at, n), `byte ${byte}, field ${field}`).toBe(1);
          const before = byte - (byte % 16);
          expect(lab.kernels.hasCode3(at, before), `only before byte ${byte}`).toBe(0);
        }
        lab.write(at + byte, clean.subarray(byte, byte + 1));
      }
    }
  });

  test('every bf16 that is infinite or NaN is found, and no other', () => {
    lab.reset();
    const at = lab.take(16);
    const wrong = Array.from({ length: 65536 }, (_, i) => i).filter((bits) => {
      const x = new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!;
      lab.write(at, new Uint16Array(8).fill(bits, bits & 7, (bits & 7) + 1));
      return lab.kernels.hasNonFinite(at, 8) !== (Number.isFinite(x) ? 0 : 1);
    });
    expect(wrong).toEqual([]);
  });

  test('a single infinity is found anywhere, and only inside', () => {
    lab.reset();
    const n = 72;
    const at = lab.put(new Uint16Array(n).fill(0x7f7f)); // the largest finite one
    expect(lab.kernels.hasNonFinite(at, n)).toBe(0);
    for (let i = 0; i < n; i++) {
      lab.write(at + 2 * i, Uint16Array.of(0xff80));
      expect(lab.kernels.hasNonFinite(at, n), `element ${i}`).toBe(1);
      expect(lab.kernels.hasNonFinite(at, i - (i % 8)), `only before element ${i}`).toBe(0);
      lab.write(at + 2 * i, Uint16Array.of(0x7f7f));
    }
  });
});
