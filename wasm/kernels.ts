// The one entry for asc: every kernel by name. Imports one memory; owns no memory, no tables, no mutable globals, no heap.
export { writeConstants } from './simd';
export { gemvDot32, gemvDot16, gemvLut8, lutTables } from './gemv';
export { denseFromTiles, denseFromLanes, gemmActivations, gemm8, gemmStore } from './gemm';
export { quantise } from './absmax';
export { rmsNorm } from './rmsnorm';
export { ropeTables, rope, ropeKey } from './rope';
export { storeHead, attentionBlock, attentionCombine } from './attention';
export { gateRelu2, gateSilu } from './ffn';
export { scale } from './scale';
export { packBf16, packInt8, readInt8, placeInt8 } from './lmhead';
export { embedBf16, embedInt8, headBf16, headInt8, quantiseHead } from './lmhead';
export { packTiles, packLanes } from './pack';
export { codesFromPacked, codesFromI2S, reorderI2S, codesFromTQ2, codesFromTQ1, codesFromQ2, badCode } from './codec';
export { base3Pack, base3Unpack, unpackTiles, unpackLanes } from './codec';
export { codesFromFloats, sumAbs, badFloat, rowToBf16, floatsFromHalfs } from './floats';
export { expSum, nll } from './softmax';
export { exp, log, sin, cos, pow } from './math';
export { barrier, fail, awaitPass, startPass } from './barrier';
