/**
 * Rows of an lm_head and hidden states on which its screening is proven (wasm/screen.ts): each form is hard in a way of
 * its own for bounds that come from the norms of rounding errors.
 */
import { toBf16 } from '../src/model/reference-kernels';

export interface HeadForm {
  name: string;
  /** Rows of `width` bf16 numbers. */
  rows(vocab: number, width: number, random: () => number): Float32Array[];
  /** A hidden state for a head of these rows. */
  state(rows: Float32Array[], random: () => number): Float32Array;
}

/** A normally distributed number (Box-Muller). */
const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const vector = (width: number, random: () => number, deviation = 1): Float32Array =>
  Float32Array.from({ length: width }, () => deviation * normal(random));

const times = (count: number, make: (index: number) => Float32Array): Float32Array[] =>
  Array.from({ length: count }, (_, index) => make(index).map(toBf16));

const normalRows: HeadForm['rows'] = (vocab, width, random) => times(vocab, () => vector(width, random, 0.05));

const normalState: HeadForm['state'] = (rows, random) => vector(rows[0]!.length, random);

/** A row, somewhat louder or softer, in noise: what a trained model's state looks like. */
function nearRow(rows: Float32Array[], random: () => number, share: number): Float32Array {
  const row = rows[Math.floor(random() * rows.length)]!;
  const norm = Math.sqrt(row.reduce((sum, v) => sum + v * v, 1e-9));
  const noise = vector(row.length, random);
  return noise.map((v, i) => v + (share * Math.sqrt(row.length) * row[i]!) / norm);
}

/** Student's t with 2 degrees of freedom: its variance is infinite. */
const heavy = (random: () => number): number => normal(random) / Math.sqrt(-Math.log(1 - random()));

/** Channels that are a hundred times as loud as the others. */
const LOUD = [3, 64, 129];

/** Windows of one long sequence of normal numbers: as good as rows of their own, and fast to make in any number. */
const windows: HeadForm['rows'] = (vocab, width, random) => {
  const sequence = vector(2 ** 20, random, 0.05).map(toBf16);
  return Array.from({ length: vocab }, () => {
    const from = Math.floor(random() * (sequence.length - width));
    return sequence.subarray(from, from + width);
  });
};

export const headForms: HeadForm[] = [
  { name: 'normal rows, normal states', rows: normalRows, state: normalState },
  {
    name: 'normal rows, states near one of them',
    rows: normalRows,
    state: (rows, random) => nearRow(rows, random, 0.3),
  },
  {
    name: 'heavy tails, norms from 0.02 to 50',
    rows: (vocab, width, random) =>
      times(vocab, () => {
        const size = 0.05 * Math.exp(normal(random));
        return Float32Array.from({ length: width }, () => size * heavy(random));
      }),
    state: (rows, random) => rows[0]!.map(() => heavy(random)),
  },
  {
    name: 'families of sixteen near-duplicates',
    rows: (vocab, width, random) => {
      let parent = vector(width, random, 0.05);
      return times(vocab, (index) => {
        if (index % 16 === 0) parent = vector(width, random, 0.05);
        const child = parent.slice();
        for (let i = 0; i < 4; i++) child[Math.floor(random() * width)]! *= 1.02; // a step of int8 or none
        return child;
      });
    },
    state: (rows, random) => nearRow(rows, random, 0.5),
  },
  {
    name: 'loud channels in rows and states',
    rows: (vocab, width, random) =>
      times(vocab, () => vector(width, random, 0.05).map((v, i) => (LOUD.includes(i) ? v * 10 : v))),
    state: (rows, random) => vector(rows[0]!.length, random).map((v, i) => (LOUD.includes(i) ? v * 100 : v)),
  },
  {
    name: 'rows of few directions',
    rows: (vocab, width, random) => {
      const directions = Array.from({ length: 8 }, () => vector(width, random, 0.05));
      return times(vocab, () => {
        const row = vector(width, random, 0.002);
        for (const direction of directions) {
          const amount = normal(random);
          for (let i = 0; i < width; i++) row[i]! += amount * direction[i]!;
        }
        return row;
      });
    },
    state: (rows, random) => nearRow(rows, random, 1),
  },
  {
    name: 'single elements, zeros, equal and opposite rows',
    rows: (vocab, width, random) =>
      times(vocab, (index) => {
        const row = new Float32Array(width);
        if (index % 5 === 0) row[Math.floor(random() * width)] = normal(random);
        else if (index % 5 === 1) row.fill(0.05 * Math.sign(normal(random)));
        else if (index % 5 === 2) for (let i = 0; i < width; i++) row[i] = random() < 0.5 ? 0.05 : -0.05;
        else if (index % 5 === 3) row.set(vector(width, random, 0.05).fill(0, width >> 1));
        return row;
      }),
    state: (rows, random) =>
      random() < 0.5
        ? nearRow(rows, random, 2)
        : Float32Array.from({ length: rows[0]!.length }, () => (random() < 0.02 ? normal(random) : 0)),
  },
  { name: 'windows of normal numbers', rows: windows, state: normalState },
];
