// The syntax tree of a WGSL module. Every node knows its span in the text; types are written as names with template
// arguments, as in the grammar, so a type in the text is an Ident and means something only after analysis (analysis.ts).

import type { Source, Span } from './source.ts'

export interface Module {
  readonly source: Source
  readonly directives: readonly Directive[]
  readonly declarations: readonly GlobalDeclaration[]
}

export interface Directive extends Span {
  readonly kind: 'enable' | 'requires' | 'diagnostic'
  /** Extensions, or the severity and the rule of a diagnostic. */
  readonly names: readonly string[]
}

export interface Attribute extends Span {
  /** Without the `@`. */
  readonly name: string
  readonly args: readonly Expression[]
}

/** A name where it is declared. */
export interface Name extends Span {
  readonly text: string
}

// ---- Declarations ----

export type GlobalDeclaration =
  | VariableDeclaration
  | FunctionDeclaration
  | StructDeclaration
  | AliasDeclaration
  | ConstAssert

export interface VariableDeclaration extends Span {
  readonly kind: 'var' | 'let' | 'const' | 'override'
  readonly attributes: readonly Attribute[]
  readonly name: Name
  /** `var<storage, read_write>`: the names between the brackets. */
  readonly template: readonly Expression[]
  readonly type: Ident | null
  readonly init: Expression | null
}

export interface FunctionDeclaration extends Span {
  readonly kind: 'fn'
  readonly attributes: readonly Attribute[]
  readonly name: Name
  readonly params: readonly Parameter[]
  readonly returnType: Ident | null
  readonly returnAttributes: readonly Attribute[]
  readonly body: Block
}

export interface Parameter extends Span {
  readonly kind: 'param'
  readonly attributes: readonly Attribute[]
  readonly name: Name
  readonly type: Ident
}

export interface StructDeclaration extends Span {
  readonly kind: 'struct'
  readonly name: Name
  readonly members: readonly StructMember[]
}

export interface StructMember extends Span {
  readonly attributes: readonly Attribute[]
  readonly name: Name
  readonly type: Ident
}

export interface AliasDeclaration extends Span {
  readonly kind: 'alias'
  readonly name: Name
  readonly type: Ident
}

export interface ConstAssert extends Span {
  readonly kind: 'const_assert'
  readonly condition: Expression
}

// ---- Statements ----

export type Statement =
  | Block
  | If
  | Switch
  | Loop
  | For
  | While
  | Jump
  | BreakIf
  | Return
  | Assign
  | Step
  | CallStatement
  | DeclarationStatement
  | ConstAssert
  | Empty

export interface Block extends Span {
  readonly kind: 'block'
  readonly attributes: readonly Attribute[]
  readonly statements: readonly Statement[]
}

export interface If extends Span {
  readonly kind: 'if'
  readonly attributes: readonly Attribute[]
  readonly condition: Expression
  readonly then: Block
  readonly else: If | Block | null
}

export interface Switch extends Span {
  readonly kind: 'switch'
  readonly attributes: readonly Attribute[]
  readonly bodyAttributes: readonly Attribute[]
  readonly selector: Expression
  readonly clauses: readonly SwitchClause[]
}

export interface SwitchClause extends Span {
  /** `default` stands for itself among the selectors. */
  readonly selectors: readonly (Expression | 'default')[]
  readonly body: Block
}

export interface Loop extends Span {
  readonly kind: 'loop'
  readonly attributes: readonly Attribute[]
  /** Without the continuing block. */
  readonly body: Block
  readonly continuing: Block | null
}

export interface For extends Span {
  readonly kind: 'for'
  readonly attributes: readonly Attribute[]
  readonly init: Statement | null
  readonly condition: Expression | null
  readonly update: Statement | null
  readonly body: Block
}

export interface While extends Span {
  readonly kind: 'while'
  readonly attributes: readonly Attribute[]
  readonly condition: Expression
  readonly body: Block
}

export interface Jump extends Span {
  readonly kind: 'break' | 'continue' | 'discard'
}

export interface BreakIf extends Span {
  readonly kind: 'break if'
  readonly condition: Expression
}

export interface Return extends Span {
  readonly kind: 'return'
  readonly value: Expression | null
}

/** `target op value`. Target null is the phony `_`. */
export interface Assign extends Span {
  readonly kind: 'assign'
  readonly target: Expression | null
  /** `=`, `+=`, ... */
  readonly op: string
  readonly value: Expression
}

/** `target++` and `target--`. */
export interface Step extends Span {
  readonly kind: 'step'
  readonly target: Expression
  readonly op: '++' | '--'
}

export interface CallStatement extends Span {
  readonly kind: 'call statement'
  readonly call: Call
}

export interface DeclarationStatement extends Span {
  readonly kind: 'declaration'
  readonly declaration: VariableDeclaration
}

export interface Empty extends Span {
  readonly kind: 'empty'
}

// ---- Expressions ----

export type Expression = Ident | Literal | Call | Index | Member | Unary | Binary | Paren

/** A use of a name, with template arguments where it has some: `x`, `vec2<f32>`, `array<u32, N>`. */
export interface Ident extends Span {
  readonly kind: 'ident'
  readonly name: string
  readonly template: readonly Expression[]
}

export const LITERAL_TYPES = ['bool', 'abstract-int', 'abstract-float', 'i32', 'u32', 'f32', 'f16'] as const
export type LiteralType = (typeof LITERAL_TYPES)[number]

export interface Literal extends Span {
  readonly kind: 'literal'
  readonly type: LiteralType
  /** false is 0, true is 1. */
  readonly value: number
}

/** A call of a function, or a value constructed from a type. */
export interface Call extends Span {
  readonly kind: 'call'
  readonly callee: Ident
  readonly args: readonly Expression[]
}

export interface Index extends Span {
  readonly kind: 'index'
  readonly base: Expression
  readonly index: Expression
}

export interface Member extends Span {
  readonly kind: 'member'
  readonly base: Expression
  readonly name: Name
}

export interface Unary extends Span {
  readonly kind: 'unary'
  readonly op: '-' | '!' | '~' | '*' | '&'
  readonly operand: Expression
}

export interface Binary extends Span {
  readonly kind: 'binary'
  readonly op: string
  readonly left: Expression
  readonly right: Expression
}

export interface Paren extends Span {
  readonly kind: 'paren'
  readonly inner: Expression
}
