/** What a weight file holds, whatever its format: filled by the readers of headers, used by the loader. */

/** How the elements of a tensor are stored; other types have the names that their format gives them. */
export type TensorType =
  | 'U8'
  | 'BF16'
  | 'F16'
  | 'F32'
  | 'I2_S'
  | 'TQ1_0'
  | 'TQ2_0'
  | 'Q2_0'
  | 'Q8_0'
  | 'Q6_K'
  | 'Q4_K'
  | 'Q4_0'
  | (string & {});

export interface TensorInfo {
  name: string;
  type: TensorType;
  /** Row-major, outermost first, as Hugging Face writes shapes. */
  shape: number[];
  /** First byte and the byte behind the last, counted from the beginning of the file. */
  begin: number;
  end: number;
}

/**
 * Elements and bytes of a block of each type (ggml.h, ggml-common.h; I2_S: bitnet.cpp). Q2_0 has two kinds of blocks
 * under one name: `blockOf`.
 */
export const blocks = {
  U8: [1, 1],
  BF16: [1, 2],
  F16: [1, 2],
  F32: [1, 4],
  I2_S: [4, 1],
  TQ1_0: [256, 54],
  TQ2_0: [256, 66],
  Q2_0: [64, 18],
  Q2_K: [256, 84],
  Q3_K: [256, 110],
  Q4_0: [32, 18],
  Q4_1: [32, 20],
  Q4_K: [256, 144],
  Q5_0: [32, 22],
  Q5_1: [32, 24],
  Q5_K: [256, 176],
  Q6_K: [256, 210],
  Q8_0: [32, 34],
} as const satisfies Record<string, readonly [elements: number, bytes: number]>;

/** Q2_0 in PrismML's files; in llama.cpp's it is as in `blocks`. */
export const wideQ2Block = [128, 34] as const;

/** Columns to a scale of a Q2_0 tensor, which are a block: its bytes tell. */
export function scaleGroup({ shape, begin, end }: TensorInfo): 64 | 128 {
  const [columns, bytes] = blocks.Q2_0;
  return (end - begin) * columns === shape.reduce((a, b) => a * b, 1) * bytes ? 64 : 128;
}

/** Elements and bytes of a block of the tensor, whose type is one of `blocks`. */
export function blockOf(tensor: TensorInfo): readonly [elements: number, bytes: number] {
  if (tensor.type === 'Q2_0' && scaleGroup(tensor) === 128) return wideQ2Block;
  return blocks[tensor.type as keyof typeof blocks];
}

export interface WeightFile {
  path: string;
  size: number;
  sha256?: string;
  /** What the server calls this state of the file, where there is no digest (ByteSource). */
  tag?: string;
  /** Digest of the header as it was read: a later one must be the same. */
  headSha256: string;
  /** Where the header ends and tensors may begin. */
  dataStart: number;
  /** In the order of `begin`. */
  tensors: TensorInfo[];
}
