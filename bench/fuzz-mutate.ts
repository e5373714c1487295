/** Damage to bytes, texts and JSON, the same for the same numbers. `random` gives numbers from 0 to 1. */

export type Random = () => number;

export const below = (random: Random, n: number): number => Math.floor(random() * n);
export const pick = <T>(random: Random, all: readonly T[]): T => all[below(random, all.length)]!;

/** Values that lengths, counts and types are wrong with. */
const edges = [0n, 1n, 2n, 8n, 9n, 13n, 255n, 65_536n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** `bytes` damaged in one to four ways: bits, edge values, pieces cut off, taken out, doubled or moved. */
export function mutateBytes(original: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  let bytes = Uint8Array.from(original);
  for (let left = 1 + below(random, 4); left > 0; left--) {
    if (bytes.length < 16) break;
    const at = below(random, bytes.length - 8);
    const view = new DataView(bytes.buffer);
    switch (below(random, 7)) {
      case 0:
        bytes[at]! ^= 1 << below(random, 8);
        break;
      case 1:
        bytes[at] = below(random, 256);
        break;
      case 2:
        bytes = bytes.slice(0, below(random, bytes.length));
        break;
      case 3:
        view.setBigUint64(at, pick(random, edges), true);
        break;
      case 4:
        view.setUint32(at, Number(BigInt.asUintN(32, pick(random, edges))), true);
        break;
      case 5: {
        // a piece of it again elsewhere
        const from = below(random, bytes.length);
        bytes.copyWithin(at, from, from + below(random, 200));
        break;
      }
      default: {
        // a piece taken out, or put in twice
        const length = below(random, 64);
        const rest = bytes.subarray(random() < 0.5 ? at + length : Math.max(0, at - length));
        const spliced = new Uint8Array(at + rest.length);
        spliced.set(bytes.subarray(0, at));
        spliced.set(rest, at);
        bytes = spliced;
      }
    }
  }
  return bytes;
}

const scraps = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '0',
  '9',
  '-',
  'e',
  '.',
  '\0',
  ' ',
  '\n',
  'é',
  '日',
  '🙂',
  '\ud800',
];

/** The same for a text; `more` are pieces to put in besides single characters. */
export function mutateText(text: string, random: Random, more: readonly string[] = []): string {
  for (let left = 1 + below(random, 4); left > 0; left--) {
    const at = below(random, text.length + 1);
    const length = below(random, 30);
    const piece = text.slice(at, at + length);
    const cut = text.slice(at + below(random, 4));
    switch (below(random, 6)) {
      case 0:
        text = text.slice(0, at) + pick(random, scraps) + cut;
        break;
      case 1:
        text = text.slice(0, at) + (more.length > 0 ? pick(random, more) : pick(random, scraps)) + cut;
        break;
      case 2:
        text = random() < 0.2 ? text.slice(0, at) : text.slice(0, at) + text.slice(at + length);
        break;
      case 3:
        text = text.slice(0, at) + piece.repeat(1 + below(random, random() < 0.1 ? 2000 : 4)) + text.slice(at);
        break;
      case 4: {
        const to = below(random, text.length + 1);
        text = text.slice(0, to) + piece + text.slice(to);
        break;
      }
      default:
        text = text.slice(0, at) + text.slice(at).replace(/-?\d+/, String(pick(random, numbers)));
    }
  }
  return text;
}

/** Numbers at the ends of types, and beyond. */
export const numbers = [
  0,
  -0,
  -1,
  1,
  2,
  3,
  7,
  0.5,
  1e-320,
  255,
  65_536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 63,
  1e308,
  -1e308,
];
const keys = ['__proto__', 'constructor', 'toString', 'length', 'type', '', 'a/b', '\0', 'x'.repeat(2000)];

// Marks in a JSON text for what JSON.stringify does not write.
const mark = '\u0007';
const written = '\\u0007';

