// The WGSL front end: parse, analyse, rewrite. Start with README.md.

export { type AnalyseOptions, Analysis, analyse } from './analysis.ts'
export type * from './ast.ts'
export { BARRIERS, isBuiltinFunction } from './builtin-functions.ts'
export type { Constant } from './constants.ts'
export {
  emit,
  emitModule,
  emitSpan,
  Fragment,
  fragmentFor,
  generated,
  join,
  type OriginalPlace,
  type Part,
  type Replace,
  SourceMap,
  verbatim,
} from './emit.ts'
export type { EntryInput, EntryPoint, Stage } from './entry-point.ts'
export { alignOf, columnOf, isHostShareable, type MemberLayout, sizeOf, strideOf, structLayout } from './layout.ts'
export { parseType, parseWgsl } from './parser.ts'
export type { Declaration, FunctionInfo, ParameterInfo, TypeInfo, VariableInfo } from './scope.ts'
export { type Position, Source, type Span } from './source.ts'
export * from './types.ts'
export { childrenOf, type Node, walk } from './walk.ts'
export { pointAt, WGSL_ERROR_KINDS, WgslError, type WgslErrorKind } from './wgsl-error.ts'
