/**
 * From the bytes of a checkpoint, or of its stored form, to the planned memory, a unit at a time (parts.ts): each unit is
 * gathered in staging memory, packed, and written once more in the stored form, which does not depend on the kernel.
 */
import { SternaError } from '../errors';
import type { Kernels } from '../model/kernels';
import { type Matrix, type MemoryPlan, pad, type TableHead, ternaryMatrices } from '../model/memory';
import type { Part } from './parts';
import { createTernaryRows, type Desk, type Fail, FLOAT, type I2sOrder } from './ternary';

/** Gains this small are dead channels; as denormal numbers they would only be slow. */
const TINY = 1e-30;
/** Angles must stay within what the kernels' sine takes. */
const [LEAST_ROPE_FACTOR, MOST_ROPE_FACTOR] = [0.1, 1e6];

/** So many bytes of small units are copied at once: with a view for each there would be a hundred MB of garbage. */
const COPY_BYTES = 2 ** 17;

/** Where the packer works, as offsets from plan.staging. */
export interface Staging extends Desk {
  bytes: number;
}

/** The staging memory that the parts need, with room for stored records of `recordBytes` and one more unit. */
export function stagingOf(parts: Part[], recordBytes: number): Staging {
  let top = 0;
  const take = (least: number, of: (part: Part) => number): number => {
    const at = top;
    top = pad(top + parts.reduce((most, part) => Math.max(most, of(part)), least) + 256, 64);
    return at;
  };
  // all rows of a unit, or one with its padding; of a table four rows, scales and sums (int8)
  const codes = ({ place, rows, cols }: Part): number => {
    if (place.kind === 'ternary') return Math.max(rows * cols, place.matrix.paddedCols);
    return place.kind === 'table' ? 4 * place.table.paddedHidden + 128 : 0;
  };
  const unit = take(COPY_BYTES, ({ unitBytes }) => unitBytes);
  // the last unit of a record is what makes it full
  const stored = take(0, ({ storedBytes }) => recordBytes + storedBytes);
  const at = { unit, stored, codes: take(0, codes), spare: take(0, codes), row: take(0, ({ cols }) => cols * 4) };
  return { ...at, bytes: top };
}

export interface Packer {
  /** Goes to a byte of a file: the border of a unit, or outside all parts. At byte 0, scales from this file are forgotten. */
  seek(file: number, offset: number): void;
  /**
   * Takes the next bytes of the file. `unit` gets the stored bytes of each finished unit (a view that the next one
   * overwrites) and says whether to stop there. Returns the bytes taken: fewer than there are only after a stop.
   */
  take(chunk: Uint8Array, unit: (stored: Uint8Array) => boolean): number;
  /** Takes the stored form of whole units, from where it is. */
  restore(record: Uint8Array): void;
  /** The byte of the file that comes next. */
  readonly offset: number;
  /** @throws SternaError `bad-file` if a part of a tensor has not arrived: a bug, or a stored model that is not whole */
  assertComplete(): void;
  /** Once everything has arrived: scales that consist of several factors are joined. */
  finish(): void;
  /** Turns I2_S matrices that were packed in one byte order into what the other order means, in place. */
  reorder(to: I2sOrder): void;
}

/**
 * A packer for the parts of one model.
 * @param files names for errors
 * @param int8Row where tables are bf16 in memory, told the int8 form of each row that passes, in turn: the stored one, or
 * the one that a row quantises to
 * @throws SternaError (from take and restore) `bad-file` for weights that are no trits, scales and gains that are no
 * finite numbers, stored records that do not fit; `unsupported` as ternary.ts
 */
