// What the parts of the analysis ask of each other. Types need constants (array sizes), constants need types of expressions, and
// expressions need types: Analyzer in analysis.ts ties the knot, so that no file imports in a circle.

import type { Call, Expression, Ident } from './ast.ts'
import type { Constant } from './constants.ts'
import type { Declaration, FunctionInfo, Scope } from './scope.ts'
import type { Span } from './source.ts'
import type { Type } from './types.ts'
import type { WgslErrorKind } from './wgsl-error.ts'

export interface Context {
  /** The type of an expression: a reference where it names memory. Works it out once. */
  infer(expression: Expression, scope: Scope): Type
  /** What a name means here, null for predeclared names. */
  resolve(ident: Ident, scope: Scope): Declaration | null
  /** The type that an expression names, null if it names none. */
  typeNamed(expression: Expression, scope: Scope): Type | null
  /** The value of a constant expression, null if it is none. `overrides` also takes values of overrides. */
  constant(expression: Expression, scope: Scope, options?: { overrides: boolean }): Constant | null
  /** Notes that a function calls another one, or a builtin function. */
  noteCall(call: Call, callee: FunctionInfo | string, scope: Scope): void
  fail(kind: WgslErrorKind, reason: string, span: Span): never
}
