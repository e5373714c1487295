// From HF bytes to tiles and lanes, read back here by the layout text of wasm/gemv.ts, not by a kernel; and the checks of
// what a checkpoint may hold.
import { describe, expect, test } from 'vitest';
import { difference, hfBytes, openLabs, packMatrix, pad, ternary } from '../e2e/kernel-lab';

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
});
