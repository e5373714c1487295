/**
 * Ternary matrices on their way in: from the rows of every format to one row of codes 0, 1, 2 (= -1, 0, +1; one byte a
 * weight), and from there into the tiles of the plan and into base-3 rows for the store. Layouts: docs/model.md.
 */
import type { SternaError } from '../errors';
import type { Kernels } from '../model/kernels';
import type { Matrix, MemoryPlan } from '../model/memory';
import { base3Bytes, type Part } from './parts';

/** How the bytes of I2_S are meant: the file does not tell. */
export type I2sOrder = 'x86' | 'arm';

/** Float types as the kernels number them (wasm/floats.ts). */
export const FLOAT: Record<string, number> = { BF16: 0, F16: 1, F32: 2, Q8_0: 3, Q6_K: 4, Q4_0: 5, Q4_K: 6 };

/** Addresses to work at (packer.ts). */
export interface Desk {
  unit: number; // bytes of one unit, as the file has them
  stored: number; // one unit in the stored form, or a whole stored record
  codes: number; // u8[rows of a unit, cols], with room for a last group of 80
  spare: number; // as large
  row: number; // one row of a table; scales of a row
}

/** Names a part's tensor and file in an error. */
export type Fail = (
  part: Part,
  what: string,
  got: string | number,
  expected: string | number,
  code?: 'bad-file' | 'unsupported',
) => SternaError;

/** Keeps the scale of a matrix; throws if it is no finite number above 0. */
export type SetScale = (part: Part, matrix: Matrix, scale: number) => void;

export interface TernaryRows {
  /** Packs unit `unit` of the part, whose file bytes lie at desk.unit; its stored form comes to lie at desk.stored. */
  take(part: Part, matrix: Matrix, unit: number): void;
  /** Packs unit `unit` of the part from its stored form at `from`. */
  restore(part: Part, matrix: Matrix, unit: number, from: number): void;
  /** Turns an I2_S matrix in memory, packed in one byte order, into what the other order means. */
  reorder(parts: Part[], to: I2sOrder): void;
}

/**
 * @throws SternaError `bad-file` (from take) for a code 3 and for scales that are no numbers, `unsupported` for blocks
 * with different scales where the model has one a matrix
 */
