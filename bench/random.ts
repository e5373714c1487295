/** Random numbers by place, not by turn: any word of any row of any tensor can be made without those before it. */

const golden = 0x9e3779b9;

/** The finaliser of MurmurHash3 (Austin Appleby, public domain): each bit of the input moves every bit of the output. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/** A tensor's key: FNV-1a over its name, then the seed. */
export function tensorKey(seed: number, name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return mix(hash ^ mix(seed + golden));
}

/** A row's key. */
export function rowKey(tensor: number, row: number): number {
  return mix(tensor + Math.imul(row + 1, golden));
}

/** Word `i` of a row: 32 bits. The row goes in twice, so that two rows never run along the same words. */
export function word(row: number, i: number): number {
  let x = (row + Math.imul(i, golden)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) ^ row;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
