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

export interface WeightFile {
  path: string;
  size: number;
  sha256?: string;
  /** What the server calls this state of the file, where there is no digest (ByteSource). */
  tag?: string;
  /** Digest of the header as it was read, where that of the file is known. */
  headSha256?: string;
  /** Where the header ends and tensors may begin. */
  dataStart: number;
  /** In the order of `begin`. */
  tensors: TensorInfo[];
}