export function createTernaryRows(
  kernels: Kernels,
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  desk: Desk,
  i2sOrder: I2sOrder,
  fail: Fail,
  setScale: SetScale,
): TernaryRows {
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const { headDim } = plan.config;
  const [half, paddedHalf] = [headDim / 2, plan.headDim / 2];
  let order = i2sOrder;

  /** Where row `row` of the file lies in the matrix. */
  function targetRow({ place }: Part, row: number): number {
    if (place.kind !== 'ternary' || place.rows === 'plain') return row;
    const within = row % headDim;
    const [side, i] = place.rows === 'interleaved' ? [within % 2, within >> 1] : [+(within >= half), within % half];
    return Math.floor(row / headDim) * plan.headDim + side * paddedHalf + i;
  }

  const hasPaddedColumns = ({ place }: Part): boolean =>
    place.kind === 'ternary' && place.paddedHeads && half !== paddedHalf;

  /** Copies the columns of a row half a head at a time: to padded heads, with zeros (code 1) between, or back. */
  function spread(from: number, to: number, cols: number): number {
    const width = (cols / half) * paddedHalf;
    bytes.fill(1, to, to + width);
    for (let done = 0, at = to; done < cols; done += half, at += paddedHalf) {
      bytes.copyWithin(at, from + done, from + done + half);
    }
    return width;
  }

  function gather(from: number, to: number, cols: number): void {
    for (let done = 0, at = from; done < cols; done += half, at += paddedHalf) {
      bytes.copyWithin(to + done, at, at + half);
    }
  }

  /** One row of codes into the matrix; `spare` is overwritten where there are columns of padding. */
  function placeRow(part: Part, matrix: Matrix, row: number, codes: number, spare: number): void {
    const { at, paddedRows, paddedCols } = matrix;
    const target = targetRow(part, row);
    let from = codes;
    if (hasPaddedColumns(part) || part.cols < paddedCols) {
      from = spare;
      let width = part.cols;
      if (hasPaddedColumns(part)) width = spread(codes, spare, part.cols);
      else bytes.copyWithin(spare, codes, codes + width);
      bytes.fill(1, spare + width, spare + paddedCols);
    }
    if (plan.kernel === 'lut8') kernels.packLanes(from, 0, at, target, paddedRows, paddedCols);
    else kernels.packTiles(from, 0, at, target, paddedCols);
  }

  /** One row of the file out of the matrix. */
  function readRow(part: Part, matrix: Matrix, row: number, codes: number): void {
    const { at, paddedRows, paddedCols } = matrix;
    const target = targetRow(part, row);
    if (plan.kernel === 'lut8') kernels.unpackLanes(at, target, paddedRows, paddedCols, desk.spare);
    else kernels.unpackTiles(at, target, paddedCols, desk.spare);
    if (hasPaddedColumns(part)) gather(desk.spare, codes, part.cols);
    else bytes.copyWithin(codes, desk.spare, desk.spare + part.cols);
  }

  /** A field of a byte-row of the HF packed form: row unit + field * units. */
  function placePacked(part: Part, matrix: Matrix, unit: number, field: number): void {
    const row = unit + field * part.units;
    if (row < part.allRows) placeRow(part, matrix, row, desk.codes, desk.spare);
  }

  /** The rows of a unit of I2_S, whose codes were read in x86 order. */
  function placeBlocks(part: Part, matrix: Matrix, unit: number, as: I2sOrder): void {
    const { rows, cols } = part;
    let [codes, spare] = [desk.codes, desk.spare];
    if (as === 'arm') {
      kernels.reorderI2S(codes, rows * cols, spare, 0);
      [codes, spare] = [spare, codes];
    }
    for (let r = 0; r < rows; r++) placeRow(part, matrix, unit * rows + r, codes + r * cols, spare);
  }

  /** The f16 scales of a row's groups, at `from`. */
  function placeScales(part: Part, matrix: Matrix, fileRow: number, from: number): void {
    const row = targetRow(part, fileRow);
    const groups = part.cols / matrix.group;
    if (kernels.badFloat(from, FLOAT.F16!, groups))
      throw fail(part, 'group scale', 'infinity or NaN', 'finite numbers');
    const stride = matrix.paddedCols / matrix.group;
    kernels.floatsFromHalfs(from, groups, matrix.scales + ((row >> 4) * stride * 16 + (row & 15)) * 4, 64);
  }

  function checkCodes(part: Part, count: number): void {
    if (kernels.badCode(desk.codes, count)) throw fail(part, 'weight', 'code 3', 'codes 0, 1 and 2');
  }

  /** The one scale of a row whose blocks carry one each, kept; a block of scale 0 is one of zeros. 0: nothing but zeros. */
  function blockScale(part: Part, matrix: Matrix): number {
    const blocks = part.cols / 256;
    let one = 0;
    for (let b = 0; b < blocks; b++) {
      const scale = view.getFloat32(desk.row + b * 4, true);
      if (scale === 0) bytes.fill(1, desk.codes + b * 256, desk.codes + (b + 1) * 256);
      else if (one !== scale) {
        setScale(part, matrix, scale); // refuses what is no scale, and another than before
        one = scale;
      }
    }
    return one;
  }

  function takeTq(part: Part, matrix: Matrix, unit: number, base3: number): void {
    const { type, cols } = part;
    if (type === 'TQ1_0') kernels.codesFromTQ1(desk.unit, cols, desk.codes, desk.row);
    else kernels.codesFromTQ2(desk.unit, cols, desk.codes, desk.row);
    checkCodes(part, cols);
    if (matrix.group === 0) {
      const scale = blockScale(part, matrix);
      view.setFloat32(desk.stored + base3, scale, true);
    } else {
      const each = 256 / matrix.group;
      const blockBytes = type === 'TQ1_0' ? 54 : 66;
      for (let g = 0; g < cols / matrix.group; g++) {
        const from = desk.unit + (Math.floor(g / each) + 1) * blockBytes - 2;
        bytes.copyWithin(desk.stored + base3 + g * 2, from, from + 2);
      }
      placeScales(part, matrix, unit, desk.stored + base3);
    }
    kernels.base3Pack(desk.codes, cols, desk.stored);
    placeRow(part, matrix, unit, desk.codes, desk.spare);
  }

  function takeQ2(part: Part, matrix: Matrix, unit: number, base3: number): void {
    const { cols, group } = part;
    kernels.codesFromQ2(desk.unit, cols, group, desk.codes, desk.spare);
    checkCodes(part, cols);
    kernels.base3Pack(desk.codes, cols, desk.stored);
    for (let g = 0; g < cols / group; g++) {
      const from = desk.unit + g * (2 + group / 4);
      bytes.copyWithin(desk.stored + base3 + g * 2, from, from + 2);
    }
    placeScales(part, matrix, unit, desk.stored + base3);
    placeRow(part, matrix, unit, desk.codes, desk.spare);
  }

  /**
   * A float master, whole: absmean quantisation as in transformers' AutoBitLinear: multiplier = 1 / max(mean|W|, 1e-5) in
   * float32, code = clamp(round(w * multiplier), -1, 1); the scale is the multiplier's inverse.
   */
  function takeFloats(part: Part, matrix: Matrix, base3: number): void {
    const { type, allRows, cols, unitBytes } = part;
    const [kind, count] = [FLOAT[type]!, allRows * cols];
    if (kernels.badFloat(desk.unit, kind, count)) throw fail(part, 'weight', 'infinity or NaN', 'finite numbers');
    const mean = Math.fround(kernels.sumAbs(desk.unit, kind, count) / count);
    const multiplier = Math.fround(1 / Math.max(mean, Math.fround(1e-5)));
    for (let r = 0; r < allRows; r++) {
      kernels.codesFromFloats(desk.unit + (r * unitBytes) / allRows, kind, cols, multiplier, desk.codes);
      kernels.base3Pack(desk.codes, cols, desk.stored + r * base3);
      placeRow(part, matrix, r, desk.codes, desk.spare);
    }
    const scale = Math.fround(1 / multiplier);
    view.setFloat32(desk.stored + allRows * base3, scale, true);
    setScale(part, matrix, scale);
  }

  return {
    take(part, matrix, unit) {
      const { type, rows, cols } = part;
      const base3 = base3Bytes(cols);
      if (type === 'U8') {
        for (let field = 0; field < 4; field++) {
          kernels.codesFromPacked(desk.unit, field, cols, desk.codes);
          checkCodes(part, cols);
          kernels.base3Pack(desk.codes, cols, desk.stored + field * base3);
          placePacked(part, matrix, unit, field);
        }
      } else if (type === 'I2_S') {
        kernels.codesFromI2S(desk.unit, rows * cols, desk.codes);
        checkCodes(part, rows * cols);
        for (let r = 0; r < rows; r++) kernels.base3Pack(desk.codes + r * cols, cols, desk.stored + r * base3);
        placeBlocks(part, matrix, unit, order);
      } else if (type === 'Q2_0') takeQ2(part, matrix, unit, base3);
      else if (type === 'TQ1_0' || type === 'TQ2_0') takeTq(part, matrix, unit, base3);
      else takeFloats(part, matrix, base3);
    },

    restore(part, matrix, unit, from) {
      const { type, rows, cols } = part;
      const base3 = base3Bytes(cols);
      if (type === 'U8') {
        for (let field = 0; field < 4; field++) {
          kernels.base3Unpack(from + field * base3, cols, desk.codes);
          placePacked(part, matrix, unit, field);
        }
      } else if (type === 'I2_S') {
        // in ascending order: each row's last group of 80 may run into the next row
        for (let r = 0; r < rows; r++) kernels.base3Unpack(from + r * base3, cols, desk.codes + r * cols);
        placeBlocks(part, matrix, unit, order);
      } else if (type in FLOAT) {
        for (let r = 0; r < part.allRows; r++) {
          kernels.base3Unpack(from + r * base3, cols, desk.codes);
          placeRow(part, matrix, r, desk.codes, desk.spare);
        }
        setScale(part, matrix, view.getFloat32(from + part.allRows * base3, true));
      } else {
        kernels.base3Unpack(from, cols, desk.codes);
        placeRow(part, matrix, unit, desk.codes, desk.spare);
        if (matrix.group) placeScales(part, matrix, unit, from + base3);
        else {
          const scale = view.getFloat32(from + base3, true);
          if (scale !== 0) setScale(part, matrix, scale);
        }
      }
    },

    reorder(parts, to) {
      if (to === order) return;
      for (const part of parts) {
        if (part.place.kind !== 'ternary' || part.type !== 'I2_S') continue;
        const { rows, cols, units, place } = part;
        for (let unit = 0; unit < units; unit++) {
          for (let r = 0; r < rows; r++) readRow(part, place.matrix, unit * rows + r, desk.codes + r * cols);
          if (order === 'arm') {
            kernels.reorderI2S(desk.codes, rows * cols, desk.spare, 1);
            bytes.copyWithin(desk.codes, desk.spare, desk.spare + rows * cols);
          }
          placeBlocks(part, place.matrix, unit, to);
        }
      }
      order = to;
    },
  };
}