export function createPacker(
  kernels: Kernels,
  memory: WebAssembly.Memory,
  plan: MemoryPlan,
  parts: Part[],
  staging: Staging,
  files: string[],
  i2sOrder: I2sOrder,
  int8Row?: (stored: Uint8Array) => void,
): Packer {
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const { config } = plan;
  const place = (key: keyof Desk): number => plan.staging + staging[key];
  const desk: Desk = {
    unit: place('unit'),
    stored: place('stored'),
    codes: place('codes'),
    spare: place('spare'),
    row: place('row'),
  };
  const unitAt = desk.unit;
  const half = config.headDim / 2;
  let stored = bytes.subarray(desk.stored, desk.stored);

  const fail: Fail = (part, what, got, expected, code = 'bad-file') =>
    new SternaError(code, `${what} in tensor ${part.name}`, { file: files[part.file] ?? '', got, expected });

  /** The scale of the weights themselves, and of a scale tensor beside weights that have their own. */
  const factors = new Map<Matrix, { own?: number; beside?: number }>();
  function setScale(part: Part, matrix: Matrix, scale: number, kind: 'own' | 'beside' = 'own'): void {
    if (!(scale > 0) || !Number.isFinite(scale)) throw fail(part, 'scale', String(scale), 'a finite number above 0');
    const known = factors.get(matrix) ?? {};
    const before = known[kind];
    if (before !== undefined && before !== scale) throw fail(part, 'several scales', scale, before, 'unsupported');
    factors.set(matrix, { ...known, [kind]: scale });
  }

  /** Forgets what a part says of its matrix's scale; what another file says of it stays. */
  function forgetScale({ place: at, type }: Part): void {
    if (!('matrix' in at) || (at.kind === 'ternary' && type === 'U8')) return;
    delete factors.get(at.matrix)?.[at.kind === 'scale' ? at.factor : 'own'];
  }

  const ternary = createTernaryRows(kernels, memory, plan, desk, i2sOrder, fail, setScale);
  let [file, offset, index, unit, filled] = [0, 0, 0, 0, 0];
  const arrived = parts.map(() => 0); // units

  function packTableRow(part: Part, { kind, table, scales, sums, paddedHidden }: TableHead, row: number): void {
    const { cols } = part;
    if (kernels.badFloat(row, FLOAT.BF16!, cols)) throw fail(part, `row ${unit}`, 'infinity or NaN', 'finite numbers');
    if (kind === 'bf16') kernels.packBf16(row, table, unit, cols);
    else kernels.packInt8(row, table, unit, cols, paddedHidden, scales, sums);
  }

  /** Rows of every type become bf16 first: what int8 rows are made of does not depend on what is stored. */
  function takeTable(part: Part, table: TableHead): void {
    const { type, cols } = part;
    let row = desk.unit;
    if (type !== 'BF16') {
      kernels.rowToBf16(desk.unit, FLOAT[type]!, cols, desk.row);
      row = desk.row;
    }
    if (part.storedBytes === cols * 2) {
      packExactRow(part, table, row);
      bytes.copyWithin(desk.stored, row, row + cols * 2);
      return;
    }
    packTableRow(part, table, row);
    if (table.kind === 'int8') readInt8(table, unit, cols, desk.stored);
    else tell(quantised(row, cols, table, desk.stored));
  }

  /** A row that is bf16 at rest. */
  function packExactRow(part: Part, table: TableHead, row: number): void {
    packTableRow(part, table, row);
    if (int8Row) tell(quantised(row, part.cols, table, desk.spare));
  }

  /** A row of an int8 table in its stored form: codes, then the scale. */
  function readInt8(from: Pick<TableHead, 'table' | 'paddedHidden' | 'scales'>, row: number, cols: number, to: number) {
    kernels.readInt8(from.table, row, cols, from.paddedHidden, to);
    bytes.copyWithin(to + cols, from.scales + row * 4, from.scales + row * 4 + 4);
    return bytes.subarray(to, to + cols + 4);
  }

  /** What a bf16 row is as int8, in the stored form; made as the first of four rows at desk.codes. */
  function quantised(row: number, cols: number, { paddedHidden }: TableHead, to: number): Uint8Array {
    const scales = desk.codes + 4 * paddedHidden;
    kernels.packInt8(row, desk.codes, 0, cols, paddedHidden, scales, scales + 64);
    return readInt8({ table: desk.codes, paddedHidden, scales }, 0, cols, to);
  }

  const tell = (row: Uint8Array): void => int8Row?.(row);

  function restoreTable(part: Part, table: TableHead, from: number): void {
    const { cols, storedBytes } = part;
    if (storedBytes === cols * 2) packExactRow(part, table, from);
    else if (table.kind === 'bf16')
      tell(bytes.subarray(from, from + storedBytes)); // exact rows come from elsewhere
    else {
      const scale = view.getFloat32(from + cols, true);
      kernels.placeInt8(from, table.table, unit, cols, table.paddedHidden, scale, table.scales, table.sums);
    }
  }

  /** A small float tensor. */
  function smallFloats(part: Part, type: string, from: number, size: number): Float32Array {
    const values = toFloat32(bytes.slice(from, from + size), type);
    const wrong = values.find((v) => !Number.isFinite(v));
    if (wrong !== undefined) throw fail(part, 'value', String(wrong), 'finite numbers');
    return values;
  }

  function placeGain(at: number, inHeads: boolean, values: Float32Array): void {
    const gains = new Float32Array(
      memory.buffer,
      at,
      inHeads ? (values.length / half) * (plan.headDim / 2) : values.length,
    );
    for (const [i, value] of values.entries()) {
      const to = inHeads ? Math.floor(i / half) * (plan.headDim / 2) + (i % half) : i;
      gains[to] = Math.abs(value) < TINY ? 0 : value;
    }
  }

  function placeRopeFactors(part: Part, at: number, values: Float32Array): void {
    const wrong = values.find((value) => value < LEAST_ROPE_FACTOR || value > MOST_ROPE_FACTOR);
    if (wrong !== undefined) {
      throw fail(part, 'RoPE factor', wrong, `${LEAST_ROPE_FACTOR} to ${MOST_ROPE_FACTOR}`);
    }
    new Float32Array(memory.buffer, at, values.length).set(values);
  }

  function takeUnit(part: Part): void {
    const { place: to, type, unitBytes } = part;
    if (to.kind === 'ternary') ternary.take(part, to.matrix, unit);
    else if (to.kind === 'table') takeTable(part, to.table);
    else if (to.kind === 'tail') takeScale(part, to.matrix, view.getFloat32(desk.unit, true), 'own');
    else {
      const values = smallFloats(part, type, desk.unit, unitBytes);
      if (to.kind === 'gain') {
        placeGain(to.at, to.heads, values);
        bytes.set(new Uint8Array(values.buffer), desk.stored);
      } else if (to.kind === 'ropeFactors') {
        placeRopeFactors(part, to.at, values);
        bytes.set(new Uint8Array(values.buffer), desk.stored);
      } else takeScale(part, to.matrix, to.divide ? Math.fround(1 / values[0]!) : values[0]!, to.factor);
    }
  }

  function takeScale(part: Part, matrix: Matrix, scale: number, kind: 'own' | 'beside'): void {
    setScale(part, matrix, scale, kind);
    view.setFloat32(desk.stored, scale, true);
  }

  function restoreUnit(part: Part, from: number): void {
    const { place: to, storedBytes } = part;
    if (to.kind === 'ternary') ternary.restore(part, to.matrix, unit, from);
    else if (to.kind === 'table') restoreTable(part, to.table, from);
    else if (to.kind === 'gain') placeGain(to.at, to.heads, smallFloats(part, 'F32', from, storedBytes));
    else if (to.kind === 'ropeFactors') placeRopeFactors(part, to.at, smallFloats(part, 'F32', from, storedBytes));
    else setScale(part, to.matrix, view.getFloat32(from, true), to.kind === 'tail' ? 'own' : to.factor);
  }

  /** The part that the next byte belongs to, or the next one in this file. */
  const here = (): Part | undefined => (parts[index]?.file === file ? parts[index] : undefined);

  function advance(part: Part): void {
    filled = 0;
    arrived[index]!++;
    if (++unit < part.units) return;
    unit = 0;
    index++;
  }

  return {
    seek(toFile, to) {
      [file, offset, filled, unit] = [toFile, to, 0, 0];
      if (to === 0) {
        for (const [i, part] of parts.entries()) {
          if (part.file !== file) continue;
          forgetScale(part);
          arrived[i] = 0;
        }
      }
      index = parts.findIndex((part) => part.file > toFile || (part.file === toFile && part.end > to));
      if (index < 0) index = parts.length;
      const part = here();
      if (part && to > part.begin) unit = (to - part.begin) / part.unitBytes;
      if (!Number.isInteger(unit)) throw fail(part!, 'place to go on', to, 'the border of a unit');
    },

    take(chunk, done) {
      let used = 0;
      while (used < chunk.length) {
        const part = here();
        const rest = chunk.length - used;
        const gap = part ? part.begin + unit * part.unitBytes + filled - offset : rest;
        if (!part || gap > 0) {
          used += Math.min(gap, rest);
          offset += Math.min(gap, rest);
          continue;
        }
        const { unitBytes, units, storedBytes } = part;
        const count = Math.max(1, Math.min(units - unit, Math.floor(COPY_BYTES / unitBytes)));
        const piece = chunk.subarray(used, used + count * unitBytes - filled);
        bytes.set(piece, unitAt + filled);
        const end = unitAt + filled + piece.length;
        for (desk.unit = unitAt; end - desk.unit >= unitBytes; desk.unit += unitBytes) {
          used += unitBytes - filled;
          offset += unitBytes - filled;
          takeUnit(part);
          advance(part);
          if (stored.length !== storedBytes) stored = bytes.subarray(desk.stored, desk.stored + storedBytes);
          if (done(stored)) return used;
        }
        const left = end - desk.unit - filled;
        bytes.copyWithin(unitAt, desk.unit, end);
        used += left;
        offset += left;
        filled += left;
      }
      return used;
    },

    restore(record) {
      if (record.length > staging.codes - staging.stored) {
        throw new SternaError('bad-file', 'stored record', {
          got: record.length,
          expected: staging.codes - staging.stored,
        });
      }
      bytes.set(record, desk.stored);
      for (let at = 0; at < record.length; ) {
        const part = here();
        if (!part || at + part.storedBytes > record.length) {
          throw new SternaError('bad-file', 'stored record', { got: record.length, expected: at });
        }
        restoreUnit(part, desk.stored + at);
        at += part.storedBytes;
        offset = part.begin + (unit + 1) * part.unitBytes;
        advance(part);
      }
    },

    get offset() {
      return offset;
    },

    assertComplete() {
      for (const [i, part] of parts.entries()) {
        if (arrived[i]! < part.units) throw fail(part, 'rows missing', arrived[i]!, part.units);
      }
    },

    finish() {
      for (const [matrix, { own = 1, beside = 1 }] of factors) matrix.scale = Math.fround(own * beside);
      if (config.residualScale === 1) return;
      for (const { output, down } of plan.layers) {
        for (const matrix of [output, down]) scaleMatrix(memory, matrix, Math.fround(config.residualScale));
      }
    },

    reorder: (to) => ternary.reorder(parts, to),
  };
}