/** A value that is not what was wanted. */
function wrong(random: Random): unknown {
  switch (below(random, 12)) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return [];
    case 3:
      return {};
    case 4:
      return pick(random, ['', '0', 'none', 'true', '\0', '\ud800', '__proto__', '日本語', '../x']);
    case 5:
      return pick(random, ['x', ' ', 'é', '[', '(a+)+$', '{% for a in b %}']).repeat(10 ** below(random, 5));
    case 6:
      return `${mark}deep ${below(random, 3)} ${10 ** (1 + below(random, 4))}`;
    case 7:
      return `${mark}raw ${pick(random, ['1e999', '-1e999', '123456789012345678901234567890'])}`;
    case 8:
      return Array.from({ length: 10 ** below(random, 4) }, () => pick(random, numbers));
    default:
      return pick(random, numbers);
  }
}

type Holder = Record<string, unknown> | unknown[];
const isHolder = (value: unknown): value is Holder => typeof value === 'object' && value !== null;

/** A place in the value: each level is as likely to be stopped at as any. */
function place(value: Holder, random: Random): { holder: Holder; key: string } | undefined {
  let holder = value;
  for (;;) {
    const all = Object.keys(holder);
    if (all.length === 0) return undefined;
    const key = pick(random, all);
    const next = holder[key as keyof Holder] as unknown;
    if (!isHolder(next) || Object.keys(next).length === 0 || random() < 0.3) return { holder, key };
    holder = next;
  }
}

/** Sets a key, `__proto__` too. */
function put(holder: Holder, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

function change(root: { value: unknown }, random: Random): void {
  const found = isHolder(root.value) && random() < 0.98 ? place(root.value, random) : undefined;
  const { holder, key } = found ?? { holder: root as Holder, key: 'value' };
  const value = holder[key as keyof Holder] as unknown;
  const list = Array.isArray(holder) ? holder : undefined;
  switch (below(random, 10)) {
    case 0: // dropped
      if (list) list.splice(Number(key), 1);
      else if (found) delete (holder as Record<string, unknown>)[key];
      break;
    case 1: // twice
      if (list) list.push(...Array.from({ length: 10 ** below(random, 4) }, () => value));
      else put(holder, `${key}${mark}twice`, random() < 0.5 ? value : wrong(random));
      break;
    case 2: // under another key
      put(holder, list ? String(list.length) : pick(random, random() < 0.5 ? Object.keys(holder) : keys), value);
      break;
    case 3: // one level down, or up
      put(holder, key, pick(random, [[value], { [key]: value }, isHolder(value) ? Object.values(value)[0] : value]));
      break;
    case 4: // another part of the document
    case 5: {
      const from = isHolder(root.value) ? place(root.value, random) : undefined;
      if (from) put(holder, key, structuredClone(from.holder[from.key as keyof Holder]));
      break;
    }
    case 6:
    case 7:
      if (typeof value === 'number') {
        const near = [value + 1, value - 1, value * 2, value / 2, value * 1000, -value, value + 0.5];
        put(holder, key, pick(random, near));
        break;
      }
      if (typeof value === 'string') {
        put(holder, key, mutateText(value, random));
        break;
      }
      put(holder, key, wrong(random));
      break;
    default:
      put(holder, key, wrong(random));
  }
}

/** A copy of the value with one to three changes; undefined where it cannot be copied any more. */
export function mutateValue(value: unknown, random: Random): unknown {
  const root = { value: structuredClone(value) };
  for (let left = 1 + below(random, 3); left > 0; left--) change(root, random);
  return root.value;
}

/** A JSON text of the value with changes: to what it says mostly, now and then to its characters. */
export function mutateJson(value: unknown, random: Random): string {
  if (random() < 0.15) return mutateText(JSON.stringify(value), random);
  const text = JSON.stringify(mutateValue(value, random)) ?? 'null';
  return text
    .replaceAll(new RegExp(`"${written.replace('\\', '\\\\')}deep (\\d) (\\d+)"`, 'g'), (_, kind, times) => {
      const [open, close] = [
        ['[', ']'],
        ['{"a":', '}'],
        ['[{"type":"Sequence","x":', '}]'],
      ][Number(kind)]!;
      return `${open!.repeat(Number(times))}0${close!.repeat(Number(times))}`;
    })
    .replaceAll(new RegExp(`"${written.replace('\\', '\\\\')}raw (.+?)"`, 'g'), '$1')
    .replaceAll(`${written}twice"`, '"');
}
