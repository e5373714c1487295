// The one entry for asc: every kernel by name. Imports one memory; owns no memory, no tables, no mutable globals, no heap.
export { writeConstants } from './simd';
export { gemvDot32, gemvDot16, gemvLut8, lutTables } from './gemv';
export { denseFromTiles, denseFromLanes, gemmActivations, gemm8, gemmStore } from './gemm';
export { quantiseGroups, embedTiles, embedLanes } from './grouped';
export { gemvDot32Grouped, gemvDot16Grouped, gemvLut8Grouped } from './grouped-gemv';
export { gemm8Grouped, gemmStoreGrouped } from './grouped-gemm';
export { quantise } from './absmax';
export { rmsNorm } from './rmsnorm';
export { ropeTables, rope, ropeKey } from './rope';
export { storeHead, attentionBlock, attentionCombine } from './attention';
export { gateRelu2, gateSilu } from './ffn';
export { scale } from './scale';
export { packBf16, packInt8, embedBf16, embedInt8, headBf16, headInt8, quantiseHead } from './lmhead';
export { hasCode3, hasNonFinite, packTiles, packLanes } from './pack';
export { expSum, nll } from './softmax';
export { exp, log, sin, cos, pow } from './math';
export { barrier, fail, awaitPass, startPass } from './barrier';