/** Matrices with rows or columns of padding begin as zeros; so do gains of padded heads, since new memory is 0. */
export function fillPadding(memory: WebAssembly.Memory, plan: MemoryPlan): void {
  const bytes = new Uint8Array(memory.buffer);
  for (const { at, rows, paddedRows, paddedCols } of ternaryMatrices(plan)) {
    if (rows < paddedRows || plan.headDim !== plan.config.headDim) {
      bytes.fill(0x55, at, at + (paddedRows * paddedCols) / 4);
    }
  }
}

/** What is added to the residual stream may be scaled: the matrix takes that over. */
function scaleMatrix(memory: WebAssembly.Memory, matrix: Matrix, factor: number): void {
  if (matrix.group === 0) {
    matrix.scale = Math.fround(matrix.scale * factor);
    return;
  }
  const count = (matrix.paddedRows * matrix.paddedCols) / matrix.group;
  const scales = new Float32Array(memory.buffer, matrix.scales, count);
  for (let i = 0; i < count; i++) scales[i] = scales[i]! * factor;
}

/** A little-endian float tensor as float32. */
function toFloat32(bytes: Uint8Array<ArrayBuffer>, type: string): Float32Array<ArrayBuffer> {
  if (type === 'F32') return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  if (type === 'BF16') return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
  return Float32Array.from(halves, (bits) => {
    const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + mantissa) : 2 ** -24 * mantissa);
  });
}
