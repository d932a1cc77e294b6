// The words and signs of WGSL (section 3 of the specification, "Textual structure").

import type { Span } from './source.ts'

export const TOKEN_KINDS = ['ident', 'keyword', 'number', 'sign', 'template-open', 'template-close', 'end'] as const
/** `template-open` and `template-close` are the `<` and `>` of a template list; every other one is a sign. */
export type TokenKind = (typeof TOKEN_KINDS)[number]

export interface Token extends Span {
  readonly kind: TokenKind
  readonly text: string
}

export const KEYWORDS: ReadonlySet<string> = new Set(
  `alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop
  override requires return struct switch true var while`.split(/\s+/),
)

/** Words that WGSL keeps for later; no name may be one of them. */
export const RESERVED_WORDS: ReadonlySet<string> = new Set(
  `NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await
  co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit
  crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external
  fallthrough filter final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof
  interface layout lowp macro macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline
  nointerpolation non_coherent noncoherent noperspective null nullptr of operator package packoffset pass patch pixelfragment
  precise precision premerge priv protected pub public readonly ref regardless register reinterpret_cast require resource
  restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target template this
  thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe unsized use using varying
  virtual volatile wgsl where with writeonly yield`.split(/\s+/),
)

// Blankspace, line breaks among it.
export const BLANK = /[ \t\n\v\f\r\u0085\u200e\u200f\u2028\u2029]+/y
export const LINE_COMMENT = /\/\/[^\n\v\f\r\u0085\u2028\u2029]*/y
export const IDENT = /[\p{XID_Start}_]\p{XID_Continue}*/uy

// Numbers, longest kinds first: a hexadecimal float before a hexadecimal integer, a float before an integer.
export const NUMBER = new RegExp(
  [
    '0[xX](?:[0-9a-fA-F]*\\.[0-9a-fA-F]+|[0-9a-fA-F]+\\.[0-9a-fA-F]*)(?:[pP][+-]?[0-9]+[fh]?)?',
    '0[xX][0-9a-fA-F]+[pP][+-]?[0-9]+[fh]?',
    '0[xX][0-9a-fA-F]+[iu]?',
    '(?:[0-9]*\\.[0-9]+|[0-9]+\\.[0-9]*)(?:[eE][+-]?[0-9]+)?[fh]?',
    '[0-9]+[eE][+-]?[0-9]+[fh]?',
    '(?:0|[1-9][0-9]*)[fh]',
    '(?:0|[1-9][0-9]*)[iu]?',
  ].join('|'),
  'y',
)

// `<` and `>` stand alone here: whether they belong to `<<` or `>=` is known only when template lists are found.
export const SIGN = /->|\+\+|--|&&|\|\||==|!=|[+\-*/%&|^]=|[(){}[\];:,.@=+\-*/%&|^!~<>]/y
